//! Taking a new configuration on while requests run: all of it or nothing, and then
//! whatever runs on a right that is gone is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::parts::{Reach, edge_settings, minting, snapshot};
use super::start::{Running, StartError, warn_of_dates};
use super::upgrade::Predecessor;
use crate::api::ReloadOrder;
use crate::config::{Config, Limits, Oauth};
use crate::domain::Role;
use crate::edge::{DataPlane, Resolver};
use crate::metrics::Metrics;
use crate::policy::{RouteTable, Snapshot};
use crate::revocation::CutReason;
use crate::service::Context;

/// A configuration that was taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenOn {
    /// How many configurations there were, the one of the start included.
    pub generation: u64,
    /// How many requests and streams lost the right that they ran on.
    pub streams_closed: usize,
}

/// What judges by a configuration, and can be given another one: also while it drains.
#[derive(Clone)]
pub struct Reloadable {
    context: Arc<Context>,
    plane: Arc<DataPlane>,
    counters: Metrics,
    resolver: Arc<dyn Resolver>,
    generation: Arc<AtomicU64>,
    /// What still drains, and judges by an older one.
    before: Option<Arc<Predecessor>>,
}

impl Reloadable {
    pub(super) fn new(
        context: &Arc<Context>,
        plane: &Arc<DataPlane>,
        counters: &Metrics,
        resolver: Arc<dyn Resolver>,
        before: Option<Arc<Predecessor>>,
    ) -> Self {
        Reloadable {
            context: Arc::clone(context),
            plane: Arc::clone(plane),
            counters: counters.clone(),
            resolver,
            generation: Arc::new(AtomicU64::new(1)),
            before,
        }
    }

    /// State and means.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Takes a new configuration on: routes, roles, upstreams, limits, token
    /// lives, certificates. Addresses, the store and threads stay as they are. Requests
    /// under way end as they began, but for those that run on a right that is gone.
    ///
    /// # Errors
    /// When it can't be taken on; then all stays as it was.
    pub async fn reload(&self, config: Config) -> Result<TakenOn, StartError> {
        let outcome = self.try_reload(config).await;
        let word = if outcome.is_ok() { "ok" } else { "refused" };
        self.counters.config_reloads.with_label_values(&[word]).inc();
        outcome
    }

    /// Takes over what another process, which serves now, took on: what is judged here from
    /// now on is judged by it, and what lost its right is cut. Upstreams stay as they are.
    pub fn follow(&self, config: Config) -> usize {
        self.judge_by((&config.oauth, &config.server.limits), config.roles, config.routes)
    }

    /// Cuts all that runs: nobody knows what it has a right to.
    pub fn cut(&self) {
        self.plane.cut();
    }

    /// Counts a reload whose file was no good.
    pub fn refused(&self) {
        self.counters.config_reloads.with_label_values(&["refused"]).inc();
    }

    async fn try_reload(&self, config: Config) -> Result<TakenOn, StartError> {
        warn_of_dates(&config, self.context.clock.as_ref());
        let reach = Reach::find(&config.server, config.upstreams, &self.resolver).await?;
        let settings =
            edge_settings(&config.server, &config.oauth, reach, &self.context, &self.counters);
        self.plane.reload(settings);
        let streams_closed =
            self.judge_by((&config.oauth, &config.server.limits), config.roles, config.routes);
        if let Some(before) = &self.before {
            before.has_reloaded();
        }
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(TakenOn { generation, streams_closed })
    }

    /// Gives how much lost its right.
    fn judge_by(
        &self,
        (oauth, limits): (&Oauth, &Limits),
        roles: Vec<Role>,
        routes: RouteTable,
    ) -> usize {
        let before = self.context.world.load_full();
        let keys = Arc::clone(before.keys());
        let new = Arc::new(snapshot(oauth, roles, routes, keys));
        self.context.minting.store(Arc::new(minting(oauth, limits)));
        // The keys may have been rotated meanwhile.
        self.context.world.rcu(|old| {
            if Arc::ptr_eq(old.keys(), new.keys()) {
                Arc::clone(&new)
            } else {
                Arc::new(new.with_keys(Arc::clone(old.keys())))
            }
        });
        self.cut_what_lost_its_right(&before)
    }

    /// What comes later than this is judged by the new world.
    fn cut_what_lost_its_right(&self, before: &Snapshot) -> usize {
        let memory = &self.context.memory;
        let world = self.context.world.load();
        let (old, new) = (before.expectations(), world.expectations());
        let strangers = old.issuer != new.issuer || old.audience != new.audience;
        memory.streams.cut_any(CutReason::Narrowed, |client, live| {
            let standing = memory.revoked.standing(client);
            strangers || !standing.is_some_and(|standing| live.holds(&standing))
        })
    }
}

impl Running {
    /// As [`Reloadable::reload`].
    ///
    /// # Errors
    /// The same.
    pub async fn reload(&self, config: Config) -> Result<TakenOn, StartError> {
        self.reloadable.reload(config).await
    }

    /// What a new configuration is given to, also while all this drains.
    pub fn reloadable(&self) -> Reloadable {
        self.reloadable.clone()
    }

    /// Wishes for a reload that come through the admin port, from now on.
    pub fn reload_orders(&self) -> mpsc::Receiver<ReloadOrder> {
        self.reloads.listen()
    }

    /// The threads on which clients are served.
    pub fn threads(&self) -> Vec<Handle> {
        self.lanes.handles().to_vec()
    }

    /// Returns when the data plane serves no more, and nobody asked for that: a bug.
    pub async fn fails(&mut self) {
        let _ = (&mut self.serving).await;
    }
}

//! From a configuration to a running gateway, and to its end.
//!
//! The order is a promise: open the store, load all of it, only then listen,
//! only then be ready. In an upgrade the ports are open before that, since somebody
//! serves there, and the store is asked for last.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::aside::Aside;
use super::background::{
    Pace, cut_expired, gather, keep_usage_again_and_again, lapse_again_and_again,
    pack_again_and_again, sweep_again_and_again, tend_keys,
};
use super::descriptors::enough_for;
use super::end::Farewell;
pub use super::error::StartError;
use super::lanes::Lanes;
use super::listeners::{Doors, Listeners, Sockets};
use super::panics;
use super::parts::{Reach, edge_settings};
use super::ports::{self, Closing, Heads};
use super::reload::Reloadable;
use super::state::{blocking, context, open};
use super::upgrade::{Heir, LentStore, Predecessor, Reopen};
use crate::api::{Readiness, Reloads, admin_router, ops_router};
use crate::config::{Config, Engine};
use crate::domain::{AdminKey, AdminName, AdminRole, Clock, Entropy};
use crate::edge::{DataPlane, Probe, Resolver, again};
use crate::metrics::{AccessLog, MeteredStore, Metrics};
use crate::service::{Actor, Context, create_admin};
use crate::store::{SledOptions, SledStore, Store};

/// What a gateway takes from the world round it.
pub struct Means {
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where unpredictable bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// Where the access log goes.
    pub log: Box<dyn Write + Send>,
    /// A store that is open already, instead of the configured one: for tests
    /// that make it fail.
    pub store: Option<Arc<dyn Store>>,
    /// What finds the addresses of upstreams.
    pub resolver: Arc<dyn Resolver>,
    /// What finds out how late the data plane is.
    pub probe: Box<dyn Probe>,
}

/// What whoever started this process hands over to it.
#[derive(Default)]
pub struct Handed {
    /// Sockets that listen already.
    pub sockets: Sockets,
    /// The process that is to be followed.
    pub before: Option<Arc<Predecessor>>,
}

/// A gateway that serves.
pub struct Running {
    /// Where partners come in.
    pub data: Vec<SocketAddr>,
    /// Where they come in with TLS.
    pub data_tls: Vec<SocketAddr>,
    /// Where administrators come in.
    pub admin: SocketAddr,
    /// Where metrics and health are.
    pub metrics: SocketAddr,
    /// With a store in memory: the key of a first super-admin.
    pub first_admin: Option<AdminKey>,
    /// State and means, for commands and tests in the same process.
    pub context: Arc<Context>,
    /// Whether it is ready, and why not.
    pub readiness: Readiness,
    pub(super) counters: Metrics,
    pub(super) plane: Arc<DataPlane>,
    pub(super) store: Arc<dyn Store>,
    pub(super) lent: Arc<LentStore>,
    pub(super) log: Arc<AccessLog>,
    pub(super) serving: JoinHandle<()>,
    pub(super) beside: JoinSet<()>,
    pub(super) aside: Aside,
    pub(super) lanes: Lanes,
    pub(super) reloads: Reloads,
    pub(super) reloadable: Reloadable,
    pub(super) closing: watch::Sender<Closing>,
    pub(super) farewell: Farewell,
    pub(super) doors: Doors,
    pub(super) before: Option<Arc<Predecessor>>,
    pub(super) heir: Option<Arc<Heir>>,
    /// While the store is being let go of for an upgrade.
    pub(super) letting_go: Option<JoinHandle<()>>,
    pub(super) times: Times,
}

/// How patient the end is.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) delay: Duration,
    pub(super) drain: Duration,
    pub(super) upgrade: Duration,
}

/// Starts a gateway on the current runtime.
///
/// # Errors
/// When anything at all is missing; then nothing serves.
pub async fn start(config: Config, means: Means) -> Result<Running, StartError> {
    start_with(config, means, Handed::default()).await
}

/// As [`start`], with what another process hands over: its sockets, and its store.
///
/// # Errors
/// As for [`start`]; then the process before goes on.
pub async fn start_with(
    config: Config,
    means: Means,
    handed: Handed,
) -> Result<Running, StartError> {
    panics::watch();
    warn_of_dates(&config, means.clock.as_ref());
    let Config {
        server,
        admin,
        metrics: metrics_config,
        store: store_config,
        oauth,
        upstreams,
        roles,
        routes,
        ..
    } = config;
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"))?;
    let Means { clock, entropy, log, store, resolver, probe } = means;
    let in_memory = store_config.engine == Engine::Memory && store.is_none();
    let (source, store_metrics) = (Arc::clone(&entropy), metrics.clone());
    let Handed { mut sockets, before } = handed;
    let aside = Aside::new().map_err(StartError::Thread)?;
    let threads = server.threads;
    let lanes = blocking(move || Lanes::new(threads).map_err(StartError::Thread)).await?;
    let log =
        Arc::new(AccessLog::new(log, metrics.access_log_lost.clone()).map_err(StartError::Thread)?);
    let mut id_start = [0; 8];
    entropy.fill(&mut id_start)?;
    let reach = Reach::find(&server, upstreams, &resolver).await?;
    let listen = |sockets, strict| {
        Listeners::open((&server, &admin, &metrics_config), sockets, strict, &aside)
    };
    let mut listeners = None;
    if let Some(before) = &before {
        // While the store is away nobody can revoke: all that needs none comes before that.
        listeners = Some(listen(std::mem::take(&mut sockets), false)?);
        before.ask_for_store().await?;
    }
    let followed = before.clone();
    let opened = blocking(move || {
        let is_on_disk = store.is_none() && store_config.engine == Engine::Sled;
        let mut opened = open(store, &store_config, in_memory, source.as_ref())?;
        let reopen = is_on_disk.then(|| reopen(SledOptions::new(&store_config.path)));
        let lent = Arc::new(LentStore::new(opened.store, reopen, followed));
        opened.store = Arc::new(MeteredStore::new(Arc::clone(&lent) as _, store_metrics));
        Ok((opened, lent))
    });
    let (opened, lent) = opened.await?;
    let store = Arc::clone(&opened.store);
    let context = context(opened, (&oauth, &server.limits), roles, routes, clock, entropy).await?;
    let first_admin = if in_memory && context.memory.admins.is_empty() {
        Some(first_admin(&context).await?)
    } else {
        None
    };
    let mut settings = edge_settings(&server, &oauth, reach, &context, &metrics);
    settings.connections = enough_for(settings.connections, lanes.handles().len());
    let id_start = u64::from_le_bytes(id_start);
    let (state, log_too) = (Arc::clone(&context), Arc::clone(&log));
    let plane =
        DataPlane::new(state, settings, metrics.clone(), log_too, id_start, lanes.handles());
    let plane = Arc::new(plane);
    let listeners = match listeners {
        Some(listeners) => listeners,
        None => listen(sockets, true)?,
    };
    let Listeners { plain, encrypted, admin, metrics: metrics_listener, at, doors } = listeners;
    if let Some(before) = &before {
        before.ask_to_serve(store.status().head).await?;
    }

    // From here on nothing can fail. Until it is said that this one serves it changes nothing,
    // and the process before serves as well.
    let served = Arc::clone(&plane);
    let serving = tokio::spawn(async move { served.serve(plain, encrypted).await });
    plane.accepts().await;
    let timed = Arc::clone(&context);
    let readiness = Readiness::new(Arc::clone(&store)).doubted(move || clock_doubt(&timed));
    readiness.ready();
    if let Some(before) = &before {
        before.now_serves();
        // Here, where it is seen: nobody asks the other one any more.
        metrics.upgrades.with_label_values(&["ok"]).inc();
    }
    let (closing, farewell) = (watch::Sender::new(Closing::Open), Farewell::default());
    let mut beside = JoinSet::new();
    let gather = gather(Arc::clone(&context), Arc::clone(&plane), metrics.clone());
    let (state, counters) = (Arc::clone(&context), metrics.clone());
    let reloads = Reloads::default();
    let admin_app =
        admin_router(state, readiness.clone(), counters, Arc::clone(&gather), reloads.clone());
    let ops_app = ops_router(metrics.clone(), readiness.clone(), gather);
    let heads = Heads { within: server.limits.header_timeout, bytes: server.limits.header_bytes };
    for (listener, app) in [(admin, admin_app), (metrics_listener, ops_app)] {
        let (app, closing) = (farewell.round(app), closing.subscribe());
        let serve =
            async move || ports::serve(&listener, app.clone(), heads, closing.clone()).await;
        aside.spawn(&mut beside, again(serve));
    }
    let pace = Pace::while_it_is(lent.here());
    macro_rules! paced {
        ($work:path) => {{
            let (context, pace) = (Arc::clone(&context), pace.clone());
            again(move || $work(Arc::clone(&context), pace.clone()))
        }};
    }
    let (timed, counters, slowly) = (Arc::clone(&context), metrics.clone(), pace.clone());
    let lapse = move || lapse_again_and_again(Arc::clone(&timed), counters.clone(), slowly.clone());
    let timed = Arc::clone(&context);
    aside.spawn(&mut beside, again(move || cut_expired(Arc::clone(&timed))));
    aside.spawn(&mut beside, paced!(tend_keys));
    aside.spawn(&mut beside, again(lapse));
    beside.spawn(paced!(sweep_again_and_again));
    beside.spawn(paced!(pack_again_and_again));
    beside.spawn(paced!(keep_usage_again_and_again));
    if let Some(before) = &before {
        aside.spawn(&mut beside, Arc::clone(before).serve_commits(Arc::clone(&store)));
    }
    let watched = Arc::clone(&plane);
    beside.spawn(again(async move || watched.watch_upstreams().await));
    let watched = Arc::clone(&plane);
    beside.spawn(again(async move || watched.watch_lag(probe.as_ref()).await));
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit")]
    metrics.started.set(context.now().as_secs() as f64);
    let reloadable = Reloadable::new(&context, &plane, &metrics, resolver, before.clone());
    Ok(Running {
        data: at.data,
        data_tls: at.data_tls,
        admin: at.admin,
        metrics: at.metrics,
        first_admin,
        context,
        readiness,
        counters: metrics,
        plane,
        store,
        log,
        serving,
        beside,
        aside,
        lanes,
        reloads,
        reloadable,
        closing,
        farewell,
        lent,
        doors,
        before,
        heir: None,
        letting_go: None,
        times: Times {
            delay: server.shutdown_delay,
            drain: server.drain_timeout,
            upgrade: server.upgrade_timeout,
        },
    })
}

/// What was checked and loaded before is only looked at for damage.
fn reopen(options: SledOptions) -> Box<Reopen> {
    Box::new(move || Ok(Arc::new(SledStore::open(options.clone())?) as Arc<dyn Store>))
}

pub(super) fn warn_of_dates(config: &Config, clock: &dyn Clock) {
    for warning in config.out_of_date(clock.now()) {
        tracing::warn!("{}: {}", warning.key, warning.message);
    }
}

/// The name of the super-admin that a store in memory begins with.
const FIRST_ADMIN: &str = "first";

/// Why the clock can't be believed. Time stands still then, so that nothing comes back
/// to life whose revocation was forgotten, and tokens don't run out as they should.
fn clock_doubt(context: &Context) -> Option<String> {
    let behind = context.behind();
    (!behind.is_zero()).then(|| {
        format!(
            "the clock is {} s behind {}, up to when revocations were forgotten as over: it went \
             back by more than a day, or was too far ahead before; set it right",
            behind.as_secs(),
            context.memory.not_before()
        )
    })
}

async fn first_admin(context: &Context) -> Result<AdminKey, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::FirstAdmin(error.to_string());
    let name = AdminName::new(FIRST_ADMIN).map_err(|error| failed(&error))?;
    let made = create_admin(context, &Actor::gateway(), name, AdminRole::SuperAdmin).await;
    made.map(|made| made.key).map_err(|error| failed(&error))
}

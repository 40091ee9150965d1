//! From a configuration to a running gateway, and to its end.
//!
//! The order is a promise: open the store, load all of it, only then listen,
//! only then be ready.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::aside::Aside;
use super::background::{
    cut_expired, gather, keep, keep_usage_again_and_again, lapse_again_and_again,
    pack_again_and_again, sweep_again_and_again, tend_keys,
};
use super::descriptors::enough_for;
use super::panics;
use super::parts::{edge_settings, minting, refuse_what_is_not_built, snapshot};
use super::ports::{self, Heads};
use super::seal_file::SealFileError;
use super::state::{blocking, context, open};
use crate::api::{Readiness, ReloadOrder, Reloads, admin_router, ops_router};
use crate::config::{Config, Engine};
use crate::domain::{AdminKey, AdminName, AdminRole, Clock, Entropy, EntropyError};
use crate::edge::{DataPlane, Resolver, bind};
use crate::metrics::{AccessLog, MeteredStore, Metrics};
use crate::policy::Snapshot;
use crate::revocation::CutReason;
use crate::service::{Actor, Context, LoadError, create_admin, keys};
use crate::store::{OpenError, Store};
use crate::token::SealError;

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
}

/// Why a gateway did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration asks for what this version does not do.
    #[error("the configuration asks for what this version does not do:\n  {}", .0.join("\n  "))]
    NotBuilt(Vec<String>),
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The key file can't be had.
    #[error(transparent)]
    SealFile(#[from] SealFileError),
    /// The sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The signing keys can't be had.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    /// TLS can't be set up.
    #[error("TLS can't be set up ([server.tls]): {0}")]
    Tls(#[from] rustls::Error),
    /// The first administrator could not be made.
    #[error("the first administrator could not be made: {0}")]
    FirstAdmin(String),
    /// An upstream's name has no address.
    #[error("upstream {upstream:?}: the address {address:?} can't be resolved: {error}")]
    Unresolved {
        /// Which upstream.
        upstream: String,
        /// Which of its addresses.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// TLS to an upstream without a server name: nothing would be verified.
    #[error("upstream {0:?}: TLS needs a server_name; name what its certificate must be for")]
    NoTrust(String),
    /// An address can't be listened on.
    #[error("can't listen on {address} ({key}): {error}. Free the port, or name another address")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The key that says so.
        key: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is no randomness to be had.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The system refused a thread or a task.
    #[error("the system refused a thread: {0}")]
    Thread(std::io::Error),
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
    counters: Metrics,
    plane: Arc<DataPlane>,
    resolver: Arc<dyn Resolver>,
    store: Arc<dyn Store>,
    log: Arc<AccessLog>,
    serving: JoinHandle<()>,
    beside: JoinSet<()>,
    _aside: Aside,
    reloads: Reloads,
    generation: AtomicU64,
    stop_beside: watch::Sender<bool>,
}

/// A configuration that was taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenOn {
    /// How many configurations there were, the one of the start included.
    pub generation: u64,
    /// How many requests and streams lost the right that they ran on.
    pub streams_closed: usize,
}

/// Starts a gateway on the current runtime.
///
/// # Errors
/// When anything at all is missing; then nothing serves.
pub async fn start(config: Config, means: Means) -> Result<Running, StartError> {
    panics::watch();
    refuse_what_is_not_built(&config)?;
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
    let Means { clock, entropy, log, store, resolver } = means;
    let in_memory = store_config.engine == Engine::Memory && store.is_none();
    let (source, store_metrics) = (Arc::clone(&entropy), metrics.clone());
    let opened = blocking(move || {
        let mut opened = open(store, &store_config, in_memory, source.as_ref())?;
        opened.store = Arc::new(MeteredStore::new(opened.store, store_metrics));
        Ok(opened)
    });
    let opened = opened.await?;
    let store = Arc::clone(&opened.store);
    let context = context(opened, &oauth, roles, routes, clock, Arc::clone(&entropy)).await?;
    let first_admin = if in_memory && context.memory.admins.is_empty() {
        Some(first_admin(&context).await?)
    } else {
        None
    };
    let mut settings =
        edge_settings(&server, &oauth, upstreams, &context, &metrics, &resolver).await?;
    settings.connections = enough_for(settings.connections);
    let log =
        Arc::new(AccessLog::new(log, metrics.access_log_lost.clone()).map_err(StartError::Thread)?);
    let mut id_start = [0; 8];
    entropy.fill(&mut id_start)?;
    let plane = Arc::new(DataPlane::new(
        Arc::clone(&context),
        settings,
        metrics.clone(),
        Arc::clone(&log),
        u64::from_le_bytes(id_start),
    ));
    let listen =
        |address, key| bind(address).map_err(|error| StartError::Listen { address, key, error });
    let listen_on_all = |addresses: &[SocketAddr], key| {
        addresses.iter().map(|address| listen(*address, key)).collect::<Result<Vec<_>, _>>()
    };
    let tls_addresses = server.tls.as_ref().map_or(&[][..], |tls| &tls.listen);
    let plain = listen_on_all(&server.listen, "server.listen")?;
    let encrypted = listen_on_all(tls_addresses, "server.tls.listen")?;
    let admin_listener = listen(admin.listen, "admin.listen")?;
    let metrics_listener = listen(metrics_config.listen, "metrics.listen")?;
    let local = |listener: &tokio::net::TcpListener, key, address| {
        listener.local_addr().map_err(|error| StartError::Listen { address, key, error })
    };
    let all_local = |listeners: &[tokio::net::TcpListener], addresses: &[SocketAddr], key| {
        let both = listeners.iter().zip(addresses);
        both.map(|(listener, address)| local(listener, key, *address)).collect::<Result<_, _>>()
    };
    let data = all_local(&plain, &server.listen, "server.listen")?;
    let data_tls = all_local(&encrypted, tls_addresses, "server.tls.listen")?;
    let admin_address = local(&admin_listener, "admin.listen", admin.listen)?;
    let metrics_address = local(&metrics_listener, "metrics.listen", metrics_config.listen)?;

    let timed = Arc::clone(&context);
    let readiness = Readiness::new(Arc::clone(&store)).doubted(move || clock_doubt(&timed));
    let stop_beside = watch::Sender::new(false);
    let mut beside = JoinSet::new();
    let gather = gather(Arc::clone(&context), Arc::clone(&plane), metrics.clone());
    let (state, counters) = (Arc::clone(&context), metrics.clone());
    let reloads = Reloads::default();
    let admin_app =
        admin_router(state, readiness.clone(), counters, Arc::clone(&gather), reloads.clone());
    let ops_app = ops_router(metrics.clone(), readiness.clone(), gather);
    let heads = Heads { within: server.limits.header_timeout, bytes: server.limits.header_bytes };
    let aside = Aside::new().map_err(StartError::Thread)?;
    for (listener, app) in [(admin_listener, admin_app), (metrics_listener, ops_app)] {
        let listener = aside.adopt(listener).map_err(StartError::Thread)?;
        aside.spawn(&mut beside, ports::serve(listener, app, heads, stop_beside.subscribe()));
    }
    aside.spawn(&mut beside, cut_expired(Arc::clone(&context)));
    beside.spawn(tend_keys(Arc::clone(&context)));
    beside.spawn(sweep_again_and_again(Arc::clone(&context)));
    beside.spawn(pack_again_and_again(Arc::clone(&context)));
    beside.spawn(keep_usage_again_and_again(Arc::clone(&context)));
    beside.spawn(lapse_again_and_again(Arc::clone(&context), metrics.clone()));
    let watched = Arc::clone(&plane);
    beside.spawn(async move { watched.watch_upstreams().await });
    let served = Arc::clone(&plane);
    let drain = server.drain_timeout;
    let serving = tokio::spawn(async move { served.serve(plain, encrypted, drain).await });
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit")]
    metrics.started.set(context.now().as_secs() as f64);
    readiness.ready();
    Ok(Running {
        data,
        data_tls,
        admin: admin_address,
        metrics: metrics_address,
        first_admin,
        context,
        readiness,
        counters: metrics,
        plane,
        resolver,
        store,
        log,
        serving,
        beside,
        _aside: aside,
        reloads,
        generation: AtomicU64::new(1),
        stop_beside,
    })
}

fn warn_of_dates(config: &Config, clock: &dyn Clock) {
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

impl Running {
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

    /// Counts a reload whose file was no good.
    pub fn reload_refused(&self) {
        self.counters.config_reloads.with_label_values(&["refused"]).inc();
    }

    /// Wishes for a reload that come through the admin port, from now on.
    pub fn reload_orders(&self) -> mpsc::Receiver<ReloadOrder> {
        self.reloads.listen()
    }

    async fn try_reload(&self, config: Config) -> Result<TakenOn, StartError> {
        refuse_what_is_not_built(&config)?;
        warn_of_dates(&config, self.context.clock.as_ref());
        let settings = edge_settings(
            &config.server,
            &config.oauth,
            config.upstreams,
            &self.context,
            &self.counters,
            &self.resolver,
        )
        .await?;
        let before = self.context.world.load_full();
        let keys = Arc::clone(before.keys());
        let new = Arc::new(snapshot(&config.oauth, config.roles, config.routes, keys));
        self.plane.reload(settings);
        self.context.minting.store(Arc::new(minting(&config.oauth)));
        // The keys may have been rotated meanwhile.
        self.context.world.rcu(|old| {
            if Arc::ptr_eq(old.keys(), new.keys()) {
                Arc::clone(&new)
            } else {
                Arc::new(new.with_keys(Arc::clone(old.keys())))
            }
        });
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(TakenOn { generation, streams_closed: self.cut_what_lost_its_right(&before) })
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

    /// Ends it: not ready, drain, write what waits, let go of everything.
    pub async fn stop(mut self) {
        self.readiness.not_ready("draining");
        self.plane.stop();
        let _ = self.serving.await;
        self.stop_beside.send_replace(true);
        // The listeners beside end by themselves; the loops never do.
        let graceful = async { while self.beside.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_millis(200), graceful).await;
        self.beside.shutdown().await;
        keep(&self.context).await;
        let (store, log) = (self.store, self.log);
        let _ = tokio::task::spawn_blocking(move || {
            store.close();
            log.close();
        })
        .await;
    }
}

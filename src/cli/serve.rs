//! `serve`: a gateway from its start to its end, and what signals do to it.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::{count, counts};
use super::failure::{DONE, FAILED, Outcome, Usage};
use super::inventory::Inventory;
use super::reload::reload;
use super::{logging, out};
use crate::app::{Means, Running, StartError, start};
use crate::config::{self, Config, Engine};
use crate::domain::{SystemClock, SystemEntropy};
use crate::edge::SystemResolver;
use crate::service::Actor;

/// `serve …`
pub(super) fn serve(file: &Path) -> Outcome {
    let config = config::load(file)?;
    let _logging = logging::start("info");
    // The log tells where a panic was; what it said may quote a secret.
    std::panic::set_hook(Box::new(|_| ()));
    let runtime = runtime(config.server.threads)?;
    let outcome = runtime.block_on(run(file, config));
    if matches!(outcome, Ok(DONE)) {
        runtime.shutdown_timeout(Duration::from_secs(1));
    } else {
        runtime.shutdown_background();
    }
    outcome
}

/// The runtime that everything runs on; 0 threads: one per core.
pub(super) fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    let built = builder.thread_name("portcullis").enable_all().build();
    built.context("the system refused the worker threads")
}

/// The machine's clock and randomness, and a place for the access log.
pub(super) fn means(log: Box<dyn std::io::Write + Send>) -> Means {
    Means {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        log,
        store: None,
        resolver: Arc::new(SystemResolver),
    }
}

/// What a failed start comes to: asking for too much is the file's fault.
pub(super) fn start_error(error: StartError) -> anyhow::Error {
    match error {
        StartError::NotBuilt(_) => Usage(error.to_string()).into(),
        error => error.into(),
    }
}

/// The signals of the contract, section 10.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    End,
    Reload,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("the system refused to pass signals on");
        Ok(Signals {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            Some(()) = self.terminate.recv() => Asked::End,
            Some(()) = self.interrupt.recv() => Asked::End,
            Some(()) = self.hangup.recv() => Asked::Reload,
            else => pending().await,
        }
    }

    /// Waits for one that ends.
    pub(super) async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }
}

async fn run(file: &Path, config: Config) -> Outcome {
    let mut signals = Signals::listen()?;
    let mut inventory = Inventory::of(&config);
    let card = Card::of(file, &config);
    for warning in &config.warnings {
        out::note(format_args!("warning: {}", warning.at(file)));
    }
    // One write for all lines that wait; the log flushes by itself.
    let log = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout());
    let running = start(config, means(Box::new(log))).await.map_err(start_error)?;
    out::note(card.words(&running));
    let mut orders = running.reload_orders();
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::End => break,
                Asked::Reload => {
                    let _ = reload(file, &running, &mut inventory, &Actor::gateway()).await;
                }
            },
            Some(order) = orders.recv() => {
                let outcome = reload(file, &running, &mut inventory, &order.by).await;
                let _ = order.reply.send(outcome);
            }
        }
    }
    drop(orders);
    out::note(
        "ending: not ready any more, waiting for requests in flight; a second signal ends at once",
    );
    tokio::select! {
        () = running.stop() => {
            out::note("ended; nothing was lost");
            Ok(DONE)
        }
        () = signals.end() => {
            out::note("ended at once: requests in flight were cut; what was acknowledged is on disk");
            Ok(FAILED)
        }
    }
}

/// What a person sees when it has started.
struct Card {
    file: PathBuf,
    size: String,
    store: String,
    is_memory: bool,
    issuer: String,
    /// One that a first credential could have.
    role: Option<String>,
}

impl Card {
    fn of(file: &Path, config: &Config) -> Self {
        let (routes, roles, upstreams) = counts(config);
        let parts = [count(routes, "route"), count(roles, "role"), count(upstreams, "upstream")];
        let store = &config.store;
        let is_memory = store.engine == Engine::Memory;
        Card {
            file: file.to_owned(),
            size: parts.join(", "),
            store: match store.engine {
                Engine::Memory => "in memory: all is gone when this ends".to_owned(),
                _ => format!(
                    "{} (sealed with {}: back up both, apart)",
                    store.path.display(),
                    store.key_file.display()
                ),
            },
            is_memory,
            issuer: config.oauth.issuer.clone(),
            role: config.roles.first().map(|role| role.id.to_string()),
        }
    }

    fn words(&self, running: &Running) -> String {
        let plain = running.data.iter().map(|at| format!("http://{at}"));
        let encrypted = running.data_tls.iter().map(|at| format!("https://{at}"));
        let data: Vec<String> = plain.chain(encrypted).collect();
        let admin = format!("http://{}", running.admin);
        let mut words = format!(
            "portcullis {} is ready\n  gateway  {}  ({})\n  admin    {admin}\n  metrics  \
             http://{}/metrics\n  store    {}\n  issuer   {}\n",
            env!("CARGO_PKG_VERSION"),
            data.join(", "),
            self.size,
            running.metrics,
            self.store,
            self.issuer
        );
        let mint = format!(
            "portcullis credential create --name … --account … --role {}",
            self.role.as_deref().unwrap_or("…")
        );
        let memory = &running.context.memory;
        match &running.first_admin {
            Some(key) => words.push_str(&format!(
                "a first super-admin was made; its key is shown this once. Next, in another \
                 terminal:\n  export PORTCULLIS_ADMIN_URL={admin} PORTCULLIS_ADMIN_KEY={}\n  {mint}",
                key.expose()
            )),
            None if memory.admins.is_empty() && !self.is_memory => words.push_str(&format!(
                "nobody can administer it yet. End it, then:\n  portcullis admin create --config {} \
                 --name … --role super-admin\nand start it again",
                self.file.display()
            )),
            None => words.push_str(&format!(
                "{}, {}\nnext, in another terminal:\n  \
                 export PORTCULLIS_ADMIN_URL={admin} PORTCULLIS_ADMIN_KEY=…\n  {mint}",
                count(memory.directory.len(), "credential"),
                count(memory.admins.len(), "administrator"),
            )),
        }
        words
    }
}

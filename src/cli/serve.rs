//! `serve`: a gateway from its start to its end, and what signals do to it.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::{count, counts};
use super::failure::{DONE, FAILED, Outcome};
use super::inventory::Inventory;
use super::notify;
use super::reload::{follow, reload};
use super::{logging, out};
use crate::app::{
    Ended, Handed, Means, NextProcess, Predecessor, Reloadable, Running, Sockets, Successor,
    start_with,
};
use crate::config::{self, Config, Engine};
use crate::domain::{SystemClock, SystemEntropy};
use crate::edge::{SystemProbe, SystemResolver};
use crate::service::Actor;

/// `serve …`
pub(super) fn serve(file: &Path) -> Outcome {
    // First of all: it changes the environment, and there are no threads yet.
    let sockets =
        Sockets::from_env().context("a socket was handed over that is none to listen on")?;
    let config = config::load(file)?;
    let _logging = logging::start("info");
    // The log tells where a panic was; what it said may quote a secret.
    std::panic::set_hook(Box::new(|_| ()));
    let runtime = runtime(1)?;
    let outcome = runtime.block_on(run(file, config, sockets));
    if matches!(outcome, Ok(DONE)) {
        runtime.shutdown_timeout(Duration::from_secs(1));
    } else {
        runtime.shutdown_background();
    }
    outcome
}

/// What all runs on but the serving of clients and what else has threads of its own: 1 is
/// the caller's thread, 0 are one per core.
pub(super) fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().context("the system refused the worker threads")
}

/// The machine's clock and randomness, and a place for the access log.
pub(super) fn means(log: Box<dyn std::io::Write + Send>) -> Means {
    Means {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        log,
        store: None,
        resolver: Arc::new(SystemResolver),
        probe: Box::new(SystemProbe::default()),
    }
}

/// The signals of the contract, section 10.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user2: Signal,
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    End,
    Reload,
    Upgrade,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("the system refused to pass signals on");
        Ok(Signals {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
            user2: catch(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            Some(()) = self.terminate.recv() => Asked::End,
            Some(()) = self.interrupt.recv() => Asked::End,
            Some(()) = self.hangup.recv() => Asked::Reload,
            Some(()) = self.user2.recv() => Asked::Upgrade,
            else => pending().await,
        }
    }

    /// Waits for one that ends, and leaves the others for later.
    async fn end_first(&mut self) {
        tokio::select! {
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.interrupt.recv() => {}
            else => pending().await,
        }
    }

    /// Waits for one that ends.
    pub(super) async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }
}

/// How this process was started, to start the next one in the same way: by name, so that
/// what lies there now is started.
fn successor() -> Option<Successor> {
    let mut args = std::env::args_os();
    args.next().map(|program| Successor { program, args: args.collect() })
}

async fn run(file: &Path, config: Config, sockets: Sockets) -> Outcome {
    let mut signals = Signals::listen()?;
    let mut inventory = Inventory::of(&config);
    let card = Card::of(file, &config);
    let warnings = config.warnings.clone();
    let before = Predecessor::from_env().context("the process that is to be followed")?;
    let handed = Handed { sockets, before };
    // One write for each piece of the log, which flushes by itself.
    let log = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout());
    // A disk, a name server or a reader that hangs keeps nobody from ending it.
    let starting = async {
        for warning in &warnings {
            out::note_in_passing(format_args!("warning: {}", warning.at(file))).await;
        }
        start_with(config, means(Box::new(log)), handed).await
    };
    let started = tokio::select! {
        biased;
        () = signals.end_first() => {
            out::note_in_passing("ended before it served").await;
            return Ok(DONE);
        }
        started = starting => started,
    };
    let mut running = started?;
    notify::ready();
    let living = tokio::spawn(notify::lives(running.threads()));
    out::note_in_passing(card.words(&running)).await;
    let (mut orders, reloadable) = (running.reload_orders(), running.reloadable());
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::End => break,
                Asked::Reload => tokio::select! {
                    biased;
                    () = signals.end_first() => break,
                    () = by_signal(file, &reloadable, &mut inventory) => {}
                },
                Asked::Upgrade => {
                    let (upgraded, is_reload_due) = upgrade(&mut running, &mut signals).await;
                    match upgraded {
                        Upgraded::Yes => {
                            drop(orders);
                            // For the one that serves now.
                            living.abort();
                            return retire(file, running, &mut signals, is_reload_due).await;
                        }
                        Upgraded::No if is_reload_due => tokio::select! {
                            biased;
                            () = signals.end_first() => break,
                            () = by_signal(file, &reloadable, &mut inventory) => {}
                        },
                        Upgraded::No => {}
                        Upgraded::End => break,
                    }
                }
            },
            () = running.fails() => {
                anyhow::bail!("the data plane serves no more, for no reason; this is a bug");
            }
            Some(order) = orders.recv() => {
                tokio::select! {
                    biased;
                    () = signals.end_first() => break,
                    outcome = reload(file, &reloadable, &mut inventory, &order.by) => {
                        let _ = order.reply.send(outcome);
                    }
                }
            }
        }
    }
    drop(orders);
    notify::stopping();
    out::note_in_passing(
        "ending: not ready any more, waiting for requests in flight; a second signal ends at once",
    )
    .await;
    tokio::select! {
        () = running.stop() => {
            out::note_in_passing("ended; nothing was lost").await;
            Ok(DONE)
        }
        () = signals.end() => Ok(at_once().await),
    }
}

/// A reload that nobody waits for.
async fn by_signal(file: &Path, reloadable: &Reloadable, inventory: &mut Inventory) {
    notify::reloading();
    let _ = reload(file, reloadable, inventory, &Actor::gateway()).await;
    notify::ready();
}

async fn at_once() -> u8 {
    let words = "ended at once: requests in flight were cut; what was acknowledged is on disk";
    out::note_in_passing(words).await;
    FAILED
}

/// What became of a wish for an upgrade.
enum Upgraded {
    Yes,
    No,
    /// A signal to end came between; the new process is gone.
    End,
}

/// Also says whether a reload was asked for meanwhile, and is still to be made by who
/// serves then: the new process may have read the file before it was changed.
async fn upgrade(running: &mut Running, signals: &mut Signals) -> (Upgraded, bool) {
    let Some(successor) = successor() else { return (Upgraded::No, false) };
    tracing::info!(program = %successor.program.display(), "upgrading: starting a new process");
    let mut is_reload_due = false;
    let mut handing_over = pin!(running.hand_over(&successor));
    let outcome = loop {
        tokio::select! {
            biased;
            asked = signals.next() => match asked {
                Asked::End => return (Upgraded::End, is_reload_due),
                Asked::Reload => {
                    tracing::info!("a reload was asked for during an upgrade; it comes after it");
                    is_reload_due = true;
                }
                Asked::Upgrade => tracing::warn!("an upgrade is under way already"),
            },
            outcome = &mut handing_over => break outcome,
        }
    };
    let upgraded = match outcome {
        Ok(pid) => {
            notify::main_process(pid);
            tracing::info!(pid, "upgraded: the new process serves");
            Upgraded::Yes
        }
        Err(_) => {
            // The other one may have said so of itself.
            notify::main_process(std::process::id());
            Upgraded::No
        }
    };
    (upgraded, is_reload_due)
}

/// The end of a process that has handed over.
async fn retire(
    file: &Path,
    running: Running,
    signals: &mut Signals,
    is_reload_due: bool,
) -> Outcome {
    let serving = running.heir();
    let pass_on = || match serving.as_ref().is_some_and(NextProcess::reload) {
        true => tracing::info!("SIGHUP is passed on to the process that serves"),
        false => tracing::error!("SIGHUP came to a process that only drains: nothing was reloaded"),
    };
    if is_reload_due {
        pass_on();
    }
    let (mut of_the_other, reloadable) = (running.heir(), running.reloadable());
    let following = async {
        while let Some(serving) = &mut of_the_other {
            serving.has_reloaded().await;
            follow(file, &reloadable).await;
        }
        pending().await
    };
    let (mut following, mut retiring) = (pin!(following), pin!(running.retire()));
    let ended = loop {
        tokio::select! {
            ended = &mut retiring => break ended,
            () = &mut following => {}
            asked = signals.next() => match asked {
                Asked::End => return Ok(at_once().await),
                Asked::Reload => pass_on(),
                Asked::Upgrade => tracing::warn!("this process only drains: ask the one that serves"),
            },
        }
    };
    Ok(match ended {
        Ended::Drained => {
            out::note_in_passing("handed over and drained; nothing was lost").await;
            DONE
        }
        Ended::Alone => {
            let words = "the process that took over is gone: what was still open is cut";
            out::note_in_passing(words).await;
            FAILED
        }
    })
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

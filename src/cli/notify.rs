//! Tells systemd how it goes, where systemd asks for it (`sd_notify(3)`). Nobody
//! else notices; and what systemd does not hear is no reason to stop.

use sd_notify::NotifyState;
use tokio::runtime::Handle;

/// Serving, be it for the first time or again.
pub(super) fn ready() {
    // The process before may be the main one still; this is for the new one to say.
    let main = NotifyState::MainPid(std::process::id());
    tell(&[NotifyState::Ready, main]);
}

/// Reading the configuration again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Ending.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// From now on another process is the one to look after.
pub(super) fn main_process(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

/// Says again and again that it lives, if systemd wants to hear that: a process that is
/// silent for `WatchdogSec=` is ended and started anew. It lives while all `threads` come to
/// what they are given.
pub(super) async fn lives(threads: Vec<Handle>) {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else {
        return;
    };
    loop {
        for thread in &threads {
            // One that has ended does so on purpose.
            let _ = thread.spawn(std::future::ready(())).await;
        }
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(within / 2).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}

//! A process that is started to take over, and its end if it comes to nothing. Nobody
//! who serves waits for that end: what is killed lives on for as long as its disk hangs.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::new::PREDECESSOR;
use super::old::{Successor, UpgradeError};
use crate::app::listeners::Doors;

/// The first descriptor that is handed over (`sd_listen_fds(3)`).
const FIRST: i32 = 3;

/// A process that was started, and is ended with this value.
pub(super) struct Started {
    child: Option<Child>,
    /// Who speaks for it: another one, if a script stands before it.
    speaks: Option<OwnedFd>,
}

impl Started {
    /// Starts it, with the talk as its standard input and the listening sockets.
    pub(super) fn new(to: &Successor, talk: OwnedFd, doors: &Doors) -> Result<Self, UpgradeError> {
        let failed = UpgradeError::failed("the new process can't be started");
        let mut command = Command::new(&to.program);
        let names: Vec<&str> = doors.iter().map(|(name, _)| *name).collect();
        command
            .args(&to.args)
            .env(PREDECESSOR, std::process::id().to_string())
            .env("LISTEN_FDS", doors.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            // Nobody knows it before it is there; without it they are for whoever reads it.
            .env_remove("LISTEN_PID")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(talk));
        let mut mappings = Vec::new();
        for ((_, door), child_fd) in doors.iter().zip(FIRST..) {
            mappings.push(FdMapping { parent_fd: door.try_clone().map_err(&failed)?, child_fd });
        }
        command.fd_mappings(mappings).map_err(|error| {
            UpgradeError::Failed(format!("its sockets can't be handed on: {error}"))
        })?;
        let child = command.spawn().map_err(|error| {
            let program = to.program.display();
            UpgradeError::Failed(format!("{program} can't be started: {error}"))
        })?;
        Ok(Started { child: Some(child), speaks: None })
    }

    /// Takes note of who says that it speaks for it. A number that means something else
    /// here, as from a container within this one, is nobody's who may be ended.
    pub(super) fn speaks(&mut self, pid: u32) {
        let own = self.child.as_ref().map(Child::id);
        self.speaks = handle(pid).filter(|_| own.is_some_and(|own| descends(pid, own)));
        if self.speaks.is_none() {
            tracing::warn!(pid, "the new process is none that this one started: it can't be ended");
        }
    }

    /// It may live. Gives who speaks for it.
    pub(super) fn keep(mut self) -> Option<OwnedFd> {
        self.child = None;
        self.speaks.take()
    }

    /// Ends it, unless it has ended: then it says how. Blocks until it is gone, and with
    /// it what it holds, but for no longer than `patience`. One that `has_hung_up` may take as
    /// long to end by itself: its sockets are closed a moment before it has a status.
    pub(super) fn end(mut self, has_hung_up: bool, patience: Duration) -> Option<String> {
        let child = self.child.as_mut()?;
        if let Some(own) = handle(child.id()).filter(|_| has_hung_up) {
            wait_for_end(&own, patience);
        }
        let status = child.try_wait().ok().flatten();
        // Its number may be another's by now.
        let own = status.is_none().then(|| handle(child.id())).flatten();
        let speaks = self.speaks.as_ref().and_then(|it| it.try_clone().ok());
        drop(self);
        for process in [own, speaks].iter().flatten() {
            wait_for_end(process, patience);
        }
        status.map(|status| status.to_string())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(process) = &self.speaks {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        let _ = child.kill();
        // What stays unread of its end is a line in the list of processes.
        let reap = move || drop(child.wait());
        let _ = std::thread::Builder::new().name("portcullis-reap".to_owned()).spawn(reap);
    }
}

fn handle(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// How many scripts may stand before a program.
const GENERATIONS: u32 = 8;

/// Whether a process is another one, or was started by it.
fn descends(mut pid: u32, from: u32) -> bool {
    for _ in 0..GENERATIONS {
        if pid == from {
            return true;
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: its state and its parent.
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
        let parent = rest.and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let Some(parent) = parent else { return false };
        pid = parent;
    }
    false
}

/// Waits until a process is no more, for so long at most.
fn wait_for_end(process: &OwnedFd, patience: Duration) {
    let patience = Timespec::try_from(patience).ok();
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], patience.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that hangs up, and ends when it is told to.
    #[test]
    fn who_has_hung_up_is_asked_how_it_ended() {
        let mut child = Command::new("sh")
            .args(["-c", "read line; exit 3"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let talk = child.stdin.take().unwrap();
        let started = Started { child: Some(child), speaks: None };
        let ending = std::thread::spawn(move || started.end(true, Duration::from_secs(30)));
        drop(talk);
        assert_eq!(ending.join().unwrap().as_deref(), Some("exit status: 3"));
    }

    #[test]
    fn who_hangs_is_ended() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = Started { child: Some(child), speaks: None };
        assert_eq!(started.end(false, Duration::from_secs(30)), None);
    }

    #[test]
    fn only_what_was_started_here_may_be_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let (own, child_pid) = (std::process::id(), child.id());
        let found = [(child_pid, own), (own, own), (own, child_pid), (1, own), (0, own)]
            .map(|(pid, from)| descends(pid, from));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [true, true, false, false, false]);
    }
}

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

    pub(super) fn speaks(&mut self, pid: u32) {
        self.speaks = handle(pid);
    }

    /// It may live. Gives who speaks for it.
    pub(super) fn keep(mut self) -> Option<OwnedFd> {
        self.child = None;
        self.speaks.take()
    }

    /// Ends it, unless it has ended: then it says how. Blocks until it is gone, and with
    /// it what it holds, but for no longer than `patience`.
    pub(super) fn end(mut self, patience: Duration) -> Option<String> {
        let child = self.child.as_mut()?;
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

/// Waits until a process is no more, for so long at most.
fn wait_for_end(process: &OwnedFd, patience: Duration) {
    let patience = Timespec::try_from(patience).ok();
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], patience.as_ref());
}

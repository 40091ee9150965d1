//! Starts the real program in a process of its own, and asks it.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};

use crate::addresses::{Refusing, free};
use crate::harness::{ROUTES, client};
use crate::wait::until;

/// The program that is tried: `make torture` names the one that is shipped.
pub(crate) fn program() -> String {
    std::env::var("PORTCULLIS_PROGRAM")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_portcullis").to_owned())
}

/// A gateway process, its files and its addresses.
pub(crate) struct Process {
    pub(crate) child: Option<Child>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) key: String,
    pub(crate) http: reqwest::Client,
    _dead: Refusing,
}

/// What starts the program with sockets that somebody holds, as systemd does.
pub(crate) fn by_sockets(held: &[TcpListener]) -> Command {
    let mut command = Command::new(program());
    let mappings = held.iter().zip(3..).map(|(socket, child_fd)| FdMapping {
        parent_fd: socket.as_fd().try_clone_to_owned().unwrap(),
        child_fd,
    });
    command.fd_mappings(mappings.collect()).unwrap();
    let names = vec!["portcullis.socket"; held.len()].join(":");
    command.env("LISTEN_FDS", held.len().to_string()).env("LISTEN_FDNAMES", names);
    command
}

/// Starts the server by a command with an environment of its own.
pub(crate) async fn launch(process: &mut Process, mut command: Command) {
    command.args(["serve", "--config"]).arg(process.config());
    process.child = Some(process.quiet(&mut command).spawn().unwrap());
    process.ready().await;
}

/// Stops a process, and waits until none of its threads runs any more.
pub(crate) async fn halt(pid: u32) {
    assert!(Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
    stands_still(pid, 'T').await;
}

/// Waits until all threads of a process are in a state: twice in a row, as one may wake
/// another one that was looked at already.
pub(crate) async fn stands_still(pid: u32, in_state: char) {
    let mut in_a_row = 0;
    until("it stands still", async || {
        let all = states(pid).iter().all(|state| *state == in_state);
        in_a_row = if all { in_a_row + 1 } else { 0 };
        in_a_row == 2
    })
    .await;
}

/// The states of a process's threads; none when it is gone.
pub(crate) fn states(pid: u32) -> Vec<char> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let state = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        status.split("State:\t").nth(1)?.chars().next()
    };
    threads.flatten().filter_map(state).collect()
}

impl Process {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let mut process = Process::prepare(upstream, "");
        process.launch().await;
        process
    }

    /// Its files and its administrator, and not yet the server. `limits` are lines
    /// of `[server]` and below. Unless they say so, nobody is refused because the machine
    /// is busy.
    pub(crate) fn prepare(upstream: SocketAddr, limits: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, admin, metrics) = (free(), free(), free());
        let dead = Refusing::new();
        let lag = if limits.contains("lag = ") { "" } else { "lag = \"0s\"" };
        let (server, limits) = limits.split_once("[server.limits]").unwrap_or((limits, ""));
        let text = format!(
            "[server]\nlisten = [\"{data}\"]\ndrain_timeout = \"5s\"\n{server}\n\
             [server.limits]\n{lag}{limits}\n[admin]\nlisten = \"{admin}\"\n\
             [metrics]\nlisten = \"{metrics}\"\n[store]\nengine = \"sled\"\npath = \"{}\"\n\
             [oauth]\nissuer = \"http://{data}\"\naudience = \"a\"\n\
             [[upstream]]\nname = \"legacy\"\naddresses = [\"{upstream}\"]\n\
             [[upstream]]\nname = \"dead\"\naddresses = [\"{dead}\"]\n{ROUTES}",
            folder.path().join("state").display(),
            dead = dead.address,
        );
        std::fs::write(folder.path().join("portcullis.toml"), text).unwrap();
        let http = client();
        let key = String::new();
        let mut process =
            Process { child: None, folder, data, admin, metrics, key, http, _dead: dead };
        let made = process.run(&["admin", "create", "--name", "root", "--role", "super-admin"]);
        assert!(made.status.success(), "{made:?}");
        process.key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        process
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    /// Puts other lines in the place of the bound for the end, in `[server]`.
    pub(crate) fn configure(&self, server: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        assert!(text.contains("drain_timeout = \"5s\""));
        let changed = text.replace("drain_timeout = \"5s\"", server);
        std::fs::write(self.config(), changed).unwrap();
    }

    /// Runs another command on the same configuration.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        // `timeout` ends what should have ended by itself: a gateway that
        // starts where it must not.
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "60", &program()]);
        command.args(args).arg("--config").arg(self.config()).output().unwrap()
    }

    pub(crate) async fn launch(&mut self) {
        self.child = Some(self.command().stdout(Stdio::null()).spawn().unwrap());
        self.ready().await;
    }

    /// What starts the server.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.args(["serve", "--config"]).arg(self.config());
        self.quiet(&mut command);
        command
    }

    /// Has a command keep what it says.
    pub(crate) fn quiet<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let stderr = std::fs::File::create(self.folder.path().join("stderr")).unwrap();
        command.stdout(Stdio::null()).stderr(stderr)
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) {
        let url = format!("http://{}/readyz", self.metrics);
        until("the gateway is ready", async || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the gateway ended with {status}: {}", self.stderr());
            }
            self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    /// Waits until load balancers hear that it is to get nothing more.
    pub(crate) async fn unready(&self) {
        let url = format!("http://{}/readyz", self.metrics);
        until("it is not ready", async || {
            self.http.get(&url).send().await.unwrap().status() == 503
        })
        .await;
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let process = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").arg(process).status().unwrap().success());
    }

    /// Waits until it has ended, and says how.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the gateway ends", async || {
            status = self.child.as_mut().unwrap().try_wait().unwrap();
            status.is_some()
        })
        .await;
        self.child = None;
        status.unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) async fn admin(&self, path: &str, body: Value) -> Value {
        let url = format!("http://{}{path}", self.admin);
        let response = self.http.post(url).bearer_auth(&self.key).json(&body).send().await.unwrap();
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub(crate) async fn trade(&self, made: &Value) -> (u16, Value) {
        let body = json!({
            "grant_type": "client_credentials",
            "client_id": made["client_id"],
            "client_secret": made["client_secret"],
        });
        let url = format!("http://{}/oauth2/token", self.data);
        let response = self.http.post(url).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) async fn ask(&self, token: &str) -> u16 {
        let url = format!("http://{}/any/acme/x", self.data);
        self.http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    }

    /// A number of kilobytes from the kernel's account of the process.
    pub(crate) fn memory(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

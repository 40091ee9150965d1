//! A new binary takes over from a running one, over real processes: no request is
//! lost, nothing that is revoked comes back, and what fails leaves all as it was.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use crate::process::{Process, program};
use crate::raw::Raw;
use crate::upstream::Upstream;

pub(crate) const STEP: Duration = Duration::from_millis(10);
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that is started by a name under which other programs can be put, and
/// that tells a service manager how it goes.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) upstream: Upstream,
    notified: UnixDatagram,
    /// Who serves.
    pub(crate) pid: u32,
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

impl Gateway {
    pub(crate) async fn start(server: &str) -> Self {
        let upstream = Upstream::start().await;
        let address = upstream.address;
        Gateway::over(address, upstream, server).await
    }

    /// With a service manager that wants to hear that it lives, so often.
    pub(crate) async fn watched(server: &str, every: Duration) -> Self {
        let upstream = Upstream::start().await;
        let every = every.as_micros().to_string();
        Gateway::with(upstream.address, upstream, server, &[("WATCHDOG_USEC", &every)]).await
    }

    /// After an upgrade: also a token, its stream through the old process, and that one.
    async fn draining() -> (Self, String, Raw, u32) {
        let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
        let (_, token) = gateway.mint().await;
        let stream = gateway.events(&token).await;
        gateway.upstream.wait_for_streams(1).await;
        let old = gateway.pid;
        gateway.upgrade().await;
        (gateway, token, stream, old)
    }

    /// In front of another legacy API.
    pub(crate) async fn over(address: SocketAddr, upstream: Upstream, server: &str) -> Self {
        Gateway::with(address, upstream, server, &[]).await
    }

    async fn with(
        address: SocketAddr,
        upstream: Upstream,
        server: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut process = Process::prepare(address, "");
        process.configure(server);
        let at = process.folder.path().join("notify");
        let notified = UnixDatagram::bind(&at).unwrap();
        notified.set_nonblocking(true).unwrap();
        let link = process.folder.path().join("portcullis");
        symlink(program(), &link).unwrap();
        let mut command = Command::new(link);
        command.env("NOTIFY_SOCKET", &at).envs(environment.iter().copied());
        launch(&mut process, command).await;
        let pid = process.child.as_ref().unwrap().id();
        let mut gateway = Gateway { process, upstream, notified, pid };
        gateway.wait_for_word("READY=1").await;
        gateway
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.process.folder.path().join("portcullis")
    }

    /// Puts another program in the place of this one. A child writes it: what this process
    /// has open to write, another child that is just being started has, too, and what
    /// anybody may write can't be executed.
    pub(crate) fn put(&self, script: &str) {
        let beside = self.process.folder.path().join("next");
        let mut writes = Command::new("tee");
        writes.arg(&beside).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut writes = writes.spawn().unwrap();
        writes.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writes.wait().unwrap().success());
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(beside, self.program()).unwrap();
    }

    pub(crate) fn put_back(&self) {
        let beside = self.process.folder.path().join("next");
        symlink(program(), &beside).unwrap();
        std::fs::rename(beside, self.program()).unwrap();
    }

    pub(crate) fn signal(&self, signal: &str, pid: u32) {
        let kill = Command::new("kill").args([signal, &pid.to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Stops a process, and waits until none of its threads runs any more.
    pub(crate) async fn halt(&self, pid: u32) {
        self.signal("-STOP", pid);
        let halted = async {
            while !self.states(pid).iter().all(|state| *state == 'T') {
                sleep(STEP).await;
            }
        };
        timeout(PATIENCE, halted).await.expect("it stops");
    }

    /// The states of a process's threads; none when it is gone.
    pub(crate) fn states(&self, pid: u32) -> Vec<char> {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
        let state = |thread: std::fs::DirEntry| {
            let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
            status.split("State:\t").nth(1)?.chars().next()
        };
        threads.flatten().filter_map(state).collect()
    }

    /// Waits until systemd would have been told something that has `word` in it.
    pub(crate) async fn wait_for_word(&mut self, word: &str) -> String {
        let wait = async {
            let mut heard = [0; 1024];
            loop {
                match self.notified.recv(&mut heard) {
                    Ok(length) => {
                        let text = String::from_utf8(heard[..length].to_vec()).unwrap();
                        if text.contains(word) {
                            return text;
                        }
                    }
                    Err(_) => sleep(STEP).await,
                }
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(text) => text,
            Err(_) => panic!("no {word}: {}", self.process.stderr()),
        }
    }

    /// Waits until nothing was said for so long.
    pub(crate) async fn is_silent(&self, for_long: Duration) {
        let mut heard = [0; 1024];
        let silence = async {
            loop {
                while self.notified.recv(&mut heard).is_ok() {}
                sleep(for_long).await;
                match self.notified.recv(&mut heard) {
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        timeout(PATIENCE, silence).await.expect("silence");
    }

    pub(crate) async fn upgrade(&mut self) {
        let before = self.pid;
        self.signal("-USR2", before);
        loop {
            let text = self.wait_for_word("MAINPID=").await;
            let line = text.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap();
            self.pid = line.parse().unwrap();
            if self.pid != before && text.contains("READY=1") {
                return;
            }
        }
    }

    pub(crate) async fn metrics(&self) -> Option<String> {
        let url = format!("http://{}/metrics", self.process.metrics);
        self.process.http.get(url).send().await.ok()?.text().await.ok()
    }

    /// Asks for an upgrade that comes to nothing, and waits until it has.
    pub(crate) async fn upgrade_in_vain(&self, outcome: &str, times: usize) {
        self.signal("-USR2", self.pid);
        self.wait_for_outcome(outcome, times).await;
    }

    pub(crate) async fn wait_for_outcome(&self, outcome: &str, times: usize) {
        let line = format!("portcullis_upgrades_total{{outcome=\"{outcome}\"}} {times}\n");
        let wait = async {
            while !self.metrics().await.is_some_and(|metrics| metrics.contains(&line)) {
                sleep(STEP).await;
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("no {line}: {}", self.process.stderr());
        }
    }

    pub(crate) async fn mint(&self) -> (Value, String) {
        let body = json!({"name": "n", "account": "acme", "roles": ["reader"]});
        let made = self.process.admin("/v1/credentials", body).await;
        let (_, token) = self.process.trade(&made).await;
        (made, token["access_token"].as_str().unwrap().to_owned())
    }

    /// Tries a change; gives the status and `Retry-After`.
    pub(crate) async fn try_change(&self) -> (u16, Option<String>) {
        let url = format!("http://{}/v1/credentials", self.process.admin);
        let body = json!({"name": "n", "account": "acme", "roles": ["reader"]});
        let sent = self.process.http.post(url).bearer_auth(&self.process.key).json(&body);
        let answer = sent.send().await.unwrap();
        let after = answer.headers().get("retry-after");
        (answer.status().as_u16(), after.map(|value| value.to_str().unwrap().to_owned()))
    }

    pub(crate) async fn revoke(&self, token: &str) -> Value {
        self.process.admin("/v1/revocations", json!({ "token": token })).await
    }

    pub(crate) async fn is_gone(&self, pid: u32) -> bool {
        let gone = async {
            // A zombie has no memory and no descriptors.
            while std::fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|status| !status.contains("State:\tZ"))
            {
                sleep(STEP).await;
            }
        };
        timeout(PATIENCE, gone).await.is_ok()
    }

    pub(crate) async fn events(&self, token: &str) -> Raw {
        let mut raw = Raw::connect(self.process.data).await;
        let head = "GET /any/acme/events HTTP/1.1\r\nHost: h\r\n";
        raw.send(format!("{head}Authorization: Bearer {token}\r\n\r\n")).await;
        raw
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).output();
    }
}

/// Says that it is good, takes the store, and does nothing until a file is there.
pub(crate) const STALLS: &str = r#"#!/bin/sh
text=$(printf '{"Checked":{"spoken":2,"pid":%d,"version":"0"}}' $$)
printf "\\000\\000\\000\\$(printf %o ${#text})%s" "$text" >&0
echo $$ >"${0%/*}/stalled"
while [ ! -e "${0%/*}/fail" ]; do sleep 0.02; done
exit 3
"#;

/// Requests without a pause, until it is told to end.
pub(crate) struct Load {
    end: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    tasks: tokio::task::JoinSet<()>,
}

impl Load {
    pub(crate) fn on(gateway: &Gateway, token: &str) -> Self {
        let (end, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        let address = gateway.process.data;
        for task in 0..6 {
            let (end, sent, token) = (Arc::clone(&end), Arc::clone(&sent), token.to_owned());
            tasks.spawn(async move {
                let mut kept: Option<Raw> = None;
                while !end.load(Ordering::Relaxed) {
                    let mut raw = match kept.take() {
                        Some(raw) => raw,
                        None => Raw::connect(address).await,
                    };
                    let fresh = task % 2 == 0;
                    let close = if fresh { "Connection: close\r\n" } else { "" };
                    raw.send(format!(
                        "GET /any/acme/x HTTP/1.1\r\nHost: h\r\n{close}Authorization: Bearer {token}\r\n\r\n"
                    ))
                    .await;
                    let answer = raw.answer().await.expect("an answer to every request");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    if answer.field("connection") != Some("close") {
                        kept = Some(raw);
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Load { end, sent, tasks }
    }

    pub(crate) async fn goes_on(&self) {
        let before = self.sent.load(Ordering::Relaxed);
        let more = async {
            while self.sent.load(Ordering::Relaxed) < before + 20 {
                sleep(STEP).await;
            }
        };
        timeout(PATIENCE, more).await.expect("requests are answered");
    }

    pub(crate) async fn end(mut self) {
        self.end.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// Five upgrades in a row under load, on fresh and on kept connections. What was
/// revoked before each stays so.
#[tokio::test(flavor = "multi_thread")]
async fn upgrades_lose_no_request_and_no_revocation() {
    let mut gateway = Gateway::start("drain_timeout = \"20s\"").await;
    let (_, token) = gateway.mint().await;
    let load = Load::on(&gateway, &token);
    let mut dead = Vec::new();
    for round in 0..5 {
        load.goes_on().await;
        let (made, revoked) = gateway.mint().await;
        gateway.revoke(&revoked).await;
        dead.push(revoked);
        let old = gateway.pid;
        gateway.upgrade().await;
        for token in &dead {
            assert_eq!(gateway.process.ask(token).await, 401, "round {round}");
        }
        // Known from the store, and changed in it.
        assert_eq!(gateway.process.trade(&made).await.0, 200);
        gateway.mint().await;
        load.goes_on().await;
        assert!(gateway.is_gone(old).await, "round {round}: {}", gateway.process.stderr());
    }
    load.end().await;
    let said = gateway.process.stderr();
    assert_eq!(said.matches("handed over and drained").count(), 5, "{said}");
    assert!(!said.contains("ERROR portcullis"), "{said}");
}

/// While the store is away: changes 503, everything else goes on. A new process that
/// fails then gives it back.
#[tokio::test(flavor = "multi_thread")]
async fn changes_wait_while_the_store_is_away_and_go_on_when_it_is_back() {
    let gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (made, token) = gateway.mint().await;
    let (_, dead) = gateway.mint().await;
    gateway.revoke(&dead).await;
    gateway.put(STALLS);
    gateway.signal("-USR2", gateway.pid);
    let away = async {
        loop {
            match gateway.try_change().await {
                (201, _) => sleep(STEP).await,
                answer => return answer,
            }
        }
    };
    let (status, after) = timeout(PATIENCE, away).await.expect("the store is lent");
    assert_eq!(status, 503);
    assert!(after.is_some_and(|after| after.parse::<u32>().is_ok()));
    let url = format!("http://{}/readyz", gateway.process.metrics);
    assert_eq!(gateway.process.http.get(url).send().await.unwrap().status(), 200);
    assert_eq!(gateway.process.ask(&token).await, 200);
    assert_eq!(gateway.process.ask(&dead).await, 401);
    assert_eq!(gateway.process.trade(&made).await.0, 200);

    std::fs::write(gateway.process.folder.path().join("fail"), "").unwrap();
    gateway.wait_for_outcome("failed", 1).await;
    assert_eq!(gateway.try_change().await.0, 201);
    gateway.revoke(&token).await;
    assert_eq!(gateway.process.ask(&token).await, 401);
    let said = gateway.process.stderr();
    assert!(said.contains("not upgraded") && said.contains("exit status: 3"), "{said}");
}

/// Whatever is wrong with the new one: the old one goes on, with its store, and the
/// next upgrade works.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_is_no_good_changes_nothing() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    let good = std::fs::read_to_string(gateway.process.config()).unwrap();

    std::fs::write(gateway.process.config(), good.replace("[oauth]", "[oath]")).unwrap();
    gateway.upgrade_in_vain("failed", 1).await;
    // Good to read, but not to serve: that shows when the store is away already.
    let key_file =
        format!("[store]\nkey_file = \"{}/none/k\"", gateway.process.folder.path().display());
    std::fs::write(gateway.process.config(), good.replace("[store]", &key_file)).unwrap();
    gateway.upgrade_in_vain("failed", 2).await;
    std::fs::write(gateway.process.config(), &good).unwrap();
    gateway.put("#!/bin/sh\nexit 1\n");
    gateway.upgrade_in_vain("failed", 3).await;
    std::fs::remove_file(gateway.program()).unwrap();
    gateway.upgrade_in_vain("failed", 4).await;

    assert_eq!(gateway.process.ask(&token).await, 200);
    assert_eq!(gateway.try_change().await.0, 201);
    gateway.put_back();
    let old = gateway.pid;
    gateway.upgrade().await;
    assert_eq!(gateway.process.ask(&token).await, 200);
    assert_eq!(gateway.try_change().await.0, 201);
    assert!(gateway.is_gone(old).await);
}

/// Before it says that it is good, and when it has the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_hangs_is_ended_and_changes_nothing() {
    let hangs = async |server: &str, program: &str| {
        let gateway = Gateway::start(server).await;
        let (_, token) = gateway.mint().await;
        gateway.put(program);
        gateway.upgrade_in_vain("failed", 1).await;
        assert_eq!(gateway.process.ask(&token).await, 200);
        assert_eq!(gateway.try_change().await.0, 201);
        gateway
    };
    // The second one has to get as far as that.
    let (_, gateway) = tokio::join!(
        hangs("upgrade_timeout = \"1s\"", "#!/bin/sh\nexec sleep 1000\n"),
        hangs("upgrade_timeout = \"5s\"", STALLS),
    );
    let stalled = std::fs::read_to_string(gateway.process.folder.path().join("stalled")).unwrap();
    assert!(gateway.is_gone(stalled.trim().parse().unwrap()).await, "what hangs is ended");
}

/// What still runs in the old process is cut by what is revoked in the new one, before
/// the receipt; the rest lives until `drain_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn streams_live_on_until_they_are_revoked_or_drained() {
    let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
    let (_, lives) = gateway.mint().await;
    let (_, dies) = gateway.mint().await;
    let (_living, mut dying) = (gateway.events(&lives).await, gateway.events(&dies).await);
    gateway.upstream.wait_for_streams(2).await;
    gateway.upgrade().await;
    let receipt = gateway.revoke(&dies).await;
    assert_eq!(receipt["streams_closed"], 1, "{receipt}");
    gateway.upstream.wait_for_streams(1).await;
    assert!(dying.is_closed().await);
    // There are two processes already.
    gateway.upgrade_in_vain("refused", 1).await;
    gateway.upstream.wait_for_streams(1).await;

    let mut gateway = Gateway::start("drain_timeout = \"1s\"").await;
    let (_, lives) = gateway.mint().await;
    let mut living = gateway.events(&lives).await;
    gateway.upstream.wait_for_streams(1).await;
    let old = gateway.pid;
    gateway.upgrade().await;
    assert!(gateway.is_gone(old).await);
    assert!(living.is_closed().await);
    gateway.upstream.wait_for_streams(0).await;
    assert_eq!(gateway.process.ask(&lives).await, 200);
}

/// What drains hears no more of what is revoked, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_drains_ends_with_the_process_that_took_over() {
    let (gateway, _, mut stream, old) = Gateway::draining().await;
    gateway.signal("-KILL", gateway.pid);
    assert!(gateway.is_gone(old).await);
    assert!(stream.is_closed().await);
    let said = gateway.process.stderr();
    assert!(said.contains("the process that took over is gone"), "{said}");
}

/// Nor does it wait for anybody who reads its last words.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_left_alone_cuts_before_it_speaks() {
    let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
    let (_, token) = gateway.mint().await;
    let at = gateway.process.folder.path().join("words");
    assert!(Command::new("mkfifo").arg(&at).status().unwrap().success());
    let words = pipe::OpenOptions::new().read_write(true).open_sender(&at).unwrap();
    let script = format!("#!/bin/sh\nexec {} \"$@\" 2>{}\n", program(), at.display());
    gateway.put(&script);
    let first = gateway.pid;
    gateway.upgrade().await;
    assert!(gateway.is_gone(first).await);
    let mut stream = gateway.events(&token).await;
    gateway.upstream.wait_for_streams(1).await;
    let old = gateway.pid;
    gateway.upgrade().await;
    // Full to the last byte, and nobody reads.
    words.writable().await.unwrap();
    while words.try_write(b"x").is_ok() {}
    gateway.signal("-KILL", gateway.pid);
    assert!(timeout(PATIENCE, stream.is_closed()).await.expect("it is cut"));
    assert!(gateway.is_gone(old).await);
}

/// What stands still can't be told of a revocation: it is ended, and then there is a receipt.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_drains_and_does_not_answer_is_ended_before_the_receipt() {
    let (gateway, token, mut stream, old) = Gateway::draining().await;
    gateway.halt(old).await;
    gateway.revoke(&token).await;
    assert!(gateway.is_gone(old).await);
    assert!(stream.is_closed().await);
    assert_eq!(gateway.process.ask(&token).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_during_an_upgrade_ends_both() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    gateway.put(STALLS);
    gateway.signal("-USR2", gateway.pid);
    let file = gateway.process.folder.path().join("stalled");
    let stalled = async {
        loop {
            match std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
                Some(pid) => return pid,
                None => sleep(STEP).await,
            }
        }
    };
    let stalled = timeout(PATIENCE, stalled).await.unwrap();
    gateway.signal("-TERM", gateway.pid);
    let status = gateway.process.child.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", gateway.process.stderr());
    assert!(gateway.is_gone(stalled).await);
    gateway.wait_for_word("STOPPING=1").await;
    gateway.process.launch().await;
    assert_eq!(gateway.process.ask(&token).await, 200);
    assert_eq!(gateway.try_change().await.0, 201);
}

/// Sockets that a service manager holds: a client that comes while nobody serves waits,
/// and is answered by the next process.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_are_held_outlive_a_restart() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let held = [process.data, process.metrics].map(|at| TcpListener::bind(at).unwrap());
    let by_socket = || by_sockets(&held);
    launch(&mut process, by_socket()).await;
    let body = json!({"name": "n", "account": "acme", "roles": ["reader"]});
    let made = process.admin("/v1/credentials", body).await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    let mut child = process.child.take().unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", process.stderr());
    let mut early = Raw::connect(process.data).await;
    let head = "GET /any/acme/x HTTP/1.1\r\nHost: h\r\n";
    early.send(format!("{head}Authorization: Bearer {token}\r\n\r\n")).await;
    launch(&mut process, by_socket()).await;
    assert_eq!(early.answer().await.unwrap().status, 200);

    // One that no key speaks of would never be accepted on.
    process.kill();
    drop(held);
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(program());
    let parent_fd = stray.as_fd().try_clone_to_owned().unwrap();
    command.fd_mappings(vec![FdMapping { parent_fd, child_fd: 3 }]).unwrap();
    command.env("LISTEN_FDS", "1").args(["serve", "--config"]).arg(process.config());
    let refused = command.output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&stray.local_addr().unwrap().to_string()), "{said}");
}

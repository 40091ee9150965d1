//! The real program in a process of its own: killed, measured, locked out.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::ROUTES;
use crate::raw::Raw;
use crate::upstream::Upstream;

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
}

/// An address that nobody has, nor gets from the system meanwhile: its port lies below
/// those that are given out for outgoing connections, and no other call returns it.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 89;
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + (next % 22_000) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Process {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let mut process = Process::prepare(upstream, "");
        process.launch().await;
        process
    }

    /// Its files and its administrator, and not yet the server. `limits` are lines
    /// of `[server]` and below.
    pub(crate) fn prepare(upstream: SocketAddr, limits: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, admin, metrics, dead) = (free(), free(), free(), free());
        let text = format!(
            "[server]\nlisten = [\"{data}\"]\ndrain_timeout = \"5s\"\n{limits}\n[admin]\nlisten = \"{admin}\"\n\
             [metrics]\nlisten = \"{metrics}\"\n[store]\nengine = \"sled\"\npath = \"{}\"\n\
             [oauth]\nissuer = \"http://{data}\"\naudience = \"a\"\n\
             [[upstream]]\nname = \"legacy\"\naddresses = [\"{upstream}\"]\n\
             [[upstream]]\nname = \"dead\"\naddresses = [\"{dead}\"]\n{ROUTES}",
            folder.path().join("state").display(),
        );
        std::fs::write(folder.path().join("portcullis.toml"), text).unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let mut process =
            Process { child: None, folder, data, admin, metrics, key: String::new(), http };
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
        loop {
            if let Ok(response) = self.http.get(&url).send().await
                && response.status() == 200
            {
                return;
            }
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the gateway ended with {status}: {}", self.stderr());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let process = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").arg(process).status().unwrap().success());
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

/// `kill -9` right after the receipt, 50 times: always still revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_outlives_kill_9() {
    let upstream = Upstream::start().await;
    let mut process = Process::start(upstream.address).await;
    let body = json!({"name": "n", "account": "acme", "roles": ["reader"]});
    let kept = process.admin("/v1/credentials", body.clone()).await;
    let kept_token = process.trade(&kept).await.1["access_token"].as_str().unwrap().to_owned();
    let mut dead = Vec::new();
    for round in 0..50 {
        let made = process.admin("/v1/credentials", body.clone()).await;
        let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
        assert_eq!(process.ask(&token).await, 200);
        let receipt = if round % 2 == 0 {
            let path = format!("/v1/credentials/{}/revoke", made["client_id"].as_str().unwrap());
            process.admin(&path, json!({"reason": "r"})).await
        } else {
            process.admin("/v1/revocations", json!({"token": token})).await
        };
        process.kill();
        assert!(receipt["revision"].is_u64(), "{receipt}");
        process.launch().await;
        dead.push(token);
        assert_eq!(process.ask(dead.last().unwrap()).await, 401, "round {round}");
    }
    for token in &dead {
        assert_eq!(process.ask(token).await, 401);
    }
    assert_eq!(process.ask(&kept_token).await, 200);
    assert_eq!(process.trade(&kept).await.0, 200);
}

/// 100 MiB up and 100 MiB down, and the process grows by less than 32 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_not_held() {
    const SIZE: usize = 100 << 20;
    let upstream = Upstream::start().await;
    let process = Process::start(upstream.address).await;
    let made = process
        .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
        .await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    assert_eq!(process.ask(&token).await, 200);
    let before = process.memory("VmRSS");

    let auth = format!("Host: h\r\nAuthorization: Bearer {token}\r\n");
    let mut raw = Raw::connect(process.data).await;
    raw.send(format!("POST /any/acme/up HTTP/1.1\r\n{auth}Content-Length: {SIZE}\r\n\r\n")).await;
    let piece: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    for _ in 0..SIZE / piece.len() {
        raw.send(&piece).await;
    }
    assert_eq!(raw.answer().await.unwrap().status, 200);
    let seen = upstream.last();
    assert_eq!(seen.length, SIZE);
    assert_eq!(seen.body[..piece.len()], piece);

    raw.send(format!("GET /any/acme/bytes-{SIZE} HTTP/1.1\r\n{auth}\r\n")).await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.body.len(), SIZE);
    assert!(answer.body.iter().enumerate().all(|(n, byte)| *byte == ((n % 65_536) % 251) as u8));
    let after = process.memory("VmHWM");
    assert!(after < before + 32 * 1024, "grew from {before} kB to {after} kB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_held_is_not_opened_twice() {
    let upstream = Upstream::start().await;
    let process = Process::start(upstream.address).await;
    for args in [&["admin", "create", "--name", "second", "--role", "viewer"][..], &["serve"][..]] {
        let output = process.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?}");
        assert!(said.contains("admin"), "{args:?}: {said}");
        assert!(!said.contains("panic") && output.stdout.is_empty(), "{said}");
    }
    assert_eq!(
        process
            .http
            .get(format!("http://{}/healthz", process.metrics))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

/// With a flipped bit, a torn tail or a cut file the gateway does not start
/// quietly with less.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_with_the_way_out() {
    let upstream = Upstream::start().await;
    let mut process = Process::start(upstream.address).await;
    for _ in 0..20 {
        let made = process
            .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
            .await;
        let path = format!("/v1/credentials/{}/revoke", made["client_id"].as_str().unwrap());
        process.admin(&path, json!({"reason": "r"})).await;
    }
    process.kill();
    let db = process.folder.path().join("state/sled/db");
    let whole = std::fs::read(&db).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let damages: [(&str, Vec<u8>); 3] = [
        ("a cut file", whole[..used / 2].to_vec()),
        ("an empty file", Vec::new()),
        (
            "garbage",
            whole.iter().enumerate().map(|(n, b)| if n <= used { b ^ 0x5a } else { *b }).collect(),
        ),
    ];
    for (what, bytes) in damages {
        std::fs::write(&db, bytes).unwrap();
        for snapshot in std::fs::read_dir(db.parent().unwrap()).unwrap().flatten() {
            if snapshot.file_name().to_string_lossy().starts_with("snap") {
                std::fs::remove_file(snapshot.path()).unwrap();
            }
        }
        let output = process.run(&["serve"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{what}: {said}");
        assert!(said.contains("damaged") && said.contains("backup"), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_ends_well() {
    let upstream = Upstream::start().await;
    let mut process = Process::start(upstream.address).await;
    let made = process
        .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
        .await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    let mut raw = Raw::connect(process.data).await;
    raw.send(format!(
        "GET /any/acme/wait HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
    .await;
    upstream.wait_for(1).await;
    let mut idle = Raw::connect(process.data).await;
    let child = process.child.as_mut().unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(idle.is_closed().await, "an idle connection is no reason to wait");
    upstream.release();
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 200, "what is under way gets its answer");
    assert_eq!(answer.field("connection"), Some("close"), "and hears that it was the last");
    let status = process.child.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
}

/// Load balancers get their time: not ready, and yet everybody is served.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_gives_load_balancers_time() {
    let upstream = Upstream::start().await;
    let server = "shutdown_delay = \"3s\"\ndrain_timeout = \"1s\"";
    let mut process = Process::prepare(upstream.address, "");
    process.configure(server);
    process.launch().await;
    let made = process
        .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
        .await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    let request =
        format!("GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut idle = Raw::connect(process.data).await;
    let mut endless = Raw::connect(process.data).await;
    endless.send(request.replace("/x", "/events")).await;
    upstream.wait_for_streams(1).await;
    let child = process.child.as_mut().unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let ready = format!("http://{}/readyz", process.metrics);
    while process.http.get(&ready).send().await.unwrap().status() != 503 {}
    for _ in 0..3 {
        let mut fresh = Raw::connect(process.data).await;
        fresh.send(&request).await;
        let answer = fresh.answer().await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    }
    idle.send(&request).await;
    assert_eq!(idle.answer().await.unwrap().status, 200);
    // Then the bound: what never ends by itself is ended.
    let status = process.child.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
    assert!(endless.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "shutdown_delay = \"1h\"");
    process.launch().await;
    let child = process.child.as_mut().unwrap();
    let kill = |signal: &str, id: u32| {
        assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
    };
    kill("-INT", child.id());
    let ready = format!("http://{}/readyz", process.metrics);
    while process.http.get(&ready).send().await.unwrap().status() != 503 {}
    kill("-TERM", child.id());
    let status = process.child.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(1), "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn diagnostics_hold_no_query_and_no_secret() {
    let upstream = Upstream::start().await;
    let process = Process::start(upstream.address).await;
    let made = process
        .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
        .await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    let secret = made["client_secret"].as_str().unwrap();
    for path in [
        &format!("/dead/acme/{secret}"),
        &format!("/dead/acme/x;t={token}"),
        &format!("/dead/acme/Bearer%20{token}"),
        "/dead/acme/x",
        "/any/acme/slam",
        "/any/acme/break",
    ] {
        let url = format!(
            "http://{}{path}?access_token=verysecret&client_secret=verysecret",
            process.data
        );
        let asked = process.http.get(url).bearer_auth(&token).header("X-Request-Id", secret);
        let answer = asked.send().await;
        assert!(answer.is_err() || answer.unwrap().status().as_u16() >= 200);
    }
    // The lines are written by a thread of their own.
    let told = async {
        while process.stderr().matches("bad_gateway").count() < 6 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let all_told = tokio::time::timeout(Duration::from_secs(30), told).await;
    let said = process.stderr();
    all_told.unwrap_or_else(|_| panic!("the failures are told: {said}"));
    assert!(!said.contains("verysecret") && !said.contains(&token), "{said}");
    assert!(!said.contains(secret) && said.contains("path=/dead/acme/***"), "{said}");
}

/// The command finds the folder held, and goes through the admin port while others
/// mint and revoke; what it wrote makes a store once the server has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_is_backed_up_and_a_backup_is_brought_back() {
    let mut gateway = Process::start(Upstream::start().await.address).await;
    let minted = json!({ "name": "n", "account": "acme", "roles": ["reader"] });
    let first = gateway.admin("/v1/credentials", minted.clone()).await;
    let (_, token) = gateway.trade(&first).await;
    let token = token["access_token"].as_str().unwrap().to_owned();
    assert_eq!(gateway.ask(&token).await, 200);
    let file = gateway.folder.path().join("b");
    let url = format!("http://{}", gateway.admin);
    let backup = |key: &str, to: &std::path::Path| {
        let mut command = Command::new(program());
        command.args(["backup", "--config"]).arg(gateway.config()).arg("--to").arg(to);
        command.env("PORTCULLIS_ADMIN_URL", &url).env("PORTCULLIS_ADMIN_KEY", key);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let writing = async {
        for _ in 0..40 {
            gateway.admin("/v1/credentials", minted.clone()).await;
        }
    };
    let (made, ()) = tokio::join!(backup(&gateway.key, &file), writing);
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
    assert!(String::from_utf8(made.stderr).unwrap().contains("through the admin port"));
    // Nobody below a super-admin gets one, and no file is left of the attempt.
    let admin = json!({ "name": "low", "role": "admin" });
    let low = gateway.admin("/v1/admins", admin).await;
    let refused = gateway.folder.path().join("refused");
    let said = backup(low["key"].as_str().unwrap(), &refused).await.unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(!refused.exists());
    let bytes = std::fs::read(&file).unwrap();
    let held = |text: &str| bytes.windows(text.len()).any(|found| found == text.as_bytes());
    assert!(
        !held(first["client_secret"].as_str().unwrap()) && !held(&gateway.key) && !held(&token)
    );
    // Revoked after the backup: dead in the store that is made of it, too.
    let id = first["client_id"].as_str().unwrap();
    gateway.admin(&format!("/v1/credentials/{id}/revoke"), json!({ "reason": "r" })).await;
    assert_eq!(gateway.ask(&token).await, 401);
    gateway.kill();
    let state = gateway.folder.path().join("state");
    let from = ["restore", "--from", file.to_str().unwrap()];
    let taken = gateway.run(&from);
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    std::fs::rename(&state, gateway.folder.path().join("lost")).unwrap();
    let restored = gateway.run(&from);
    assert!(restored.status.success(), "{restored:?}");
    assert!(String::from_utf8(restored.stderr).unwrap().contains("root (super-admin)"));
    let made = gateway.run(&["admin", "create", "--name", "next", "--role", "super-admin"]);
    gateway.key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    gateway.launch().await;
    assert_eq!(gateway.ask(&token).await, 401);
    assert_eq!(gateway.trade(&first).await.0, 400);
    // Somebody who knows it to be good wakes it: the old token stays dead.
    gateway.admin(&format!("/v1/credentials/{id}/resume"), json!({})).await;
    assert_eq!(gateway.ask(&token).await, 401);
}

//! A gateway that is upgraded: programs are put in its place, and it tells a service manager.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::process::{Process, launch, program};
use crate::raw::Raw;
use crate::upstream::Upstream;
use crate::wait::{PATIENCE, STEP, until};

/// A gateway that is started by a name under which other programs can be put, and
/// that tells a service manager how it goes.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) upstream: Upstream,
    notified: UnixDatagram,
    /// Who serves.
    pub(crate) pid: u32,
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
    pub(crate) async fn draining() -> (Self, String, Raw, u32) {
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
        until("requests are answered", async || self.sent.load(Ordering::Relaxed) >= before + 20)
            .await;
    }

    pub(crate) async fn end(mut self) {
        self.end.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

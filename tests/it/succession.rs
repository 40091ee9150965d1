//! Upgrades where something goes on at the same time: signals, keys, receipts, and
//! what a process that is no good leaves behind.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::gateway::{Gateway, STALLS};
use crate::process::{halt, program, states};
use crate::raw::Raw;
use crate::wait::{PATIENCE, STEP, until};

/// Waits until a file is there, and gives what is in it.
pub(crate) async fn written(path: &Path) -> String {
    let wait = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => sleep(STEP).await,
            }
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {}", path.display()))
}

impl Gateway {
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.process.folder.path().join(name)
    }

    /// Waits until whoever serves has taken on so many configurations, and refused none.
    async fn reloaded(&self, times: usize) {
        let line = format!("portcullis_config_reloads_total{{outcome=\"ok\"}} {times}\n");
        let wait = async {
            while !self.metrics().await.is_some_and(|metrics| metrics.contains(&line)) {
                sleep(STEP).await;
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("no {line}: {}", self.process.stderr());
        }
    }

    /// Puts a program in place that waits for a file, and then is the gateway.
    fn put_hesitant(&self) {
        self.put(&format!(
            "#!/bin/sh\n: >\"${{0%/*}}/hesitates\"\nwhile [ ! -e \"${{0%/*}}/go\" ]; do sleep 0.02; \
             done\nexec {} \"$@\"\n",
            program()
        ));
    }

    async fn exists(&self, name: &str) {
        until(name, async || self.file(name).exists()).await;
    }

    pub(crate) async fn said(&self, what: &str) {
        let wait = async {
            while !self.process.stderr().contains(what) {
                sleep(STEP).await;
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("nobody said {what}: {}", self.process.stderr());
        }
    }

    pub(crate) fn is_running(&self, pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|status| !status.contains("State:\tZ"))
    }
}

/// Whoever was asked during an upgrade: after it, whoever serves has read the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_comes_during_an_upgrade_is_made_after_it() {
    let mut gateway = Gateway::start("drain_timeout = \"20s\"").await;
    // The upgrade fails: this process does it.
    gateway.put(STALLS);
    gateway.signal("-USR2", gateway.pid);
    written(&gateway.file("stalled")).await;
    gateway.signal("-HUP", gateway.pid);
    gateway.said("a reload was asked for during an upgrade").await;
    gateway.signal("-USR2", gateway.pid);
    gateway.said("an upgrade is under way already").await;
    std::fs::write(gateway.file("fail"), "").unwrap();
    gateway.wait_for_outcome("failed", 1).await;
    gateway.reloaded(1).await;
    // Once more, so that the next process can be told by its count.
    gateway.signal("-HUP", gateway.pid);
    gateway.reloaded(2).await;
    // It succeeds: the next one does.
    gateway.put_hesitant();
    gateway.signal("-USR2", gateway.pid);
    gateway.exists("hesitates").await;
    gateway.signal("-HUP", gateway.pid);
    gateway.said("upgrade; it comes after it").await;
    let (_, token) = gateway.mint().await;
    let _stream = gateway.events(&token).await;
    gateway.upstream.wait_for_streams(1).await;
    std::fs::write(gateway.file("go"), "").unwrap();
    let old = gateway.pid;
    while gateway.pid == old {
        let text = gateway.wait_for_word("MAINPID=").await;
        let line = text.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap();
        gateway.pid = line.parse().unwrap();
    }
    gateway.reloaded(1).await;
    // And what still drains passes it on, and says that it can't do the other thing.
    gateway.signal("-HUP", old);
    gateway.reloaded(2).await;
    gateway.signal("-USR2", old);
    gateway.said("this process only drains").await;
    assert!(gateway.is_running(old), "{}", gateway.process.stderr());
}

/// A token may be signed with a key that came after the upgrade, and still come to the
/// old process, on a connection that it has.
#[tokio::test(flavor = "multi_thread")]
async fn what_drains_knows_the_keys_that_the_next_process_makes() {
    let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
    let (made, token) = gateway.mint().await;
    // A head that has begun is waited for.
    let mut heads = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(gateway.process.data).await;
        raw.send(format!(
            "GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.answer().await.unwrap().status, 200);
        raw.send("GET /any/acme/x HTTP/1.1\r\nHost: h\r\n").await;
        heads.push(raw);
    }
    let _stream = gateway.events(&token).await;
    gateway.upstream.wait_for_streams(1).await;
    let old = gateway.pid;
    gateway.upgrade().await;
    for activate_after in ["0s", "1s"] {
        let rotated = json!({ "activate_after": activate_after });
        let new = gateway.process.admin("/v1/keys/rotate", rotated).await;
        let signs = async {
            loop {
                let (_, answer) = gateway.process.trade(&made).await;
                let token = answer["access_token"].as_str().unwrap().to_owned();
                if kid(&token) == new["kid"] {
                    return token;
                }
                sleep(STEP).await;
            }
        };
        let token = timeout(PATIENCE, signs).await.expect("the new key signs");
        let mut raw = heads.pop().unwrap();
        raw.send(format!("Authorization: Bearer {token}\r\n\r\n")).await;
        assert_eq!(raw.answer().await.unwrap().status, 200, "{activate_after}");
    }
    // The first one is good to the end; and whose key is revoked is dead there, too.
    let keys: Value = {
        let url = format!("http://{}/v1/keys", gateway.process.admin);
        let asked = gateway.process.http.get(url).bearer_auth(&gateway.process.key);
        asked.send().await.unwrap().json().await.unwrap()
    };
    assert!(keys.to_string().contains(kid(&token).as_str().unwrap()), "{keys}");
    let path = format!("/v1/keys/{}/revoke", kid(&token).as_str().unwrap());
    gateway.process.admin(&path, json!({ "reason": "r" })).await;
    let mut raw = heads.pop().unwrap();
    raw.send(format!("Authorization: Bearer {token}\r\n\r\n")).await;
    assert_eq!(raw.answer().await.unwrap().status, 401);
    gateway.is_gone(old).await;
}

fn kid(token: &str) -> Value {
    use base64::Engine as _;
    let head = token.split('.').next().unwrap();
    let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(head).unwrap();
    serde_json::from_slice::<Value>(&head).unwrap()["kid"].clone()
}

/// The receipt of a revocation that somebody else has asked for, and did not wait for,
/// says as much as any: nobody judges by what was before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_receipt_waits_for_whoever_drains_as_the_first_does() {
    repeated_receipt_waits(Ends::Credential).await;
}

/// Nor while the secret counts there that it is about.
#[tokio::test(flavor = "multi_thread")]
async fn the_repeated_receipt_of_a_secret_waits_for_whoever_drains() {
    repeated_receipt_waits(Ends::Secret).await;
}

/// What a receipt is for.
#[derive(Clone, Copy)]
enum Ends {
    Credential,
    /// The first one, of two.
    Secret,
}

impl Ends {
    fn ask(self, http: &reqwest::Client, credential: &str, key: &str) -> reqwest::RequestBuilder {
        let asked = match self {
            Ends::Credential => {
                http.post(format!("{credential}/revoke")).json(&json!({ "reason": "r" }))
            }
            Ends::Secret => http.delete(format!("{credential}/secrets/1")),
        };
        asked.bearer_auth(key)
    }

    fn is_seen(self, credential: &Value) -> bool {
        match self {
            Ends::Credential => credential["state"] == "revoked",
            Ends::Secret => credential["secrets"][0]["retires_at"].is_string(),
        }
    }
}

async fn repeated_receipt_waits(what: Ends) {
    let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
    let (made, token) = gateway.mint().await;
    let id = made["client_id"].as_str().unwrap().to_owned();
    gateway.process.admin(&format!("/v1/credentials/{id}/secrets"), json!({})).await;
    let _stream = gateway.events(&token).await;
    gateway.upstream.wait_for_streams(1).await;
    let old = gateway.pid;
    gateway.upgrade().await;
    halt(old).await;
    let http = gateway.process.http.clone();
    let key = gateway.process.key.clone();
    let credential = format!("http://{}/v1/credentials/{id}", gateway.process.admin);
    let leaves = tokio::spawn(what.ask(&http, &credential, &key).send());
    let is_known = async {
        loop {
            let answer = http.get(&credential).bearer_auth(&key).send().await.unwrap();
            if what.is_seen(&answer.json().await.unwrap()) {
                return;
            }
            sleep(STEP).await;
        }
    };
    timeout(PATIENCE, is_known).await.expect("the revocation is on its way");
    leaves.abort();
    let again = what.ask(&http, &credential, &key).send().await.unwrap();
    // What was stopped can't have taken it in, so it has been killed.
    let states = states(old);
    assert!(!states.contains(&'T'), "a receipt while the old process may judge: {states:?}");
    let again: Value = again.json().await.unwrap();
    assert!(again["revision"].is_u64(), "{again}");
    assert!(gateway.is_gone(old).await);
    assert_eq!(gateway.process.ask(&token).await, 401);
}

/// As soon as the next process serves, the admin and metrics ports speak of that one.
#[tokio::test(flavor = "multi_thread")]
async fn the_ports_beside_are_handed_over_at_once() {
    let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
    let (_, token) = gateway.mint().await;
    let _stream = gateway.events(&token).await;
    gateway.upstream.wait_for_streams(1).await;
    gateway.upgrade().await;
    let ask = "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let of_the_new = "portcullis_upgrades_total{outcome=\"ok\"} 1";
    let mut in_a_row = 0;
    for _ in 0..1000 {
        let answer = crate::raw::once(gateway.process.metrics, ask).await.unwrap();
        let page = String::from_utf8(answer.body).unwrap();
        assert!(page.contains("portcullis_upgrades_total"), "{page}");
        in_a_row = if page.contains(of_the_new) { in_a_row + 1 } else { 0 };
        if in_a_row == 64 {
            break;
        }
    }
    assert_eq!(in_a_row, 64, "the old process goes on answering");
}

/// Nothing but what is meant comes to the new process, and what is left of one that was
/// given up hears that nobody listens any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_given_up_holds_nothing() {
    // Long enough for its list.
    let gateway = Gateway::start("upgrade_timeout = \"5s\"\ndrain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    let mut kept = Raw::connect(gateway.process.data).await;
    kept.send(format!(
        "GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
    .await;
    assert_eq!(kept.answer().await.unwrap().status, 200);
    gateway.put(
        "#!/bin/sh\nat=${0%/*}\nfor fd in /proc/$$/fd/*; do echo \"${fd##*/} $(readlink $fd)\"; done \
         >\"$at/list\"\nmv \"$at/list\" \"$at/fds\"\nexec 9<&0\n(read -r word <&9; echo hung up >\"$at/orphan\") &\nwait\n",
    );
    gateway.upgrade_in_vain("failed", 1).await;
    let fds = written(&gateway.file("fds")).await;
    let sockets: Vec<&str> = fds.lines().filter(|line| line.contains("socket:")).collect();
    assert_eq!(sockets.len(), 4, "the talk and three ports: {fds}");
    for line in fds.lines() {
        assert!(!line.contains("state") && !line.contains("anon_inode"), "{fds}");
    }
    assert_eq!(written(&gateway.file("orphan")).await, "hung up\n");
    assert_eq!(gateway.try_change().await.0, 201);
}

/// What systemd hears, in order, of a whole life.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_of_every_step() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    gateway.signal("-HUP", gateway.pid);
    let text = gateway.wait_for_word("").await;
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("RELOADING=1"), "{text}");
    let at = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(at.is_some_and(|at| at.parse::<u64>().is_ok()), "{text}");
    let ready = |pid: u32| format!("READY=1\nMAINPID={pid}");
    assert_eq!(gateway.wait_for_word("").await.trim_end(), ready(gateway.pid));
    let old = gateway.pid;
    gateway.signal("-USR2", old);
    // Two processes speak, each of the same main one.
    let mut heard = [gateway.wait_for_word("").await, gateway.wait_for_word("").await];
    heard.sort();
    let [main, ready_too] = heard.map(|text| text.trim_end().to_owned());
    let new: u32 = main.strip_prefix("MAINPID=").unwrap().parse().unwrap();
    assert_ne!(new, old);
    assert_eq!(ready_too, ready(new));
    gateway.pid = new;
    // The one that drains has no word in it any more.
    assert!(gateway.is_gone(old).await);
    assert!(Command::new("kill").arg(new.to_string()).status().unwrap().success());
    assert_eq!(gateway.wait_for_word("").await.trim_end(), "STOPPING=1");
    assert!(gateway.is_gone(new).await);
}

/// It is told again and again that the process lives, by the one that serves alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_that_it_lives_until_it_does_not() {
    let every = Duration::from_millis(200);
    let mut gateway = Gateway::watched("drain_timeout = \"60s\"", every).await;
    let (_, token) = gateway.mint().await;
    let _stream = gateway.events(&token).await;
    gateway.upstream.wait_for_streams(1).await;
    let old = gateway.pid;
    for _ in 0..2 {
        for _ in 0..3 {
            gateway.wait_for_word("WATCHDOG=1").await;
        }
        if gateway.pid == old {
            gateway.upgrade().await;
        }
    }
    // The old one still drains, and says nothing for the one that hangs.
    assert!(gateway.is_running(old));
    halt(gateway.pid).await;
    gateway.is_silent(every * 3).await;
    gateway.signal("-CONT", gateway.pid);
    gateway.wait_for_word("WATCHDOG=1").await;
}

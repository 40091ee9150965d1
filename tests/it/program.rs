//! The real program: killed, measured, locked out, and ended.

use std::process::Command;

use serde_json::json;

use crate::process::{Process, program};
use crate::raw::Raw;
use crate::upstream::Upstream;
use crate::wait::until;

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
    // The most it has had so far: its start takes more than what it stays at.
    let before = process.memory("VmHWM");

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
    process.terminate();
    assert!(idle.is_closed().await, "an idle connection is no reason to wait");
    upstream.release();
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 200, "what is under way gets its answer");
    assert_eq!(answer.field("connection"), Some("close"), "and hears that it was the last");
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
}

/// Load balancers get their time: not ready, and yet everybody is served.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_gives_load_balancers_time() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "shutdown_delay = \"1h\"");
    process.launch().await;
    let made = process
        .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
        .await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    let request =
        format!("GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut idle = Raw::connect(process.data).await;
    process.terminate();
    process.unready().await;
    for _ in 0..3 {
        let mut fresh = Raw::connect(process.data).await;
        fresh.send(&request).await;
        let answer = fresh.answer().await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    }
    idle.send(&request).await;
    assert_eq!(idle.answer().await.unwrap().status, 200);
}

/// When that time is over comes the bound: what never ends by itself is ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_ended_after_the_time_of_load_balancers() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    process.configure("shutdown_delay = \"200ms\"\ndrain_timeout = \"1s\"");
    process.launch().await;
    let made = process
        .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
        .await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    let mut endless = Raw::connect(process.data).await;
    endless
        .send(format!(
            "GET /any/acme/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
    upstream.wait_for_streams(1).await;
    process.terminate();
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
    assert!(endless.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "shutdown_delay = \"1h\"");
    process.launch().await;
    let pid = process.child.as_ref().unwrap().id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    process.unready().await;
    process.terminate();
    let status = process.ended().await;
    assert_eq!(status.code(), Some(1), "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn diagnostics_hold_no_query() {
    let upstream = Upstream::start().await;
    let process = Process::start(upstream.address).await;
    let made = process
        .admin("/v1/credentials", json!({"name": "n", "account": "acme", "roles": ["reader"]}))
        .await;
    let token = process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    for (path, status) in [("/dead/acme/x", 502), ("/any/acme/slam", 502), ("/any/acme/break", 200)]
    {
        let url = format!(
            "http://{}{path}?access_token=verysecret&client_secret=verysecret",
            process.data
        );
        let answer = process.http.get(url).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.bytes().await.is_err(), status == 200, "only half of it comes");
    }
    // The lines are written by a thread of their own.
    until("each failure is told", async || process.stderr().matches("bad_gateway").count() >= 3)
        .await;
    let said = process.stderr();
    assert!(!said.contains("verysecret") && !said.contains(&token), "{said}");
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

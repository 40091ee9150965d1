//! A new binary takes over from a running one, over real processes: no request is
//! lost, nothing that is revoked comes back, and what fails leaves all as it was.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use serde_json::json;
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use crate::gateway::{Gateway, Load, STALLS};
use crate::process::{Process, by_sockets, halt, launch, program};
use crate::raw::Raw;
use crate::upstream::Upstream;
use crate::wait::{PATIENCE, STEP};

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
    halt(old).await;
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
    let status = gateway.process.ended().await;
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
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(0), "{}", process.stderr());
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

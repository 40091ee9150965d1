//! Rows of the failure contract that need a process or a fault of their own.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use portcullis::domain::{Clock, ManualClock, UnixTime};
use serde_json::json;

use crate::harness::Harness;
use crate::process::{Process, program};
use crate::raw::Raw;
use crate::secure::{H2, request};
use crate::upstream::Upstream;
use crate::wait::until;

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// The value of a metric without labels.
fn metric(page: &str, name: &str) -> f64 {
    let line = page.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

async fn page(process: &Process) -> String {
    let url = format!("http://{}/metrics", process.metrics);
    process.http.get(url).send().await.unwrap().text().await.unwrap()
}

async fn credential(process: &Process) -> (String, String) {
    let body = json!({ "name": "n", "account": "acme", "roles": ["reader"] });
    let made = process.admin("/v1/credentials", body).await;
    let (_, token) = process.trade(&made).await;
    let id = made["client_id"].as_str().unwrap().to_owned();
    (id, token["access_token"].as_str().unwrap().to_owned())
}

/// A clock that panics once when a worker of the data plane asks it, after so many
/// times that it did not; and once when what runs beside the requests does.
struct Bomb {
    clock: ManualClock,
    left: AtomicI64,
    beside: AtomicBool,
}

impl Clock for Bomb {
    fn now(&self) -> UnixTime {
        let aside = std::thread::current().name() == Some("portcullis-aside");
        assert!(!aside || !self.beside.swap(false, Ordering::SeqCst), "the secret is pcs1secret");
        if !aside && self.left.load(Ordering::SeqCst) > 0 {
            assert!(self.left.fetch_sub(1, Ordering::SeqCst) != 1, "the secret is pcs1secret");
        }
        self.clock.now()
    }
}

/// A panic in one request ends that request. Others, those of the same HTTP/2
/// connection too, go on; it is counted, and logged as a 500 that nobody heard.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_stays_in_its_request() {
    let clock = ManualClock::new(UnixTime::from_secs(1_795_316_400));
    let bomb = Arc::new(Bomb { clock, left: AtomicI64::new(0), beside: AtomicBool::new(false) });
    let h = Harness::builder().clock(Arc::clone(&bomb) as Arc<dyn Clock>).start().await;
    let token = h.token(&["reader"]).await;
    let mut stream = Raw::connect(h.data()).await;
    stream.send(get("/any/acme/wait", &token)).await;
    let h2 = H2::plain(h.data()).await;
    let sibling = {
        let (answer, _) =
            h2.begin(request("GET", "http://h/any/acme/wait", Some(&token)), true).await;
        tokio::spawn(answer)
    };
    h.upstream.wait_for(2).await;
    let mut panics = metric(&h.metrics().await, "portcullis_panics_total");
    // A request looks at the clock when it begins, and when it is judged.
    for fuse in 1..=2 {
        bomb.left.store(fuse, Ordering::SeqCst);
        let mut raw = Raw::connect(h.data()).await;
        raw.send(get("/any/acme/x", &token)).await;
        assert!(raw.answer().await.is_none(), "it ends without an answer");
        let now = metric(&h.metrics().await, "portcullis_panics_total");
        assert!(now >= panics + 1.0, "fuse {fuse}");
        panics = now;
        bomb.left.store(fuse, Ordering::SeqCst);
        let asked = h2.ask(request("GET", "http://h/any/acme/x", Some(&token))).await;
        assert!(asked.is_err_and(|error| error.is_reset()), "its stream alone is reset");
        assert_eq!(bomb.left.load(Ordering::SeqCst), 0);
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
    }
    let line = h.logged(|line| line["status"] == 500).await;
    assert_eq!(line["reason"], "server_error", "{line}");
    assert!(!h.log.text().contains("pcs1secret"));
    // Nothing of it is kept: no place, no stream.
    until("only two are under way", async || h.running().context.memory.streams.count() == 2).await;
    // What cuts streams whose token is over is begun anew.
    bomb.beside.store(true, Ordering::SeqCst);
    until("it has panicked", async || !bomb.beside.load(Ordering::SeqCst)).await;
    let mut open = Raw::connect(h.data()).await;
    open.send(get("/any/acme/events", &token)).await;
    h.upstream.wait_for_streams(1).await;
    h.upstream.release();
    assert_eq!(stream.answer().await.unwrap().status, 200);
    assert_eq!(sibling.await.unwrap().unwrap().status(), 200);
    bomb.clock.advance(Duration::from_secs(24 * 3600));
    assert!(open.is_closed().await);
}

/// Standard output is closed: lines are lost and counted, and it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let mut command = process.command();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    process.child = Some(child);
    process.ready().await;
    let (id, token) = credential(&process).await;
    until("lines are lost", async || {
        assert_eq!(process.ask(&token).await, 200);
        metric(&page(&process).await, "portcullis_access_log_lost_total") > 0.0
    })
    .await;
    let path = format!("/v1/credentials/{id}/revoke");
    process.admin(&path, json!({ "reason": "r" })).await;
    assert_eq!(process.ask(&token).await, 401);
    process.terminate();
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
}

/// Standard output is read by nobody and full: requests do not wait for it, and neither
/// does the end, for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_blocked_holds_up_neither_requests_nor_the_end() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let mut command = process.command();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    // Open, and never read.
    let _pipe = child.stdout.take().unwrap();
    process.child = Some(child);
    process.ready().await;
    let (_, token) = credential(&process).await;
    // More than a pipe and a buffer hold: a public path may be this long.
    let long = format!("/public/{}", "x".repeat(7000));
    let mut raw = Raw::connect(process.data).await;
    for _ in 0..60 {
        raw.send(get(&long, &token)).await;
        assert_eq!(raw.answer().await.unwrap().status, 200);
    }
    process.terminate();
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
}

/// Few file descriptors: connections beyond what there are some for wait, so that those
/// that are served can be forwarded, and all the ports go on taking new ones.
#[tokio::test(flavor = "multi_thread")]
async fn out_of_file_descriptors_the_rest_waits_and_all_goes_on() {
    const MOST: usize = 256;
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {MOST}; exec \"$0\" serve --config \"$1\"")]);
    command.arg(program()).arg(process.config());
    let child = process.quiet(&mut command).spawn().unwrap();
    process.child = Some(child);
    process.ready().await;
    assert!(process.stderr().contains("LimitNOFILE"), "{}", process.stderr());
    let (id, token) = credential(&process).await;
    let seen = upstream.count();
    let mut crowd = Vec::new();
    for _ in 0..2 * MOST {
        // Busy at once: idle ones would leave for those at the door.
        let mut raw = Raw::connect(process.data).await;
        raw.send(get("/any/acme/wait", &token)).await;
        crowd.push(raw);
    }
    // Each of those that were let in is forwarded, by a connection of its own.
    upstream.wait_for(seen + MOST / 4).await;
    let served = metric(&page(&process).await, "portcullis_open_connections");
    assert!((30.0..MOST as f64 / 2.0).contains(&served), "{served}");
    for _ in 0..30 {
        // New connections all: nothing is pooled.
        let mut raw = Raw::connect(process.metrics).await;
        raw.send("GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        let text = String::from_utf8(raw.rest().await).unwrap();
        assert!(text.contains("process_open_fds"), "no file could be opened: {text}");
    }
    let path = format!("/v1/credentials/{id}/revoke");
    process.admin(&path, json!({ "reason": "r" })).await;
    assert!(crowd[0].is_closed().await, "what is revoked is cut");
    drop(crowd);
    until("new connections are served again", async || {
        let mut raw = Raw::connect(process.data).await;
        raw.send(get("/any/acme/x", &token)).await;
        raw.answer().await.is_some_and(|answer| answer.status == 401)
    })
    .await;
    let said = process.stderr();
    assert!(!said.contains("panic") && !said.contains("can't accept"), "{said}");
}

/// The key file is another one, or gone: nothing is made anew beside a store that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_file_is_refused_with_the_way_out() -> io::Result<()> {
    let upstream = Upstream::start().await;
    let mut process = Process::start(upstream.address).await;
    let (_, token) = credential(&process).await;
    process.kill();
    let key = process.folder.path().join("state.key");
    let right = std::fs::read(&key)?;
    let mut other = right.clone();
    for byte in other.iter_mut().filter(|byte| byte.is_ascii_alphanumeric()) {
        *byte = if *byte == b'a' { b'b' } else { b'a' };
    }
    for wrong in [Some(other), Some(b"short".to_vec()), None] {
        match &wrong {
            Some(bytes) => std::fs::write(&key, bytes)?,
            None => std::fs::remove_file(&key)?,
        }
        let output = process.run(&["serve"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("key") && !said.contains("panicked"), "{said}");
        assert_eq!(key.exists(), wrong.is_some(), "no key is made for a store that has one");
    }
    std::fs::write(&key, right)?;
    process.launch().await;
    assert_eq!(process.ask(&token).await, 200);
    Ok(())
}

//! More than it can do: what is admitted is answered, the rest hears so early, and
//! the admin and metrics ports answer all the while.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::edge::{Probe, Sample};
use serde_json::json;
use tokio::sync::mpsc;

use crate::harness::Harness;
use crate::process::Process;
use crate::raw::{Answer, Raw, once};
use crate::upstream::Upstream;
use crate::wait::until;

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")
}

async fn waiting(h: &Harness, count: i64) {
    h.metered(&[&format!("portcullis_requests_waiting {count}")]).await;
}

fn is_refused(answer: &Answer) -> bool {
    (answer.status, answer.json()["error"].as_str()) == (503, Some("unavailable"))
        && answer.field("retry-after") == Some("1")
        && answer.field("connection") != Some("close")
}

/// Only what waits for an upstream counts: not slow uploads, not open streams, and
/// not what the gateway answers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_so_many_waiting_requests_the_rest_is_refused_early() {
    let mut h = Harness::builder().server("[server.limits]\nrequests = 2\n").start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let head = format!("Host: h\r\nAuthorization: Bearer {token}\r\n");
    let mut others = Vec::new();
    for n in 1..=4 {
        let mut stream = Raw::connect(h.data()).await;
        stream.send(get("/any/acme/events", &token)).await;
        assert!(stream.head().await.unwrap().starts_with("HTTP/1.1 200"));
        let mut upload = Raw::connect(h.data()).await;
        upload.send(format!("POST /any/acme/x HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\na")).await;
        let streams = &h.running().context.memory.streams;
        until("both are under way", async || streams.count() == 2 * n).await;
        others.push((stream, upload));
    }
    waiting(&h, 0).await;
    let seen = h.upstream.count();
    let mut admitted = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(get("/any/acme/wait", &token)).await;
        admitted.push(raw);
    }
    h.upstream.wait_for(seen + 2).await;
    waiting(&h, 2).await;
    // Refused before anything of it is looked at, on a connection that stays.
    let mut refused = Raw::connect(h.data()).await;
    for token in [token.as_str(), "forged.forged.forged", &token] {
        refused.send(get("/any/acme/x", token)).await;
        let answer = refused.answer().await.unwrap();
        assert!(is_refused(&answer), "{answer:?}");
    }
    assert_eq!(h.upstream.count(), seen + 2);
    h.logged(|line| line["reason"] == "overloaded" && line["status"] == 503).await;
    let counted =
        "portcullis_decisions_total{decision=\"deny\",reason=\"overloaded\",route=\"none\"} 3";
    h.metered(&[counted]).await;
    // The gateway's own answers, and everything beside the data plane, go on.
    assert_eq!(h.try_trade(&minted).await.0, 200);
    assert_eq!(h.admin("GET", "/v1/me", json!(null)).await.0, 200);
    // What an upload becomes once it was sent counts from then on.
    let (_, upload) = &mut others[0];
    upload.send("b").await;
    assert_eq!(upload.answer().await.unwrap().status, 200);
    // More are let in from a reload on.
    h.reload(|text| text.replace("requests = 2", "requests = 3")).await.unwrap();
    refused.send(get("/any/acme/x", &token)).await;
    assert_eq!(refused.answer().await.unwrap().status, 200);
    h.upstream.release();
    for raw in &mut admitted {
        assert_eq!(raw.answer().await.unwrap().status, 200);
    }
    waiting(&h, 0).await;
    refused.send(get("/any/acme/x", &token)).await;
    assert_eq!(refused.answer().await.unwrap().status, 200);
}

/// A client that leaves, an upstream that breaks off and a revocation give the place
/// back.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_given_back_however_it_ends() {
    let h = Harness::builder().server("[server.limits]\nrequests = 1\n").start().await;
    let kept = h.token(&["reader"]).await;
    for end in ["gone", "slam", "revoked"] {
        let minted = h.mint(&["reader"]).await;
        let token = h.trade(&minted).await;
        let path = if end == "slam" { "/any/acme/slam" } else { "/any/acme/wait" };
        let seen = h.upstream.count();
        let mut raw = Raw::connect(h.data()).await;
        raw.send(get(path, &token)).await;
        h.upstream.wait_for(seen + 1).await;
        match end {
            "gone" => drop(raw),
            "slam" => assert_eq!(raw.answer().await.unwrap().status, 502),
            _ => {
                waiting(&h, 1).await;
                let path = format!("/v1/credentials/{}/revoke", minted.client_id);
                assert_eq!(h.admin("POST", &path, json!({ "reason": "r" })).await.0, 200);
                assert!(raw.is_closed().await);
            }
        }
        waiting(&h, 0).await;
        assert_eq!(once(h.data(), get("/any/acme/x", &kept)).await.unwrap().status, 200, "{end}");
    }
}

/// Says how late it is when it is told so; each thread by its own channel.
struct Told(Mutex<Vec<mpsc::UnboundedReceiver<Sample>>>);

impl Told {
    fn threads(channels: Vec<mpsc::UnboundedReceiver<Sample>>) -> Box<Self> {
        Box::new(Told(Mutex::new(channels)))
    }
}

#[async_trait::async_trait]
impl Probe for Told {
    async fn next(&mut self) -> Sample {
        match self.0.get_mut().unwrap().last_mut().unwrap().recv().await {
            Some(sample) => sample,
            None => std::future::pending().await,
        }
    }

    fn another(&self) -> Box<dyn Probe> {
        Told::threads(vec![self.0.lock().unwrap().remove(0)])
    }
}

/// Where the processor can't keep up, for longer than a hiccup, a part is refused early:
/// what is under way goes on, the gateway's own answers, and both other ports.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_processor_is_too_late_a_part_is_refused_early() {
    let (tell, told) = mpsc::unbounded_channel();
    let builder = Harness::builder().server("threads = 1\n").probe(Told::threads(vec![told]));
    let mut h = builder.start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let (late, mut at) = (Duration::from_millis(700), Instant::now());
    let mut probes = async |h: &Harness, count: u32, late: Duration| {
        for n in 0..count {
            at += Duration::from_millis(50) + late;
            // Each is told from the one before by its last digits.
            let late = late + Duration::from_micros(u64::from(n + 1));
            tell.send(Sample { at, late }).unwrap();
            let line = format!("portcullis_data_plane_lag_seconds {}", late.as_secs_f64());
            h.metered(&[&line]).await;
        }
    };
    let mut stream = Raw::connect(h.data()).await;
    stream.send(get("/any/acme/events", &token)).await;
    assert!(stream.head().await.unwrap().starts_with("HTTP/1.1 200"));
    let mut kept = Raw::connect(h.data()).await;
    let mut refused = async |path: &str, token: &str| {
        let mut count = 0;
        for _ in 0..16 {
            kept.send(get(path, token)).await;
            let answer = kept.answer().await.unwrap();
            count += usize::from(is_refused(&answer));
            assert!(is_refused(&answer) || answer.status == 200, "{answer:?}");
        }
        count
    };
    probes(&h, 2, late).await;
    assert_eq!(refused("/any/acme/x", &token).await, 0, "a hiccup");
    probes(&h, 4, late).await;
    let seen = h.upstream.count();
    assert_eq!(refused("/any/acme/x", &token).await, 8);
    assert_eq!(h.upstream.count(), seen + 8);
    probes(&h, 100, late).await;
    assert_eq!(refused("/any/acme/x", &token).await, 15, "never all");
    assert_eq!(refused("/.well-known/jwks.json", &token).await, 0);
    assert_eq!(h.try_trade(&minted).await.0, 200);
    assert_eq!(h.admin("GET", "/v1/me", json!(null)).await.0, 200);
    assert_eq!(h.running().context.memory.streams.count(), 1);
    let counted =
        "portcullis_decisions_total{decision=\"deny\",reason=\"overloaded\",route=\"none\"} 23";
    h.metered(&[counted]).await;
    // It is for the operator to say from when on.
    h.reload(|text| format!("{text}\n[server.limits]\nlag = \"2s\"\n")).await.unwrap();
    probes(&h, 60, late).await;
    assert_eq!(refused("/any/acme/x", &token).await, 0);
}

/// A thread that can't keep up refuses a part of what comes to it; the others don't.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_late_refuses_nobody_elsewhere() {
    let (tell, late) = mpsc::unbounded_channel();
    let (tell_other, in_time) = mpsc::unbounded_channel();
    let told = Told::threads(vec![in_time, late]);
    let h = Harness::builder().server("threads = 2\n").probe(told).start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Raw::connect(h.data()).await;
        client.send(get("/any/acme/x", &token)).await;
        assert_eq!(client.answer().await.unwrap().status, 200);
        clients.push(client);
    }
    let begun = Instant::now();
    for n in 1..=3 {
        let late = Duration::from_millis(700 + n);
        let at = begun + late * n as u32;
        tell_other.send(Sample { at, late: Duration::ZERO }).unwrap();
        tell.send(Sample { at, late }).unwrap();
    }
    h.metered(&["portcullis_data_plane_lag_seconds 0.703"]).await;
    let mut refused = Vec::new();
    for client in &mut clients {
        let mut count = 0;
        for _ in 0..16 {
            client.send(get("/any/acme/x", &token)).await;
            count += usize::from(is_refused(&client.answer().await.unwrap()));
        }
        refused.push(count);
    }
    refused.sort_unstable();
    // An eighth, on one thread of two; connections are spread over both.
    assert_eq!(refused.first(), Some(&0), "{refused:?}");
    assert_eq!(refused.last(), Some(&2), "{refused:?}");
    assert!(refused.iter().all(|count| [0, 2].contains(count)), "{refused:?}");
}

/// Says so and holds its thread up until it is let go.
type Hold = (mpsc::UnboundedSender<()>, std::sync::mpsc::Receiver<()>);
struct Stuck(Mutex<Vec<Option<Hold>>>);

#[async_trait::async_trait]
impl Probe for Stuck {
    async fn next(&mut self) -> Sample {
        if let Some(Some((say, held))) = self.0.get_mut().unwrap().pop() {
            say.send(()).unwrap();
            let _ = held.recv();
        }
        std::future::pending().await
    }

    fn another(&self) -> Box<dyn Probe> {
        Box::new(Stuck(Mutex::new(vec![self.0.lock().unwrap().remove(0)])))
    }
}

/// What holds a thread up keeps nobody waiting but those whom it serves; they are served
/// when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_held_up_holds_up_its_own_clients_only() {
    let (go, held) = std::sync::mpsc::channel();
    let (say, mut is_held) = mpsc::unbounded_channel();
    let stuck = Box::new(Stuck(Mutex::new(vec![None, Some((say, held))])));
    let h = Harness::builder().server("threads = 2\n").probe(stuck).start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    is_held.recv().await.unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let mut client = Raw::connect(h.data()).await;
        client.send(get("/any/acme/x", &token)).await;
        asked.spawn(async move { (client.answer().await.unwrap().status, client) });
    }
    // They stay: one that left would make room on the thread that serves it.
    let mut stay = Vec::new();
    let mut answered = async |asked: &mut tokio::task::JoinSet<(u16, Raw)>, count| {
        for _ in 0..count {
            let next = tokio::time::timeout(Duration::from_secs(30), asked.join_next()).await;
            let (status, client) = next.expect("an answer").unwrap().unwrap();
            assert_eq!(status, 200);
            stay.push(client);
        }
    };
    answered(&mut asked, 3).await;
    assert!(asked.try_join_next().is_none(), "the others wait");
    go.send(()).unwrap();
    answered(&mut asked, 3).await;
}

/// One worker thread, and more clients than it can serve, each with a forged token
/// that costs a signature check. A revocation is in force before its receipt, and
/// none of the ports keeps anybody waiting for longer than the flood lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_saturated_data_plane_keeps_nobody_from_revoking_and_watching() {
    let upstream = Upstream::start().await;
    let mut process = Process::prepare(upstream.address, "threads = 1");
    process.launch().await;
    let body = json!({ "name": "n", "account": "acme", "roles": ["reader"] });
    let made = process.admin("/v1/credentials", body).await;
    let (_, token) = process.trade(&made).await;
    let token = token["access_token"].as_str().unwrap().to_owned();
    let (begun, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let floods: Vec<_> = (0..64)
        .map(|n: usize| {
            let (begun, stop) = (Arc::clone(&begun), Arc::clone(&stop));
            let (mut forged, address) = (token.clone(), process.data);
            forged.replace_range(forged.len() - 8.., &format!("AAAA{n:04}"));
            tokio::spawn(async move {
                let request = get("/any/acme/x", &forged);
                let mut raw = Raw::connect(address).await;
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    raw.send(&request).await;
                    assert_eq!(raw.answer().await.unwrap().status, 401);
                    longest = longest.max(asked.elapsed());
                    begun.fetch_add(1, Ordering::Relaxed);
                }
                longest
            })
        })
        .collect();
    until("they flood it", async || begun.load(Ordering::Relaxed) >= 1000).await;
    let ask = async |url: String| {
        let answer = process.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    for _ in 0..20 {
        ask(format!("http://{}/healthz", process.metrics)).await;
        assert!(ask(format!("http://{}/metrics", process.metrics)).await.contains("portcullis_"));
    }
    let path = format!("/v1/credentials/{}/revoke", made["client_id"].as_str().unwrap());
    process.admin(&path, json!({ "reason": "r" })).await;
    assert_eq!(process.ask(&token).await, 401);
    let during = begun.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    assert!(during > 1000, "the flood went on");
    for flood in floods {
        let longest = flood.await.unwrap();
        assert!(longest < Duration::from_secs(20), "a request waited for {longest:?}");
    }
}

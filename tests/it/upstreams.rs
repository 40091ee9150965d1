//! The way up: protocols, TLS, balancing, failures, and sending again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portcullis::edge::Resolver;

use crate::addresses::Refusing;
use crate::backends::{Act, Authority, Http2, Scripted, tls};
use crate::harness::{Harness, ROUTES};
use crate::raw::{Answer, Raw, once};
use crate::wait::until;

/// An upstream `u` with these lines, and public routes `/u/…` to it.
fn with(lines: &str) -> String {
    format!(
        "{ROUTES}\n[[upstream]]\nname = \"u\"\n{lines}\n[[route]]\nname = \"u\"\n\
         path = \"/u/{{*rest}}\"\nupstream = \"u\"\nallow = {{ GET = \"@public\", POST = \"@public\", \
         PUT = \"@public\", DELETE = \"@public\", PATCH = \"@public\" }}\n"
    )
}

fn addresses(all: &[SocketAddr]) -> String {
    let quoted: Vec<String> = all.iter().map(|address| format!("\"{address}\"")).collect();
    format!("addresses = [{}]", quoted.join(", "))
}

/// With one thread, so that all clients share its connections to upstreams.
async fn start(lines: &str) -> Harness {
    Harness::builder().server("threads = 1\n").routes(with(lines)).start().await
}

async fn ask(harness: &Harness, method: &str, path: &str, body: &str) -> Answer {
    let length = match (method, body) {
        ("GET" | "DELETE", "") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n{length}\r\n{body}"
    );
    once(harness.data(), request).await.expect("an answer")
}

fn up(address: SocketAddr, is: u8) -> String {
    format!("portcullis_upstream_up{{address=\"{address}\",upstream=\"u\"}} {is}")
}

#[tokio::test]
async fn an_http1_client_reaches_an_h2c_upstream() {
    let backend = Http2::start(None).await;
    let harness = start(&format!("{}\nprotocol = \"h2c\"", addresses(&[backend.address]))).await;
    let request = "POST /u/a%20b?x=1&y HTTP/1.1\r\nHost: api.example:81\r\nTE: trailers, gzip\r\n\
                   Connection: TE, X-Hop, close\r\nX-Hop: 1\r\nX-End: 2\r\nCookie: a=1\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = once(harness.data(), request).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("x-legacy"), Some("a"));
    let seen = backend.seen().pop().unwrap();
    assert_eq!(seen.body, b"abc");
    assert_eq!(seen.head.uri, "http://api.example:81/u/a%20b?x=1&y");
    let field = |name: &str| seen.head.headers.get(name).map(|v| v.to_str().unwrap());
    assert_eq!(
        (field("te"), field("x-end"), field("cookie")),
        (Some("trailers"), Some("2"), Some("a=1"))
    );
    assert_eq!(field("x-forwarded-host"), Some("api.example:81"));
    for gone in ["connection", "x-hop", "transfer-encoding", "host", "keep-alive", "upgrade"] {
        assert_eq!(field(gone), None, "{gone}");
    }
    // The next ones go by the same connection.
    for path in ["/u/one", "/u/trailers"] {
        let answer = ask(&harness, "POST", path, "hello").await;
        assert_eq!((answer.status, answer.body.is_empty()), (200, false), "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains("hello"));
    }
    let first = backend.seen()[0].connection;
    assert!(backend.seen().iter().all(|seen| seen.connection == first));
    // Of an absolute target, authority and path are where they belong.
    let request =
        "GET http://api.example/u/abs?q HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
    assert_eq!(once(harness.data(), request).await.unwrap().status, 200);
    assert_eq!(backend.seen().pop().unwrap().head.uri, "http://api.example/u/abs?q");
    // A stream that the upstream ends without an answer.
    assert_eq!(ask(&harness, "GET", "/u/refuse", "").await.status, 502);
    assert_eq!(backend.seen().iter().filter(|s| s.head.uri.path() == "/u/refuse").count(), 1);
    assert_eq!(ask(&harness, "GET", "/u/fine", "").await.status, 200);
}

#[tokio::test]
async fn h2_goes_by_tls_with_an_authority_and_a_certificate_of_its_own() {
    let authority = Authority::new();
    let config = tls(&authority.sign(&["up.example"]), Some(&authority), &["h2"]);
    let backend = Http2::start(Some(config)).await;
    let folder = tempfile::tempdir().unwrap();
    authority.sign(&["gateway"]).write(folder.path(), "client");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let lines = format!(
        "{}\ntls = true\nprotocol = \"h2\"\nserver_name = \"up.example\"\nca = \"{}\"",
        addresses(&[backend.address]),
        file("ca.pem"),
    );
    let shown = format!(
        "client_certificate = {{ cert = \"{}\", key = \"{}\" }}",
        file("client.pem"),
        file("client.key")
    );
    let mut harness = start(&format!("{lines}\n{shown}")).await;
    assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 200);
    assert_eq!(backend.seen()[0].head.uri, "https://api.example/u/x");
    // Without its certificate the connection is of no use, though one with it
    // lies in the pool.
    harness.reload(|text| text.replace(&shown, "")).await.unwrap();
    let answer = ask(&harness, "GET", "/u/x", "").await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (502, Some("bad_gateway")));
    assert_eq!(backend.seen().len(), 1);
    harness.logged(|line| line["route"] == "u" && line["reason"] == "bad_gateway").await;
}

#[tokio::test]
async fn an_upstream_that_speaks_no_h2_is_a_bad_gateway_and_hears_nothing() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    // One that knows no ALPN takes any connection; one that does refuses it.
    for alpn in [&[][..], &["http/1.1"]] {
        let config = tls(&authority.sign(&["up.example"]), None, alpn);
        let backend = Scripted::start_tls(Act::Answer, config).await;
        let harness = start(&format!(
            "{}\ntls = true\nprotocol = \"h2\"\nserver_name = \"up.example\"\nca = \"{}\"",
            addresses(&[backend.address]),
            ca.display(),
        ))
        .await;
        for _ in 0..2 {
            let answer = ask(&harness, "GET", "/u/x", "").await;
            assert_eq!((answer.status, backend.count()), (502, 0), "{alpn:?}");
        }
    }
    // In clear nothing is agreed on; it answers the preface, and that is no HTTP/2.
    let backend = Scripted::start(Act::Answer).await;
    let harness = start(&format!("{}\nprotocol = \"h2c\"", addresses(&[backend.address]))).await;
    for method in ["GET", "POST"] {
        assert_eq!(ask(&harness, method, "/u/x", "").await.status, 502);
    }
    assert!(backend.seen()[0].0.starts_with("PRI * HTTP/2.0"));
}

#[tokio::test]
async fn who_cannot_be_believed_hears_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    for (what, signed) in [
        ("an unknown authority", other.sign(&["up.example"])),
        ("another name", authority.sign(&["other.example"])),
        ("run out", authority.sign_until(&["up.example"], 2002)),
    ] {
        let backend = Scripted::start_tls(Act::Answer, tls(&signed, None, &[])).await;
        let harness = start(&format!(
            "{}\ntls = true\nserver_name = \"up.example\"\nca = \"{}\"",
            addresses(&[backend.address]),
            folder.path().join("ca.pem").display(),
        ))
        .await;
        let answer = ask(&harness, "GET", "/u/x", "").await;
        assert_eq!((answer.status, backend.count()), (502, 0), "{what}");
        assert_eq!(answer.json()["error"], "bad_gateway");
        assert!(!String::from_utf8_lossy(&answer.body).contains("example"), "says nothing of it");
    }
}

#[tokio::test]
async fn trust_is_not_shared_and_is_read_again_at_a_reload() {
    let (one, two) = (Authority::new(), Authority::new());
    let backend =
        Scripted::start_tls(Act::Answer, tls(&one.sign(&["up.example"]), None, &[])).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("one.pem"), one.pem()).unwrap();
    std::fs::write(file("ca.pem"), two.pem()).unwrap();
    let at = addresses(&[backend.address]);
    let tls =
        |ca: &str| format!("{at}\ntls = true\nserver_name = \"up.example\"\nca = \"{}\"", file(ca));
    let routes = with(&tls("ca.pem"));
    let other = format!(
        "\n[[upstream]]\nname = \"v\"\n{}\n[[route]]\nname = \"v\"\npath = \"/v/{{*rest}}\"\n\
         upstream = \"v\"\nallow = {{ GET = \"@public\" }}\n",
        tls("one.pem")
    );
    let mut harness = Harness::builder().routes(format!("{routes}{other}")).start().await;
    for _ in 0..3 {
        assert_eq!(ask(&harness, "GET", "/v/x", "").await.status, 200);
        assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 502, "v's connection is not u's");
    }
    assert_eq!(backend.count(), 3);
    // The authority changes in the file: known after a reload, and only then.
    std::fs::write(file("ca.pem"), one.pem()).unwrap();
    assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 502);
    harness.reload(|text| text).await.unwrap();
    assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 200);
    std::fs::write(file("ca.pem"), two.pem()).unwrap();
    harness.reload(|text| text).await.unwrap();
    assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 502, "nor is its own of before");
}

#[tokio::test]
async fn every_failure_has_its_status_its_word_and_its_count() {
    let backend = Scripted::start(Act::Answer).await;
    let harness = start(&format!(
        "{}\nread_timeout = \"1s\"\noutlier_ejection = {{ after = 0 }}",
        addresses(&[backend.address])
    ))
    .await;
    for (path, act, status, error) in [
        ("/u/1", Act::Close, 502, "bad_gateway"),
        ("/u/2", Act::Say("SSH-2.0-OpenSSH_9\r\n"), 502, "bad_gateway"),
        ("/u/3", Act::Say("HTTP/1.1 200 OK\r\nContent-Le"), 502, "bad_gateway"),
        (
            "/u/4",
            Act::Say("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello"),
            502,
            "bad_gateway",
        ),
        ("/u/5", Act::Hush, 504, "upstream_timeout"),
    ] {
        backend.now(act);
        let answer = ask(&harness, "GET", path, "").await;
        assert_eq!(answer.status, status, "{act:?}");
        assert_eq!(answer.json()["error"], error, "{act:?}");
        let line = harness.logged(|line| line["path"] == path).await;
        assert_eq!(
            (line["status"].as_u64(), line["reason"].as_str(), line["upstream"].as_str()),
            (Some(u64::from(status)), Some(error), Some("u"))
        );
    }
    // The head is out: nothing can be said any more, but the body ends short.
    backend.now(Act::Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
    let mut raw = Raw::connect(harness.data()).await;
    raw.send("GET /u/6 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(raw.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(raw.is_closed().await);
    backend.now(Act::Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    let mut raw = Raw::connect(harness.data()).await;
    raw.send("GET /u/7 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(raw.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(!raw.rest().await.ends_with(b"0\r\n\r\n"), "cut, not ended");
    for path in ["/u/6", "/u/7"] {
        let line = harness.logged(|line| line["path"] == path).await;
        assert_eq!(
            (line["status"].as_u64(), line["reason"].as_str()),
            (Some(200), Some("bad_gateway"))
        );
    }
    assert_eq!(backend.count(), 7, "each was sent once");
    harness
        .metered(&[
            "portcullis_requests_total{code=\"502\",method=\"GET\",route=\"u\"} 4",
            "portcullis_requests_total{code=\"504\",method=\"GET\",route=\"u\"} 1",
        ])
        .await;
}

#[tokio::test]
async fn what_may_have_been_done_is_never_sent_twice() {
    let (closing, answering) =
        (Scripted::start(Act::Close).await, Scripted::start(Act::Answer).await);
    let harness = start(&format!(
        "{}\noutlier_ejection = {{ after = 0 }}",
        addresses(&[closing.address, answering.address])
    ))
    .await;
    let mut statuses = Vec::new();
    for method in ["POST", "PATCH"] {
        for _ in 0..8 {
            let before = closing.count() + answering.count();
            let status = ask(&harness, method, "/u/x", "{\"a\":1}").await.status;
            assert_eq!(closing.count() + answering.count(), before + 1, "{method} {status}");
            statuses.push(status);
        }
    }
    // They took turns: half of them met the one that closes.
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 8, "{statuses:?}");
    // What may be sent twice is, with its body, and comes through.
    let before = closing.count();
    for method in ["GET", "PUT", "DELETE"] {
        for _ in 0..4 {
            let body = if method == "PUT" { "{\"whole\":true}" } else { "" };
            assert_eq!(ask(&harness, method, "/u/x", body).await.status, 200, "{method}");
            let (line, sent) = answering.seen().pop().unwrap();
            assert!(line.starts_with(method) && sent == body.as_bytes(), "{line}");
        }
    }
    assert!(closing.count() > before, "it was tried there");
}

#[tokio::test]
async fn a_body_that_is_gone_is_not_sent_again() {
    let (closing, answering) =
        (Scripted::start(Act::Close).await, Scripted::start(Act::Answer).await);
    let harness = start(&format!(
        "{}\noutlier_ejection = {{ after = 0 }}",
        addresses(&[closing.address, answering.address])
    ))
    .await;
    // More than Pingora keeps for another time.
    let body = "x".repeat(200_000);
    for _ in 0..4 {
        let before = closing.count() + answering.count();
        let status = ask(&harness, "PUT", "/u/x", &body).await.status;
        assert!(matches!(status, 200 | 502));
        assert_eq!(closing.count() + answering.count(), before + 1);
    }
    assert!(answering.seen().iter().all(|(_, sent)| sent.len() == body.len()));
    assert!(closing.count() > 0 && answering.count() > 0);
}

#[tokio::test]
async fn a_connection_that_lay_about_is_replaced_once() {
    let backend = Scripted::start(Act::Answer).await;
    backend.at_most(1);
    let harness = start(&addresses(&[backend.address])).await;
    // Each connection takes one request, and ends at the second one.
    assert_eq!(ask(&harness, "GET", "/u/1", "").await.status, 200);
    assert_eq!(ask(&harness, "GET", "/u/2", "").await.status, 200);
    let paths: Vec<String> = backend.seen().into_iter().map(|(line, _)| line).collect();
    assert_eq!(paths, ["GET /u/1 HTTP/1.1", "GET /u/2 HTTP/1.1", "GET /u/2 HTTP/1.1"]);
    // That second connection was not put into the pool: this one opens one.
    assert_eq!(ask(&harness, "POST", "/u/3", "a").await.status, 200);
    // This one meets it, and may have been done.
    assert_eq!(ask(&harness, "POST", "/u/4", "a").await.status, 502);
    assert_eq!(backend.seen().iter().filter(|(line, _)| line.contains("/u/4")).count(), 1);
    // Fresh ones that break off are not tried again and again.
    backend.now(Act::Close);
    assert_eq!(ask(&harness, "GET", "/u/5", "").await.status, 502);
    assert_eq!(backend.seen().iter().filter(|(line, _)| line.contains("/u/5")).count(), 1);
}

#[tokio::test]
async fn where_nothing_was_sent_any_method_goes_elsewhere() {
    let backend = Scripted::start(Act::Answer).await;
    let dead = Refusing::new();
    let harness = start(&format!(
        "{}\nhealth_check = {{ interval = \"10m\", unhealthy_after = 100 }}\n\
         outlier_ejection = {{ after = 0 }}",
        addresses(&[dead.address, backend.address])
    ))
    .await;
    for n in 0..6 {
        assert_eq!(ask(&harness, "POST", "/u/x", "body").await.status, 200);
        assert_eq!(backend.count(), n + 1);
    }
    assert!(backend.seen().iter().all(|(_, body)| body == b"body"));
}

#[tokio::test]
async fn an_address_where_requests_fail_is_left_out() {
    let (bad, good) = (Scripted::start(Act::Close).await, Scripted::start(Act::Answer).await);
    let harness = start(&format!(
        "{}\noutlier_ejection = {{ after = 3, base_time = \"10m\", max_time = \"10m\" }}",
        addresses(&[bad.address, good.address])
    ))
    .await;
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(ask(&harness, "POST", "/u/x", "").await.status == 502);
    }
    assert_eq!((failed, bad.count(), good.count()), (3, 3, 27));
    harness.metered(&[&up(bad.address, 0), &up(good.address, 1)]).await;
    // Now the other fails, too; that its pooled connection ends does not count.
    good.now(Act::Close);
    for _ in 0..4 {
        assert_eq!(ask(&harness, "POST", "/u/x", "").await.status, 502);
    }
    assert_eq!((bad.count(), good.count()), (3, 31));
    // Both are out, so both serve.
    bad.now(Act::Answer);
    good.now(Act::Answer);
    for _ in 0..4 {
        assert_eq!(ask(&harness, "POST", "/u/x", "").await.status, 200);
    }
    assert_eq!((bad.count(), good.count()), (5, 33));
}

#[tokio::test]
async fn silence_counts_against_an_address() {
    let (bad, good) = (Scripted::start(Act::Hush).await, Scripted::start(Act::Answer).await);
    let harness = start(&format!(
        "{}\nread_timeout = \"1s\"\n\
         outlier_ejection = {{ after = 2, base_time = \"10m\", max_time = \"10m\" }}",
        addresses(&[bad.address, good.address])
    ))
    .await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(ask(&harness, "GET", "/u/x", "").await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 2, "{statuses:?}");
    assert_eq!((bad.count(), good.count()), (2, 10));
}

#[tokio::test]
async fn an_address_that_says_it_is_ill_gets_nothing() {
    let (ill, well) = (Scripted::start(Act::Answer).await, Scripted::start(Act::Answer).await);
    ill.health(503);
    let harness = start(&format!(
        "{}\nhealth_check = {{ path = \"/health\", interval = \"100ms\", unhealthy_after = 1, \
         healthy_after = 1 }}",
        addresses(&[ill.address, well.address])
    ))
    .await;
    until("it is down", || async { harness.metrics().await.contains(&up(ill.address, 0)) }).await;
    for _ in 0..6 {
        assert_eq!(ask(&harness, "POST", "/u/x", "").await.status, 200);
    }
    assert_eq!((ill.count(), well.count()), (0, 6));
    ill.health(204);
    until("it is up", || async { harness.metrics().await.contains(&up(ill.address, 1)) }).await;
    for _ in 0..6 {
        assert_eq!(ask(&harness, "POST", "/u/x", "").await.status, 200);
    }
    assert_eq!((ill.count(), well.count()), (3, 9));
}

#[tokio::test]
async fn checks_go_by_http2_and_tls_as_requests_do() {
    let authority = Authority::new();
    let config = tls(&authority.sign(&["up.example"]), Some(&authority), &["h2"]);
    let (over_tls, clear) = (Http2::start(Some(config)).await, Http2::start(None).await);
    let folder = tempfile::tempdir().unwrap();
    authority.sign(&["gateway"]).write(folder.path(), "client");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let check = "health_check = { path = \"/ready?x=1\", interval = \"100ms\" }";
    let first = format!(
        "{}\ntls = true\nprotocol = \"h2\"\nserver_name = \"up.example\"\nca = \"{}\"\n\
         client_certificate = {{ cert = \"{}\", key = \"{}\" }}\n{check}",
        addresses(&[over_tls.address]),
        file("ca.pem"),
        file("client.pem"),
        file("client.key"),
    );
    let second = format!(
        "\n[[upstream]]\nname = \"v\"\n{}\nprotocol = \"h2c\"\n{check}\n",
        addresses(&[clear.address])
    );
    let harness = Harness::builder().routes(with(&first) + &second).start().await;
    for (backend, scheme, host) in [
        (&over_tls, "https", format!("up.example:{}", over_tls.address.port())),
        (&clear, "http", clear.address.to_string()),
    ] {
        until("it is looked at", || async { backend.seen().len() >= 2 }).await;
        let seen = backend.seen();
        assert_eq!(seen[0].head.uri, format!("{scheme}://{host}/ready?x=1").as_str());
        assert_eq!(seen[0].head.method, "GET");
    }
    assert!(harness.metrics().await.contains(&up(over_tls.address, 1)));
}

/// Says what it is told to say.
#[derive(Debug, Default)]
struct Told(Mutex<Option<SocketAddr>>);

#[async_trait]
impl Resolver for Told {
    async fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(address, "api.internal:9000");
        let told = *self.0.lock().unwrap();
        told.map(|address| vec![address]).ok_or_else(|| io::Error::other("nobody knows"))
    }
}

#[tokio::test]
async fn a_name_that_moves_is_followed() {
    let (old, new) = (Scripted::start(Act::Answer).await, Scripted::start(Act::Answer).await);
    let told = Arc::new(Told::default());
    *told.0.lock().unwrap() = Some(old.address);
    let routes = with("addresses = [\"api.internal:9000\"]\noutlier_ejection = { after = 1 }");
    let resolver = Arc::clone(&told) as Arc<dyn Resolver>;
    let harness = Harness::builder().routes(routes).resolver(resolver).start().await;
    assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 200);
    assert_eq!(old.count(), 1);
    // Nobody knows the name now: all goes on.
    *told.0.lock().unwrap() = None;
    assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 200);
    // It moves to where nobody listens, and then on. Each look-up comes after a
    // failure, not on a request's way.
    *told.0.lock().unwrap() = Some(new.address);
    old.stop();
    until("the new one is asked", || async {
        ask(&harness, "GET", "/u/x", "").await;
        new.count() > 0
    })
    .await;
    let before = old.count();
    for _ in 0..4 {
        assert_eq!(ask(&harness, "GET", "/u/x", "").await.status, 200);
    }
    assert_eq!(old.count(), before, "what is gone gets nothing");
    let metrics = harness.metrics().await;
    assert!(metrics.contains(&up(new.address, 1)), "{metrics}");
    assert!(!metrics.contains(&old.address.to_string()), "nor is it shown:\n{metrics}");
}

#[tokio::test]
async fn a_legacy_key_replaces_the_token_and_is_read_again() {
    let backend = Http2::start(None).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("legacy.key");
    std::fs::write(&key, "Basic b25lOmh1bnRlcjI=\n").unwrap();
    let mut harness = start(&format!(
        "{}\nprotocol = \"h2c\"\nauthorization = {{ set_file = \"{}\" }}",
        addresses(&[backend.address]),
        key.display()
    ))
    .await;
    let request =
        "GET /u/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer stolen\r\n\r\n";
    for (text, sent) in [
        ("Basic b25lOmh1bnRlcjI=", "Basic b25lOmh1bnRlcjI="),
        ("Bearer another one", "Bearer another one"),
    ] {
        std::fs::write(&key, text).unwrap();
        harness.reload(|text| text).await.unwrap();
        assert_eq!(once(harness.data(), request).await.unwrap().status, 200);
        let seen = backend.seen().pop().unwrap();
        let values: Vec<_> = seen.head.headers.get_all("authorization").iter().collect();
        assert_eq!(values, [sent]);
    }
    until("both are in the log", async || {
        harness.log.lines().iter().filter(|line| line["route"] == "u").count() == 2
    })
    .await;
    let log = harness.log.text();
    assert!(!log.contains("b25lOmh1bnRlcjI") && !log.contains("stolen"), "{log}");
}

//! TLS in front: who is shown which certificate, who gets in, and for how long.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::Harness;
use crate::raw::{Raw, Wire};
use crate::secure::{H2, Pki, request};
use crate::wait::until;

fn get(path: &str, host: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")
}

async fn ask(stream: impl Wire + 'static, host: &str, token: &str) -> u16 {
    let mut raw = Raw::over(stream);
    raw.send(get("/any/acme/x", host, token)).await;
    raw.answer().await.map_or(0, |answer| answer.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_and_both_protocols() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let token = h.token(&["reader"]).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = pki.client().version(version);
        let plain = client.connect(h.data_tls(), "localhost").await.unwrap();
        assert_eq!(ask(plain, "localhost", &token).await, 200);
        assert_eq!(h.upstream.last().field("x-forwarded-proto"), Some("https"));
        let http1 = client.clone().alpn(&["http/1.1"]).connect(h.data_tls(), "localhost").await;
        assert_eq!(ask(http1.unwrap(), "localhost", &token).await, 200);
        let h2 = client.h2(h.data_tls(), "localhost").await;
        let answer =
            h2.exchange(request("GET", "https://localhost/any/acme/x", Some(&token)), b"").await;
        assert_eq!((answer.status, answer.json()["ok"].as_bool()), (200, Some(true)));
        assert_eq!(h.upstream.last().field("x-forwarded-proto"), Some("https"));
        assert_eq!(h.upstream.last().field("host"), Some("localhost"));
    }
    let unknown = pki.client().alpn(&["spdy/3"]).connect(h.data_tls(), "localhost").await;
    assert!(unknown.is_err(), "no protocol in common");
    h.metered(&[
        "portcullis_tls_handshakes_total{outcome=\"ok\"} 6",
        "portcullis_tls_handshakes_total{outcome=\"failed\"} 1",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_go_over_one_connection() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::over(pki.client().connect(h.data_tls(), "localhost").await.unwrap());
    let size = 3 << 20;
    for (path, status) in
        [("/any/acme/x", 200), ("/nowhere", 404), (&*format!("/any/acme/bytes-{size}"), 200)]
    {
        raw.send(get(path, "localhost", &token)).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, status, "{path}");
        assert!(status != 200 || path == "/any/acme/x" || answer.body.len() == size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_picks_the_certificate() {
    let pki = Pki::new();
    pki.issue("first", &["first.test", "localhost"]);
    pki.issue("wild", &["*.wild.test"]);
    pki.issue("exact", &["api.wild.test"]);
    let files = ["first", "wild", "exact"];
    let h = Harness::builder().server(&pki.section(&files, "")).start().await;
    for (name, file) in
        [("first.test", "first"), ("a.wild.test", "wild"), ("api.wild.test", "exact")]
    {
        let stream = pki.client().connect(h.data_tls(), name).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap();
        assert_eq!(shown[0], pki.leaf(file), "{name}");
    }
    let unknown = pki.client().connect(h.data_tls(), "other.test").await.unwrap_err();
    assert!(unknown.to_string().contains("certificate"), "the default is for others: {unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_asked_for() {
    let pki = Pki::new();
    pki.issue("server", &["localhost"]);
    pki.issue("client", &["client"]);
    let others = Pki::new();
    others.issue("stranger", &["client"]);
    for file in ["stranger.pem", "stranger.key"] {
        std::fs::copy(others.path(file), pki.path(file)).unwrap();
    }
    for (auth, without) in [("optional", 200), ("required", 0)] {
        let more =
            format!("client_ca = \"{}\"\nclient_auth = \"{auth}\"", pki.path("ca.pem").display());
        let h = Harness::builder().server(&pki.section(&["server"], &more)).start().await;
        let token = h.token(&["reader"]).await;
        for (client, status) in [
            (pki.client().certificate("client"), 200),
            (pki.client(), without),
            (pki.client().certificate("stranger"), 0),
        ] {
            // With TLS 1.3 the client hears of it only with its first read.
            let answered = match client.connect(h.data_tls(), "localhost").await {
                Ok(stream) => {
                    let mut raw = Raw::over(stream);
                    let sent = raw.try_send(get("/any/acme/x", "localhost", &token)).await;
                    let answer = if sent { raw.answer().await } else { None };
                    answer.map_or(0, |answer| answer.status)
                }
                Err(_) => 0,
            };
            assert_eq!(answered, status, "{auth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_one_host_is_none_for_another() {
    let pki = Pki::new();
    pki.issue("a", &["a.test"]);
    pki.issue("b", &["b.test"]);
    let more = format!("client_ca = \"{}\"", pki.path("ca.pem").display());
    let h = Harness::builder().server(&pki.section(&["a", "b"], &more)).start().await;
    let token = h.token(&["reader"]).await;
    for (host, status) in [("b.test", 200), ("b.test:8443", 200), ("a.test", 421), ("x", 421)] {
        let stream = pki.client().connect(h.data_tls(), "b.test").await.unwrap();
        assert_eq!(ask(stream, host, &token).await, status, "{host}");
        let h2 = pki.client().h2(h.data_tls(), "b.test").await;
        let uri = format!("https://{host}/any/acme/x");
        assert_eq!(h2.exchange(request("GET", &uri, Some(&token)), b"").await.status, status);
    }
    assert_eq!(h.upstream.count(), 4);
    h.logged(|line| line["status"] == 421 && line["decision"] == "deny").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_shows_new_certificates_and_leaves_connections_open() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let mut h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let token = h.token(&["reader"]).await;
    let front = h.data_tls();
    let shown = async || {
        let stream = pki.client().connect(front, "localhost").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let old = pki.leaf("a");
    let stream = pki.client().connect(front, "localhost").await.unwrap();
    let mut open = Raw::over(stream);
    let h2 = pki.client().h2(front, "localhost").await;
    assert_eq!(shown().await, old);
    pki.issue("a", &["localhost"]);
    assert_eq!(shown().await, old, "nothing is read before the reload");
    h.reload(|text| text).await.unwrap();
    assert_ne!(shown().await, old);
    assert_eq!(shown().await, pki.leaf("a"));
    open.send(get("/any/acme/x", "localhost", &token)).await;
    assert_eq!(open.answer().await.unwrap().status, 200);
    let uri = "https://localhost/any/acme/x";
    assert_eq!(h2.exchange(request("GET", uri, Some(&token)), b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_stalls_is_closed() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let limits = "[server.limits]\nheader_timeout = \"1s\"\n";
    let section = pki.section(&["a"], "") + limits;
    let h = Harness::builder().server(&section).start().await;
    let token = h.token(&["reader"]).await;
    let silent = TcpStream::connect(h.data_tls()).await.unwrap();
    let mut half = TcpStream::connect(h.data_tls()).await.unwrap();
    // A record's head that promises more than comes.
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    let stream = pki.client().connect(h.data_tls(), "localhost").await.unwrap();
    assert_eq!(ask(stream, "localhost", &token).await, 200, "others are served meanwhile");
    for stalled in [silent, half] {
        assert!(Raw::over(stalled).is_closed().await);
    }
    let mut garbage = Raw::connect(h.data_tls()).await;
    garbage.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(garbage.is_closed().await);
    // Over TLS a connection that is agreed to be HTTP/2 must begin like one.
    let stream = pki.client().alpn(&["h2"]).connect(h.data_tls(), "localhost").await.unwrap();
    assert!(Raw::over(stream).is_closed().await);
    h.metered(&[
        "portcullis_tls_handshakes_total{outcome=\"timed_out\"} 2",
        "portcullis_tls_handshakes_total{outcome=\"failed\"} 1",
        "portcullis_tls_handshakes_total{outcome=\"ok\"} 2",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_upstream_is_told_of_inside_the_encryption() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let builder = Harness::builder().server(&pki.section(&["a"], ""));
    let h = builder.upstream("read_timeout = \"200ms\"\n").start().await;
    let token = h.token(&["reader"]).await;
    let stream = pki.client().connect(h.data_tls(), "localhost").await.unwrap();
    let mut raw = Raw::over(stream);
    raw.send(get("/any/acme/silent", "localhost", &token)).await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, &answer.json()["error"]), (504, &"upstream_timeout".into()));
    assert!(raw.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_for_alpn_to_say() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let stream = pki.client().connect(h.data_tls(), "localhost").await.unwrap();
    let mut raw = Raw::over(stream);
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 400);
    let plain = H2::plain(h.data()).await;
    let answer = plain.exchange(request("GET", "http://h/public/x", None), b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(h.upstream.last().field("x-forwarded-proto"), Some("http"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_has_its_share_of_handshakes() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let mut stalled = Vec::new();
    for _ in 0..300 {
        stalled.push(TcpStream::connect(h.data_tls()).await.unwrap());
    }
    let refused = "portcullis_tls_handshakes_total{outcome=\"too_many\"} 44";
    h.metered(&[refused]).await;
    assert!(pki.client().connect(h.data_tls(), "localhost").await.is_err());
    assert_eq!(h.ask("GET", "/public/x", None).await.0, 200, "in clear there are none");
    drop(stalled);
    // Places are given back.
    until("a handshake", async || pki.client().connect(h.data_tls(), "localhost").await.is_ok())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_hangs_up() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let stream = pki.client().connect(h.data_tls(), "localhost").await.unwrap();
    let mut raw = Raw::over(stream);
    raw.send(get("/any/acme/events", "localhost", &token)).await;
    assert!(raw.head().await.unwrap().starts_with("HTTP/1.1 200"));
    h.upstream.wait_for_streams(1).await;
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    assert_eq!(h.admin("POST", &path, serde_json::json!({"reason": "r"})).await.0, 200);
    assert!(raw.is_closed().await);
    h.upstream.wait_for_streams(0).await;
}

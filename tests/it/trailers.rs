//! Fields behind a body (RFC 9110 section 6.5), and the date of an answer: what Pingora
//! would drop or replace.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::backends::{Authority, Http2, tls};
use crate::harness::{Harness, ROUTES};
use crate::held::trailers_of;
use crate::raw::Raw;
use crate::secure::{H2, request};

/// An HTTP/1.1 server that keeps each request to its last byte.
struct Teller {
    address: SocketAddr,
    told: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Teller {
    async fn start(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&told);
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, &seen, number).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &seen, number).await;
                            }
                        }
                    }
                });
            }
        });
        Teller { address, told }
    }

    /// The connection and the bytes of the newest request.
    fn last(&self) -> (usize, String) {
        self.told.lock().unwrap().last().cloned().expect("a request")
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    told: &Mutex<Vec<(usize, String)>>,
    number: usize,
) {
    for turn in 0.. {
        let mut text = String::new();
        while !is_whole(&text) {
            match stream.read_u8().await {
                Ok(byte) => text.push(char::from(byte)),
                Err(_) => return,
            }
        }
        let path = text.split(' ').nth(1).unwrap().to_owned();
        told.lock().unwrap().push((number, text));
        let answer = match path.rsplit('/').next().unwrap() {
            "none" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "head" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "hinted" => {
                "HTTP/1.1 103 Early Hints\r\nDate: Fri, 02 Jan 1970 00:00:00 GMT\r\n\r\n\
                 HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
            }
            "socket" => {
                "HTTP/1.1 101 Switching Protocols\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                 Upgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            }
            "old" => {
                "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
            }
            // A connection that was used before is gone.
            "slam" if turn > 0 => return,
            _ => ANSWER,
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.flush().await;
    }
}

fn is_whole(text: &str) -> bool {
    let Some(end) = text.find("\r\n\r\n") else { return false };
    let (head, body) = text.split_at(end + 4);
    let head = head.to_ascii_lowercase();
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        return body.starts_with("0\r\n\r\n")
            || (body.contains("\r\n0\r\n") || body.starts_with("0\r\n"))
                && body.ends_with("\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// Its last chunk looks like the end of the chunks.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
    3\r\nabc\r\n5;x=y\r\n0\r\n\r\n\r\n0\r\nX-Sum: 42\r\nContent-Length: 9\r\nx-Other:  a b \r\n\r\n";

/// As it goes down.
const SENT: [&str; 3] =
    ["\r\ntrailer: x-sum\r\n", "0\r\n\r\n\r\n0\r\n", "X-Sum: 42\r\nx-Other: a b\r\n\r\n"];

fn with(address: SocketAddr, lines: &str) -> String {
    format!(
        "{ROUTES}\n[[upstream]]\nname = \"t\"\naddresses = [\"{address}\"]\n{lines}\n[[route]]\n\
         name = \"t\"\npath = \"/t/{{account}}/{{*rest}}\"\nupstream = \"t\"\nenvironment = \"any\"\n\
         allow = {{ GET = \"@authenticated\", POST = \"@authenticated\", PUT = \"@authenticated\" }}\n\
         [[route]]\nname = \"held\"\npath = \"/held/{{account}}/{{*rest}}\"\nupstream = \"t\"\n\
         environment = \"any\"\nallow = {{ POST = \"campaign.create\" }}\n\
         body_rules = {{ POST = [{{ keys = [\"a\"], allow = \"campaign.list\" }}] }}\n"
    )
}

/// Behind an upload: one field that may go up, and what must not.
const BEHIND: &str = "X-Digest: a1\r\nX-Portcullis-Scope: all\r\nx_portcullis_account: other\r\n\
    Authorization: Bearer x\r\nContent-Length: 3\r\nHost: other\r\nX-HTTP-Method-Override: DELETE\r\n\
    X-Forwarded-For: 6.6.6.6\r\nx-second:  b \r\n";

fn upload(method: &str, path: &str, token: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nTE: trailers\r\n\
         Connection: TE\r\nTrailer: X-Digest, X-Portcullis-Scope\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
    )
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// What stands behind the head, until the connection has said `end`.
async fn until(raw: &mut Raw, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let more = raw.exactly(1).await;
        assert!(!more.is_empty(), "it ends after {text:?}");
        text.push(char::from(more[0]));
    }
    text
}

async fn both_ways(h: &Harness, teller: &Teller, how: &str) {
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    for (path, json) in [("/t/acme/x", "4\r\n0\r\n\r\r\n"), ("/held/acme/x", "7\r\n{\"a\":1}\r\n")]
    {
        for method in ["POST", "PUT"] {
            if path.starts_with("/held") && method == "PUT" {
                continue;
            }
            let json = match path.starts_with("/held") {
                true => format!("{json}0\r\n{BEHIND}\r\n"),
                false => format!("{json}1\r\n\n\r\n0\r\n{BEHIND}\r\n"),
            };
            let fields = upload(method, path, &token, &json);
            raw.send(fields.replacen("Host:", "Content-Type: application/json\r\nHost:", 1)).await;
            let head = raw.head().await.unwrap_or_else(|| panic!("{how}: no head for {path}"));
            assert!(head.starts_with("HTTP/1.1 200 "), "{how}: {head}");
            assert!(head.to_ascii_lowercase().contains(SENT[0]), "{how}: {head}");
            let body = until(&mut raw, "a b\r\n\r\n").await;
            assert!(body.contains(SENT[1]) && body.ends_with(SENT[2]), "{how}: {body:?}");
            assert!(!body.contains("Content-Length"), "{how}: {body:?}");
            let (_, seen) = teller.last();
            let (head, rest) = seen.split_once("\r\n\r\n").unwrap();
            assert!(
                rest.ends_with("\r\n0\r\nX-Digest: a1\r\nx-second: b\r\n\r\n"),
                "{how}: {seen}"
            );
            assert!(
                head.to_ascii_lowercase().contains("\r\ntrailer: x-digest\r\n"),
                "{how}: {seen}"
            );
            assert!(head.contains("X-Portcullis-Account: acme"), "{how}: {seen}");
            assert!(!seen.contains("6.6.6.6") && !seen.contains("other"), "{how}: {seen}");
        }
    }
    // One that says nothing behind its body, one without any, and one that has no use for it.
    raw.send(upload("POST", "/t/acme/none", &token, "1\r\na\r\n0\r\n\r\n")).await;
    assert_eq!(raw.answer().await.unwrap().body, b"ok", "{how}");
    assert!(teller.last().1.ends_with("\r\n1\r\na\r\n0\r\n\r\n"), "{how}: {}", teller.last().1);
    let plain = |method: &str, path: &str, te: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{te}\r\n")
    };
    raw.send(plain("GET", "/t/acme/x", "TE: gzip, trailers\r\n")).await;
    assert!(until(&mut raw, "a b\r\n\r\n").await.ends_with(SENT[2]), "{how}");
    raw.send(plain("HEAD", "/t/acme/head", "TE: trailers\r\n")).await;
    assert!(raw.head().await.unwrap().starts_with("HTTP/1.1 200 "), "{how}");
    raw.send(plain("GET", "/t/acme/x", "")).await;
    assert!(until(&mut raw, "0\r\n\r\n\r\n0\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "{how}");
    // Nothing is left over, on either side.
    raw.send(plain("GET", "/t/acme/none", "TE: trailers\r\n")).await;
    assert_eq!(raw.answer().await.unwrap().body, b"ok", "{how}");
    let connections: Vec<usize> = teller.told.lock().unwrap().iter().map(|(n, _)| *n).collect();
    let used: HashSet<&usize> = connections.iter().collect();
    assert!(used.len() < connections.len(), "{how}: nobody shared any: {connections:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn they_pass_over_http1_both_ways() {
    let teller = Teller::start(None).await;
    let h = Harness::builder().routes(with(teller.address, "")).start().await;
    both_ways(&h, &teller, "in clear").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_pass_over_tls_to_whom_it_trusts_and_nobody_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let ca = folder.path().join("ca.pem");
    let lines = format!("tls = true\nserver_name = \"up.example\"\nca = \"{}\"", ca.display());
    let config = tls(&authority.sign(&["up.example"]), None, &["http/1.1"]);
    let teller = Teller::start(Some(config)).await;
    let h = Harness::builder().routes(with(teller.address, &lines)).start().await;
    both_ways(&h, &teller, "TLS").await;
    let config = tls(&other.sign(&["up.example"]), None, &["http/1.1"]);
    let teller = Teller::start(Some(config)).await;
    let h = Harness::builder().routes(with(teller.address, &lines)).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(upload("POST", "/t/acme/x", &token, "0\r\n\r\n")).await;
    assert_eq!(raw.answer().await.unwrap().status, 502);
    assert_eq!(teller.count(), 0);
}

fn asks(method: &str, path: &str, token: &str) -> http::Request<()> {
    let mut ask = request(method, &format!("http://h{path}"), Some(token));
    ask.headers_mut().insert("te", "trailers".parse().unwrap());
    ask
}

#[tokio::test(flavor = "multi_thread")]
async fn they_pass_between_http2_and_http1() {
    let teller = Teller::start(None).await;
    let h = Harness::builder().routes(with(teller.address, "")).start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for frames in [&["ab", "c"][..], &["abc", ""], &[]] {
        let (response, mut up) = h2.begin(asks("POST", "/t/acme/x", &token), false).await;
        for frame in frames {
            up.send_data(Bytes::from_static(frame.as_bytes()), false).unwrap();
        }
        let mut behind = HeaderMap::new();
        for name in ["x-digest", "x-portcullis-jti", "authorization", "x-forwarded-host"] {
            behind.insert(name, name.parse().unwrap());
        }
        up.send_trailers(behind).unwrap();
        let mut body = response.await.unwrap().into_body();
        let trailers = trailers_of(&mut body).await;
        assert_eq!(
            (&trailers["x-sum"], &trailers["x-other"], trailers.len()),
            (&"42".parse().unwrap(), &"a b".parse().unwrap(), 2)
        );
        let (_, seen) = teller.last();
        assert!(seen.ends_with("0\r\nx-digest: x-digest\r\n\r\n"), "{frames:?}: {seen}");
    }
    // And an answer that has none has an end all the same.
    let none = h2.exchange(asks("GET", "/t/acme/none", &token), b"").await;
    assert_eq!((none.status, &none.body[..]), (200, &b"ok"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_an_http2_upstream_reach_an_http1_client() {
    let backend = Http2::start(None).await;
    let h = Harness::builder().routes(with(backend.address, "protocol = \"h2c\"")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    for _ in 0..2 {
        raw.send(upload("POST", "/t/acme/trailers", &token, "5\r\nhello\r\n0\r\n\r\n")).await;
        assert!(raw.head().await.unwrap().starts_with("HTTP/1.1 200 "));
        let body = until(&mut raw, "\r\n\r\n").await;
        assert_eq!(body, "5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_has_them_again() {
    let teller = Teller::start(None).await;
    let h = Harness::builder().routes(with(teller.address, "")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    for turn in 0..2 {
        raw.send(upload("PUT", "/t/acme/slam", &token, "1\r\na\r\n0\r\nX-Digest: a1\r\n\r\n"))
            .await;
        assert!(until(&mut raw, "a b\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "{turn}");
    }
    let told = teller.told.lock().unwrap().clone();
    let by: Vec<usize> = told.iter().map(|(number, _)| *number).collect();
    assert!(by.len() == 3 && by[0] == by[1] && by[1] != by[2], "{by:?}");
    assert!(
        told.iter().all(|(_, text)| text.ends_with("\r\n0\r\nX-Digest: a1\r\n\r\n")),
        "{told:?}"
    );
    // A POST may have been done.
    raw.send(upload("POST", "/t/acme/slam", &token, "1\r\na\r\n0\r\n\r\n")).await;
    assert_eq!(raw.answer().await.unwrap().status, 502);
    assert_eq!(teller.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_its_date_and_gets_one_where_it_has_none() {
    let teller = Teller::start(None).await;
    let h = Harness::builder().routes(with(teller.address, "")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    for (path, wanted) in [("old", "Thu, 01 Jan 1970"), ("none", "20"), ("old", "Thu, 01 Jan 1970")]
    {
        raw.send(get(&format!("/t/acme/{path}"), &token)).await;
        let answer = raw.answer().await.unwrap();
        let dates = answer.head.to_ascii_lowercase().matches("\r\ndate: ").count();
        assert_eq!((answer.status, dates), (200, 1), "{}", answer.head);
        assert!(answer.field("date").unwrap().contains(wanted), "{}", answer.head);
        assert_eq!(path == "old", answer.field("date").unwrap().contains("1970"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interim_answer_keeps_its_date_too() {
    let teller = Teller::start(None).await;
    let h = Harness::builder().routes(with(teller.address, "")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(get("/t/acme/hinted", &token)).await;
    for (status, date) in [(103, "Fri, 02 Jan 1970"), (200, "Thu, 01 Jan 1970")] {
        let head = raw.head().await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains(date), "{head}");
    }
}

/// Whatever the date of the 101, the last word finds its place between two frames.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_with_a_date_of_its_own_is_told_why_it_ends() {
    let teller = Teller::start(None).await;
    let h = Harness::builder().routes(with(teller.address, "")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!(
        "GET /t/acme/socket HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .await;
    let head = raw.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (status, receipt) = h.admin("POST", "/v1/revocations", json!({ "token": token })).await;
    assert_eq!((status, &receipt["streams_closed"]), (200, &json!(1)));
    let rest = raw.rest().await;
    assert_eq!(rest.get(..4).map(|frame| (frame[0], frame[2], frame[3])), Some((0x88, 3, 0xf0)));
}

/// What has a length has no chunks: bytes that look like the last one stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_what_has_a_length_change_no_byte_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let answer = http::Response::builder().header("content-length", "5");
                    let mut send = respond.send_response(answer.body(()).unwrap(), false).unwrap();
                    send.send_data(Bytes::from_static(b"0\r\n\r\n"), false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-sum", "1".parse().unwrap());
                    send.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    let h = Harness::builder().routes(with(address, "protocol = \"h2c\"")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    for _ in 0..3 {
        raw.send(get("/t/acme/x", &token)).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"0\r\n\r\n"[..]), "{}", answer.head);
    }
    // To HTTP/1.0 the end of the connection is the end.
    let teller = Teller::start(None).await;
    let h = Harness::builder().routes(with(teller.address, "")).start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!(
        "GET /t/acme/x HTTP/1.0\r\nHost: h\r\nAuthorization: Bearer {token}\r\nTE: trailers\r\n\r\n"
    ))
    .await;
    assert!(raw.head().await.unwrap().contains(" 200 "));
    assert_eq!(raw.rest().await, b"abc0\r\n\r\n");
}

//! Clients that hold streams open, of every kind and by every way in.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::endless::Endless;
use crate::harness::{Harness, ROUTES};
use crate::raw::Wire;
use crate::secure::{H2, Pki, request};
use crate::wait::PATIENCE;

/// Every kind of stream, by each way in that has it.
pub(crate) const STREAMS: &[(&str, Front)] = &[
    ("ws-idle", Front::Plain),
    ("ws-idle", Front::Tls),
    ("ws-idle", Front::Http2),
    ("ws-busy", Front::Plain),
    ("ws-busy", Front::Tls),
    ("ws-busy", Front::Http2),
    ("events", Front::Plain),
    ("events", Front::Tls),
    ("events", Front::Http2),
    ("download", Front::Plain),
    ("download", Front::Tls),
    ("download", Front::Http2),
    ("upload", Front::Plain),
    ("upload", Front::Tls),
    ("upload", Front::Http2),
    ("grpc", Front::Http2),
];

/// A route for streams that takes a right, and one to a gRPC upstream.
pub(crate) fn routes(upstream: &Endless) -> String {
    let address = upstream.address;
    format!(
        r#"{ROUTES}
[[role]]
id = "watcher"
scopes = ["campaign.list"]
[[upstream]]
name = "endless"
addresses = ["{address}"]
[[upstream]]
name = "grpc"
addresses = ["{address}"]
protocol = "h2c"
[[route]]
name = "streams"
path = "/s/{{account}}/{{*rest}}"
upstream = "endless"
environment = "any"
body_bytes = 0
allow = {{ GET = "campaign.list", POST = "campaign.list" }}
[[route]]
name = "calls"
path = "/g/{{account}}/{{*rest}}"
upstream = "grpc"
environment = "any"
body_bytes = 0
allow = {{ POST = "campaign.list" }}
"#
    )
}

/// How a stream comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Plain,
    Tls,
    Http2,
}

pub(crate) type Socket = WebSocketStream<Box<dyn Wire>>;

/// The client's end of a stream.
pub(crate) enum Held {
    Socket(Box<Socket>),
    /// Talks without a pause in a task of its own; what is read comes here.
    Busy(SplitStream<Socket>, tokio::task::JoinHandle<SplitSink<Socket, Message>>),
    Raw(Box<dyn Wire>),
    Stream(RecvStream, SendStream<Bytes>),
    /// No answer yet.
    Upload(h2::client::ResponseFuture, SendStream<Bytes>),
}

pub(crate) struct World {
    pub(crate) h: Harness,
    pub(crate) pki: Pki,
    pub(crate) upstream: Endless,
    pub(crate) h2: H2,
}

impl World {
    pub(crate) async fn start() -> Self {
        World::with("").await
    }

    /// With these lines in `[server]`.
    pub(crate) async fn with(limits: &str) -> Self {
        let upstream = Endless::start().await;
        let pki = Pki::new();
        pki.issue("a", &["localhost"]);
        let section = pki.section(&["a"], "") + limits;
        let builder = Harness::builder().server(&section);
        let h = builder.routes(routes(&upstream)).start().await;
        let h2 = connect2(&h, &pki).await;
        World { h, pki, upstream, h2 }
    }

    /// Another HTTP/2 connection: an idle one is closed.
    pub(crate) async fn connect_again(&mut self) {
        self.h2 = connect2(&self.h, &self.pki).await;
    }

    /// Opens one stream, far enough that bytes have gone its way.
    pub(crate) async fn open(&self, kind: &str, front: Front, who: &str, token: &str) -> Held {
        let path = path(kind, front, who);
        let held = self.begin(kind, front, &path, token).await;
        self.upstream.wait_open(&path, 1).await;
        held
    }

    pub(crate) async fn connect(&self, front: Front) -> Box<dyn Wire> {
        match front {
            Front::Plain => Box::new(TcpStream::connect(self.h.data()).await.unwrap()),
            _ => Box::new(self.pki.client().connect(self.h.data_tls(), "localhost").await.unwrap()),
        }
    }

    pub(crate) async fn begin(&self, kind: &str, front: Front, path: &str, token: &str) -> Held {
        if kind.starts_with("ws-") {
            return self.upgrade(kind, front, path, token).await;
        }
        let is_upload = ["upload", "grpc"].contains(&kind);
        let method = if is_upload { "POST" } else { "GET" };
        if front == Front::Http2 {
            let request = Request::builder()
                .method(method)
                .uri(format!("https://localhost{path}"))
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", if kind == "grpc" { "application/grpc" } else { "a/b" })
                .body(())
                .unwrap();
            let (response, mut send) = self.h2.begin(request, !is_upload).await;
            if is_upload {
                send.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), false).unwrap();
            }
            if kind == "upload" {
                return Held::Upload(response, send);
            }
            let response = timeout(PATIENCE, response).await.unwrap().unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let mut body = response.into_body();
            if kind == "broken" {
                // It may be reset already.
                return Held::Stream(body, send);
            }
            let first = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap();
            if kind != "download" {
                let _ = body.flow_control().release_capacity(first.len());
            }
            return Held::Stream(body, send);
        }
        let mut wire = self.connect(front).await;
        let framing = if is_upload { "Transfer-Encoding: chunked\r\n" } else { "" };
        let body = if is_upload { "1\r\nx\r\n" } else { "" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             {framing}\r\n{body}"
        );
        wire.write_all(request.as_bytes()).await.unwrap();
        if !is_upload {
            let mut head = [0; 12];
            timeout(PATIENCE, wire.read_exact(&mut head)).await.unwrap().unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
        }
        Held::Raw(wire)
    }

    async fn upgrade(&self, kind: &str, front: Front, path: &str, token: &str) -> Held {
        let mut socket = match front {
            Front::Http2 => {
                let request = request("GET", &format!("https://localhost{path}"), Some(token));
                let (answer, tunnel) = self.h2.tunnel(request, "websocket").await.unwrap();
                assert_eq!(answer.status(), 200, "{path}");
                WebSocketStream::from_raw_socket(Box::new(tunnel) as _, Role::Client, None).await
            }
            _ => {
                let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
                let bearer = format!("Bearer {token}").parse().unwrap();
                request.headers_mut().insert("authorization", bearer);
                let wire = self.connect(front).await;
                tokio_tungstenite::client_async(request, wire).await.unwrap().0
            }
        };
        let is_idle = kind == "ws-idle";
        if is_idle {
            socket.send(Message::binary(&b"ping"[..])).await.unwrap();
        }
        let first = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert!(first.is_binary(), "{path}: {first}");
        if is_idle {
            return Held::Socket(Box::new(socket));
        }
        let (mut send, receive) = socket.split();
        let sending = tokio::spawn(async move {
            while send.send(Message::binary(vec![1; 1000])).await.is_ok() {}
            send
        });
        Held::Busy(receive, sending)
    }

    /// Whether a stream still carries data.
    pub(crate) async fn still_works(&self, path: &str, held: &mut Held) {
        let got = self.upstream.got(path);
        match held {
            Held::Socket(socket) => echo(socket).await,
            Held::Busy(receive, sending) => {
                for _ in 0..3 {
                    let message = timeout(PATIENCE, receive.next()).await.unwrap();
                    assert!(message.unwrap().unwrap().is_binary(), "{path}");
                }
                assert!(!sending.is_finished());
            }
            Held::Upload(_, send) => {
                send.send_data(Bytes::from_static(b"y"), false).unwrap();
                self.upstream.wait_got(path, got).await;
            }
            Held::Raw(wire) if path.contains("upload") => {
                wire.write_all(b"1\r\ny\r\n").await.unwrap();
                self.upstream.wait_got(path, got).await;
            }
            Held::Raw(wire) => {
                self.upstream.tick();
                // More than any buffer on the way holds, of what has no end.
                let count = if path.contains("download") { 16 << 20 } else { 1 };
                let read = async {
                    let mut left = count;
                    let mut buffer = vec![0; 65_536];
                    while left > 0 {
                        let read = wire.read(&mut buffer).await.unwrap();
                        assert!(read > 0, "{path} has ended");
                        left -= read.min(left);
                    }
                };
                timeout(PATIENCE, read).await.unwrap();
            }
            Held::Stream(body, _) => {
                self.upstream.tick();
                let count = if path.contains("download") { 1 << 20 } else { 1 };
                let mut left = count;
                let used = body.flow_control().used_capacity();
                let _ = body.flow_control().release_capacity(used);
                while left > 0 {
                    let chunk = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap();
                    let _ = body.flow_control().release_capacity(chunk.len());
                    left -= chunk.len().min(left);
                }
            }
        }
    }
}

async fn connect2(h: &Harness, pki: &Pki) -> H2 {
    let wire = pki.client().alpn(&["h2"]).connect(h.data_tls(), "localhost").await.unwrap();
    H2::wide(wire).await
}

pub(crate) fn path(kind: &str, front: Front, who: &str) -> String {
    let route = if kind == "grpc" { "g" } else { "s" };
    format!("/{route}/acme/{front:?}/{kind}/{who}")
}

pub(crate) async fn echo(socket: &mut Socket) {
    socket.send(Message::binary(&b"ping"[..])).await.unwrap();
    let answer = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, Message::binary(&b"ping"[..]));
}

/// All that comes, to the end: the close frame, if there was one.
pub(crate) async fn close_of(
    mut messages: impl futures::Stream<Item = Result<Message, WsError>> + Unpin,
) -> Option<CloseFrame> {
    let read = async {
        loop {
            match messages.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    timeout(PATIENCE, read).await.expect("an end")
}

/// What follows the data, whatever that is.
pub(crate) async fn trailers_of(body: &mut RecvStream) -> http::HeaderMap {
    while let Some(chunk) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.unwrap().len());
    }
    body.trailers().await.unwrap().expect("trailers")
}

/// Waits for the end of a stream that was cut.
pub(crate) async fn ends(path: &str, held: Held, reason: &str) {
    match held {
        Held::Socket(socket) => {
            let close = close_of(socket).await.unwrap_or_else(|| panic!("{path}: no close frame"));
            assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, reason), "{path}");
        }
        Held::Busy(receive, sending) => {
            // In the middle of a frame there is no place for it.
            if let Some(close) = close_of(receive).await {
                let close = (u16::from(close.code), close.reason.as_str().to_owned());
                assert_eq!(close, (1008, reason.to_owned()), "{path}");
            }
            drop(timeout(PATIENCE, sending).await.expect("an end").unwrap());
        }
        Held::Raw(mut wire) => {
            let mut buffer = vec![0; 65_536];
            let read = async { while wire.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
            timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{path} goes on"));
        }
        // gRPC clients are told why, and that it is the end.
        Held::Stream(mut body, _send) if path.starts_with("/g/") => {
            let trailers = timeout(PATIENCE, trailers_of(&mut body)).await;
            let trailers = trailers.unwrap_or_else(|_| panic!("{path} goes on"));
            let code = if reason == "narrowed" { "7" } else { "16" };
            assert_eq!(trailers.get("grpc-status").unwrap(), code, "{path}");
            assert!(!trailers.get("grpc-message").unwrap().is_empty(), "{path}");
        }
        Held::Stream(mut body, _send) => {
            let read = async {
                loop {
                    match body.data().await {
                        Some(Ok(chunk)) => {
                            let _ = body.flow_control().release_capacity(chunk.len());
                        }
                        Some(Err(error)) => return error,
                        None => panic!("{path} ended as if it were whole"),
                    }
                }
            };
            let error = timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{path} goes on"));
            assert!(error.is_reset(), "{path}: {error}");
        }
        Held::Upload(response, _send) => {
            let error = timeout(PATIENCE, response).await.expect("an end").unwrap_err();
            assert!(error.is_reset(), "{path}: {error}");
        }
    }
}

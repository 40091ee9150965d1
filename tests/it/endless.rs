//! An upstream whose exchanges never end by themselves: WebSockets, event
//! streams, downloads, uploads, and gRPC-like streams with prior knowledge.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::wait::PATIENCE;

/// What it does is told by the last but one segment of the path: `ws-idle`
/// echoes, `ws-busy` talks without a pause too, `events` and `grpc` say
/// something with each tick, `download` as much as fits, `upload` reads;
/// `whole` and `broken` do end, one of them well.
#[derive(Clone)]
pub(crate) struct Endless {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// By path: exchanges under way, and bytes that came.
    paths: Mutex<HashMap<String, (usize, usize)>>,
    changed: Notify,
    ticks: watch::Sender<u64>,
}

impl State {
    fn change(&self, path: &str, change: impl FnOnce(&mut (usize, usize))) {
        change(self.paths.lock().unwrap().entry(path.to_owned()).or_default());
        self.changed.notify_waiters();
    }
}

/// Counts an exchange while it lives.
struct Open<'a>(&'a State, String);

impl<'a> Open<'a> {
    fn new(state: &'a State, path: &str) -> Self {
        state.change(path, |(open, _)| *open += 1);
        Open(state, path.to_owned())
    }

    fn got(&self, bytes: usize) {
        self.0.change(&self.1, |(_, got)| *got += bytes);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.change(&self.1, |(open, _)| *open -= 1);
    }
}

impl Endless {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let kept = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut first = [0];
                    if stream.peek(&mut first).await.is_ok() && first == *b"P" {
                        let mut start = [0; 4];
                        while stream.peek(&mut start).await.is_ok_and(|read| (1..4).contains(&read))
                        {
                            tokio::task::yield_now().await;
                        }
                        if start == *b"PRI " {
                            return serve2(stream, state).await;
                        }
                    }
                    let _ = serve(stream, &state).await;
                });
            }
        });
        Endless { address, state }
    }

    /// Says something on every event stream.
    pub(crate) fn tick(&self) {
        self.state.ticks.send_modify(|tick| *tick += 1);
    }

    /// Bytes that came by a path.
    pub(crate) fn got(&self, path: &str) -> usize {
        self.state.paths.lock().unwrap().get(path).map_or(0, |(_, got)| *got)
    }

    /// How many exchanges are under way on paths with this ending.
    pub(crate) fn open(&self, ending: &str) -> usize {
        let paths = self.state.paths.lock().unwrap();
        paths.iter().filter(|(path, _)| path.ends_with(ending)).map(|(_, (open, _))| open).sum()
    }

    /// Waits until so many are under way on paths with this ending.
    pub(crate) async fn wait_open(&self, ending: &str, count: usize) {
        self.wait(|this| this.open(ending) == count).await.unwrap_or_else(|()| {
            panic!("{} of {ending} are open, not {count}", self.open(ending));
        });
    }

    /// Waits until more than `count` bytes came by a path.
    pub(crate) async fn wait_got(&self, path: &str, count: usize) {
        let waited = self.wait(|this| this.got(path) > count).await;
        waited.unwrap_or_else(|()| panic!("no more than {count} bytes came by {path}"));
    }

    async fn wait(&self, is_so: impl Fn(&Self) -> bool) -> Result<(), ()> {
        let wait = async {
            loop {
                let changed = self.state.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is_so(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.map_err(drop)
    }
}

fn kind_of(path: &str) -> &str {
    path.rsplit('/').nth(1).unwrap_or_default()
}

async fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while !buffer.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&buffer).into_owned();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next()
    };
    let open = Open::new(state, &path);
    let mut ticks = state.ticks.subscribe();
    let mut rest = [0; 65_536];
    match kind_of(&path) {
        kind @ ("ws-idle" | "ws-busy") => {
            let accept = derive_accept_key(field("sec-websocket-key").unwrap().as_bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            let is_busy = kind == "ws-busy";
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            let (mut send, mut receive) = socket.split();
            loop {
                tokio::select! {
                    message = receive.next() => match message {
                        Some(Ok(message)) if message.is_binary() => {
                            open.got(message.len());
                            if !is_busy && send.send(message).await.is_err() {
                                return Ok(());
                            }
                        }
                        Some(Ok(message)) if !message.is_close() => {}
                        _ => return Ok(()),
                    },
                    sent = send.send(Message::binary(vec![7; 1000])), if is_busy => {
                        if sent.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
        }
        "events" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                        Transfer-Encoding: chunked\r\n\r\n7\r\ndata: 0\r\n";
            stream.write_all(head.as_bytes()).await?;
            loop {
                tokio::select! {
                    read = stream.read(&mut rest) => if read? == 0 { return Ok(()) },
                    _ = ticks.changed() => stream.write_all(b"7\r\ndata: 1\r\n").await?,
                }
            }
        }
        kind @ ("whole" | "broken") => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
            stream.write_all(head.as_bytes()).await?;
            if kind == "whole" {
                stream.write_all(b"0\r\n\r\n").await?;
            }
            Ok(())
        }
        "download" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n").await?;
            let (mut read, mut write) = stream.split();
            let body = vec![b'x'; 65_536];
            tokio::select! {
                _ = read.read(&mut rest) => Ok(()),
                error = async { loop {
                    if let Err(error) = write.write_all(&body).await { return error }
                } } => Err(error),
            }
        }
        _ => loop {
            match stream.read(&mut rest).await? {
                0 => return Ok(()),
                read => open.got(read),
            }
        },
    }
}

async fn serve2(stream: TcpStream, state: Arc<State>) {
    let Ok(mut serving) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = serving.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let path = request.uri().path().to_owned();
            let open = Open::new(&state, &path);
            let mut ticks = state.ticks.subscribe();
            let mut body = request.into_body();
            let response =
                Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let Ok(mut send) = respond.send_response(response, false) else { return };
            let _ = send.send_data(Bytes::from_static(b"\0\0\0\0\x01a"), false);
            loop {
                tokio::select! {
                    _ = std::future::poll_fn(|context| send.poll_reset(context)) => return,
                    chunk = body.data() => match chunk {
                        Some(Ok(chunk)) => {
                            let _ = body.flow_control().release_capacity(chunk.len());
                            open.got(chunk.len());
                        }
                        _ => return,
                    },
                    _ = ticks.changed() => {
                        let _ = send.send_data(Bytes::from_static(b"\0\0\0\0\x01b"), false);
                    }
                }
            }
        });
    }
}

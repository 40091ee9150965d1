//! A legacy API that keeps every request as its raw bytes, and answers as told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Request line and fields, to the empty line.
    pub(crate) head: String,
    /// The body, unless it was only counted.
    pub(crate) body: Vec<u8>,
    /// The lines behind its chunks.
    pub(crate) trailers: String,
    /// How long the body was.
    pub(crate) length: usize,
    /// Which connection it came by.
    pub(crate) connection: usize,
}

impl Seen {
    /// The request target, raw.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    /// All values of a field.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() < 2, "{name} stands {} times in {}", values.len(), self.head);
        values.first().copied()
    }
}

/// A running legacy API. What it does is told by the path it is asked for:
/// `…/bytes-N` answers N bytes, `…/wait` when released, `…/events` an endless
/// stream, `…/early…` before it has read the body, `…/break` half an answer, `…/raw-status-S` that status,
/// `…/hints-N` N early hints before the answer.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<usize>,
    arrived: Notify,
    release: Notify,
    released: Mutex<bool>,
    open_streams: Mutex<usize>,
    streams_changed: Notify,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let upstream = Upstream { address, state: Arc::clone(&state) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = {
                    let mut count = state.connections.lock().unwrap();
                    *count += 1;
                    *count
                };
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let _ = serve(stream, &state, connection).await;
                });
            }
        });
        upstream
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream saw a request")
    }

    /// Waits until `count` requests have arrived.
    pub(crate) async fn wait_for(&self, count: usize) {
        self.wait_for_such(count, |_| true).await;
    }

    /// Waits until `count` requests of a kind have arrived.
    pub(crate) async fn wait_for_such(&self, count: usize, of_kind: impl Fn(&Seen) -> bool) {
        let wait = async {
            loop {
                let arrived = self.state.arrived.notified();
                let so_far =
                    self.state.seen.lock().unwrap().iter().filter(|it| of_kind(it)).count();
                if so_far >= count {
                    return;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("requests arrive");
    }

    /// Lets everything that waits be answered, now and later.
    pub(crate) fn release(&self) {
        *self.state.released.lock().unwrap() = true;
        self.state.release.notify_waiters();
    }

    /// Waits until this many endless streams are open.
    pub(crate) async fn wait_for_streams(&self, count: usize) {
        let wait = async {
            loop {
                let changed = self.state.streams_changed.notified();
                if *self.state.open_streams.lock().unwrap() == count {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("streams open and close");
    }
}

async fn serve(mut stream: TcpStream, state: &State, connection: usize) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        if head.lines().next().unwrap().contains("/early") {
            return answer_early(&mut stream, state).await;
        }
        let (body, length, trailers) = read_body(&mut stream, &mut buffer, &head).await?;
        let seen = Seen { head, body, trailers, length, connection };
        let target = seen.target().to_owned();
        let is_head = seen.method() == "HEAD";
        state.seen.lock().unwrap().push(seen);
        state.arrived.notify_waiters();
        if !answer(&mut stream, state, &target, is_head).await? {
            return Ok(());
        }
    }
}

/// Answers without a look at the body, which it reads to its end for ever.
async fn answer_early(stream: &mut TcpStream, state: &State) -> std::io::Result<()> {
    *state.open_streams.lock().unwrap() += 1;
    state.streams_changed.notify_waiters();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    *state.open_streams.lock().unwrap() -= 1;
    state.streams_changed.notify_waiters();
    Ok(())
}

async fn read_body(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    head: &str,
) -> std::io::Result<(Vec<u8>, usize, String)> {
    let field = |name: &str| {
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next()
    };
    if let Some(length) = field("content-length") {
        let length: usize = length.parse().unwrap();
        let mut kept = Vec::new();
        let mut left = length;
        loop {
            let take = left.min(buffer.len());
            if kept.len() < 1 << 20 {
                kept.extend_from_slice(&buffer[..take]);
            }
            buffer.drain(..take);
            left -= take;
            if left == 0 {
                return Ok((kept, length, String::new()));
            }
            if stream.read_buf(buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    if field("transfer-encoding").is_none() {
        return Ok((Vec::new(), 0, String::new()));
    }
    let (mut kept, mut total) = (Vec::new(), 0);
    loop {
        let line = read_line(stream, buffer).await?;
        let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).unwrap();
        if size == 0 {
            let mut trailers = String::new();
            loop {
                match read_line(stream, buffer).await?.as_str() {
                    "" => return Ok((kept, total, trailers)),
                    line => trailers.extend([line, "\r\n"]),
                }
            }
        }
        while buffer.len() < size + 2 {
            if stream.read_buf(buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        if kept.len() < 1 << 20 {
            kept.extend_from_slice(&buffer[..size]);
        }
        total += size;
        buffer.drain(..size + 2);
    }
}

async fn read_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<String> {
    loop {
        if let Some(at) = find(buffer, b"\r\n") {
            let line = String::from_utf8_lossy(&buffer[..at]).into_owned();
            buffer.drain(..at + 2);
            return Ok(line);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// True if the connection goes on.
async fn answer(
    stream: &mut TcpStream,
    state: &State,
    target: &str,
    is_head: bool,
) -> std::io::Result<bool> {
    let path = target.split('?').next().unwrap();
    let word = path.rsplit('/').next().unwrap();
    if let Some(count) = word.strip_prefix("bytes-") {
        let count: usize = count.parse().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let chunk: Vec<u8> = (0..65_536u32).map(|n| (n % 251) as u8).collect();
        let mut left = count;
        while left > 0 {
            let take = left.min(chunk.len());
            stream.write_all(&chunk[..take]).await?;
            left -= take;
        }
        return Ok(true);
    }
    if let Some(count) = word.strip_prefix("hints-") {
        for n in 0..count.parse::<usize>().unwrap() {
            let hint = format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </{n}>\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\n"
            );
            stream.write_all(hint.as_bytes()).await?;
        }
    }
    if let Some(status) = word.strip_prefix("raw-status-") {
        let (length, body) = match status {
            "204" => ("", ""),
            _ => ("Content-Length: 2\r\n", "ok"),
        };
        let head = format!(
            "HTTP/1.1 {status} Whatever\r\n{length}X-Legacy: a\r\nx-legacy: b\r\nLocation: /x/y\r\n\
             Keep-Alive: timeout=9\r\nConnection: X-Hop\r\nX-Hop: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).await?;
        return Ok(true);
    }
    match word {
        "break" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await?;
            return Ok(false);
        }
        "slam" => return Ok(false),
        "wait" => loop {
            let released = state.release.notified();
            if *state.released.lock().unwrap() {
                break;
            }
            released.await;
        },
        "silent" => {
            let mut byte = [0];
            let _ = stream.read(&mut byte).await;
            return Ok(false);
        }
        "events" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n")
                .await?;
            *state.open_streams.lock().unwrap() += 1;
            state.streams_changed.notify_waiters();
            let mut byte = [0];
            let _ = stream.read(&mut byte).await;
            *state.open_streams.lock().unwrap() -= 1;
            state.streams_changed.notify_waiters();
            return Ok(false);
        }
        _ => {}
    }
    let body = "{\"ok\":true}";
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        body.len(),
        if is_head { "" } else { body }
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(true)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

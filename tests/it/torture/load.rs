//! A steady stream of requests at a constant rate, each of which must be answered 200,
//! and what became of them. A latency counts from when a request was due.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::wait::until;

/// Requests under way, until they are told to end.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Tally>>,
    began: Instant,
}

/// What became of the requests.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) answered: usize,
    /// Sent on a connection that was closed before a byte of an answer: sent once more
    /// on another (RFC 9112 section 9.3.1), for as long as nobody listens.
    pub(super) again: usize,
    pub(super) failed: Vec<String>,
    latencies: Vec<u32>,
    pub(super) seconds: f64,
}

impl Load {
    /// `rate` requests a second; 0: as fast as the answers come.
    pub(super) fn start(address: SocketAddr, token: &str, rate: u64, callers: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let request =
            format!("GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        let began = Instant::now();
        let every = match rate {
            0 => Duration::ZERO,
            _ => Duration::from_secs(1) * callers / u32::try_from(rate).unwrap(),
        };
        let callers = (0..callers).map(|n| {
            let first = began + every * n / callers;
            let caller = Caller {
                address,
                request: request.clone(),
                first,
                every,
                stop: Arc::clone(&stop),
                answered: Arc::clone(&answered),
            };
            tokio::spawn(caller.call())
        });
        let callers = callers.collect();
        Load { stop, answered, callers, began }
    }

    /// Waits until so many more were answered.
    pub(super) async fn more(&self, count: u64) {
        let wanted = self.answered.load(Ordering::Relaxed) + usize::try_from(count).unwrap();
        until("requests are answered", async || self.answered.load(Ordering::Relaxed) >= wanted)
            .await;
    }

    pub(super) async fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let mut all = Tally { seconds, ..Tally::default() };
        for caller in self.callers {
            let mut one = caller.await.unwrap();
            all.answered += one.answered;
            all.again += one.again;
            all.failed.append(&mut one.failed);
            all.latencies.append(&mut one.latencies);
        }
        all.latencies.sort_unstable();
        all
    }
}

impl Tally {
    pub(super) fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// In milliseconds.
    pub(super) fn latency(&self, share: f64) -> f64 {
        let at = (share * self.latencies.len().saturating_sub(1) as f64) as usize;
        self.latencies.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }

    pub(super) fn words(&self) -> String {
        format!(
            "{} answered 200 ({:.0}/s), {} sent again, {} failed; p50 {:.1} ms, p99 {:.1} ms, \
             longest {:.0} ms",
            self.answered,
            self.rate(),
            self.again,
            self.failed.len(),
            self.latency(0.5),
            self.latency(0.99),
            self.latency(1.0)
        )
    }
}

struct Caller {
    address: SocketAddr,
    request: String,
    first: Instant,
    every: Duration,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Caller {
    async fn call(self) -> Tally {
        let (mut tally, mut due) = (Tally::default(), self.first);
        let mut connection: Option<TcpStream> = None;
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                tokio::time::sleep(wait).await;
            } else if self.every.is_zero() {
                due = Instant::now();
            }
            loop {
                let Some(stream) = &mut connection else {
                    connection = TcpStream::connect(self.address).await.ok();
                    match &connection {
                        Some(stream) => stream.set_nodelay(true).unwrap(),
                        // Nobody listens: a restart.
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                    continue;
                };
                match ask(stream, self.request.as_bytes()).await {
                    Ok((200, closes)) => {
                        tally.answered += 1;
                        self.answered.fetch_add(1, Ordering::Relaxed);
                        tally.latencies.push(due.elapsed().as_micros() as u32);
                        if closes {
                            connection = None;
                        }
                        break;
                    }
                    Ok((status, _)) => {
                        tally.failed.push(format!("status {status}"));
                        connection = None;
                        break;
                    }
                    Err(0) => {
                        tally.again += 1;
                        connection = None;
                    }
                    Err(read) => {
                        tally.failed.push(format!("broke off after {read} bytes"));
                        connection = None;
                        break;
                    }
                }
            }
            due += self.every;
        }
        tally
    }
}

/// Status, and whether it was the last; or how many bytes came before the end.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> Result<(u16, bool), usize> {
    if stream.write_all(request).await.is_err() {
        return Err(0);
    }
    let mut read = Vec::with_capacity(512);
    loop {
        match stream.read_buf(&mut read).await {
            Ok(1..) => {}
            _ => return Err(read.len()),
        }
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let field = |name: &str| {
            let rest = head.split(name).nth(1)?;
            Some(rest.lines().next()?.trim().to_owned())
        };
        let length = field("\r\ncontent-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
        if read.len() < end + 4 + length {
            continue;
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        return Ok((status, field("\r\nconnection:").as_deref() == Some("close")));
    }
}

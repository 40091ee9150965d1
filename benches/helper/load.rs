//! A client that can do what wrk can't: ask at a constant rate, and ask a given
//! number of times. One thread that never sleeps, since a timer's millisecond
//! is longer than what is measured; it gives its core away after each look.
//!
//! A latency counts from when the request was due, not from when a connection
//! was free to take it, so a server that stalls can't hide it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What is asked, and how often.
pub(crate) struct Plan<'a> {
    pub(crate) address: &'a str,
    /// The path, then a bearer token a line, in rotation; an empty line is none.
    pub(crate) file: &'a str,
    pub(crate) count: usize,
    /// Requests a second; 0: whenever a connection is free.
    pub(crate) rate: u64,
    pub(crate) connections: usize,
}

/// A connection with one request under way, or none.
struct Connection {
    stream: TcpStream,
    due: Option<Instant>,
    read: Vec<u8>,
}

/// Asks, and prints what became of it as one line of JSON, times in microseconds.
pub(crate) fn run(plan: &Plan<'_>) {
    let text = std::fs::read_to_string(plan.file).unwrap();
    let (path, tokens) = text.split_once('\n').unwrap();
    let requests: Vec<Vec<u8>> = tokens.lines().map(|token| request(path, token)).collect();
    let mut connections: Vec<Connection> =
        (0..plan.connections).map(|_| connect(plan.address)).collect();
    let mut free: VecDeque<usize> = (0..plan.connections).collect();
    let mut latencies = Vec::with_capacity(plan.count);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut next = requests.iter().cycle();
    let (began, mut sent) = (Instant::now(), 0);
    let between = 1e9 / plan.rate.max(1) as f64;
    while latencies.len() < plan.count {
        let now = Instant::now();
        while sent < plan.count && !free.is_empty() {
            let due = match plan.rate {
                0 => now,
                _ => began + Duration::from_nanos((sent as f64 * between) as u64),
            };
            if due > now {
                break;
            }
            let connection = free.pop_front().and_then(|n| connections.get_mut(n)).unwrap();
            connection.stream.write_all(next.next().unwrap()).unwrap();
            connection.due = Some(due);
            sent += 1;
        }
        for (n, connection) in connections.iter_mut().enumerate() {
            let Some(due) = connection.due else { continue };
            if let Some(status) = connection.answer() {
                latencies.push(due.elapsed().as_nanos() as f64 / 1e3);
                *statuses.entry(status).or_default() += 1;
                connection.due = None;
                free.push_back(n);
            }
        }
        std::thread::yield_now();
    }
    let took = began.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies.get((share * (plan.count - 1) as f64) as usize).unwrap();
    println!(
        "{{\"rate\":{:.1},\"p50\":{:.1},\"p99\":{:.1},\"p999\":{:.1},\"statuses\":{{{}}}}}",
        plan.count as f64 / took,
        at(0.5),
        at(0.99),
        at(0.999),
        statuses.iter().map(|(s, n)| format!("\"{s}\":{n}")).collect::<Vec<_>>().join(",")
    );
}

fn request(path: &str, token: &str) -> Vec<u8> {
    let bearer = match token {
        "" => String::new(),
        _ => format!("Authorization: Bearer {token}\r\n"),
    };
    format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n{bearer}\r\n").into_bytes()
}

fn connect(address: &str) -> Connection {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    Connection { stream, due: None, read: Vec::new() }
}

impl Connection {
    /// The status of the answer, once it is here to its last byte.
    fn answer(&mut self) -> Option<u16> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(n) => self.read.extend(buffer.iter().take(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
        let text = String::from_utf8_lossy(&self.read).to_ascii_lowercase();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.split_once("content-length: ").unwrap().1;
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        if body.len() < length {
            return None;
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        self.read.clear();
        Some(status)
    }
}

//! Rubbish over sockets, HTTP/1.1 and HTTP/2, made of the hostile requests that there
//! are. Under a watcher: no panic, no unanswered health check, no good request that
//! fails, and no identity at the upstream but the one that the token has. `MINUTES`
//! says for how long.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Dice, legacy, number};
use crate::hostile;
use crate::process::Process;
use crate::wait::PATIENCE;

const WORKERS: usize = 8;
/// What mutations put in.
const BITS: [&str; 24] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "%2e",
    "%2f",
    "%00",
    "..",
    "//",
    "\\",
    "chunked",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 0\r\n",
    "Host: h\r\n",
    "X-Portcullis-Scope: spoofed\r\n",
    "Connection: upgrade\r\n",
    "Expect: 100-continue\r\n",
    "0\r\n\r\n",
    "\u{ff}",
];

/// The identity fields at the upstream are the token's own, each once.
fn is_honest(head: &str, own: &[(String, String)]) -> bool {
    let squeezed = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let mut found: Vec<(String, String)> = head
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (squeezed(name), value.trim().to_owned()))
        .filter(|(name, _)| name.starts_with("xportcullis"))
        .collect();
    found.sort();
    found == own
}

fn is_public(head: &str) -> bool {
    head.split(' ').nth(1).is_some_and(|target| target.starts_with("/public/"))
}

/// Changes some bytes, or none.
fn mutate(dice: &mut Dice, mut bytes: Vec<u8>, others: &[String]) -> Vec<u8> {
    for _ in 0..dice.below(5) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.next() as u8,
            2 => drop(bytes.splice(at..at, dice.pick(&BITS).bytes())),
            3 => drop(bytes.drain(at..(at + 1 + dice.below(16)).min(bytes.len()))),
            4 => {
                let piece = bytes[at..(at + 1 + dice.below(64)).min(bytes.len())].to_vec();
                let to = dice.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            5 => {
                let other = dice.pick(others).as_bytes();
                let from = dice.below(other.len());
                drop(bytes.splice(at.., other[from..].iter().copied()));
            }
            6 => bytes.truncate(at + 1),
            _ => bytes.extend_from_slice(dice.pick(others).as_bytes()),
        }
        if bytes.is_empty() {
            return b"\r\n".to_vec();
        }
    }
    bytes
}

fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    into.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    into.extend_from_slice(&[kind, flags]);
    into.extend_from_slice(&stream.to_be_bytes());
    into.extend_from_slice(payload);
}

/// HPACK: a literal that is not indexed, its strings plain (RFC 7541 section 6.2.2).
fn literal(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.push(0);
    for text in [name, value] {
        // Lengths from 127 on take more bytes (section 5.1).
        if text.len() < 127 {
            into.push(text.len() as u8);
        } else {
            let mut left = text.len() - 127;
            into.push(127);
            while left >= 128 {
                into.push((left % 128 + 128) as u8);
                left /= 128;
            }
            into.push(left as u8);
        }
        into.extend_from_slice(text);
    }
}

/// Some of the hostile requests as one HTTP/2 connection.
fn http2(dice: &mut Dice, requests: &[String]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, 4, 0, 0, &[]);
    for n in 0..=dice.below(4) as u32 {
        let stream = 2 * n + 1;
        let request = dice.pick(requests);
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let mut block = Vec::new();
        literal(&mut block, b":method", first.next().unwrap_or("GET").as_bytes());
        literal(&mut block, b":path", first.next().unwrap_or("/").as_bytes());
        literal(&mut block, b":scheme", b"http");
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            match name.as_str() {
                "host" if dice.below(8) > 0 => literal(&mut block, b":authority", value.as_bytes()),
                // Most would be the end of it.
                "connection" | "transfer-encoding" | "upgrade" if dice.below(8) > 0 => {}
                _ => literal(&mut block, name.as_bytes(), value.as_bytes()),
            }
        }
        let end = u8::from(body.is_empty());
        if dice.below(6) == 0 {
            let (some, rest) = block.split_at(dice.below(block.len()));
            frame(&mut bytes, 1, end, stream, some);
            frame(&mut bytes, 9, 4, stream, rest);
        } else {
            frame(&mut bytes, 1, 4 | end, stream, &block);
        }
        if !body.is_empty() {
            frame(&mut bytes, 0, 1, stream, body.as_bytes());
        }
        match dice.below(8) {
            0 => frame(&mut bytes, 3, 0, stream, &[0, 0, 0, 8]),
            1 => frame(&mut bytes, 8, 0, stream, &(dice.next() as u32).to_be_bytes()),
            2 => frame(&mut bytes, 6, 0, 0, &dice.next().to_be_bytes()),
            3 => frame(&mut bytes, dice.below(12) as u8, dice.next() as u8, stream, b"rubbish"),
            4 => {
                let mut trailers = Vec::new();
                literal(&mut trailers, b"x-portcullis-scope", b"spoofed");
                frame(&mut bytes, 1, 5, stream, &trailers);
            }
            _ => {}
        }
    }
    bytes
}

/// Sends it in pieces and reads what comes until nothing does.
async fn throw(address: std::net::SocketAddr, bytes: &[u8], dice: &mut Dice) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let _ = stream.set_nodelay(true);
    let mut rest = bytes;
    while !rest.is_empty() {
        let take = if dice.below(3) == 0 { 1 + dice.below(rest.len()) } else { rest.len() };
        if stream.write_all(&rest[..take]).await.is_err() {
            return;
        }
        rest = &rest[take..];
        tokio::task::yield_now().await;
    }
    if dice.below(4) == 0 {
        // Gone, in the middle of whatever it is.
        return;
    }
    if dice.below(2) == 0 {
        let _ = stream.shutdown().await;
    }
    let mut buffer = [0; 4096];
    let wait = Duration::from_millis(20);
    while let Ok(Ok(1..)) = tokio::time::timeout(wait, stream.read(&mut buffer)).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_over_sockets_neither_panics_nor_spoofs_nor_holds_anybody_up() {
    let time = number("MINUTES").map_or(Duration::from_secs(4), |n| Duration::from_secs(60 * n));
    let mut dice = Dice::new("wire");
    let own = Arc::new(Mutex::new(Vec::new()));
    let (spoofed, forwarded) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let upstream = {
        let (own, spoofed) = (Arc::clone(&own), Arc::clone(&spoofed));
        let forwarded = Arc::clone(&forwarded);
        legacy::start(move |head| {
            forwarded.fetch_add(1, Ordering::Relaxed);
            let own = if is_public(head) { Vec::new() } else { own.lock().unwrap().clone() };
            if !is_honest(head, &own) {
                spoofed.lock().unwrap().push(head.to_owned());
            }
        })
        .await
    };
    let limits = "[server.limits]\nheader_timeout = \"300ms\"\nidle_timeout = \"1s\"";
    let mut process = Process::prepare(upstream, limits);
    process.launch().await;
    let body = json!({ "name": "n", "account": "acme", "roles": ["reader"] });
    let made = process.admin("/v1/credentials", body).await;
    let (_, answer) = process.trade(&made).await;
    let token = answer["access_token"].as_str().unwrap().to_owned();
    *own.lock().unwrap() = identity(&token);
    assert_eq!(process.ask(&token).await, 200);
    assert_eq!(forwarded.load(Ordering::Relaxed), 1);

    let requests = Arc::new(hostile::requests(&token));
    let (stop, thrown) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let recent = Arc::new(Mutex::new(vec![Vec::new(); WORKERS]));
    let workers: Vec<_> = (0..WORKERS)
        .map(|n| {
            let (mut dice, requests, address) = (dice.child(), Arc::clone(&requests), process.data);
            let (stop, thrown, recent) =
                (Arc::clone(&stop), Arc::clone(&thrown), Arc::clone(&recent));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let bytes = if n % 2 == 0 {
                        dice.pick(&requests).clone().into_bytes()
                    } else {
                        http2(&mut dice, &requests)
                    };
                    let bytes = mutate(&mut dice, bytes, &requests);
                    recent.lock().unwrap()[n].clone_from(&bytes);
                    throw(address, &bytes, &mut dice).await;
                    thrown.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let (began, before) = (Instant::now(), process.memory("VmRSS"));
    let mut checks = 0;
    let is_much = || thrown.load(Ordering::Relaxed) > 100 && forwarded.load(Ordering::Relaxed) > 20;
    let outcome = loop {
        if let Err(what) = check(&process, &token, &spoofed).await {
            break Err(what);
        }
        checks += 1;
        let past = began.elapsed();
        if past > time && (is_much() || past > time + PATIENCE) {
            break Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    if let Err(what) = outcome {
        let last = recent.lock().unwrap();
        let last = last.iter().map(|bytes| format!("{:?}", String::from_utf8_lossy(bytes)));
        panic!("{what}\nthe last that were thrown:\n{}", last.collect::<Vec<_>>().join("\n"));
    }
    println!(
        "wire: {} thrown in {:.0} s, {} forwarded, {checks} checks, memory {before} -> {} kB",
        thrown.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
        forwarded.load(Ordering::Relaxed),
        process.memory("VmRSS")
    );
    assert!(is_much());
}

/// The identity that the gateway is to tell the upstream of.
fn identity(token: &str) -> Vec<(String, String)> {
    let claims = super::model::claims(token);
    let text = |name: &str| claims[name].as_str().unwrap().to_owned();
    let mut own = vec![
        ("xportcullisclientid".to_owned(), text("client_id")),
        ("xportcullisaccount".to_owned(), text("account")),
        ("xportcullisscope".to_owned(), text("scope")),
        ("xportcullisjti".to_owned(), text("jti")),
    ];
    own.sort();
    own
}

async fn check(process: &Process, token: &str, spoofed: &Mutex<Vec<String>>) -> Result<(), String> {
    let url = |path: &str| format!("http://{}{path}", process.metrics);
    // Each on a connection of its own: an idle one may be closing just now.
    let http = reqwest::Client::builder().pool_max_idle_per_host(0);
    let http = http.timeout(Duration::from_secs(30)).build().unwrap();
    let get = async |url: String| {
        // Where this process itself comes too late with its head, it is hung up on.
        for _ in 0..2 {
            if let Ok(answer) = http.get(&url).send().await {
                return Ok(answer);
            }
        }
        let answer = http.get(&url).send().await;
        answer.map_err(|error| format!("{url}: {error:?}"))
    };
    if get(url("/healthz")).await?.status() != 200 {
        return Err("a health check failed".to_owned());
    }
    let page = get(url("/metrics")).await?.text().await.map_err(|error| error.to_string())?;
    if !page.contains("portcullis_panics_total 0\n") {
        return Err(format!("a panic: {}", process.stderr()));
    }
    let request = format!("http://{}/any/acme/x", process.data);
    match http.get(request).bearer_auth(token).send().await {
        Ok(answer) if answer.status() == 200 => {}
        Ok(answer) => return Err(format!("a good request: {}", answer.status())),
        Err(error) => return Err(format!("a good request: {error:?}")),
    }
    match spoofed.lock().unwrap().first() {
        Some(head) => Err(format!("a spoofed identity: {head:?}")),
        None => Ok(()),
    }
}

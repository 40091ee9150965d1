//! One JSON line a request, gathered in memory and written by a thread of its own.
//!
//! The thread is woken for the first line of a batch only: woken for each, it
//! cost more processor time than judging and forwarding together.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use serde::Serialize;

/// What a line says. Never a token, a secret or a query.
#[derive(Debug)]
#[cfg_attr(test, derive(Serialize))]
pub struct AccessRecord<'a> {
    /// When the request began, RFC 3339.
    pub ts: String,
    /// The id that the client and the upstream know it by.
    pub request_id: &'a str,
    /// The route, or `none`.
    pub route: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The status; 499 if the client left before one was sent, 0 if it was cut.
    pub status: u16,
    /// `allow`, `deny`, or `local` for what the gateway answers by itself.
    pub decision: &'a str,
    /// The word that says why it was denied, cut or failed; else empty.
    pub reason: &'a str,
    /// Whose token it was.
    pub client_id: Option<&'a str>,
    /// Of which account.
    pub account: Option<&'a str>,
    /// Where it went.
    pub upstream: Option<&'a str>,
    /// From the head to the end of the answer, in milliseconds.
    pub duration_ms: f64,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
}

/// Bytes that wait for a slow reader; what would go beyond is lost, and counted.
const MOST_WAITING: usize = 8 << 20;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);

/// How long the reader has for the last lines.
const LAST_LINES: Duration = Duration::from_secs(3);

/// Takes lines and never waits for a reader.
pub struct AccessLog {
    waiting: Arc<Waiting>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lost: IntCounter,
}

#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    some: Condvar,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    closed: bool,
}

impl AccessLog {
    /// Writes to `output`, which is flushed after each batch of lines.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(output: Box<dyn Write + Send>, lost: IntCounter) -> std::io::Result<Self> {
        let waiting = Arc::new(Waiting::default());
        let (read, uncounted) = (Arc::clone(&waiting), lost.clone());
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || read.write_to(output, &uncounted))?;
        Ok(AccessLog { waiting, writer: Mutex::new(Some(writer)), lost })
    }

    /// Writes a line, or counts it as lost.
    pub fn write(&self, record: &AccessRecord<'_>) {
        let line = line_of(record);
        let mut lines = self.waiting.lines.lock();
        if lines.bytes.len() + line.len() > MOST_WAITING {
            self.lost.inc();
            return;
        }
        let first = lines.bytes.is_empty();
        lines.bytes.extend_from_slice(&line);
        drop(lines);
        if first {
            self.waiting.some.notify_one();
        }
    }

    /// Writes what waits and ends. A reader that takes nothing loses it: the end
    /// does not wait for ever.
    pub fn close(&self) {
        self.waiting.lines.lock().closed = true;
        self.waiting.some.notify_one();
        let Some(writer) = self.writer.lock().take() else { return };
        let began = Instant::now();
        while !writer.is_finished() {
            if began.elapsed() > LAST_LINES {
                tracing::warn!("nobody reads standard output: the last lines of the log are lost");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = writer.join();
    }
}

/// As serde would write it, but copied at once where it can be: nearly every text
/// stands in JSON as it is, which can be seen of many bytes at a time.
fn line_of(record: &AccessRecord<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(512);
    text(&mut line, "{\"ts\":", &record.ts);
    text(&mut line, ",\"request_id\":", record.request_id);
    text(&mut line, ",\"route\":", record.route);
    text(&mut line, ",\"method\":", record.method);
    text(&mut line, ",\"path\":", record.path);
    value(&mut line, ",\"status\":", &record.status);
    text(&mut line, ",\"decision\":", record.decision);
    text(&mut line, ",\"reason\":", record.reason);
    optional(&mut line, ",\"client_id\":", record.client_id);
    optional(&mut line, ",\"account\":", record.account);
    optional(&mut line, ",\"upstream\":", record.upstream);
    value(&mut line, ",\"duration_ms\":", &record.duration_ms);
    value(&mut line, ",\"bytes_in\":", &record.bytes_in);
    value(&mut line, ",\"bytes_out\":", &record.bytes_out);
    line.extend_from_slice(b"}\n");
    line
}

fn text(line: &mut Vec<u8>, key: &str, text: &str) {
    let is_escaped = |b: u8| (b < 0x20) | (b == b'"') | (b == b'\\');
    if text.bytes().fold(false, |found, b| found | is_escaped(b)) {
        return value(line, key, text);
    }
    line.extend_from_slice(key.as_bytes());
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
}

fn optional(line: &mut Vec<u8>, key: &str, given: Option<&str>) {
    match given {
        Some(given) => text(line, key, given),
        None => value(line, key, &()),
    }
}

fn value(line: &mut Vec<u8>, key: &str, value: &(impl Serialize + ?Sized)) {
    line.extend_from_slice(key.as_bytes());
    // Neither memory nor a number or text fails to take it.
    let _ = serde_json::to_writer(line, value);
}

impl Waiting {
    fn write_to(&self, mut output: Box<dyn Write + Send>, lost: &IntCounter) {
        loop {
            let mut lines = self.lines.lock();
            self.some.wait_while(&mut lines, |lines| lines.bytes.is_empty() && !lines.closed);
            if !lines.closed {
                // Until the end comes, or more lines have.
                self.some.wait_while_for(&mut lines, |lines| !lines.closed, GATHER);
            }
            let bytes = std::mem::take(&mut lines.bytes);
            let closed = lines.closed;
            drop(lines);
            // A reader that is gone is no reason to stop serving.
            if output.write_all(&bytes).and_then(|()| output.flush()).is_err() {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                lost.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
            }
            if closed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn record(path: &str) -> AccessRecord<'_> {
        AccessRecord {
            ts: "t".into(),
            request_id: "r",
            route: "none",
            method: "GET",
            path,
            status: 404,
            decision: "deny",
            reason: "no_route",
            client_id: None,
            account: None,
            upstream: None,
            duration_ms: 0.1,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn a_line_is_what_serde_makes_of_it() {
        let texts =
            ["", "a", "\"", "\\", "\n\t\u{1}", "é\u{7f}\u{2028}/", "long enough for a vector \""];
        let numbers = [0.0, 0.1, 12.0, 1234.567, 1e21, f64::NAN];
        for (at, odd) in texts.into_iter().enumerate() {
            for duration_ms in numbers {
                let path = format!("/{}{odd}", "a".repeat(at * 7));
                let record = AccessRecord {
                    ts: odd.into(),
                    request_id: odd,
                    route: odd,
                    method: odd,
                    reason: odd,
                    client_id: (at % 2 == 0).then_some(odd),
                    account: (at % 3 == 0).then_some(odd),
                    upstream: Some(odd),
                    duration_ms,
                    bytes_in: u64::MAX,
                    bytes_out: at as u64,
                    ..record(&path)
                };
                let line = String::from_utf8(line_of(&record)).unwrap();
                assert_eq!(line, serde_json::to_string(&record).unwrap() + "\n");
            }
        }
    }

    #[test]
    fn every_line_is_written_whole_and_in_order_or_counted() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lost = IntCounter::new("lost", "lost").unwrap();
        let log = AccessLog::new(Box::new(Slow(Arc::clone(&written))), lost.clone()).unwrap();
        for n in 0..1000 {
            log.write(&record(&format!("/{n}")));
        }
        log.close();
        let text = String::from_utf8(written.lock().clone()).unwrap();
        let paths: Vec<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].to_string()
            })
            .collect();
        assert_eq!(paths.len(), 1000);
        assert!(paths.iter().enumerate().all(|(n, path)| *path == format!("\"/{n}\"")));
        assert_eq!(lost.get(), 0);
        let huge = "x".repeat(MOST_WAITING);
        log.write(&record(&huge));
        assert_eq!(lost.get(), 1);
    }
}

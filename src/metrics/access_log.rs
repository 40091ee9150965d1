//! One JSON line a request, gathered in memory and written by a thread of its own.
//!
//! The thread is woken for the first line of a batch only: woken for each, it
//! cost more processor time than judging and forwarding together. `line` makes the
//! lines.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use super::line;
use crate::domain::UnixTime;

/// What a line says. Never a token, a secret or a query.
#[derive(Debug)]
pub struct AccessRecord<'a> {
    /// When the request began; RFC 3339 in the line.
    pub ts: UnixTime,
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
    /// From the head to the end of the answer; milliseconds in the line, to the
    /// microsecond.
    pub duration: Duration,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
}

/// Bytes that wait for a slow reader; what would go beyond is lost, and counted.
const MOST_WAITING: usize = 8 << 20;

/// Bytes that are kept to write a line in, and to gather lines in.
const LINE_ROOM: usize = 4 << 10;
const BATCH_ROOM: usize = 1 << 20;

/// What a pipe takes whole (`PIPE_BUF`): during an upgrade two processes write to one.
const PIECE: usize = 4096;

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
        thread_local! {
            /// Room for a line, so that the heap is not asked for each.
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let written = LINE.try_with(|line| {
            let mut line = line.try_borrow_mut().ok()?;
            line.clear();
            line::write(&mut line, record);
            self.take(&line);
            // A path may be long; who asks for one does not keep the room for it.
            line.shrink_to(LINE_ROOM);
            Some(())
        });
        // A thread that is being torn down has no room of its own left.
        if !matches!(written, Ok(Some(()))) {
            let mut line = Vec::new();
            line::write(&mut line, record);
            self.take(&line);
        }
    }

    fn take(&self, line: &[u8]) {
        let mut lines = self.waiting.lines.lock();
        if lines.bytes.len() + line.len() > MOST_WAITING {
            self.lost.inc();
            return;
        }
        let first = lines.bytes.is_empty();
        lines.bytes.extend_from_slice(line);
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

impl Waiting {
    fn write_to(&self, mut output: Box<dyn Write + Send>, lost: &IntCounter) {
        // Two buffers take turns, so that neither has to grow from nothing again.
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            bytes.shrink_to(BATCH_ROOM);
            let mut lines = self.lines.lock();
            self.some.wait_while(&mut lines, |lines| lines.bytes.is_empty() && !lines.closed);
            if !lines.closed {
                // Until the end comes, or more lines have.
                self.some.wait_while_for(&mut lines, |lines| !lines.closed, GATHER);
            }
            std::mem::swap(&mut bytes, &mut lines.bytes);
            let closed = lines.closed;
            drop(lines);
            // A reader that is gone is no reason to stop serving.
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let piece;
                (piece, rest) = rest.split_at_checked(piece_of(rest)).unwrap_or((rest, &[]));
                if output.write_all(piece).and_then(|()| output.flush()).is_err() {
                    let lines = piece.iter().filter(|byte| **byte == b'\n').count();
                    lost.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
                }
            }
            if closed {
                return;
            }
        }
    }
}

/// How long the first lines of `bytes` are that a pipe takes whole; one line at least.
fn piece_of(bytes: &[u8]) -> usize {
    let first = bytes.get(..PIECE).unwrap_or(bytes);
    let end = memchr::memrchr(b'\n', first).or_else(|| memchr::memchr(b'\n', bytes));
    end.map_or(bytes.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::line::tests::record;

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

    #[test]
    fn two_processes_can_share_a_pipe() {
        let line = format!("{}\n", "x".repeat(299));
        let mut batch = line.repeat(100);
        batch.push_str(&format!("{}\n", "y".repeat(5000)));
        batch.push_str(&line);
        let (mut rest, mut sizes) = (batch.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_of(rest));
            assert_eq!(piece.last(), Some(&b'\n'));
            sizes.push(piece.len());
            rest = after;
        }
        assert_eq!(sizes, [vec![3900; 7], vec![2700, 5001, 300]].concat());
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

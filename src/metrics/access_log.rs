//! One JSON line a request, written by a thread of its own.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use prometheus::IntCounter;
use serde::Serialize;

/// What a line says. Never a token, a secret or a query.
#[derive(Debug, Serialize)]
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
    pub client_id: Option<String>,
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

/// Lines that wait for a slow reader; more are lost, and counted.
const QUEUE: usize = 8192;

/// Takes lines and never waits.
pub struct AccessLog {
    lines: Mutex<Option<SyncSender<Vec<u8>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lost: IntCounter,
}

impl AccessLog {
    /// Writes to `output`, which is flushed whenever nothing more waits.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(output: Box<dyn Write + Send>, lost: IntCounter) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&receiver, output))?;
        Ok(AccessLog { lines: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)), lost })
    }

    /// Writes a line, or counts it as lost.
    pub fn write(&self, record: &AccessRecord<'_>) {
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        line.push(b'\n');
        let sender = self.lines.lock().clone();
        match sender.map(|sender| sender.try_send(line)) {
            Some(Err(TrySendError::Full(_))) => self.lost.inc(),
            Some(Ok(()) | Err(TrySendError::Disconnected(_))) | None => {}
        }
    }

    /// Writes what waits and ends.
    pub fn close(&self) {
        self.lines.lock().take();
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

fn write_lines(lines: &Receiver<Vec<u8>>, mut output: Box<dyn Write + Send>) {
    while let Ok(line) = lines.recv() {
        // A reader that is gone is no reason to stop serving.
        let _ = output.write_all(&line);
        while let Ok(line) = lines.try_recv() {
            let _ = output.write_all(&line);
        }
        let _ = output.flush();
    }
}

//! The end of a gateway, in order: out of rotation, shut, drained, written, closed.
//! After an upgrade the next process serves, and this one only drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use tokio::time::{sleep, timeout, timeout_at};

use super::background::keep;
use super::ports::Closing;
use super::start::Running;
use super::upgrade::take_back_until;

/// How long a connection may be silent once the door is shut. A request may be on
/// its way on it, and is answered; then it is closed.
const LAST_ORDERS: Duration = Duration::from_millis(100);

/// The same after an upgrade, when nobody waits for the end.
const LONG_LAST_ORDERS: Duration = Duration::from_secs(1);

/// How long connections that are cut may take over it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long what is of use, and not needed, may take to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// Whether the ports beside say `Connection: close`, as the data plane does.
#[derive(Clone, Default)]
pub(super) struct Farewell(Arc<AtomicBool>);

impl Farewell {
    pub(super) fn round(&self, app: Router) -> Router {
        let Farewell(said) = self.clone();
        app.layer(axum::middleware::map_response(move |mut response: Response| {
            if said.load(Ordering::Relaxed) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            std::future::ready(response)
        }))
    }

    fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What became of a process that had handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All was drained, or cut after `server.drain_timeout`.
    Drained,
    /// The process that serves went away, and with it the knowledge of what is
    /// revoked: what was left has to be cut.
    Alone,
}

impl Running {
    /// Ends it: not ready, `server.shutdown_delay`, shut, drain, write what waits, let
    /// go of everything.
    pub async fn stop(mut self) {
        self.readiness.not_ready("draining");
        self.farewell.say();
        self.plane.say_goodbye();
        // An upgrade may have been under way, and its process is gone.
        let (lent, mut letting_go) = (Arc::clone(&self.lent), self.letting_go.take());
        let drained = async {
            sleep(self.times.delay).await;
            self.drain(LAST_ORDERS).await;
            self.end_beside().await;
        };
        take_back_until(drained, &lent, &mut letting_go).await;
        self.write_and_close().await;
    }

    /// Ends it after [`Running::hand_over`]: what is under way goes on as at the end,
    /// and is cut by what the next process revokes. To be followed by the end of the
    /// process, at once.
    pub async fn retire(mut self) -> Ended {
        let plane = Arc::clone(&self.plane);
        let Some(heir) = self.heir.take() else {
            self.stop().await;
            return Ended::Drained;
        };
        let drained = async {
            self.farewell.say();
            // Who comes now wants to know of the process that serves.
            self.closing.send_replace(Closing::Shut);
            let closing = self.closing.clone();
            let last_orders = sleep(LONG_LAST_ORDERS.min(self.times.drain));
            let beside = async {
                last_orders.await;
                closing.send_replace(Closing::Leaving);
            };
            tokio::join!(self.drain(LONG_LAST_ORDERS), beside);
            self.end_beside().await;
            self.write_and_close().await;
            heir.done().await;
        };
        tokio::select! {
            biased;
            () = drained => Ended::Drained,
            () = heir.gone() => {
                // Before a word is said: whoever reads that may be slow.
                plane.cut();
                if !self.serving.is_finished() {
                    // Each connection has its last word, and then its thread may end.
                    let _ = timeout(LAST_WORDS, &mut self.serving).await;
                }
                Ended::Alone
            }
        }
    }

    /// Shuts the door, and waits until all have left or must.
    async fn drain(&mut self, last_orders: Duration) {
        let end = tokio::time::Instant::now() + self.times.drain;
        self.doors.clear();
        self.plane.shut();
        let last_orders = last_orders.min(self.times.drain);
        if timeout(last_orders, &mut self.serving).await.is_ok() {
            return;
        }
        self.plane.leave();
        if timeout_at(end, &mut self.serving).await.is_err() {
            self.plane.cut();
            let _ = (&mut self.serving).await;
        }
    }

    /// Ends the ports beside, and what works beside the requests.
    async fn end_beside(&mut self) {
        self.closing.send_replace(Closing::Leaving);
        // The listeners beside end by themselves; the loops never do.
        let graceful = async { while self.beside.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_millis(200), graceful).await;
        self.beside.shutdown().await;
    }

    async fn write_and_close(&self) {
        // By another process, perhaps, and that one may hang.
        if timeout(WRITTEN_WITHIN, keep(&self.context)).await.is_err() {
            tracing::warn!("last uses were not written in time; they are lost");
        }
        let (store, log) = (Arc::clone(&self.store), Arc::clone(&self.log));
        let closed = tokio::task::spawn_blocking(move || {
            store.close();
            log.close();
        });
        let _ = closed.await;
    }
}

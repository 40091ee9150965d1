//! Work that must not stop: what ends in a panic is begun anew. The panic itself is
//! counted and told of where all are (`app::panics`).

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::sleep;

/// Before it is begun anew, so that what always panics does not take a processor.
const PAUSE: Duration = Duration::from_millis(50);

/// Does `work` until it returns.
pub async fn again(work: impl AsyncFn()) {
    while AssertUnwindSafe(async { work().await }).catch_unwind().await.is_err() {
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_begun_anew_until_it_returns() {
        let begun = AtomicUsize::new(0);
        again(async || {
            let count = begun.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            assert!(count >= 3, "as often as this");
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 4);
    }
}

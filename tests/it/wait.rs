//! Waiting for what is to come, with an end: a fault fails its test, and hangs nobody.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Far more than the busiest machine takes, and less than the minute after which the gateway
/// gives much up by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks, so that nobody is kept from what is waited for.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            sleep(STEP).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

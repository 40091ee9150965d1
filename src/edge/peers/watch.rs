//! Looking after upstreams beside the requests, for as long as each is in use.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::Upstream;
use crate::edge::settings::EdgeSettings;

/// How soon a reload is noticed here.
const LOOK_ROUND: Duration = Duration::from_millis(500);

/// Tends all upstreams of the settings, whatever they come to be, until the end.
pub(crate) async fn watch_all(settings: &ArcSwap<EdgeSettings>, mut stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    let mut tended: Vec<(Arc<Upstream>, AbortHandle)> = Vec::new();
    loop {
        let wanted: Vec<Arc<Upstream>> =
            settings.load().upstreams.values().filter(|u| !u.is_retired()).cloned().collect();
        tended.retain(|(upstream, task)| {
            let keep = wanted.iter().any(|w| Arc::ptr_eq(w, upstream)) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        for upstream in wanted {
            if !tended.iter().any(|(known, _)| Arc::ptr_eq(known, &upstream)) {
                let tending = Arc::clone(&upstream);
                let task = tasks.spawn(async move { tending.tend().await });
                tended.push((upstream, task));
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = tokio::time::sleep(LOOK_ROUND) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

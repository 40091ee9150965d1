//! A store full of revoked tokens, written through the store's own door: what
//! the admin port would leave behind, without its audit entries.

use std::sync::Arc;
use std::time::Duration;

use portcullis::domain::{Clock, Jti, SystemClock};
use portcullis::store::codec::{self, RevokedToken};
use portcullis::store::{Change, MAX_OPS, SledOptions, SledStore, Store};
use tokio::task::JoinSet;

const WRITERS: u64 = 64;
const HOUR: u64 = 3600;

/// Adds `count` tokens to a store that nobody holds; they run out over a day.
pub(crate) fn fill(folder: &str, count: u64) {
    let store = SledStore::open(SledOptions::new(folder)).unwrap();
    store.load(&mut |_| {}).unwrap();
    let store = Arc::new(store);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&store);
            writers.spawn(async move { write(store.as_ref(), writer, count).await });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    });
    store.close();
}

/// Writes one of every [`WRITERS`] changes.
async fn write(store: &SledStore, writer: u64, count: u64) {
    let now = SystemClock.now();
    let size = MAX_OPS as u64;
    for first in (writer * size..count).step_by((WRITERS * size) as usize) {
        let ops = (first..count.min(first + size)).map(|n| {
            // Spread like random ids.
            let id = u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            codec::put(&RevokedToken {
                jti: Jti::from_random(id.to_be_bytes()),
                expires_at: now.plus(Duration::from_secs(HOUR * (25 + n % 24))),
                client_id: None,
                revoked_by: "compare".to_owned(),
                revoked_at: now,
                reason: None,
            })
        });
        store.commit(Change { guards: Vec::new(), ops: ops.collect() }).await.unwrap();
    }
}

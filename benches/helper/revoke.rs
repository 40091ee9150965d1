//! A store full of revoked tokens, packed as a gateway packs them in time, without
//! their audit entries. Ten million through the store's front door take minutes.

use std::path::PathBuf;
use std::time::Duration;

use portcullis::domain::{Clock, Jti, SystemClock, UnixTime};
use portcullis::store::codec::{self, RevokedToken};
use portcullis::store::{Entry, Op, Revision, SledOptions, SledStore, Store};

const HOUR: u64 = 3600;

/// Adds `count` tokens to a store that nobody holds; they run out over a day.
pub(crate) fn fill(folder: &str, count: u64) {
    let store = SledStore::open(SledOptions::new(folder)).unwrap();
    let mut entries = Vec::new();
    let head = store.load(&mut |entry| entries.push(entry)).unwrap();
    store.close();
    let (now, last) = (SystemClock.now(), head + count);
    let mut revoked = (0..count).map(|n| (head + 1 + n, token(n, count, now))).peekable();
    let mut waiting: Vec<(Revision, RevokedToken)> = Vec::new();
    let packs = std::iter::from_fn(|| {
        let hour = |token: &RevokedToken| codec::key::hour_of(token.expires_at);
        while waiting.len() < codec::MOST_PACKED
            && let Some(next) = revoked.next_if(|(_, next)| {
                waiting.first().is_none_or(|(_, first)| hour(first) == hour(next))
            })
        {
            waiting.push(next);
        }
        let (taken, op) = codec::pack(&waiting)?;
        waiting.drain(..taken);
        let Op::Put { key, value } = op else { unreachable!("a pack is put") };
        Some(Entry { key, value, revision: last })
    });
    let folder = PathBuf::from(folder);
    let (full, before) = (folder.with_extension("full"), folder.with_extension("before"));
    let mut entries = entries.into_iter().chain(packs).map(Ok);
    SledStore::fill(&SledOptions::new(&full), last, &mut entries).unwrap();
    std::fs::rename(&folder, before).unwrap();
    std::fs::rename(full, folder).unwrap();
}

/// One of `count`, spread like random ids.
fn token(n: u64, count: u64, now: UnixTime) -> RevokedToken {
    let id = u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    RevokedToken {
        jti: Jti::from_random(id.to_be_bytes()),
        expires_at: now.plus(Duration::from_secs(HOUR * (25 + n * 24 / count))),
        client_id: None,
        revoked_by: "compare".to_owned(),
        revoked_at: now,
        reason: None,
    }
}

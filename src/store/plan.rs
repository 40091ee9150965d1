//! What a change would do: guards checked, final keys made. Every engine uses it,
//! so that they can differ in how they keep things and not in what they mean.

use std::sync::Arc;

use super::chain::{Head, LINK_BYTES, NO_LINK, link_to};
use super::{Change, Effect, Entry, Guard, Key, MAX_ENTRY_BYTES, MAX_KEY_BYTES, MAX_OPS};
use super::{Op, Revision};

/// Why a change does not happen.
#[derive(Debug)]
pub(super) enum Refusal<E> {
    /// A guard did not hold.
    Conflict,
    /// No store may take such a change.
    Invalid(String),
    /// The engine could not look.
    Read(E),
}

/// What lies under a key.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Who wrote it.
    pub(super) revision: Revision,
    /// What it is.
    pub(super) value: Arc<[u8]>,
}

/// How many keys a change may write or remove: appending moves a head as well.
pub(super) fn weight(change: &Change) -> usize {
    let appends = change.ops.iter().filter(|op| matches!(op, Op::Append { .. })).count();
    change.ops.len() + appends
}

/// Checks `change` and says what it does at `revision`. `held` tells what lies
/// under a key.
pub(super) fn plan<E>(
    change: Change,
    revision: Revision,
    mut held: impl FnMut(&Key) -> Result<Option<Held>, E>,
) -> Result<Vec<Effect>, Refusal<E>> {
    check_size(&change).map_err(Refusal::Invalid)?;
    for guard in &change.guards {
        let (key, wanted) = match guard {
            Guard::Absent(key) => (key, None),
            Guard::At(key, revision) => (key, Some(*revision)),
        };
        if held(key).map_err(Refusal::Read)?.map(|held| held.revision) != wanted {
            return Err(Refusal::Conflict);
        }
    }
    let mut effects: Vec<Effect> = Vec::with_capacity(change.ops.len());
    for op in change.ops {
        match op {
            Op::Put { key, value } => effects.push(Effect::Put(Entry { key, value, revision })),
            Op::Append { prefix, mut value } => {
                let key = Key([prefix.0.as_slice(), &revision.to_be_bytes()].concat());
                if after(&effects, &key).is_some() {
                    let what = format!("it writes the key {key:?} twice, once by appending");
                    return Err(Refusal::Invalid(what));
                }
                // An unreadable head must not stop revocations: the broken link
                // that comes of it is found by whoever verifies the chain.
                let before = held(&prefix).map_err(Refusal::Read)?;
                let before = before.and_then(|head| Head::decode(&head.value));
                value.extend_from_slice(&before.map_or(NO_LINK, |head| head.link));
                let head = Head { revision, link: link_to(&key, &value) }.encode();
                effects.push(Effect::Put(Entry { key, value, revision }));
                effects.push(Effect::Put(Entry { key: prefix, value: head, revision }));
            }
            Op::Delete { key } => {
                let there = match after(&effects, &key) {
                    Some(there) => there,
                    None => held(&key).map_err(Refusal::Read)?.is_some(),
                };
                if there {
                    effects.push(Effect::Deleted(key));
                }
            }
        }
    }
    Ok(effects)
}

/// Whether something lies under `key` after `effects`; `None` if they don't touch it.
fn after(effects: &[Effect], key: &Key) -> Option<bool> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Put(entry) => (entry.key == *key).then_some(true),
        Effect::Deleted(deleted) => (deleted == key).then_some(false),
    })
}

fn check_size(change: &Change) -> Result<(), String> {
    if change.ops.len() > MAX_OPS {
        return Err(format!("it has {} ops; at most {MAX_OPS} fit", change.ops.len()));
    }
    for op in &change.ops {
        let (key, key_bytes, value_bytes) = match op {
            Op::Put { key, value } => (key, key.0.len(), value.len()),
            Op::Append { prefix, value } => (prefix, prefix.0.len() + 8, value.len() + LINK_BYTES),
            Op::Delete { key } => (key, key.0.len(), 0),
        };
        if key_bytes > MAX_KEY_BYTES {
            return Err(format!("the key {key:?} is longer than {MAX_KEY_BYTES} bytes"));
        }
        if key_bytes + value_bytes > MAX_ENTRY_BYTES {
            return Err(format!(
                "what would lie under {key:?} is longer than {MAX_ENTRY_BYTES} bytes"
            ));
        }
    }
    Ok(())
}

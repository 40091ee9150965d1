//! Reading what was revoked, the newest first: tokens and cut-offs. Memory keeps
//! the order and the store the rest, so a page is read from the store.

use super::context::Context;
use super::ledger::Place;
use super::packed::read_token;
use crate::store::codec::{CutOff, Record, RevokedToken, key};
use crate::store::{Key, Revision, StoreError};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationKind {
    /// Single tokens.
    Token,
    /// Cut-offs.
    CutOff,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// A token.
    Token(RevokedToken),
    /// Everything issued to somebody before a time.
    CutOff(CutOff),
}

/// Some of them, each with its commit, and where to go on, if there are more.
pub type RevocationPage = (Vec<(Revision, Revocation)>, Option<Revision>);

/// Up to `limit` from before `before`, and where to go on, if there are more.
/// Blocks while it reads.
///
/// # Errors
/// When the store can't be read.
pub fn list_revocations(
    ctx: &Context,
    kind: Option<RevocationKind>,
    before: Option<Revision>,
    limit: usize,
) -> Result<RevocationPage, StoreError> {
    let wanted = |place: &Place| match kind {
        None => true,
        Some(RevocationKind::Token) => matches!(place, Place::Token(..)),
        Some(RevocationKind::CutOff) => matches!(place, Place::CutOff(_)),
    };
    let places = ctx.memory.ledger.older(before, limit.saturating_add(1), wanted);
    let more = places.len() > limit;
    let mut found = Vec::new();
    let mut last = None;
    for (revision, place) in places.into_iter().take(limit) {
        last = Some(revision);
        // One that was swept meanwhile is no more; a cut-off that was moved
        // meanwhile stands further up.
        match place {
            Place::Token(hour, jti) => {
                let packs = &ctx.memory.packs;
                let token = read_token(ctx.store.as_ref(), packs, (hour, jti), Some(revision))?;
                found.extend(token.map(|(_, token)| (revision, Revocation::Token(token))));
            }
            Place::CutOff(subject) => {
                if let Some((Record::CutOff(cut), at)) = read(ctx, &key::cut_off(&subject))?
                    && at == revision
                {
                    found.push((revision, Revocation::CutOff(cut)));
                }
            }
        }
    }
    Ok((found, last.filter(|_| more)))
}

/// What lies under a key, and who wrote it.
fn read(ctx: &Context, wanted: &Key) -> Result<Option<(Record, Revision)>, StoreError> {
    let mut found = None;
    // A cut-off's name may begin with another's: only the very key counts.
    ctx.store.scan(wanted, &mut |entry| {
        if entry.key == *wanted {
            found = Some(entry);
        }
    })?;
    let Some(entry) = found else { return Ok(None) };
    let record = Record::decode(&entry);
    let record = record.map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(Some((record, entry.revision)))
}

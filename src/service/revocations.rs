//! Reading what was revoked, the newest first: tokens and cut-offs. Memory keeps
//! the order and the store the rest, so a page is read from the store.

use super::context::Context;
use super::ledger::Place;
use super::packed::find_packed;
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
        let at = match &place {
            Place::Token(hour, jti) => key::revoked_token_in(*hour, jti),
            Place::CutOff(subject) => key::cut_off(subject),
        };
        // One that was swept meanwhile is no more; a cut-off that was moved
        // meanwhile stands further up.
        let mut found_there = read(ctx, &at)?;
        if let (None, Place::Token(hour, jti)) = (&found_there, &place) {
            let packed = find_packed(ctx, *hour, *jti, revision)?;
            found_there = packed.map(|token| (Record::RevokedToken(token), revision));
        }
        match found_there {
            Some((Record::RevokedToken(token), at)) if at == revision => {
                found.push((revision, Revocation::Token(token)));
            }
            Some((Record::CutOff(cut), at)) if at == revision => {
                found.push((revision, Revocation::CutOff(cut)));
            }
            _ => {}
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

//! The first receipts: what a second revocation of the same thing is answered.
//!
//! A credential's own record says when it ended, and the directory in which
//! commit; the rest is kept here. How many streams a commit closed is known only
//! once it is durable, so where there were any, a record of its own says so.

use std::collections::BTreeSet;

use dashmap::DashMap;
use parking_lot::RwLock;

use crate::domain::{Jti, UnixTime};
use crate::store::codec::{self, CutOff, CutOffSubject, Packed, RevokedToken};
use crate::store::{Op, Revision};

const CLOSED: &str = "streams-closed/";

/// Where and when something was revoked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// The commit.
    pub revision: Revision,
    /// When.
    pub at: UnixTime,
}

/// Where the record of a revocation lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A token, by the hour in which its record may go, as in the record's key.
    Token(u32, Jti),
    /// A cut-off.
    CutOff(CutOffSubject),
}

impl Place {
    fn of(token: &RevokedToken) -> Self {
        Place::Token(codec::key::hour_of(token.expires_at), token.jti)
    }
}

/// Revocations of tokens, cut-offs, and what they closed.
#[derive(Default)]
pub struct Ledger {
    /// In the order in which they came. Who, why and how long is in the store.
    order: RwLock<BTreeSet<(Revision, Place)>>,
    tokens: DashMap<Jti, First>,
    cut_offs: DashMap<CutOffSubject, (UnixTime, First)>,
    closed: DashMap<Revision, usize>,
}

impl Ledger {
    pub(super) fn put_token(&self, token: &RevokedToken, revision: Revision) {
        let first = First { revision, at: token.revoked_at };
        self.order.write().insert((revision, Place::of(token)));
        let mut entry = self.tokens.entry(token.jti).or_insert(first);
        if revision < entry.revision {
            *entry = first;
        }
    }

    /// Takes in a token that lies packed.
    pub(super) fn put_packed(&self, hour: u32, token: &Packed<'_>) {
        let first = First { revision: token.revision, at: token.revoked_at };
        self.order.write().insert((token.revision, Place::Token(hour, token.jti)));
        let mut entry = self.tokens.entry(token.jti).or_insert(first);
        if token.revision < entry.revision {
            *entry = first;
        }
    }

    /// Forgets a token, and that its record lay under this hour.
    pub(super) fn forget_token(&self, hour: u32, jti: Jti) {
        if let Some((_, first)) = self.tokens.remove(&jti) {
            self.order.write().remove(&(first.revision, Place::Token(hour, jti)));
        }
    }

    /// Up to `limit` places from before `before`, the newest first.
    pub(super) fn older(
        &self,
        before: Option<Revision>,
        limit: usize,
        wanted: impl Fn(&Place) -> bool,
    ) -> Vec<(Revision, Place)> {
        // No place sorts before a token of hour 0 with the least id.
        let end = (before.unwrap_or(Revision::MAX), Place::Token(0, Jti::from_bytes([0; 16])));
        let order = self.order.read();
        let older = order.range(..end).rev().filter(|(_, place)| wanted(place));
        older.take(limit).cloned().collect()
    }

    /// Takes a cut-off in; the later time stands.
    pub(super) fn put_cut_off(&self, cut: &CutOff, revision: Revision) {
        let new = (cut.issued_before, First { revision, at: cut.at });
        let place = |revision| (revision, Place::CutOff(cut.subject.clone()));
        let mut entry = self.cut_offs.entry(cut.subject.clone()).or_insert(new);
        let mut order = self.order.write();
        // The record was overwritten: it stands where it was written last.
        order.remove(&place(entry.1.revision));
        order.insert(place(revision));
        if entry.0 <= new.0 {
            *entry = new;
        }
    }

    pub(super) fn put_closed(&self, revision: Revision, streams: usize) {
        if streams > 0 {
            self.closed.insert(revision, streams);
        }
    }

    /// Reads what [`closed_record`] wrote. False if it is something else.
    pub(super) fn put_meta(&self, name: &str, value: &[u8]) -> bool {
        let revision = name.strip_prefix(CLOSED).and_then(|text| text.parse().ok());
        let streams = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        if let (Some(revision), Some(streams)) = (revision, streams) {
            self.put_closed(revision, streams);
        }
        name.starts_with(CLOSED)
    }

    /// The first revocation of a token.
    pub fn token(&self, jti: Jti) -> Option<First> {
        self.tokens.get(&jti).map(|first| *first)
    }

    /// The cut-off of somebody: the time before which all is dead, and its commit.
    pub fn cut_off(&self, subject: &CutOffSubject) -> Option<(UnixTime, First)> {
        self.cut_offs.get(subject).map(|cut| *cut)
    }

    /// How many streams a commit closed.
    pub fn closed(&self, revision: Revision) -> usize {
        self.closed.get(&revision).map_or(0, |streams| *streams)
    }
}

/// Makes what a commit closed outlast a restart.
pub(super) fn closed_record(revision: Revision, streams: usize) -> Op {
    codec::meta(&format!("{CLOSED}{revision}"), streams.to_string().as_bytes())
}

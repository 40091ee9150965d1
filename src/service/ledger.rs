//! The first receipts: what a second revocation of the same thing is answered.
//!
//! A credential's own record says when it ended, and the directory in which
//! commit; the rest is kept here. How many streams a commit closed is known only
//! once it is durable, so where there were any, a record of its own says so.

use dashmap::DashMap;

use crate::domain::{Jti, UnixTime};
use crate::store::codec::{self, CutOff, CutOffSubject, RevokedToken};
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

/// Revocations of tokens, cut-offs, and what they closed.
#[derive(Default)]
pub struct Ledger {
    tokens: DashMap<Jti, First>,
    cut_offs: DashMap<CutOffSubject, (UnixTime, First)>,
    closed: DashMap<Revision, usize>,
}

impl Ledger {
    pub(super) fn put_token(&self, token: &RevokedToken, revision: Revision) {
        let first = First { revision, at: token.revoked_at };
        let mut entry = self.tokens.entry(token.jti).or_insert(first);
        if revision < entry.revision {
            *entry = first;
        }
    }

    pub(super) fn forget_token(&self, jti: Jti) {
        self.tokens.remove(&jti);
    }

    /// Takes a cut-off in; the later time stands.
    pub(super) fn put_cut_off(&self, cut: &CutOff, revision: Revision) {
        let new = (cut.issued_before, First { revision, at: cut.at });
        let mut entry = self.cut_offs.entry(cut.subject.clone()).or_insert(new);
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

//! The first receipts: what a second revocation of the same thing is answered.
//!
//! A credential's own record says when it ended, and the directory in which
//! commit. Of tokens there may be millions: memory keeps the numbers of the commits
//! that revoked them, and the store the rest. How many streams a commit closed is
//! known only once it is durable, so where there were any, a record says so.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use dashmap::DashMap;
use parking_lot::RwLock;
use roaring::RoaringTreemap;

use crate::domain::{Jti, UnixTime};
use crate::store::codec::{self, CutOff, CutOffSubject};
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

/// What a commit revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A token; the line of the trail that came with it says which.
    Token,
    /// What was issued to somebody before a time.
    CutOff(CutOffSubject),
}

/// The newest of some commits that came before `revision`.
fn newest_before(commits: &RoaringTreemap, revision: Revision) -> Option<Revision> {
    let older = commits.rank(revision.checked_sub(1)?);
    commits.select(older.checked_sub(1)?)
}

/// Revocations of tokens, cut-offs, and what they closed.
#[derive(Default)]
pub struct Ledger {
    /// By the hour in which their records may go, packed or not.
    tokens: RwLock<BTreeMap<u32, RoaringTreemap>>,
    /// Tokens with a record in another hour than the revocation set would say:
    /// two revoked them at the same time, with different ends.
    scattered: DashMap<Jti, BTreeSet<u32>>,
    order: RwLock<BTreeSet<(Revision, CutOffSubject)>>,
    cut_offs: DashMap<CutOffSubject, (UnixTime, First)>,
    closed: DashMap<Revision, usize>,
}

impl Ledger {
    /// Takes in that commits revoked tokens whose records lie under `hour`.
    pub(super) fn put_tokens(&self, hour: u32, revisions: impl Iterator<Item = Revision>) {
        self.tokens.write().entry(hour).or_default().extend(revisions);
    }

    /// Takes in until when a token with a record under `hour` was kept before that, and
    /// until when it is kept from then on, as the revocation set has it.
    pub(super) fn put_kept(
        &self,
        (hour, jti): (u32, Jti),
        before: Option<UnixTime>,
        until: Option<UnixTime>,
    ) {
        let others = [before, until].into_iter().flatten().map(codec::key::hour_of);
        for other in others.filter(|other| *other != hour) {
            self.scattered.entry(jti).or_default().extend([hour, other]);
        }
    }

    /// Notes that all records of tokens have gone that lay under an hour before `hour`.
    pub(super) fn forget_before(&self, hour: u32) {
        let mut tokens = self.tokens.write();
        *tokens = tokens.split_off(&hour);
        drop(tokens);
        self.scattered.retain(|_, hours| {
            hours.retain(|of_record| *of_record >= hour);
            !hours.is_empty()
        });
    }

    /// Commits whose tokens lie under an hour before `hour`, and that closed something.
    pub(super) fn closed_before(&self, hour: u32) -> Vec<Revision> {
        let tokens = self.tokens.read();
        let mut over = tokens.range(..hour).peekable();
        if over.peek().is_none() {
            return Vec::new();
        }
        let closed: RoaringTreemap = self.closed.iter().map(|closed| *closed.key()).collect();
        over.flat_map(|(_, commits)| &closed & commits).collect()
    }

    /// The record of a name is gone: whatever it said of streams is forgotten.
    pub(super) fn forget_meta(&self, name: &str) {
        if let Some(revision) = revision_of(name) {
            self.closed.remove(&revision);
        }
    }

    /// The hours under which records of a token may lie that is kept until `until`.
    pub(super) fn hours_of(&self, jti: Jti, until: UnixTime) -> BTreeSet<u32> {
        let mut hours = self.scattered.get(&jti).map(|hours| hours.clone()).unwrap_or_default();
        hours.insert(codec::key::hour_of(until));
        hours
    }

    /// Up to `limit` commits from before `before`, the newest first.
    pub(super) fn older(
        &self,
        before: Option<Revision>,
        limit: usize,
        tokens: bool,
        cut_offs: bool,
    ) -> Vec<(Revision, What)> {
        let before = before.unwrap_or(Revision::MAX);
        let mut found = Vec::new();
        if tokens {
            let hours = self.tokens.read();
            let newest = |(hour, commits): (&u32, &RoaringTreemap)| {
                Some((newest_before(commits, before)?, *hour))
            };
            let mut next: BinaryHeap<(Revision, u32)> = hours.iter().filter_map(newest).collect();
            while let Some((revision, hour)) = next.pop().filter(|_| found.len() < limit) {
                found.push((revision, What::Token));
                let older = hours.get(&hour).and_then(|commits| newest_before(commits, revision));
                next.extend(older.map(|revision| (revision, hour)));
            }
        }
        if cut_offs {
            let order = self.order.read();
            let older = order.iter().rev().skip_while(|(revision, _)| *revision >= before);
            found.extend(older.take(limit).map(|(at, who)| (*at, What::CutOff(who.clone()))));
            found.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
            found.truncate(limit);
        }
        found
    }

    /// Takes a cut-off in; the later time stands.
    pub(super) fn put_cut_off(&self, cut: &CutOff, revision: Revision) {
        let new = (cut.issued_before, First { revision, at: cut.at });
        let place = |revision| (revision, cut.subject.clone());
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
        let revision = revision_of(name);
        let streams = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        if let (Some(revision), Some(streams)) = (revision, streams) {
            self.put_closed(revision, streams);
        }
        name.starts_with(CLOSED)
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

/// Which commit a record speaks of, if it is one of what was closed.
fn revision_of(name: &str) -> Option<Revision> {
    name.strip_prefix(CLOSED).and_then(|text| text.parse().ok())
}

/// Takes away what [`closed_record`] made.
pub(super) fn no_closed_record(revision: Revision) -> Op {
    Op::Delete { key: codec::key::meta(&format!("{CLOSED}{revision}")) }
}

/// Makes what a commit closed outlast a restart.
pub(super) fn closed_record(revision: Revision, streams: usize) -> Op {
    codec::meta(&format!("{CLOSED}{revision}"), streams.to_string().as_bytes())
}

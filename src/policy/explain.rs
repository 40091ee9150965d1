//! The decision, step by step: the same code, with its steps kept.

use super::decide::judge;
use super::decision::Decision;
use super::request::RequestFacts;
use super::snapshot::Snapshot;
use crate::domain::UnixTime;
use crate::revocation::RevocationSet;

/// Told of each step that a request has passed.
pub(super) trait Trace {
    fn step(&mut self, name: &'static str, text: impl FnOnce() -> String);
}

/// Keeps nothing and costs nothing.
pub(super) struct NoTrace;

impl Trace for NoTrace {
    fn step(&mut self, _: &'static str, _: impl FnOnce() -> String) {}
}

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub text: String,
}

impl Trace for Vec<Step> {
    fn step(&mut self, name: &'static str, text: impl FnOnce() -> String) {
        self.push(Step { name, text: text() });
    }
}

/// Judges as [`super::decide`] does and keeps the steps that were passed. What
/// stopped a denied request is in its [`super::Denial`].
pub fn explain(
    world: &Snapshot,
    revoked: &RevocationSet,
    request: &RequestFacts<'_>,
    now: UnixTime,
) -> (Vec<Step>, Decision) {
    let mut steps = Vec::new();
    let decision = judge(world, revoked, request, now, &mut steps);
    (steps, decision)
}

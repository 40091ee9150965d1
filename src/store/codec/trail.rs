//! A line of the audit trail, at rest. Its link to the line before follows the
//! value and is the engine's.

use serde::{Deserialize, Serialize};

use super::parts::{Fault, encode_json, json, present, time};
use super::wire::Encode;
use crate::domain::{Action, AuditEntry, Changed};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditV1 {
    at: i64,
    actor: String,
    source: String,
    action: String,
    target: String,
    #[serde(deserialize_with = "present")]
    reason: Option<String>,
    changes: Vec<ChangedV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangedV1 {
    field: String,
    #[serde(deserialize_with = "present")]
    before: Option<String>,
    #[serde(deserialize_with = "present")]
    after: Option<String>,
}

impl Encode for AuditEntry {
    fn encode(&self) -> Vec<u8> {
        encode_json(&AuditV1 {
            at: self.at.as_millis(),
            actor: self.actor.clone(),
            source: self.source.clone(),
            action: self.action.to_string(),
            target: self.target.clone(),
            reason: self.reason.clone(),
            changes: self
                .changes
                .iter()
                .map(|Changed { field, before, after }| ChangedV1 {
                    field: field.clone(),
                    before: before.clone(),
                    after: after.clone(),
                })
                .collect(),
        })
    }
}

impl AuditV1 {
    fn into_domain(self) -> Result<AuditEntry, Fault> {
        let action = Action::parse(&self.action)
            .ok_or_else(|| Fault(format!("its action {:?} is unknown", self.action)))?;
        let AuditV1 { actor, source, target, reason, .. } = self;
        let changes = self.changes.into_iter();
        let changes = changes
            .map(|ChangedV1 { field, before, after }| Changed { field, before, after })
            .collect();
        Ok(AuditEntry { at: time(self.at)?, actor, source, action, target, reason, changes })
    }
}

/// Reads a line without its link.
pub(super) fn decode(body: &[u8]) -> Result<AuditEntry, Fault> {
    json::<AuditV1>(body)?.into_domain()
}

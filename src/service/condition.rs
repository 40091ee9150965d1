//! What must be so for a change of a credential to be made: that it is still what
//! somebody read. Revoking asks for no such thing.

use aws_lc_rs::digest::{SHA256, digest};

use crate::domain::Credential;
use crate::store::codec;
use crate::store::{Op, Revision};

/// How much of a digest tells two forms of a credential apart.
const DIGEST_BYTES: usize = 8;

/// A condition on a credential that there is. By default it always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition(Option<Vec<String>>);

impl Condition {
    /// It holds while the credential's [`version`] is one of these.
    pub fn one_of(versions: Vec<String>) -> Self {
        Condition(Some(versions))
    }

    pub(super) fn holds(&self, credential: &Credential, revision: Revision) -> bool {
        let Some(versions) = &self.0 else { return true };
        versions.contains(&version(credential, revision))
    }
}

/// What is different whenever a credential was changed: by whom and how often does not
/// matter, and a restore, which may give a revision out again, does not either.
pub fn version(credential: &Credential, revision: Revision) -> String {
    let value = match codec::put(credential) {
        Op::Put { value, .. } => value,
        Op::Append { .. } | Op::Delete { .. } => Vec::new(),
    };
    let content = digest(&SHA256, &value);
    let start = content.as_ref().iter().take(DIGEST_BYTES);
    let hex: String = start.map(|byte| format!("{byte:02x}")).collect();
    format!("{revision}-{hex}")
}

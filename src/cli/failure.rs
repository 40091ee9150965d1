//! How a command ends: with an exit code, or with a failure that has one.

use super::check::count;
use crate::config::ConfigErrors;

/// Done; or allowed.
pub(super) const DONE: u8 = 0;
/// It failed; or denied.
pub(super) const FAILED: u8 = 1;
/// A usage or configuration fault.
pub(super) const FAULTY: u8 = 2;

/// What a command comes to: an exit code, or an error to be shown.
pub(super) type Outcome = anyhow::Result<u8>;

/// A fault of what the user gave: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// An error as it is shown. Faults of a file begin with the file, for editors.
pub(super) fn words(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ConfigErrors>() {
        Some(errors) => format!("{errors}\n{}", count(errors.faults().len(), "fault")),
        None => format!("portcullis: {error:#}"),
    }
}

/// The exit code of an error.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    let faulty = error.chain().any(|cause| cause.is::<ConfigErrors>() || cause.is::<Usage>());
    if faulty { FAULTY } else { FAILED }
}

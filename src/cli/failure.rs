//! How a command ends: with an exit code, or with a failure that has one.

use serde_json::{Value, json};

use super::check::count;
use crate::config::{ConfigErrors, Fault};

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

/// An error for programs, on one line: `error` for people, `exit_code`, and
/// what the admin port or the file's reader said, if one of them did.
pub(super) fn json(error: &anyhow::Error) -> Value {
    let mut told = json!({"error": format!("{error:#}"), "exit_code": code(error)});
    if let (Some(refused), Some(told)) = (error.downcast_ref::<Refused>(), told.as_object_mut()) {
        told.insert("status".to_owned(), json!(refused.status));
        told.insert("answer".to_owned(), refused.body.clone());
    }
    if let (Some(errors), Some(told)) = (error.downcast_ref::<ConfigErrors>(), told.as_object_mut())
    {
        let fault = |f: &Fault| json!({"line": f.line, "key": f.key, "message": f.message});
        told.insert("faults".to_owned(), errors.faults().iter().map(fault).collect());
    }
    told
}

/// The admin port said no.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) words: String,
}

/// The exit code of an error.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    let faulty = error.chain().any(|cause| cause.is::<ConfigErrors>() || cause.is::<Usage>());
    if faulty { FAULTY } else { FAILED }
}

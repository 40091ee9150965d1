//! A reload in the trail: it changes what credentials may do.

use super::actor::Actor;
use super::change::{ChangeError, Line, recorded};
use super::context::Context;
use crate::domain::{Action, Changes};
use crate::store::CommitError;

/// Writes down that another configuration was taken on, and what is different.
///
/// # Errors
/// When the store takes no change; the configuration is in force all the same.
pub async fn note_reload(
    ctx: &Context,
    actor: &Actor,
    generation: u64,
    changed: &[String],
) -> Result<(), ChangeError> {
    let mut changes = Changes::new().made("generation", generation);
    for what in changed {
        changes = changes.made("configuration", what);
    }
    let line = Line {
        actor,
        at: ctx.now(),
        action: Action::ConfigReloaded,
        target: "configuration".to_owned(),
        reason: None,
        changes,
    };
    match ctx.store.commit(recorded(Vec::new(), Vec::new(), line)).await {
        Ok(_) => Ok(()),
        Err(CommitError::Unknown(why)) => Err(ChangeError::Unknown(why)),
        Err(error) => Err(ChangeError::NotDone(error.to_string())),
    }
}

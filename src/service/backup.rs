//! Copying everything out, and what must be done to an old copy before anybody may
//! use it: what was revoked after it was made is unknown to it, and must not come
//! back. So whatever could have been revoked since is ended or put to sleep.

use super::actor::Actor;
use super::change::{ChangeError, Line, recorded};
use super::context::Context;
use super::keys;
use crate::domain::{Action, Changes, CredentialState, Kid, UnixTime};
use crate::store::backup::{Contents, Header};
use crate::store::codec::{self, AtRest, CutOff, CutOffSubject, key};
use crate::store::{Change, CommitError, Guard, MAX_OPS, Op, Store};

/// Notes in the trail that all is about to be copied out, and gives the head of the
/// copy.
///
/// # Errors
/// When the store takes no change: what can't be noted isn't copied.
pub async fn begin_backup(
    store: &dyn Store,
    actor: &Actor,
    at: UnixTime,
) -> Result<Header, ChangeError> {
    let change = line(actor, at, Action::StoreBackedUp, "store".to_owned(), Changes::new());
    commit(store, change).await?;
    let (version, made_by) = (env!("CARGO_PKG_VERSION").to_owned(), actor.name().to_owned());
    Ok(Header { version, made_at: at, made_by })
}

/// What was done to a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// How many credentials were put to sleep.
    pub suspended: usize,
    /// Which administrators were removed.
    pub admins: Vec<String>,
    /// All tokens issued before this are dead.
    pub issued_before: UnixTime,
    /// The operator's own signing key, which may have been revoked since and is revoked now.
    pub operator_key: Option<Kid>,
}

/// Makes a copy that was just brought back safe to be used. Ends every token and
/// removes every signing key (a new one is made at the start). Unless somebody vouches
/// for it that nothing was revoked since, all credentials are put to sleep, all
/// administrators are removed, and the operator's own signing key is revoked.
///
/// # Errors
/// When the store takes no change: it must not be used then.
pub async fn fence(
    ctx: &Context,
    actor: &Actor,
    copy: &Contents,
    vouched: bool,
) -> Result<Fenced, ChangeError> {
    let at = ctx.now();
    // `iat` counts whole seconds; the clock may have been ahead when it was made.
    let latest = at.max(copy.header.made_at).as_secs();
    let issued_before = UnixTime::from_secs(latest.saturating_add(1));
    let reason = format!("restored from the backup of {}", copy.header.made_at);
    let directory = &ctx.memory.directory;
    let query = directory.query("", &ctx.world.load());
    let (all, _) = directory.list(None, usize::MAX, &query, |_| true);
    let (mut ops, mut suspended) = (Vec::new(), 0);
    for credential in all.iter().filter(|it| !matches!(it.state, CredentialState::Revoked(_))) {
        ops.push(codec::put(&CutOff {
            subject: CutOffSubject::Client(credential.client_id),
            issued_before,
            by: actor.name().to_owned(),
            at,
            reason: Some(reason.clone()),
        }));
        if !vouched && let Ok(asleep) = (**credential).clone().suspend() {
            suspended += usize::from(credential.state == CredentialState::Active);
            ops.push(codec::put(&asleep));
        }
    }
    let admins = if vouched { Vec::new() } else { ctx.memory.admins.list() };
    ops.extend(admins.iter().map(|admin| Op::Delete { key: admin.key() }));
    let kids: Vec<_> = ctx.memory.keys.lock().iter().map(|stored| stored.kid.clone()).collect();
    ops.extend(kids.iter().map(|kid| Op::Delete { key: key::signing_key(kid) }));
    let operators = if vouched { None } else { keys::end_operators(ctx, at) };
    let operator_key = operators.map(|(kid, revoke)| {
        ops.push(revoke);
        kid
    });
    for ops in ops.chunks(MAX_OPS) {
        commit(ctx.store.as_ref(), Change { guards: Vec::new(), ops: ops.to_vec() }).await?;
    }
    let mut changes = Changes::new()
        .made("backup_revision", copy.revision)
        .made("backup_made_at", copy.header.made_at)
        .made("backup_made_by", &copy.header.made_by)
        .made("issued_before", issued_before)
        .made("credentials_suspended", suspended)
        .made("administrators_removed", admins.len())
        .made("vouched_that_nothing_was_revoked_since", vouched);
    if let Some(kid) = &operator_key {
        changes = changes.made("operator_key_revoked", kid);
    }
    let target = format!("revision {}", copy.revision);
    commit(ctx.store.as_ref(), line(actor, at, Action::StoreRestored, target, changes)).await?;
    let admins = admins.iter().map(|admin| format!("{} ({})", admin.name, admin.role)).collect();
    Ok(Fenced { suspended, admins, issued_before, operator_key })
}

fn line(actor: &Actor, at: UnixTime, action: Action, target: String, changes: Changes) -> Change {
    let line = Line { actor, at, action, target, reason: None, changes };
    recorded(Vec::<Guard>::new(), Vec::new(), line)
}

async fn commit(store: &dyn Store, change: Change) -> Result<(), ChangeError> {
    match store.commit(change).await {
        Ok(_) => Ok(()),
        Err(CommitError::Conflict) => Err(ChangeError::Contended),
        Err(CommitError::NotDone(why)) => Err(ChangeError::NotDone(why)),
        Err(CommitError::Unknown(why)) => Err(ChangeError::Unknown(why)),
    }
}

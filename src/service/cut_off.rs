//! Revoking everything that was issued to somebody before a time.

use super::actor::Actor;
use super::change::{Plan, commit, written};
use super::context::Context;
use super::fault::FieldFault;
use super::revoke::{Receipt, RevokeError, check_reason, receipt};
use crate::domain::{Action, Changes, UnixTime};
use crate::store::Guard;
use crate::store::codec::{self, AtRest, CutOff, CutOffSubject};

/// Ends all tokens of a credential or an account that were issued before a
/// time. `iat` counts whole seconds: what was issued before the cut-off in the same
/// second ends as well, what is issued after it waits for the next one. If a later cut-off
/// stands already, its receipt is given. A clock may be fast by the skew that tokens are
/// allowed: such a time is now.
///
/// # Errors
/// See [`RevokeError`]. A time in the future is refused: it would end tokens
/// yet to be minted, and can't be undone. So is any while time stands still: what is issued
/// then says when that began, and a time by the clock would not end it.
pub async fn cut_off(
    ctx: &Context,
    actor: &Actor,
    subject: CutOffSubject,
    issued_before: UnixTime,
    reason: Option<&str>,
) -> Result<Receipt, RevokeError> {
    let reason = check_reason(reason)?;
    let now = ctx.now();
    if issued_before > now.plus(ctx.world.load().expectations().clock_skew) {
        let what = "must not lie in the future";
        return Err(RevokeError::Invalid(vec![FieldFault::new("issued_before", what)]));
    }
    let issued_before = issued_before.min(now);
    let behind = ctx.behind();
    if !behind.is_zero() {
        return Err(RevokeError::ClockBehind(behind));
    }
    let directory = &ctx.memory.directory;
    let (known, action, target) = match &subject {
        CutOffSubject::Client(client) => {
            (directory.get(*client).is_some(), Action::CredentialCutOff, client.to_string())
        }
        CutOffSubject::Account(account) => {
            (directory.has_account(account), Action::AccountCutOff, account.to_string())
        }
    };
    if !known {
        return Err(RevokeError::Unknown(match subject {
            CutOffSubject::Client(_) => "credential",
            CutOffSubject::Account(_) => "account: no credential is bound to it",
        }));
    }
    let made = commit(ctx, || {
        let before = ctx.memory.ledger.cut_off(&subject);
        if let Some((stands, first)) = before
            && stands >= issued_before
        {
            return Ok(Plan::Done(first));
        }
        let at = ctx.now();
        let by = actor.name().to_owned();
        let reason = reason.clone();
        let cut =
            CutOff { subject: subject.clone(), issued_before, by, at, reason: reason.clone() };
        let guard = match before {
            Some((_, first)) => Guard::At(cut.key(), first.revision),
            None => Guard::Absent(cut.key()),
        };
        let put = codec::put(&cut);
        let changes = Changes::new().field(
            "issued_before",
            before.map(|(stands, _)| stands.to_string()),
            Some(issued_before.to_string()),
        );
        let change = written(guard, put, actor, at, action, target.clone(), reason, changes);
        Ok::<_, RevokeError>(Plan::Commit(change, at))
    });
    Ok(receipt(ctx, made.await?).await)
}

//! What can be said of a token: for the legacy checker and for introspection
//! (RFC 7662).
//!
//! A token is live here if it would be believed on the data plane, except that
//! no clock skew is added to its end: whoever asks is told to renew in time.

use super::Context;
use crate::domain::{Credential, Environments, Grant, ScopeSet};
use crate::revocation::Standing;
use crate::token::{UnverifiedToken, VerifiedToken, verify};

/// A token that counts now.
#[derive(Debug)]
pub struct LiveToken {
    /// What it says.
    pub token: VerifiedToken,
    /// What of its scope the credential still has.
    pub scope: String,
    /// Seconds until it ends by itself; at least one.
    pub expires_in: i64,
}

/// What `text` is good for; `None` if it is no live token of ours, whatever it
/// is instead.
pub fn token_info(ctx: &Context, text: &str) -> Option<LiveToken> {
    let now = ctx.now();
    let world = ctx.world.load();
    let unverified = UnverifiedToken::parse(text)?;
    let token = verify(unverified, world.keys(), world.expectations(), now).ok()?;
    let standing = ctx.memory.revoked.check(&token, now).ok()?;
    let expires_in = token.expires_at().as_secs() - now.as_secs();
    let has = world.scopes_of(&standing.roles, &standing.extra_scopes);
    let scope = scope_now(&token, &standing, &has);
    (expires_in > 0).then_some(LiveToken { token, scope, expires_in })
}

/// The same for a caller who may ask only for its own tokens (RFC 7662 section 4
/// leaves it to us): another's is as good as none.
pub fn introspect(ctx: &Context, caller: &Credential, text: &str) -> Option<LiveToken> {
    token_info(ctx, text).filter(|live| live.token.client_id() == caller.client_id)
}

fn scope_now(token: &VerifiedToken, standing: &Standing, has: &ScopeSet) -> String {
    let scopes: ScopeSet = token.scopes().intersection(has).cloned().collect();
    match token.environments().intersect(&standing.environments) {
        Some(environments) => Grant { scopes, environments }.to_string(),
        // Good for nothing anywhere, which a grant has no words for.
        None => {
            let all = Grant { scopes, environments: Environments::All }.to_string();
            all.strip_suffix("env:*").unwrap_or_default().trim_end().to_owned()
        }
    }
}

//! Old secrets that end by themselves once nobody uses them any more.

use std::time::Duration;

use dashmap::DashSet;

use super::actor::Actor;
use super::context::Context;
use super::secrets::retire_secret;
use crate::domain::{ClientId, Credential, Generation, UnixTime};

/// Credentials of which some secret is to end when it is unused.
#[derive(Default)]
pub struct Unused(DashSet<ClientId>);

impl Unused {
    pub(super) fn put(&self, credential: &Credential) {
        let waits = credential.secrets.iter().any(|s| s.retire_unused.is_some() && !s.retired);
        if waits && credential.changeable().is_ok() {
            self.0.insert(credential.client_id);
        } else {
            self.0.remove(&credential.client_id);
        }
    }
}

/// Retires secrets that were not used for as long as was asked, counted from the
/// newest secret on. Gives how many; the last that lives stays.
pub async fn retire_unused(ctx: &Context) -> usize {
    let clients: Vec<ClientId> = ctx.memory.unused.0.iter().map(|client| *client).collect();
    let mut retired = 0;
    for client in clients {
        let Some(credential) = ctx.memory.directory.get(client) else { continue };
        for generation in due(ctx, &credential, ctx.now()) {
            match retire_secret(ctx, &Actor::gateway(), client, generation).await {
                Ok(_) => retired += 1,
                Err(error) => {
                    tracing::warn!(%client, generation, %error, "an unused secret was not retired");
                }
            }
        }
    }
    retired
}

fn due(ctx: &Context, credential: &Credential, now: UnixTime) -> Vec<Generation> {
    let newest = credential.secrets.iter().map(|secret| secret.created_at).max();
    let idle = |generation, how_long: Duration| {
        let last = ctx.memory.activity.last_used(credential.client_id, generation);
        last.max(newest).is_some_and(|since| since.plus(how_long) <= now)
    };
    let living = credential.secrets.iter().filter(|secret| secret.lives_at(now));
    let due = living.filter(|s| s.retire_unused.is_some_and(|long| idle(s.generation, long)));
    due.map(|secret| secret.generation).collect()
}

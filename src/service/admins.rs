//! Administrators: making one, and knowing one by its key.

use std::sync::Arc;

use super::actor::{Actor, RESERVED};
use super::change::{ChangeError, Outcome, Plan, commit, written};
use super::context::Context;
use crate::domain::{Action, AdminKey, AdminName, AdminRole, Administrator, Changes, EntropyError};
use crate::store::Guard;
use crate::store::codec::{self, AtRest};

/// A new administrator, and the key to be shown once.
#[derive(Debug)]
pub struct CreatedAdmin {
    /// The administrator.
    pub admin: Arc<Administrator>,
    /// The key.
    pub key: AdminKey,
}

/// Why there is no new administrator.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name means somebody already.
    #[error("there is an administrator of that name already")]
    NameTaken,
    /// The name means the gateway itself, or its command line.
    #[error("the name is reserved; choose another one")]
    NameReserved,
    /// No randomness, no key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// It did not commit.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Makes an administrator. When this returns the key works.
///
/// # Errors
/// See [`AdminError`].
pub async fn create_admin(
    ctx: &Context,
    actor: &Actor,
    name: AdminName,
    role: AdminRole,
) -> Result<CreatedAdmin, AdminError> {
    if RESERVED.contains(&name.as_str()) {
        return Err(AdminError::NameReserved);
    }
    let made = commit(ctx, || {
        if ctx.memory.admins.get(&name).is_some() {
            return Err(AdminError::NameTaken);
        }
        let now = ctx.now();
        let key = AdminKey::generate(&*ctx.entropy)?;
        let admin = Administrator {
            name: name.clone(),
            role,
            key_hash: ctx.hasher.hash(key.expose()),
            created_by: actor.name().to_owned(),
            created_at: now,
        };
        let change = written(
            Guard::Absent(admin.key()),
            codec::put(&admin),
            actor,
            now,
            Action::AdminCreated,
            name.to_string(),
            None,
            Changes::new().made("role", role),
        );
        Ok(Plan::Commit(change, CreatedAdmin { admin: Arc::new(admin), key }))
    });
    match made.await? {
        Outcome::Already(created) | Outcome::Committed(_, created) => Ok(created),
    }
}

/// The administrator of that key. All keys are compared, each in constant
/// time: how long it takes does not tell how close a guess was.
pub fn authenticate_admin(ctx: &Context, key: &str) -> Option<Arc<Administrator>> {
    if !AdminKey::well_formed(key) {
        return None;
    }
    ctx.memory.admins.find(|admin| ctx.hasher.matches(key, &admin.key_hash))
}

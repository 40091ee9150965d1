//! Administrators: making one, removing one, and knowing one by its key.

use std::sync::Arc;

use super::actor::{Actor, RESERVED};
use super::change::{ChangeError, Line, Outcome, Plan, commit, recorded, written};
use super::context::Context;
use crate::domain::{Action, AdminKey, AdminName, AdminRole, Administrator, Changes, EntropyError};
use crate::store::codec::{self, AtRest};
use crate::store::{Guard, Op};

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
    /// There is nobody of that name.
    #[error("there is no such administrator")]
    Unknown,
    /// Nobody could make another one.
    #[error("the last super-admin stays")]
    LastSuperAdmin,
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
            created_at: ctx.now_after(ctx.memory.admins.newest()),
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

/// Removes an administrator. When this returns the key is of no use.
///
/// # Errors
/// See [`AdminError`]. The last super-admin stays, whoever removes whom at once:
/// the change holds only if another super-admin is still there.
pub async fn remove_admin(
    ctx: &Context,
    actor: &Actor,
    name: &AdminName,
) -> Result<(), AdminError> {
    let made = commit(ctx, || {
        let book = &ctx.memory.admins;
        let (admin, revision) = book.find_named(name).ok_or(AdminError::Unknown)?;
        let mut guards = vec![Guard::At(admin.key(), revision)];
        if admin.role == AdminRole::SuperAdmin {
            let stays = book.other_super_admin(name);
            let (stays, since) = stays.ok_or(AdminError::LastSuperAdmin)?;
            guards.push(Guard::At(stays.key(), since));
        }
        let line = Line {
            actor,
            at: ctx.now(),
            action: Action::AdminRemoved,
            target: name.to_string(),
            reason: None,
            changes: Changes::new().field("role", Some(admin.role.to_string()), None),
        };
        let ops = vec![Op::Delete { key: admin.key() }];
        Ok::<_, AdminError>(Plan::<(), ()>::Commit(recorded(guards, ops, line), ()))
    });
    made.await.map(|_| ())
}

/// The administrator of that key. All keys are compared, each in constant
/// time: how long it takes does not tell how close a guess was.
pub fn authenticate_admin(ctx: &Context, key: &str) -> Option<Arc<Administrator>> {
    if !AdminKey::well_formed(key) {
        return None;
    }
    ctx.memory.admins.find(|admin| ctx.hasher.matches(key, &admin.key_hash))
}

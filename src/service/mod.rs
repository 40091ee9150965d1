//! The use cases, one a file, over one context.
//!
//! A change goes through one door: `store.commit`, which returns when it is
//! durable and [`Memory`] has taken it in. Nothing here knows HTTP.

mod activity;
mod actor;
mod admin_book;
mod admins;
mod apply;
mod arm;
mod audit;
mod audit_chain;
mod authenticate_client;
mod backup;
mod change;
mod change_credential;
mod condition;
mod context;
mod cut_off;
mod directory;
mod explain;
mod fault;
mod front;
mod hour;
mod issue_credential;
mod keep_usage;
mod key_guard;
pub mod keys;
mod ledger;
mod loading;
mod mint_token;
mod packed;
mod page;
mod query;
mod rates;
mod reading;
mod reloaded;
mod revocations;
mod revoke;
mod revoke_token;
mod search;
#[cfg(test)]
mod search_tests;
mod secrets;
mod suspend;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token_info;
mod trail;
mod unused;
mod update_credential;
mod usage;

pub use activity::Activity;
pub use actor::Actor;
pub use admin_book::AdminBook;
pub use admins::{AdminError, CreatedAdmin, authenticate_admin, create_admin, remove_admin};
pub use apply::{LoadError, Memory};
pub use arm::{Armed, Window, arm, disarm, lapse, note_uses};
pub use audit::audit;
pub use audit_chain::{BrokenLink, ChainReport, verify_audit};
pub use authenticate_client::{BadClient, BadClientReason, authenticate};
pub use backup::{Fenced, begin_backup, fence};
pub use change::ChangeError;
pub use change_credential::UpdateError;
pub use condition::{Condition, version};
pub use context::{Context, Minting};
pub use cut_off::cut_off;
pub use directory::{Directory, Place};
pub use explain::{Bearer, ExplainError, ExplainRequest, Explanation, Verdict, explain};
pub use fault::FieldFault;
pub use front::{Front, OwnEndpoint};
pub use issue_credential::{
    CheckedRequest, CredentialRequest, IssueError, Issued, issue_credential, unasked_scopes,
};
pub use keep_usage::keep_usage;
pub use key_guard::KeyGuard;
pub use ledger::{First, Ledger};
pub use mint_token::{BadLifetime, Lifetime, MintRefusal, Minted, mint_token};
pub use packed::{PackError, Packs, pack_revocations};
pub use rates::Rates;
pub use reading::{LONGEST_DESCRIPTION, LONGEST_TITLE};
pub use reloaded::note_reload;
pub use revocations::{Revocation, RevocationKind, RevocationPage, list_revocations};
pub use revoke::{LONGEST_REASON, Receipt, RevokeError, revoke_credential};
pub use revoke_token::{TokenRef, revoke_token};
pub use search::{Filter, search};
pub use secrets::{OldSecrets, Rotated, add_secret, retire_secret};
pub use suspend::{resume, suspend};
pub use sweep::sweep;
pub use token_info::{LiveToken, introspect, token_info};
pub use trail::Trail;
pub use unused::{Unused, retire_unused};
pub use update_credential::{CredentialPatch, update_credential};
pub use usage::{Needed, Proposal, narrow_credential, usage};

//! The use cases, one a file, over one context.
//!
//! A change goes through one door: `store.commit`, which returns when it is
//! durable and [`Memory`] has taken it in. Nothing here knows HTTP.

mod admin_book;
mod apply;
mod authenticate_client;
mod context;
mod directory;
pub mod keys;
mod mint_token;
mod rates;
mod sweep;
mod token_info;
mod trail;

pub use admin_book::AdminBook;
pub use apply::{LoadError, Memory};
pub use authenticate_client::{BadClient, BadClientReason, authenticate};
pub use context::{Context, Minting};
pub use directory::{Directory, Place};
pub use mint_token::{BadLifetime, Lifetime, MintRefusal, Minted, mint_token};
pub use rates::Rates;
pub use sweep::sweep;
pub use token_info::{LiveToken, introspect, token_info};
pub use trail::Trail;

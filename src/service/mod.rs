//! The use cases, one a file, over one context.
//!
//! A change goes through one door: `store.commit`, which returns when it is
//! durable and [`Memory`] has taken it in. Nothing here knows HTTP.

mod admin_book;
mod apply;
mod context;
mod directory;
mod rates;
mod sweep;
mod trail;

pub use admin_book::AdminBook;
pub use apply::{LoadError, Memory};
pub use context::{Context, Minting};
pub use directory::{Directory, Place};
pub use rates::Rates;
pub use sweep::sweep;
pub use trail::Trail;

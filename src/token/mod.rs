//! JOSE: from a header to an unverified token, from there to a verified one,
//! and the way back when a token is minted (RFC 7515, 7517, 7519, 9068).
//!
//! CPU only: no clock, no I/O, no store; `now` and randomness are arguments.
//! Revocation and rights are not judged here: a verified token may be dead.

mod algorithm;
mod bearer;
mod cache;
mod claims;
mod header;
mod keyring;
mod mint;
mod seal;
mod signing_key;
#[cfg(test)]
mod tests;
mod verify;
mod verifying_key;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use bearer::{Authorization, MAX_TOKEN_BYTES, UnreadToken, UnverifiedToken};
pub(crate) use cache::block;
pub use cache::{DEFAULT_CACHE_ENTRIES, TokenCache};
pub use keyring::Keyring;
pub use mint::{MintError, MintedToken, NewToken, mint};
pub use seal::{SealError, Sealer, derive_secret_hash_key};
pub use signing_key::{KeyError, SigningKey, generate};
pub use verify::{Expectations, TokenError, VerifiedToken, verify};
pub use verifying_key::VerifyingKey;

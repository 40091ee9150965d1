//! Portcullis: a reverse-proxy authorization gateway on Pingora.

pub mod domain;
pub mod policy;
pub mod revocation;
pub mod token;

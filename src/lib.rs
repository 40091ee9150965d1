//! Portcullis: a reverse-proxy authorization gateway on Pingora.

pub mod domain;
pub mod store;

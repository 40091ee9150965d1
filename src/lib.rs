//! Portcullis: a reverse-proxy authorization gateway on Pingora.

pub mod config;
pub mod domain;
pub mod policy;

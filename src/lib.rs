//! Portcullis: a reverse-proxy authorization gateway on Pingora.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod edge;
pub mod metrics;
pub mod policy;
pub mod revocation;
pub mod service;
pub mod store;
pub mod token;

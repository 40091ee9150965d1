//! One TOML file in, valid values out, or every fault at once.
//!
//! `read` and `value` walk the file as a tree that knows its lines; the files
//! named after the sections check them; [`Config`] is what the other rooms see.
//! Nothing here opens a socket or a store, and no name is resolved: files are
//! read (secrets, certificates) or looked for, and that is all.

mod check;
mod fault;
mod files;
mod identity;
mod model;
mod oauth;
mod pem;
mod read;
mod route;
mod server;
mod text;
mod token_path;
mod units;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use fault::{ConfigErrors, Fault, Warning};
pub use model::{
    Admin, ClientCertificates, Config, Engine, HealthCheck, Identity, Limits, Metrics, Oauth,
    OutlierEjection, Protocol, Server, Store, Tls, Upstream, UpstreamAuthorization, UpstreamTls,
};
pub use pem::ClientIdentity;
pub use token_path::{TokenPath, TokenPaths};

/// Reads and checks a configuration file. Relative paths in it are relative to
/// the working directory.
///
/// # Errors
/// Every fault there is, not only the first.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let bytes = std::fs::read(path)
        .map_err(|error| ConfigErrors::whole(path, format!("can't be read: {error}")))?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        ConfigErrors::whole(path, format!("is not UTF-8, from line {line} on"))
    })?;
    check::check(text, Path::new(""), path, &variable)
}

/// Checks the text of a configuration. Relative paths in it are relative to
/// `base`.
///
/// # Errors
/// Every fault there is, not only the first.
pub fn parse(text: &str, base: &Path) -> Result<Config, ConfigErrors> {
    check::check(text, base, Path::new("configuration"), &variable)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

//! The scene of the demo: the legacy API, the gateway in front of it, and an
//! administrator, all on this machine and all gone at the end.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::legacy;
use crate::app::{Running, StartError, start};
use crate::cli::serve::means;
use crate::config;
use crate::domain::{AdminKey, AdminName, AdminRole};
use crate::service::{Actor, create_admin};

const CONFIG: &str = include_str!("demo.toml");
const WELL_KNOWN: [u16; 3] = [8080, 8081, 9464];
/// Between looking for free ports and taking them somebody else may.
const ATTEMPTS: usize = 5;

/// Name of the administrator.
pub(super) const ADMIN: &str = "demo";

/// All that runs, and where.
pub(super) struct Scene {
    pub(super) gateway: String,
    pub(super) admin: String,
    pub(super) metrics: String,
    pub(super) legacy: String,
    /// Of the super-admin.
    pub(super) key: AdminKey,
    /// With configuration, store and key file; removed when dropped.
    pub(super) folder: TempDir,
    running: Running,
    api: JoinHandle<()>,
}

impl Scene {
    /// Starts everything. `log` makes the place for the access log.
    pub(super) async fn set(log: impl Fn() -> Box<dyn Write + Send>) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("no port is left on 127.0.0.1")?;
        let legacy = listener.local_addr()?;
        let api = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, legacy::router()).await {
                tracing::error!(%error, "the legacy API ended");
            }
        });
        for attempt in 1.. {
            let folder = tempfile::Builder::new().prefix("portcullis-demo-").tempdir();
            let folder = folder.context("no folder can be made for temporary files (TMPDIR)")?;
            let file = folder.path().join("portcullis.toml");
            let text = filled_in(free_ports()?, legacy, &folder)?;
            std::fs::write(&file, text).context("the configuration can't be written")?;
            let config = config::load(&file)?;
            let running = match start(config, means(log())).await {
                Ok(running) => running,
                Err(StartError::Listen { .. }) if attempt < ATTEMPTS => continue,
                Err(error) => return Err(error.into()),
            };
            let (actor, name) = (Actor::command_line(), AdminName::new(ADMIN)?);
            let made = create_admin(&running.context, &actor, name, AdminRole::SuperAdmin).await?;
            let [data, ..] = running.data.as_slice() else { bail!("the gateway listens nowhere") };
            return Ok(Scene {
                gateway: format!("http://{data}"),
                admin: format!("http://{}", running.admin),
                metrics: format!("http://{}", running.metrics),
                legacy: format!("http://{legacy}"),
                key: made.key,
                folder,
                running,
                api,
            });
        }
        bail!("no ports could be had")
    }

    /// Ends everything and removes the folder.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        self.running.stop().await;
        self.api.abort();
        let path = self.folder.path().to_owned();
        self.folder.close().with_context(|| format!("{} can't be removed", path.display()))
    }
}

fn filled_in(ports: [u16; 3], legacy: SocketAddr, folder: &TempDir) -> anyhow::Result<String> {
    let [gateway, admin, metrics] = ports.map(|port| format!("127.0.0.1:{port}"));
    let folder = folder.path().to_str().context("the temporary folder's name is not UTF-8")?;
    // It stands inside a quoted TOML string.
    let folder = folder.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${");
    Ok(CONFIG
        .replace("@GATEWAY@", &gateway)
        .replace("@ADMIN@", &admin)
        .replace("@METRICS@", &metrics)
        .replace("@LEGACY@", &legacy.to_string())
        .replace("@FOLDER@", &folder))
}

/// The well-known ports if all are free, for lines that look like the manual;
/// else three that are.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let [Ok(_), Ok(_), Ok(_)] = WELL_KNOWN.map(bind) {
        return Ok(WELL_KNOWN);
    }
    // All three are held until all are known, so that they differ.
    let held = [bind(0), bind(0), bind(0)];
    let mut ports = [0; 3];
    for (port, held) in ports.iter_mut().zip(held) {
        *port = held.context("no port is left on 127.0.0.1")?.local_addr()?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_the_demo_has_no_fault_and_no_warning() {
        let folder = TempDir::new().unwrap();
        let text = filled_in([1, 2, 3], "127.0.0.1:9".parse().unwrap(), &folder).unwrap();
        let config = config::parse(&text, folder.path()).unwrap();
        assert_eq!(config.warnings, []);
        assert!(!text.contains('@') || !text.contains("@LEGACY@"));
    }

    #[test]
    fn three_free_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }
}

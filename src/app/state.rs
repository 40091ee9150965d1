//! The state of a gateway, brought up from its store: for serving, and for
//! commands that look at it or change it without a port.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::parts::{minting, snapshot};
use super::seal_file::{Master, SealFileError, read_or_make};
use super::start::{Means, StartError};
use crate::config::{Config, Engine, Limits, Oauth, Store as StoreConfig};
use crate::domain::{Clock, Entropy, Role, SecretHasher};
use crate::policy::RouteTable;
use crate::service::{Context, LoadError, Memory, keys};
use crate::store::{MemoryStore, Revision, SledOptions, SledStore, Store, StoreError};
use crate::token::{Sealer, derive_secret_hash_key};

/// A store with all of it in memory, and the bytes that seal it.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) memory: Arc<Memory>,
    pub(super) master: Master,
    /// Where the bytes came from, for messages.
    pub(super) key_file: String,
}

/// Opens the configured store, unless one is open already, loads all of it, and reads
/// its key file or makes it. Blocks.
pub(super) fn open(
    store: Option<Arc<dyn Store>>,
    config: &StoreConfig,
    in_memory: bool,
    entropy: &dyn Entropy,
) -> Result<Opened, StartError> {
    let memory = Arc::new(Memory::default());
    let (store, revision) = match (store, config.engine) {
        (Some(store), _) => {
            let revision = memory.load(store.as_ref())?;
            (store, revision)
        }
        (None, Engine::Sled) => open_sled(&SledOptions::new(&config.path), &memory)?,
        (None, Engine::Memory) => (Arc::new(MemoryStore::new()) as Arc<dyn Store>, 0),
    };
    let master = if in_memory {
        passing_master(entropy)?
    } else {
        read_or_make(&config.key_file, revision == 0, entropy)?
    };
    Ok(Opened { store, memory, master, key_file: config.key_file.display().to_string() })
}

/// Opens a store on disk and loads it in the same pass: checking it reads all of it.
pub(super) fn open_sled(
    options: &SledOptions,
    memory: &Memory,
) -> Result<(Arc<dyn Store>, Revision), StartError> {
    let mut opened = None;
    let revision = memory.load_while(|visit| {
        let store = SledStore::open_with(options.clone(), visit)?;
        let revision = store.status().head;
        opened = Some(Arc::new(store) as Arc<dyn Store>);
        Ok::<_, StartError>(revision)
    })?;
    match opened {
        Some(store) => Ok((store, revision)),
        None => Err(LoadError::Store(StoreError::Io("it was not opened".to_owned())).into()),
    }
}

/// Reads the key file, which must be there.
pub(super) fn read_master(
    config: &StoreConfig,
    entropy: &dyn Entropy,
) -> Result<Master, StartError> {
    Ok(read_or_make(&config.key_file, false, entropy)?)
}

fn passing_master(entropy: &dyn Entropy) -> Result<Master, StartError> {
    let mut master = Master::new([0; 32]);
    entropy.fill(master.as_mut())?;
    Ok(master)
}

/// Puts state and means together; makes the first signing key if there is none.
pub(super) async fn context(
    opened: Opened,
    (oauth, limits): (&Oauth, &Limits),
    roles: Vec<Role>,
    routes: RouteTable,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<Context>, StartError> {
    let Opened { store, memory, master, key_file } = opened;
    store.observe(Arc::clone(&memory) as Arc<dyn crate::store::Observer>);
    let sealer = Sealer::new(&master)?;
    let hasher = SecretHasher::new(&derive_secret_hash_key(&master));
    let means = keys::Means {
        store: store.as_ref(),
        memory: &memory,
        sealer: &sealer,
        master_key_file: &key_file,
        clock: clock.as_ref(),
        entropy: entropy.as_ref(),
    };
    let keyring = keys::prepare(means, Some(oauth.algorithm), oauth.signing_key.as_ref()).await?;
    Ok(Arc::new(Context {
        store,
        memory,
        world: ArcSwap::from_pointee(snapshot(oauth, roles, routes, Arc::new(keyring))),
        minting: ArcSwap::from_pointee(minting(oauth, limits)),
        clock,
        entropy,
        hasher,
        sealer,
    }))
}

/// State without ports. Whoever has it holds the store.
pub struct Offline {
    /// State and means.
    pub context: Arc<Context>,
    /// False if there was no store: then all of this is empty, or new.
    pub found: bool,
}

impl Offline {
    /// Opens the store to look at it. Nothing is made on disk, and what is
    /// changed here stays here: the store itself is let go before this returns.
    ///
    /// # Errors
    /// When there is a store and it, or its key file, can't be read.
    pub async fn look(config: Config, means: Means) -> Result<Offline, StartError> {
        let Config { store: store_config, oauth, roles, routes, server, .. } = config;
        let Means { clock, entropy, .. } = means;
        let source = Arc::clone(&entropy);
        let (opened, found) = blocking(move || copy(&store_config, source.as_ref())).await?;
        let context =
            context(opened, (&oauth, &server.limits), roles, routes, clock, entropy).await?;
        Ok(Offline { context, found })
    }

    /// Opens the store to change it; makes it where there is none.
    ///
    /// # Errors
    /// As for starting.
    pub async fn change(config: Config, means: Means) -> Result<Offline, StartError> {
        let Config { store: store_config, oauth, roles, routes, server, .. } = config;
        let Means { clock, entropy, store, .. } = means;
        let source = Arc::clone(&entropy);
        let opened = blocking(move || {
            let in_memory = store_config.engine == Engine::Memory;
            let found = is_begun(&store_config.path);
            let opened = open(store, &store_config, in_memory, source.as_ref())?;
            Ok((opened, found))
        });
        let (opened, found) = opened.await?;
        let context =
            context(opened, (&oauth, &server.limits), roles, routes, clock, entropy).await?;
        Ok(Offline { context, found })
    }

    /// Lets go of the store.
    pub async fn close(self) {
        let store = Arc::clone(&self.context.store);
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

/// Whether a store was ever made in this folder.
fn is_begun(folder: &Path) -> bool {
    ["witness", "sled"].iter().any(|name| folder.join(name).exists())
}

/// All that the store holds, over an engine in memory.
fn copy(config: &StoreConfig, entropy: &dyn Entropy) -> Result<(Opened, bool), StartError> {
    let memory = Arc::new(Memory::default());
    let mut master = None;
    if config.engine == Engine::Sled && is_begun(&config.path) {
        let (store, revision) = open_sled(&SledOptions::new(&config.path), &memory)?;
        store.close();
        master = match read_or_make(&config.key_file, false, entropy) {
            Ok(master) => Some(master),
            Err(SealFileError::Missing(_)) if revision == 0 => None,
            Err(error) => return Err(error.into()),
        };
    }
    let found = master.is_some();
    let master = match master {
        Some(master) => master,
        None => passing_master(entropy)?,
    };
    let key_file = config.key_file.display().to_string();
    Ok((Opened { store: Arc::new(MemoryStore::new()), memory, master, key_file }, found))
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| StartError::Thread(std::io::Error::other(error)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AdminName, AdminRole, SystemClock, SystemEntropy};
    use crate::edge::{SystemProbe, SystemResolver};
    use crate::service::{Actor, create_admin};
    use crate::store::OpenError;

    const CONFIG: &str = r#"
[store]
path = "store"
[oauth]
issuer = "http://127.0.0.1:8080"
audience = "a"
"#;

    fn config(folder: &Path) -> Config {
        crate::config::parse(CONFIG, folder).unwrap()
    }

    fn means() -> Means {
        Means {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            log: Box::new(std::io::sink()),
            store: None,
            resolver: Arc::new(SystemResolver),
            probe: Box::new(SystemProbe::default()),
        }
    }

    #[tokio::test]
    async fn looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let offline = Offline::look(config(folder.path()), means()).await.unwrap();
        assert!(!offline.found && offline.context.memory.admins.is_empty());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_was_changed_is_seen_and_not_changed_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let offline = Offline::change(config(folder.path()), means()).await.unwrap();
        assert!(!offline.found, "it was made just now");
        let name = AdminName::new("alice").unwrap();
        let role = AdminRole::Viewer;
        create_admin(&offline.context, &Actor::command_line(), name.clone(), role).await.unwrap();
        let revision = offline.context.store.status().head;
        let kid = offline.context.world.load().keys().jwks();
        let locked = Offline::look(config(folder.path()), means()).await.err();
        assert!(matches!(locked, Some(StartError::Open(OpenError::Locked { .. }))), "{locked:?}");
        offline.close().await;

        let seen = Offline::look(config(folder.path()), means()).await.unwrap();
        assert!(seen.found && seen.context.memory.admins.get(&name).is_some());
        assert_eq!(seen.context.world.load().keys().jwks(), kid);
        let bob = AdminName::new("bob").unwrap();
        create_admin(&seen.context, &Actor::command_line(), bob.clone(), role).await.unwrap();
        seen.close().await;
        let again = Offline::change(config(folder.path()), means()).await.unwrap();
        assert!(again.found);
        assert_eq!(again.context.store.status().head, revision);
        assert!(again.context.memory.admins.get(&bob).is_none());
        again.close().await;
        std::fs::remove_file(folder.path().join("store.key")).unwrap();
        let keyless = Offline::look(config(folder.path()), means()).await.err();
        assert!(matches!(keyless, Some(StartError::SealFile(_))), "{keyless:?}");
    }
}

use std::time::Duration;

use super::*;
use crate::app::Offline;
use crate::domain::{
    AdminName, AdminRole, ClientId, CredentialState, ManualClock, SystemEntropy, UnixTime,
};
use crate::service::keys::KeysError;
use crate::service::{
    CredentialRequest, audit, create_admin, issue_credential, pack_revocations, revoke_credential,
};
use crate::store::codec::CutOffSubject;

const CONFIG: &str = r#"
[store]
path = "store"
[oauth]
issuer = "http://127.0.0.1:8080"
audience = "a"
[[role]]
id = "reader"
label = "r"
description = ""
scopes = ["campaign.read"]
"#;

fn config(folder: &Path) -> Config {
    crate::config::parse(CONFIG, folder).unwrap()
}

fn means() -> Means {
    let clock = Arc::new(ManualClock::new(UnixTime::from_secs(1_795_314_000)));
    clock.advance(Duration::from_millis(300));
    let log = Box::new(io::sink());
    let resolver = Arc::new(crate::edge::SystemResolver);
    let probe = Box::new(crate::edge::SystemProbe::default());
    Means { clock, entropy: Arc::new(SystemEntropy), log, store: None, resolver, probe }
}

async fn mint(offline: &Offline, name: &str) -> ClientId {
    let ctx = &offline.context;
    let request = CredentialRequest {
        name: name.into(),
        account: "acme".into(),
        roles: vec!["reader".into()],
        ..CredentialRequest::default()
    };
    let checked = request.check(&ctx.world.load(), ctx.now()).unwrap();
    let issued = issue_credential(ctx, &Actor::command_line(), checked).await.unwrap();
    issued.credential.client_id
}

/// A store with an administrator and two credentials, one of them revoked; a backup of
/// it; then the other one is revoked too. Returns the two.
async fn history(folder: &Path) -> (ClientId, ClientId) {
    let actor = Actor::command_line();
    let offline = Offline::change(config(folder), means()).await.unwrap();
    let name = AdminName::new("alice").unwrap();
    create_admin(&offline.context, &actor, name, AdminRole::SuperAdmin).await.unwrap();
    let (dead, later) = (mint(&offline, "dead").await, mint(&offline, "later").await);
    revoke_credential(&offline.context, &actor, dead, "leaked").await.unwrap();
    offline.close().await;
    let copy = back_up(config(folder), means(), &folder.join("b")).await.unwrap();
    assert!(copy.entries > 8 && copy.header.made_by == "command-line", "{copy:?}");
    let offline = Offline::change(config(folder), means()).await.unwrap();
    revoke_credential(&offline.context, &actor, later, "leaked too").await.unwrap();
    offline.close().await;
    (dead, later)
}

fn lose(folder: &Path) {
    std::fs::rename(folder.join("store"), folder.join("lost")).unwrap();
}

#[tokio::test]
async fn what_was_revoked_after_the_backup_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (dead, later) = history(folder).await;
    let before = Offline::look(config(folder), means()).await.unwrap();
    let old_keys = before.context.world.load().keys().jwks();
    let file = folder.join("b");
    // Never over a store.
    let error = restore(config(folder), means(), &file, false).await.unwrap_err();
    assert!(matches!(error, BackupError::Taken(_)), "{error}");
    lose(folder);
    let restored = restore(config(folder), means(), &file, false).await.unwrap();
    assert_eq!(restored.fenced.suspended, 1);
    assert_eq!(restored.fenced.admins, ["alice (super-admin)"]);
    let offline = Offline::change(config(folder), means()).await.unwrap();
    let ctx = &offline.context;
    let state = |id| ctx.memory.directory.get(id).unwrap().state.clone();
    assert!(matches!(state(dead), CredentialState::Revoked(_)));
    assert_eq!(state(later), CredentialState::Suspended);
    assert!(ctx.memory.admins.is_empty());
    // Its old tokens are dead by more than that: resuming does not wake them.
    let (cut, _) = ctx.memory.ledger.cut_off(&CutOffSubject::Client(later)).unwrap();
    assert!(cut > means().clock.now(), "{cut}");
    assert_ne!(ctx.world.load().keys().jwks(), old_keys);
    // The trail goes on from the backup's, and says what happened.
    let report = verify_audit(ctx).unwrap();
    assert_eq!(report.first_broken, None);
    let (lines, _) = audit(ctx, Some("store.restore"), None, 10);
    let line = &lines[0].1;
    assert_eq!(line.target, format!("revision {}", restored.copy.revision));
    let noted: Vec<_> = line.changes.iter().map(|change| change.field.as_str()).collect();
    assert!(noted.contains(&"backup_made_at") && noted.contains(&"backup_made_by"), "{noted:?}");
    offline.close().await;
    // Nothing is left beside it.
    let names = folder.read_dir().unwrap().map(|name| name.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["b", "lost", "store", "store.key"]);
}

/// It may have been revoked since, and is in no record of the store.
#[tokio::test]
async fn nor_does_the_operators_own_signing_key() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let own = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    std::fs::write(folder.join("own.key"), own.serialize_pem()).unwrap();
    let text = CONFIG.replace("[oauth]", "[oauth]\nsigning_key_file = \"own.key\"");
    let config = || crate::config::parse(&text, folder).unwrap();
    let signing = |offline: &Offline| offline.context.world.load().keys().signing().kid().clone();
    let offline = Offline::change(config(), means()).await.unwrap();
    let (kid, file) = (signing(&offline), folder.join("b"));
    offline.close().await;
    back_up(config(), means(), &file).await.unwrap();
    for (vouched, revoked) in [(true, None), (false, Some(&kid))] {
        let _ = std::fs::remove_dir_all(folder.join("lost"));
        lose(folder);
        let restored = restore(config(), means(), &file, vouched).await.unwrap();
        assert_eq!(restored.fenced.operator_key.as_ref(), revoked);
        let offline = Offline::change(config(), means()).await.unwrap();
        assert_eq!(signing(&offline) == kid, vouched);
        offline.close().await;
    }
}

#[tokio::test]
async fn where_somebody_vouches_credentials_stay_and_tokens_end_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_, later) = history(folder).await;
    lose(folder);
    let restored = restore(config(folder), means(), &folder.join("b"), true).await.unwrap();
    assert_eq!((restored.fenced.suspended, restored.fenced.admins.len()), (0, 0));
    let offline = Offline::look(config(folder), means()).await.unwrap();
    let memory = &offline.context.memory;
    assert_eq!(memory.directory.get(later).unwrap().state, CredentialState::Active);
    assert_eq!(memory.admins.len(), 1);
    assert!(memory.ledger.cut_off(&CutOffSubject::Client(later)).is_some());
}

#[tokio::test]
async fn what_does_not_fit_leaves_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    history(folder).await;
    let (file, key) = (folder.join("b"), folder.join("store.key"));
    let again = back_up(config(folder), means(), &file).await.unwrap_err();
    assert!(matches!(again, BackupError::Taken(_)), "{again}");
    lose(folder);
    let good_key = std::fs::read(&key).unwrap();
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    let error = restore(config(folder), means(), &file, false).await.unwrap_err();
    let wrong =
        matches!(&error, BackupError::Start(StartError::Keys(KeysError::WrongMasterKey { .. })));
    assert!(wrong, "{error}");
    std::fs::remove_file(&key).unwrap();
    let error = restore(config(folder), means(), &file, false).await.unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
    std::fs::write(&key, good_key).unwrap();
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for bytes in [&bad[..], &good[..good.len() - 1], b"nonsense"] {
        std::fs::write(&file, bytes).unwrap();
        let error = restore(config(folder), means(), &file, false).await.unwrap_err().to_string();
        assert!(error.contains("no whole backup"), "{error}");
    }
    assert!(!folder.join("store").exists());
    assert_eq!(folder.read_dir().unwrap().count(), 3);
    let none = back_up(config(folder), means(), &folder.join("c")).await.unwrap_err();
    assert!(matches!(none, BackupError::NoStore(_)), "{none}");
    std::fs::write(&file, &good).unwrap();
    // An empty folder, as one makes for a new disk, is room.
    std::fs::create_dir(folder.join("store")).unwrap();
    restore(config(folder), means(), &file, false).await.unwrap();
}

/// A store that the last version without formats left behind, with its key file.
#[tokio::test]
async fn an_older_store_is_read_packed_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-format-1.tar.gz");
    let unpack =
        std::process::Command::new("tar").args(["-xzf", file, "-C"]).arg(folder.path()).status();
    assert!(unpack.unwrap().success());
    for packed in [0, 128] {
        let offline = Offline::change(config(folder.path()), means()).await.unwrap();
        let ctx = &offline.context;
        let memory = &ctx.memory;
        assert_eq!((memory.directory.len(), memory.admins.len()), (3, 1));
        assert_eq!(memory.revoked.token_count(), 150);
        assert_eq!(verify_audit(ctx).unwrap().first_broken, None);
        let more = pack_revocations(ctx).await.unwrap();
        assert_eq!(packed + more, 128);
        offline.close().await;
    }
}

//! `backup` and `restore`: the store in a file, and back.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::args;
use super::failure::{DONE, Outcome};
use super::out;
use super::port::AdminPort;
use super::serve::{means, runtime};
use crate::app::{BackupError, NewFile, StartError, back_up, restore as bring_back};
use crate::config;
use crate::domain::{Clock, SystemClock};
use crate::store::OpenError;
use crate::store::backup::Contents;

/// `backup …`
pub(super) fn backup(command: &args::Backup) -> Outcome {
    let config = config::load(&command.config.config)?;
    let key_file = config.store.key_file.clone();
    let to = target(&command.to);
    let alone = back_up(config, means(Box::new(std::io::sink())), &to);
    let (copy, how) = match runtime(1)?.block_on(alone) {
        Ok(copy) => (copy, "straight from its folder"),
        // A server has it, or it is the server's own.
        Err(BackupError::Start(StartError::Open(OpenError::Locked { .. }))) => {
            (through(command, &to)?, "through the admin port")
        }
        Err(BackupError::InMemory) => (through(command, &to)?, "through the admin port"),
        Err(error) => return Err(said(error)),
    };
    if command.port.output.json {
        out::json(&told(&copy, &to));
    } else {
        out::answer(to.display());
    }
    out::note(format_args!(
        "backed up {how}: {} entries as of revision {}, {} bytes, read back and whole\n\
         it can't be used without {}: keep a copy of that too, and in another place",
        copy.entries,
        copy.revision,
        copy.bytes,
        key_file.display()
    ));
    Ok(DONE)
}

/// A folder gets a file named after the moment.
fn target(to: &Path) -> PathBuf {
    if to.is_dir() {
        let now = SystemClock.now().to_string();
        let now: String = now.chars().filter(|c| c.is_ascii_digit() || matches!(c, 'T')).collect();
        to.join(format!("portcullis-{}.backup", now.get(..15).unwrap_or(&now)))
    } else {
        to.to_owned()
    }
}

fn through(command: &args::Backup, to: &Path) -> anyhow::Result<Contents> {
    let port = AdminPort::from_env(&command.port.admin_url)?;
    let mut file = NewFile::begin(to).map_err(said)?;
    let mut body = port.stream("/v1/backup")?;
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = body.read(&mut piece).context("the backup was cut short on its way")?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        file.file().write_all(bytes).with_context(|| to.display().to_string())?;
    }
    file.finish().map_err(said)
}

fn told(copy: &Contents, file: &Path) -> serde_json::Value {
    json!({
        "file": file.display().to_string(),
        "revision": copy.revision,
        "entries": copy.entries,
        "bytes": copy.bytes,
        "made_at": copy.header.made_at.to_string(),
        "made_by": copy.header.made_by,
        "version": copy.header.version,
    })
}

fn said(error: BackupError) -> anyhow::Error {
    match error {
        BackupError::Start(error) => error.into(),
        error => error.into(),
    }
}

/// `restore …`
pub(super) fn restore(command: &args::Restore) -> Outcome {
    let file = &command.config.config;
    let config = config::load(file)?;
    let vouched = command.nothing_revoked_since;
    let means = means(Box::new(std::io::sink()));
    let restored = runtime(1)?.block_on(bring_back(config, means, &command.from, vouched));
    let restored = restored.map_err(said)?;
    let fenced = &restored.fenced;
    if command.output.json {
        let mut told = told(&restored.copy, &command.from);
        if let Some(told) = told.as_object_mut() {
            told.insert("credentials_suspended".into(), fenced.suspended.into());
            told.insert("administrators_removed".into(), fenced.admins.clone().into());
            told.insert("issued_before".into(), fenced.issued_before.to_string().into());
            let key = fenced.operator_key.as_ref().map(ToString::to_string);
            told.insert("signing_key_revoked".into(), key.into());
        }
        out::json(&told);
    }
    let mut words = format!(
        "restored: {} entries as of revision {}, made at {} by {}; the audit trail is whole ({} \
         entries)\nevery token issued before {} is dead, and a new signing key is made at the \
         start",
        restored.copy.entries,
        restored.copy.revision,
        restored.copy.header.made_at,
        restored.copy.header.made_by,
        restored.audit_entries,
        fenced.issued_before
    );
    if !vouched {
        words.push_str(&format!(
            "\nnobody can tell what was revoked after the backup was made, so {} \
             suspended, and these administrators are removed: {}\nnext: portcullis admin create \
             --config {} --name … --role super-admin; serve; then resume each credential that \
             is known to be good, and revoke the others. A credential has the secrets, roles and \
             environments of the backup again: before it is resumed, end secrets that were \
             retired since, and take back the rights that were taken away since",
            match fenced.suspended {
                1 => "1 credential is".to_owned(),
                count => format!("{count} credentials are"),
            },
            if fenced.admins.is_empty() { "none".to_owned() } else { fenced.admins.join(", ") },
            file.display()
        ));
    }
    if let Some(kid) = &fenced.operator_key {
        words.push_str(&format!(
            "\nthe key of oauth.signing_key_file ({kid}) may have been revoked since, so it is \
             revoked: give another one, or remove the line"
        ));
    }
    out::note(words);
    Ok(DONE)
}

//! Taking the file of a running gateway on again: all of it or nothing, and
//! whoever asked, by a signal or through the admin port, is told the same.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::check::count;
use super::inventory::Inventory;
use crate::api::{ConfigFault, Reloaded, Unchanged};
use crate::app::Reloadable;
use crate::config::{self, Config, Fault};
use crate::service::{Actor, note_reload};

/// Reads the file and takes it on.
///
/// # Errors
/// Every fault there is; then all stays as it was.
pub(super) async fn reload(
    file: &Path,
    running: &Reloadable,
    inventory: &mut Inventory,
    by: &Actor,
) -> Result<Reloaded, Unchanged> {
    let outcome = try_reload(file, running, inventory).await;
    match &outcome {
        Ok((words, reloaded)) => {
            for warning in &reloaded.warnings {
                tracing::warn!("{}", as_fault(warning).at(file));
            }
            tracing::info!("{} is taken on: {words}", file.display());
            let noted =
                note_reload(running.context(), by, reloaded.generation, &reloaded.changed).await;
            if let Err(error) = noted {
                tracing::error!(%error, "a reload is missing in the trail");
            }
        }
        Err(Unchanged(faults)) => {
            let lines: Vec<String> =
                faults.iter().map(|fault| as_fault(fault).at(file).to_string()).collect();
            let (why, lines) = (count(faults.len(), "fault"), lines.join("\n"));
            tracing::error!("{} is refused ({why}); all stays as it was\n{lines}", file.display());
        }
    }
    outcome.map(|(_, reloaded)| reloaded)
}

/// What drains runs on rights that are gone, perhaps, for this long at most.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(10);

/// Judges what drains here by the file that the process that serves has taken on.
pub(super) async fn follow(file: &Path, draining: &Reloadable) {
    match load_in_time(file).await {
        Ok(config) => {
            let cut = draining.follow(config);
            tracing::info!(cut, "what drains is judged by {} as it is now", file.display());
        }
        Err(Unchanged(faults)) => {
            draining.cut();
            let first = faults.first().map(|fault| as_fault(fault).at(file).to_string());
            tracing::error!(
                why = first.unwrap_or_default(),
                "{} can't be read by the version that drains: all that still ran there is cut, \
                 since nobody knows what of it has a right to",
                file.display()
            );
        }
    }
}

async fn try_reload(
    file: &Path,
    running: &Reloadable,
    inventory: &mut Inventory,
) -> Result<(String, Reloaded), Unchanged> {
    let config = load(file).await.inspect_err(|_| running.refused())?;
    let new = Inventory::of(&config);
    let fixed = inventory.fixed_changes(&new);
    if !fixed.is_empty() {
        running.refused();
        let fault = |key: &str| ConfigFault {
            key: key.to_owned(),
            line: None,
            message: "can't change without a restart; put the old value back, or restart"
                .to_owned(),
        };
        return Err(Unchanged(fixed.into_iter().map(fault).collect()));
    }
    let warnings = config.warnings.iter().map(of_fault).collect();
    // Counts its own refusals.
    let taken = running.reload(config).await.map_err(|error| whole(&error))?;
    let (words, changed) = inventory.changes(&new);
    inventory.take_on(new);
    let (generation, streams_closed) = (taken.generation, taken.streams_closed);
    Ok((words, Reloaded { generation, changed, warnings, streams_closed }))
}

async fn load_in_time(file: &Path) -> Result<Config, Unchanged> {
    let late = |_| Err(whole(&format_args!("its disk did not answer within {FOLLOWED_WITHIN:?}")));
    timeout(FOLLOWED_WITHIN, load(file)).await.unwrap_or_else(late)
}

async fn load(file: &Path) -> Result<Config, Unchanged> {
    let path = file.to_owned();
    match tokio::task::spawn_blocking(move || config::load(&path)).await {
        Ok(Ok(config)) => Ok(config),
        Ok(Err(errors)) => Err(Unchanged(errors.faults().iter().map(of_fault).collect())),
        Err(error) => Err(whole(&error)),
    }
}

fn whole(error: &dyn std::fmt::Display) -> Unchanged {
    Unchanged(vec![ConfigFault { key: String::new(), line: None, message: error.to_string() }])
}

fn of_fault(fault: &Fault) -> ConfigFault {
    let Fault { line, key, message } = fault.clone();
    ConfigFault { key, line, message }
}

fn as_fault(fault: &ConfigFault) -> Fault {
    let ConfigFault { key, line, message } = fault.clone();
    Fault { line, key, message }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tokio::time::advance;

    use super::*;

    /// Whoever drains can't wait for it: it judges by rights that may be gone.
    #[tokio::test(start_paused = true)]
    async fn a_file_on_a_disk_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hangs");
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let reading = tokio::spawn({
            let file = file.clone();
            async move { load_in_time(&file).await }
        });
        // Opening it to write waits for the reader, which then waits for the end of it.
        let path = file.clone();
        let open = || std::fs::OpenOptions::new().write(true).open(path);
        let hangs = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
        advance(FOLLOWED_WITHIN).await;
        let Err(Unchanged(faults)) = reading.await.unwrap() else { panic!("it was read") };
        assert!(faults[0].message.contains("did not answer within 10s"), "{faults:?}");
        drop(hangs);
    }
}

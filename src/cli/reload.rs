//! Taking the file of a running gateway on again: all of it or nothing, and
//! whoever asked, by a signal or through the admin port, is told the same.

use std::path::Path;

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

/// Judges what drains here by the file that the process that serves has taken on.
pub(super) async fn follow(file: &Path, draining: &Reloadable) {
    match load(file).await {
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

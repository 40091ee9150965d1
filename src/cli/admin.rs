//! `admin create`: an administrator made straight in the store. The other
//! commands of `admin` go through the admin port.

use std::path::Path;

use serde_json::json;

use super::args;
use super::failure::{DONE, Outcome, Usage};
use super::key;
use super::out;
use super::serve::{means, runtime};
use crate::app::{Offline, StartError};
use crate::config::{self, Config, Engine};
use crate::domain::{AdminKey, AdminName, AdminRole};
use crate::service::{Actor, create_admin};
use crate::store::OpenError;

/// `admin …`
pub(super) fn admin(command: &args::Admin) -> Outcome {
    let (file, name, role, output) = match command {
        args::Admin::Create { config, name, role, output } => (config, name, role, output),
        args::Admin::List { page, port } => return key::admins(page, port),
        args::Admin::Remove { name, port } => return key::remove_admin(name, port),
    };
    let config = config::load(&file.config)?;
    let name = AdminName::new(name).map_err(|error| Usage(format!("--name {error}")))?;
    if config.store.engine == Engine::Memory {
        return Err(Usage(format!(
            "{}: the store is in memory (store.engine = \"memory\"), so there is nothing to make \
             an administrator in. A server prints the key of its first one when it starts",
            file.config.display()
        ))
        .into());
    }
    // Said in full: a relative path leads elsewhere from another folder.
    let store = std::path::absolute(&config.store.path)?;
    let (key, found) = runtime(1)?.block_on(create(&file.config, config, &name, *role))?;
    if output.json {
        out::json(&json!({"name": name.as_str(), "role": role.as_str(), "key": key.expose()}));
    } else {
        out::answer(key.expose());
    }
    out::note(format_args!(
        "that is the key of {name}, {role}: store it now; it's shown this once\n\
         {}\n\
         next: portcullis serve --config {}, and PORTCULLIS_ADMIN_KEY=<the key> for the other commands",
        whereabouts(&store, found),
        file.config.display()
    ));
    Ok(DONE)
}

async fn create(
    file: &Path,
    config: Config,
    name: &AdminName,
    role: AdminRole,
) -> anyhow::Result<(AdminKey, bool)> {
    let admin = config.admin.listen;
    let offline = match Offline::change(config, means(Box::new(std::io::sink()))).await {
        Ok(offline) => offline,
        Err(StartError::Open(OpenError::Locked { path })) => {
            anyhow::bail!(
                "a running server holds the store in {} (of {}). Ask its admin port, as a \
                 super-admin:\n\n  {}\n\nor end the server first",
                path.display(),
                file.display(),
                curl(&format!("http://{admin}"), name, role)
            )
        }
        Err(error) => return Err(error.into()),
    };
    let made = create_admin(&offline.context, &Actor::command_line(), name.clone(), role).await;
    let found = offline.found;
    offline.close().await;
    Ok((made?.key, found))
}

/// In which store the administrator is, which must be the one that is served.
fn whereabouts(store: &Path, found: bool) -> String {
    let store = store.display();
    match found {
        true => format!("it is kept in the store {store}"),
        false => {
            format!("made a new store in {store}: a server with another one does not know this key")
        }
    }
}

/// A line that makes it at the admin port.
fn curl(admin: &str, name: &AdminName, role: AdminRole) -> String {
    // Names have no character that a shell or JSON would mind.
    format!(
        "curl -sS -X POST {admin}/v1/admins -H \"Authorization: Bearer $PORTCULLIS_ADMIN_KEY\" \
         -H 'Content-Type: application/json' -d '{{\"name\":\"{name}\",\"role\":\"{role}\"}}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_named_in_full() {
        let store = Path::new("/srv/var/portcullis");
        assert_eq!(whereabouts(store, true), "it is kept in the store /srv/var/portcullis");
        assert!(whereabouts(store, false).starts_with("made a new store in /srv/var/portcullis:"));
    }

    #[test]
    fn the_curl_line_is_ready_to_paste() {
        let name = AdminName::new("alice").unwrap();
        let line = curl("http://127.0.0.1:8081", &name, AdminRole::SuperAdmin);
        assert!(line.ends_with("-d '{\"name\":\"alice\",\"role\":\"super-admin\"}'"), "{line}");
    }
}

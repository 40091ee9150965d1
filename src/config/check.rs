//! The check of a whole file, and of its small sections.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::fault::{ConfigErrors, Fault};
use super::model::{Config, Engine, Store};
use super::read::{Lines, Place, Reader, Section};
use super::server::Listeners;
use super::text::Variables;
use super::value::Value;
use super::{oauth, route, server, upstream};
use crate::domain::{Rate, Role, RoleId, Scope, ScopeSet};

/// Checks a text. `file` is what faults call it.
pub(super) fn check(
    text: &str,
    base: &Path,
    file: &Path,
    variables: &Variables<'_>,
) -> Result<Config, ConfigErrors> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    if !errors.is_empty() {
        // What could be read around a syntax error would only mislead.
        let faults = errors.iter().map(|error| syntax(text, &lines, error)).collect();
        return Err(ConfigErrors::new(file, faults));
    }
    let reader = Reader {
        lines,
        file,
        base,
        variables,
        faults: Default::default(),
        warnings: Default::default(),
        #[cfg(test)]
        asked: Default::default(),
    };
    let config = Section::root(&reader, table.get_ref(), whole);
    #[cfg(test)]
    super::tests::note_asked(reader.asked.take());
    let mut warnings = reader.warnings.into_inner();
    warnings.sort_by_key(|warning| warning.line);
    match (config, reader.faults.into_inner()) {
        (Some(config), faults) if faults.is_empty() => Ok(Config { warnings, ..config }),
        (_, faults) => Err(ConfigErrors::new(file, faults)),
    }
}

/// The message alone: with the line's text, a secret in it would be shown.
fn syntax(text: &str, lines: &Lines, error: &toml::de::Error) -> Fault {
    let at = error.span().map(|span| lines.and_column(text, span.start));
    let message = match at {
        Some((_, column)) => format!("no TOML, column {column}: {}", error.message()),
        None => format!("no TOML: {}", error.message()),
    };
    Fault { line: at.map(|(line, _)| line), key: String::new(), message }
}

/// Values with faults are stood in for, so that the check can go on; `check`
/// throws the result away then.
fn whole(root: &Section<'_>) -> Option<Config> {
    let mut listeners = Listeners::default();
    let server = root.table("server", |section| server::server(section, &mut listeners));
    let admin = root.table("admin", |section| server::admin(section, &mut listeners));
    let metrics = root.table("metrics", |section| server::metrics(section, &mut listeners));
    let store = root.table("store", store);
    let oauth = root.table("oauth", oauth::oauth);
    let upstreams = upstream::upstreams(root, &listeners);
    let roles = roles(root);
    let names: HashSet<&str> = upstreams.iter().map(|(_, u)| u.name.as_str()).collect();
    let routes = route::routes(root, &names, &oauth::reserved(oauth.as_ref()));
    for (place, upstream) in &upstreams {
        if !routes.upstreams.contains(&upstream.name) {
            root.reader.warn(place, "is the upstream of no route");
        }
    }
    for (place, role) in &roles {
        for scope in role.scopes.difference(&routes.scopes) {
            root.reader.warn(place, format!("grants {scope:?}, which no route asks for"));
        }
    }
    Some(Config {
        server: server??,
        admin: admin?,
        metrics: metrics?,
        store: store?,
        oauth: oauth?,
        upstreams: upstreams.into_iter().map(|(_, upstream)| upstream).collect(),
        roles: roles.into_iter().map(|(_, role)| role).collect(),
        routes: routes.table,
        warnings: Vec::new(),
    })
}

const ENGINES: [(&str, Engine); 2] = [("sled", Engine::Sled), ("memory", Engine::Memory)];

fn store(section: &Section<'_>) -> Store {
    let engine = section.or("engine", Engine::Sled, |value| match value.raw() {
        Some("etcd") => value.fault(
            "is \"etcd\", which this version does not do: one gateway, one store; use \"sled\"",
        ),
        _ => value.word(&ENGINES),
    });
    let path = section.or("path", section.reader.base.join("var/portcullis"), Value::path);
    let mut beside = path.clone().into_os_string();
    beside.push(".key");
    let key_file = section.or("key_file", PathBuf::from(beside), Value::path);
    if key_file.starts_with(&path) {
        section.reader.fault(
            &section.place_of("key_file"),
            "must lie outside the folder that it seals, or a copy of the one is a copy of both",
        );
    }
    // Whoever names the file from the root means the same from wherever.
    if engine == Engine::Sled && section.reader.file.is_absolute() {
        let keys = [("path", &path), ("key_file", &key_file)];
        for (key, _) in keys
            .iter()
            .filter(|(key, path)| path.is_relative() && (*key == "path" || section.has(key)))
        {
            section.reader.warn(
                &section.place_of(key),
                "is relative to the folder that portcullis is started in: from another one the \
                 same file leads to another store; write it from the root",
            );
        }
    }
    Store { engine, path, key_file }
}

fn roles<'a>(root: &Section<'a>) -> Vec<(Place, Role)> {
    let mut ids = BTreeSet::new();
    let roles = root.tables("role", "id", |section| {
        let id = section.need("id", "\"campaign-reader\"", |value| {
            let id = value.name(RoleId::new)?;
            if !ids.insert(id.clone()) {
                return value.fault("is the id of another role too; ids are unique");
            }
            Some(id)
        });
        let label = section.get("label", Value::text);
        let description = section.or("description", String::new(), Value::text);
        let scopes = section.need("scopes", "[\"campaign.list\"]", |value| {
            value.some("scopes", |scope| scope.name(Scope::new))
        });
        let armed = section.or("armed", false, Value::boolean);
        let rate = section.get("rate", rate);
        let concurrency = section.get("concurrency", |value| {
            value.number(1..=u64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
        });
        let id = id?;
        Some(Role {
            label: label.unwrap_or_else(|| id.to_string()),
            id,
            description,
            scopes: ScopeSet::from_iter(scopes.unwrap_or_default()),
            armed,
            rate,
            concurrency,
        })
    });
    roles
        .into_iter()
        .filter_map(|(section, role)| Some((section.place_of("scopes"), role?)))
        .collect()
}

/// A rate such as `"100/s"`.
pub(super) fn rate(value: &Value<'_>) -> Option<Rate> {
    value.name(str::parse)
}

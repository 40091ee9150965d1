//! The files that are shipped hold, as they are and with every example switched on.

use std::fs;
use std::path::{Path, PathBuf};

use super::{ASKED, warned};
use crate::config::{load, parse};

fn shipped() -> Vec<(PathBuf, String)> {
    let folder = Path::new("config");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 2);
    files
}

/// The examples that are switched off, switched on.
fn switched_on(text: &str) -> String {
    let on = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(example) if !example.starts_with([' ', '#']) => example.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(|line| on(line) + "\n").collect()
}

fn folder_with_files(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let pem = key.serialize_pem() + &made.pem();
    let signing = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    for name in text.split('"') {
        if name.ends_with(".pem") || (name.ends_with(".key") && !name.contains('/')) {
            fs::write(folder.path().join(name), &pem).unwrap();
        }
        if name == "key.pem" {
            fs::write(folder.path().join(name), signing.serialize_pem()).unwrap();
        }
        if name.ends_with(".authorization") || name == "legacy.key" {
            fs::write(folder.path().join(name), "Bearer x\n").unwrap();
        }
    }
    folder
}

#[test]
fn the_shipped_files_hold() {
    for (path, text) in shipped() {
        let config = load(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(warned(&config), "", "{}", path.display());
        let all = switched_on(&text);
        assert_ne!(all, text, "{}", path.display());
        let folder = folder_with_files(&all);
        parse(&all, folder.path()).unwrap_or_else(|e| panic!("{}\n{e}", path.display()));
    }
}

#[test]
fn the_example_of_the_contract_holds() {
    let text = include_str!("contract.toml");
    let folder = folder_with_files(text);
    let config = parse(text, folder.path()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.oauth.token_info_path.as_deref(), Some("/token"));
    assert_eq!(config.store.path, folder.path().join("var/portcullis"));
    let clients = config.server.tls.as_ref().and_then(|tls| tls.clients.as_ref());
    assert!(clients.is_some_and(|clients| !clients.required));
}

#[test]
fn every_key_is_in_the_example() {
    let (_, text) =
        shipped().into_iter().find(|(path, _)| path.ends_with("portcullis.toml")).unwrap();
    let all = switched_on(&text);
    let folder = folder_with_files(&all);
    parse(&all, folder.path()).unwrap();
    let asked = ASKED.take();
    assert!(asked.len() > 100);
    for (key, _) in &asked {
        let last = key.rsplit('.').next().unwrap();
        let there =
            asked.iter().any(|(other, there)| *there && other.rsplit('.').next() == Some(last));
        // A few are alternatives to others, and stand in a comment.
        assert!(there || text.contains(&format!("{last} = ")), "{key} is not in the example");
    }
}

#[test]
fn real_apis_are_routed_as_they_should() {
    let (path, _) = shipped().into_iter().find(|(path, _)| path.ends_with("abtasty.toml")).unwrap();
    let config = load(&path).unwrap();
    assert!(config.routes.routes().len() >= 60);
    for route in config.routes.routes() {
        assert!(route.host.is_some(), "{}", route.name);
    }
    for upstream in &config.upstreams {
        let tls = upstream.tls.as_ref().unwrap();
        assert_eq!(upstream.addresses, [format!("{}:443", tls.server_name)]);
    }
    let of = |id: &str| &config.roles.iter().find(|role| role.id.as_str() == id).unwrap().scopes;
    assert!(of("library-updater").is_disjoint(of("library-emergency")));
}

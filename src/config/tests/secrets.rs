//! Secrets get in, and never out.

use std::fs;
use std::path::Path;

use super::*;

const SECRET: &str = "hunter2-hunter2";

#[test]
fn no_fault_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, format!("{SECRET}\u{7}")).unwrap();
    let file = file.display();
    for snippet in [
        "signing_key = \"${S}\"".to_owned(),
        format!("signing_key = \"{SECRET}\""),
        format!("signing_key_file = \"{file}\""),
        format!("signing_key = \"{SECRET}\"\nsigning_key_file = \"{file}\""),
        // In the wrong place, and in files with broken syntax.
        "audience = \"a ${S}\"".into(),
        "token_ttl = \"${S}\"".into(),
        "token_paths = [\"${S}\"]".into(),
        "signing_key_file = \"${S}\"".into(),
        "token_rate = \"${S}\"".into(),
        format!("signing_key = \"{SECRET}"),
        format!("signing_key = {SECRET}"),
        format!("signing_key = \"{SECRET}\\q\""),
        format!("[[upstream]]\nname = \"v\"\naddresses = [\"h:1\"]\nauthorization = \"{SECRET}\""),
        "[[upstream]]\nname = \"${S}/\"\naddresses = [\"${S}\"]\nauthorization = \"${S}\"".into(),
        format!("[[upstream]]\nname = \"v\"\naddresses = [\"h:1\"]\nauthorization = {{ set_file = \"{file}\" }}"),
        "[[upstream]]\nname = \"v\"\naddresses = [\"h:1\"]\nauthorization = { set = \" ${S}\" }".into(),
        "[[route]]\nname = \"${S} \"\npath = \"/\"\nupstream = \"${S}\"\nhost = \"${S}:\"\nallow = { GET = \"@${S}\" }".into(),
        "[server]\nlisten = [\"${S}\"]\ntrusted_proxies = [\"${S}\"]".into(),
    ] {
        let errors = with(&format!("{HEAD}{snippet}"), &[("S", SECRET)]).unwrap_err();
        let shown = format!("{errors}{errors:?}");
        assert!(!shown.contains("hunter2"), "{snippet}\n{shown}");
    }
}

#[test]
fn secrets_come_from_variables_and_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("legacy.key"), "Bearer x\r\n").unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    fs::write(folder.path().join("key.pem"), &key).unwrap();
    let text = "signing_key_file = \"key.pem\"\n\
                [[upstream]]\nname = \"v\"\naddresses = [\"h:1\"]\nauthorization = { set_file = \"legacy.key\" }\n\
                [[upstream]]\nname = \"w\"\naddresses = [\"h:1\"]\nauthorization = { set = \"Basic ${S}\" }\n\
                [[upstream]]\nname = \"x\"\naddresses = [\"h:1\"]\nauthorization = { set = \"plain\" }";
    let variables = |name: &str| (name == "S").then(|| SECRET.to_owned());
    let config =
        check::check(&format!("{HEAD}{text}"), folder.path(), Path::new("c"), &variables).unwrap();
    let set = |index: usize| match &config.upstreams[index].authorization {
        UpstreamAuthorization::Set(secret) => secret.expose().to_owned(),
        UpstreamAuthorization::Strip | UpstreamAuthorization::Forward => panic!("{index}"),
    };
    assert_eq!((set(1), set(2)), ("Bearer x".into(), format!("Basic {SECRET}")));
    assert_eq!(config.oauth.signing_key.as_ref().unwrap().expose(), key.trim_end());
    let shown = format!("{config:?}");
    assert!(!shown.contains(SECRET) && !shown.contains("Bearer x") && !shown.contains("BEGIN"));
    let warned = warned(&config);
    assert!(warned.contains("upstream \"x\".authorization.set: stands here for all"), "{warned}");
    assert!(!warned.contains("upstream \"w\".authorization"), "{warned}");
}

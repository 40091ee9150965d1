//! Certificates and keys of upstreams, and the file of a legacy key.

use std::fs;
use std::path::Path;

use super::HEAD;
use crate::config::{Config, ConfigErrors, Upstream, parse};

struct Made {
    cert: String,
    key: String,
}

fn made() -> Made {
    let made = rcgen::generate_simple_self_signed(["up.example".to_owned()]).unwrap();
    Made { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

fn upstream(folder: &Path, lines: &str) -> Result<Config, ConfigErrors> {
    let text = format!("{HEAD}[[upstream]]\nname = \"v\"\naddresses = [\"h:1\"]\n{lines}");
    parse(&text, folder)
}

fn last(config: &Config) -> &Upstream {
    config.upstreams.last().unwrap()
}

/// The faults as lines of text, without the file's name.
fn faults(folder: &Path, lines: &str) -> Vec<(Option<usize>, String, String)> {
    let errors = upstream(folder, lines).unwrap_err();
    let fault = |f: &crate::config::Fault| (f.line, f.key.clone(), f.message.clone());
    errors.faults().iter().map(fault).collect()
}

#[test]
fn good_files_are_taken_in_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (made(), made());
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", format!("a comment\n{}\n{}", one.cert, two.cert));
    write("client.pem", format!("{}{}", two.cert, one.cert));
    write("client.key", two.key.clone());
    let config = upstream(
        folder.path(),
        "tls = true\nserver_name = \"up.example\"\nca = \"ca.pem\"\n\
         client_certificate = { cert = \"client.pem\", key = \"client.key\" }",
    );
    let config = config.unwrap();
    let tls = last(&config).tls.as_ref().unwrap();
    let (ca, identity) = (tls.ca.as_ref().unwrap(), tls.client_certificate.as_ref().unwrap());
    assert_eq!((ca.len(), identity.chain.len()), (2, 2));
    assert_eq!(ca[1], identity.chain[0]);
    let shown = format!("{config:?}");
    assert!(shown.contains("ClientIdentity(2 certificates, [key])"), "{shown}");
    assert!(!shown.contains(&format!("{:?}", identity.key.as_slice())));
}

#[test]
fn bad_files_are_faults_with_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (made(), made());
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("one.pem", &one.cert);
    write("one.key", &one.key);
    write("two.key", &two.key);
    write("text.pem", "hello");
    write("cut.pem", &one.cert[..one.cert.len() / 2]);
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    write("rubbish.pem", &format!("{}{rubbish}", one.cert));
    write("rubbish.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let tls = "tls = true\nserver_name = \"up.example\"\n";
    for (file, word) in [
        ("none.pem", "can't be read"),
        ("text.pem", "PEM file with a CERTIFICATE"),
        ("one.key", "PEM file with a CERTIFICATE"),
        ("cut.pem", "damaged"),
        ("rubbish.pem", "number 2 in it is damaged"),
    ] {
        let found = faults(folder.path(), &format!("{tls}ca = \"{file}\""));
        let [(Some(11), key, message)] = found.as_slice() else { panic!("{file}: {found:?}") };
        assert_eq!(key, "upstream \"v\".ca");
        assert!(message.contains(word), "{file}: {message}");
    }
    for (cert, key, at, word) in [
        ("one.pem", "two.key", "key", "the key of the certificate in cert"),
        ("one.pem", "rubbish.key", "key", "private key"),
        ("one.pem", "one.pem", "key", "PRIVATE KEY"),
        ("rubbish.pem", "one.key", "cert", "damaged"),
        ("none.pem", "one.key", "cert", "can't be read"),
    ] {
        let lines = format!("{tls}client_certificate = {{ cert = \"{cert}\",\nkey = \"{key}\" }}");
        let found = faults(folder.path(), &lines);
        let [(Some(line), name, message)] = found.as_slice() else { panic!("{cert}: {found:?}") };
        assert_eq!(*name, format!("upstream \"v\".client_certificate.{at}"));
        assert_eq!(*line, if at == "key" { 12 } else { 11 });
        assert!(message.contains(word), "{cert} {key}: {message}");
    }
}

#[test]
fn a_legacy_key_is_one_line_that_a_header_can_hold() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "authorization = { set_file = \"legacy.key\" }";
    let write = |text: &[u8]| fs::write(folder.path().join("legacy.key"), text).unwrap();
    for good in ["Bearer x", "Bearer x\n", "Bearer x\r\n", "Basic YTpi"] {
        write(good.as_bytes());
        assert!(upstream(folder.path(), lines).is_ok(), "{good:?}");
    }
    let bad: [&[u8]; 9] = [
        b"",
        b"\n",
        b" Bearer x",
        b"Bearer x ",
        b"Bearer hunter2\nBearer y\n",
        b"Bearer hunter2\r\nX-Evil: 1",
        b"Bearer hunter2\0",
        b"Bearer hunter2\t\x7f",
        "Bearer hunter2é".as_bytes(),
    ];
    for text in bad {
        write(text);
        let found = faults(folder.path(), lines);
        let [(Some(9), key, message)] = found.as_slice() else { panic!("{text:?}: {found:?}") };
        assert_eq!(key, "upstream \"v\".authorization.set_file");
        assert!(message.contains("header value") && !message.contains("hunter2"), "{message}");
    }
}

//! A key for signing tokens that is given, and its algorithm.

use std::fs;

use super::*;
use crate::token::{Algorithm, generate};

// Keys made for this test, which nothing else knows.
const WEAK_RSA: &str = "-----BEGIN PRIVATE KEY-----\n\
MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBAMVs/oOsCK1wIrXO\n\
OI626yvqzm7ro/m/VcxeuOB+iOmU+Cilv512FFpGbzYMzm/bYxCsTkozMZqnHHw6\n\
ChQRzQGy35P/0bauSI6wDzdDdk2PjkydT1ig5ygK0GJjmMap/ezL5jK4LmN5gp1W\n\
LH0EmHq725yDIU9wVkWgjtqy89dXAgMBAAECgYBYSdHYGIsY5Njg7QQl7m9lCHCg\n\
8gg2m/ZGmuWan3ui2dfQda8nP7MCXBVH2ppHM5ktz6CDVjmMq8b1Vw9CwmMm4a1t\n\
Pv7hPebZ34m+f0bfEcqMrHQfK2nAkJg6sGW3F6gOY5hziWClBtMK+YR6DH2MTFQu\n\
xZHl8KmAdt3ikWo6oQJBAPJwJj6Dc7/zNsFJ80sFGyjwIydw6Mb/TkYIuvQStdr0\n\
jdibOcbNxe3+zIstVnZrAKHQGex/+LwfPoh1DXjx43MCQQDQeD4qBICpbq0p5CJQ\n\
puDG5XOTR+MMzdslT2Y7xm2hYOA6i02eo79n4FGt08KEDHzGkiOSvwGjsYzEwAe4\n\
leuNAkBEbNTOdgl4VqvQmA+bz+AfiM9TNXHtoGc2KwahFprPJpDWXtFKxA8mIfEX\n\
Iv+xQngWM4btkhzg86yRlP/tb8/zAkBRtK74nOcogP5Rit6AKcezbL7NnME6hXw8\n\
tU/mYbEaLPP1Ph/f62HbfqnErVhxlMtasHBM1Zv44l+/xVvBVtEJAkASn+oklVmY\n\
tOns/3ZBZNOfAJIXNbTjOCnhf/O/btCJDlefCSzIJCZukDVoYJlOJy6XT/UkUDn0\n\
vHGsNPfWDzoX\n\
-----END PRIVATE KEY-----";
const X25519: &str = "-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VuBCIEILgHx1tyIusvM5/ZTLsUpmL3Vn7OXDL0JlwQj7IOnfZV\n\
-----END PRIVATE KEY-----";
const SECP256K1: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgKReKfOstOtJXOg1MAbnl\n\
+HhRsU1Lewo7DxZQ/oBBsPWhRANCAARK+GQoQA7+AUpEsoEkEEL5uSRdd75NZmKd\n\
ZuW1SEu5OvF6mY8nhEC39TbwgQhC5ygCLBOMd1cFsCRxWJGkcSKc\n\
-----END PRIVATE KEY-----";

/// The faults of `[oauth]` with this key and these lines.
fn given(pem: &str, lines: &str) -> Vec<(Option<usize>, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key.pem"), pem).unwrap();
    let text = format!("{HEAD}{lines}signing_key_file = \"key.pem\"\n");
    match parse(&text, folder.path()) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            let fault = |f: &Fault| (f.line, f.key.clone(), f.message.clone());
            errors.faults().iter().map(fault).collect()
        }
    }
}

#[test]
fn what_serve_would_refuse_is_a_fault_with_its_line() {
    let made = |algorithm| {
        ::pem::encode(&::pem::Pem::new("PRIVATE KEY", generate(algorithm).unwrap().to_vec()))
    };
    let [ed25519, p256, rsa] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256].map(made);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = p384.serialize_pem();
    let [es256, rs256, eddsa] =
        ["ES256", "RS256", "EdDSA"].map(|name| format!("algorithm = \"{name}\"\n"));
    for (pem, lines) in [(&ed25519, ""), (&ed25519, &eddsa), (&p256, &es256), (&rsa, &rs256)] {
        assert_eq!(given(pem, lines), [], "{lines}");
    }
    let junk = "-----BEGIN PRIVATE KEY-----\n%%%%\n-----END PRIVATE KEY-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let twice = ed25519.repeat(2);
    for (pem, lines, word) in [
        (rsa.as_str(), eddsa.as_str(), "a key for RS256, but oauth.algorithm is EdDSA"),
        (&rsa, "", "algorithm = \"RS256\""),
        (&ed25519, &rs256, "a key for EdDSA"),
        (&p256, &rs256, "a key for ES256"),
        (&p384, &es256, "P-256"),
        (WEAK_RSA, &rs256, "fewer than 2048 bits"),
        (X25519, &eddsa, "is no Ed25519"),
        (SECP256K1, &es256, "P-256"),
        (junk, "", "must be PEM"),
        (no_key, "", "is no Ed25519"),
        (&twice, "", "one unencrypted"),
        (&ed25519.replace("PRIVATE", "EC PRIVATE"), "", "openssl pkcs8"),
        ("", "", "must be PEM"),
    ] {
        let found = given(pem, lines);
        let [(line, key, message)] = found.as_slice() else { panic!("{word}: {found:?}") };
        let at = if lines.is_empty() { 6 } else { 7 };
        assert_eq!((*line, key.as_str()), (Some(at), "oauth.signing_key_file"), "{message}");
        assert!(message.contains(word), "{word}: {message}");
    }
    // A fault of the algorithm makes up none of the key.
    let found = given(&rsa, "algorithm = \"HS256\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
}

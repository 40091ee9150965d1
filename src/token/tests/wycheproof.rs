//! Project Wycheproof's vectors for JWS and JWK (C2SP/wycheproof, Apache-2.0),
//! run through everything up to the signature: the payloads are no claim sets.
//!
//! Every vector is run. What is valid for one of our algorithms must pass; all
//! else must be refused, the good signatures of foreign algorithms among it.

use std::path::PathBuf;

use super::*;

/// Keys come from us or our operator, who don't own the flawed chip that this
/// one is from (CVE-2017-15361); its signature is mathematically good.
const NOT_LOOKED_FOR: [&str; 1] = ["rejectsKeyWithRocaVulnerability"];

fn load(name: &str) -> Option<Value> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let places = std::env::var_os("PORTCULLIS_WYCHEPROOF_DIR")
        .map(PathBuf::from)
        .into_iter()
        .chain([root.join("../shared/data"), root.join("../../shared/data")]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: {name} is not here (PORTCULLIS_WYCHEPROOF_DIR says where)");
    }
    Some(serde_json::from_slice(&std::fs::read(found?).unwrap()).unwrap())
}

/// The public keys of a group under the names that its tokens use. A set with
/// one key that we refuse is refused as a whole.
fn keys_of(group: &Value) -> Option<Keyring> {
    let given = group.get("public").unwrap_or(&group["private"]);
    let given = given["keys"].as_array().cloned().unwrap_or_else(|| vec![given.clone()]);
    let mut keys = ring(&new_key(Algorithm::EdDsa));
    for jwk in given {
        let kid = jwk["kid"].as_str().unwrap_or("none").to_owned();
        let unnamed = with(jwk, "kid", Value::Null);
        keys.alias(kid, VerifyingKey::from_jwk(&unnamed).ok()?);
    }
    Some(keys)
}

fn accepts(keys: Option<&Keyring>, jws: &str) -> bool {
    let token = UnverifiedToken::parse(jws);
    token.zip(keys).is_some_and(|(token, keys)| verify::authenticate(token, keys, |_| true).is_ok())
}

/// Runs one file; gives the numbers of all vectors, of those under a key that
/// we take, and of the accepted ones.
fn run(file: &str) -> Option<(usize, usize, usize)> {
    let file = load(file)?;
    let (mut all, mut keyed, mut accepted) = (0, 0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let keys = keys_of(group);
        for test in group["tests"].as_array().unwrap() {
            let (id, comment) = (&test["tcId"], test["comment"].as_str().unwrap());
            let jws = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
            let got = accepts(keys.as_ref(), &jws);
            // No keys: the group is for an algorithm that we don't have.
            let expected = test["result"] == "valid" && keys.is_some();
            all += 1;
            keyed += usize::from(keys.is_some());
            if NOT_LOOKED_FOR.contains(&comment) {
                continue;
            }
            assert_eq!(got, expected, "{} {id} {comment}", group["comment"]);
            accepted += usize::from(got);
        }
    }
    println!("{all} vectors, {keyed} of them under keys of ours: {accepted} accepted");
    Some((all, keyed, accepted))
}

#[test]
fn signatures() {
    if let Some(counts) = run("json_web_signature_test.json") {
        assert_eq!(counts, (401, 272, 10));
    }
}

#[test]
fn keys() {
    if let Some(counts) = run("json_web_key_test.json") {
        assert_eq!(counts, (26, 2, 1));
    }
}

//! What must hold for any input, one function for each hostile format.
//!
//! The fuzz targets call these, and so does a test that replays the corpus.
//! Each compares with another reader where there is one: not to panic is the
//! least of it.

#![allow(dead_code, reason = "each fuzz target uses one of these")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use portcullis::config;
use portcullis::domain::UnixTime;
use portcullis::edge::{Held, Media, end_of_chunks, examine_head, read_keys};
use portcullis::policy::Target;
use portcullis::token::{
    Algorithm, Authorization, Expectations, Keyring, SigningKey, UnverifiedToken, generate, verify,
};
use serde_json::Value;

/// Whatever path is accepted, everybody reads the same in it.
pub(super) fn path(data: &[u8]) {
    let (raw, host) = match data.iter().position(|b| *b == b'\n') {
        Some(at) => (&data[..at], std::str::from_utf8(&data[at + 1..]).ok()),
        None => (data, None),
    };
    let Ok(target) = Target::parse(raw, host) else { return };
    assert!(raw.ends_with(target.as_str().as_bytes()), "what is forwarded is what came");
    assert!(raw.len() == target.as_str().len() || host.is_some());
    same_to_everybody(target.path().as_str());
}

/// Three normalisers that were written for other purposes leave `path` alone.
pub(super) fn same_to_everybody(path: &str) {
    let browser = url::Url::parse(&format!("http://h{path}")).expect("a browser takes it");
    assert_eq!(browser.path(), path, "a browser reads another path");
    assert_eq!(rfc3986(path), path, "RFC 3986 section 6.2.2 reads another path");
    let once = percent_decode_str(path).decode_utf8().expect("escapes are UTF-8");
    assert_eq!(lax(&once), once, "a lax server reads another path");
    let slashes = |text: &str| text.matches('/').count();
    assert_eq!(slashes(&once), slashes(path), "decoding makes more segments");
}

/// RFC 3986 section 6.2.2.2 and 6.2.2.3, without the case of escapes.
fn rfc3986(path: &str) -> String {
    let mut plain = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let byte = escape.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => plain.push(b.into()),
            _ => plain.push_str(escape.get(..3).unwrap_or(escape)),
        }
        rest = escape.get(3..).unwrap_or_default();
    }
    plain.push_str(rest);
    remove_dots(&plain)
}

/// A server that repairs: backslashes, doubled slashes, dots.
fn lax(path: &str) -> String {
    let mut path = path.replace('\\', "/");
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    remove_dots(&path)
}

fn remove_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// A token has one spelling.
pub(super) fn bearer(data: &[u8]) {
    let values: Vec<&[u8]> = data.split(|b| *b == b'\n').collect();
    let Authorization::Bearer(text) = Authorization::from_values(values.iter().copied()) else {
        return;
    };
    let Some(token) = text.parse() else { return };
    assert_eq!(values.len(), 1, "one header, or none that counts");
    assert!(values[0].ends_with(token.as_str().as_bytes()));
    assert!(values[0][..6].eq_ignore_ascii_case(b"bearer"));
    assert!(token.as_str().len() <= 8192);
    let parts: Vec<&str> = token.as_str().split('.').collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        let decoded = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        assert_eq!(URL_SAFE_NO_PAD.encode(decoded), part, "another spelling of the same part");
    }
}

struct Issuer {
    key: Ed25519KeyPair,
    kid: String,
    keyring: Keyring,
    expect: Expectations,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let der = generate(Algorithm::EdDsa).expect("a key");
    let signing = SigningKey::from_pkcs8(&der).expect("its own key");
    Issuer {
        key: Ed25519KeyPair::from_pkcs8(&der).expect("the same key"),
        kid: signing.kid().as_str().to_owned(),
        keyring: Keyring::new(Arc::new(signing), Vec::new()),
        expect: Expectations {
            issuer: "https://i.example".to_owned(),
            audience: "a".to_owned(),
            clock_skew: Duration::from_secs(30),
        },
    }
});

const NOW: i64 = 1_800_000_000;

/// Nothing unsigned counts; and of what is signed, only what says all that it
/// must say, read once more by a reader of its own.
pub(super) fn token(data: &[u8]) {
    let now = UnixTime::from_secs(NOW);
    let issuer = &*ISSUER;
    if let Some(unsigned) = std::str::from_utf8(data).ok().and_then(UnverifiedToken::parse) {
        assert!(verify(unsigned, &issuer.keyring, &issuer.expect, now).is_err(), "forged");
    }
    let Some(at) = data.iter().position(|b| *b == b'\n') else { return };
    let (header, claims) = (&data[..at], &data[at + 1..]);
    // A fuzzer can't guess our kid.
    let header = String::from_utf8_lossy(header).replace("KID", &issuer.kid);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.key.sign(signed.as_bytes()));
    let text = format!("{signed}.{signature}");
    let Some(unverified) = UnverifiedToken::parse(&text) else { return };
    if verify(unverified, &issuer.keyring, &issuer.expect, now).is_err() {
        return;
    }
    let header: Value = serde_json::from_str(&header).expect("a header in JSON");
    let typ = header["typ"].as_str().expect("a type").to_ascii_lowercase();
    assert!(matches!(typ.as_str(), "at+jwt" | "application/at+jwt"), "{typ}");
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["kid"], issuer.kid);
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    let claims: Value = serde_json::from_slice(claims).expect("claims in JSON");
    assert_eq!(claims["iss"], issuer.expect.issuer);
    let audience = &claims["aud"];
    let names_us = |aud: &Value| aud == issuer.expect.audience.as_str();
    assert!(names_us(audience) || audience.as_array().is_some_and(|all| all.iter().any(names_us)));
    let time = |name: &str| claims[name].as_f64();
    assert!(time("exp").expect("an end") + 30.0 > NOW as f64);
    assert!(time("iat").expect("a beginning") <= NOW as f64 + 31.0);
    assert!(time("nbf").is_none_or(|nbf| nbf <= NOW as f64 + 31.0));
    assert!(claims["client_id"].is_string() && claims["account"].is_string());
    assert!(claims["jti"].is_string());
}

/// A configuration is taken, or refused with faults that say where.
pub(super) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What a file names is opened, and some of those never end.
    if text.contains("/dev/") || text.contains("/proc/") || text.contains("${") {
        return;
    }
    match config::parse(text, Path::new("/nonexistent")) {
        Ok(config) => assert!(!config.oauth.issuer.is_empty()),
        Err(errors) => {
            assert!(!errors.faults().is_empty(), "a refusal says why");
            assert!(!errors.to_string().is_empty());
        }
    }
}

/// The keys that decide are those that any other reader sees.
pub(super) fn body(data: &[u8]) {
    let Held::Keys(keys) = read_keys(data, &Media::Json) else { return };
    assert!(std::str::from_utf8(data).is_ok(), "JSON is UTF-8");
    // Which numbers, surrogates and depths it takes, each reader decides for itself.
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let object = value.as_object().expect("an object");
    let seen: BTreeSet<String> = object.keys().cloned().collect();
    assert_eq!(keys, seen);
}

/// Chunks end where another decoder finds their end, however they come.
pub(super) fn chunks(data: &[u8]) {
    let Ok(end) = end_of_chunks(data) else { return };
    for cut in [data.len() / 3, data.len() / 2] {
        let earlier = end_of_chunks(&data[..cut]).expect("what begins well");
        assert!(earlier.is_none() || earlier == end);
    }
    let Some(end) = end else { return };
    assert_eq!(end_of_chunks(&data[..end]), Ok(Some(end)));
    let mut rest = &data[..end];
    loop {
        let read = httparse::parse_chunk_size(rest).expect("another decoder takes it");
        let httparse::Status::Complete((line, size)) = read else { panic!("a line has no end") };
        rest = &rest[line..];
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).expect("a size that fits");
        assert_eq!(&rest[size..size + 2], b"\r\n");
        rest = &rest[size + 2..];
    }
    let mut trailers = [httparse::EMPTY_HEADER; 4096];
    let read = httparse::parse_headers(rest, &mut trailers).expect("another parser takes them");
    assert!(matches!(read, httparse::Status::Complete((length, _)) if length == rest.len()));
}

/// Whatever head is accepted has one reading to another parser.
pub(super) fn head(data: &[u8]) {
    let mut head = data.to_vec();
    head.extend_from_slice(b"\r\n\r\n");
    if examine_head(&head, 32 * 1024, 8 * 1024).is_err() {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut fields);
    let read = request.parse(&head).expect("another parser takes it");
    let httparse::Status::Complete(length) = read else { panic!("it is not at its end") };
    let named = |name: &str| {
        let same = |f: &&httparse::Header<'_>| f.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).count()
    };
    assert_eq!(named("host"), 1);
    assert!(named("content-length") + named("transfer-encoding") <= 1);
    let lines = head[..length].split(|b| *b == b'\n').count() - 3;
    assert_eq!(request.headers.len(), lines, "as many fields as lines");
    let target = request.path.expect("a target");
    assert!(head[..length].windows(target.len()).any(|w| w == target.as_bytes()));
    // What Pingora does not take, it answers by itself, unlogged.
    assert!(http::Uri::try_from(target).is_ok(), "{target} is no URI");
}

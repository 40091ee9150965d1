//! What the tests of this room share: keys, a good token, and a forger.

mod forgeries;
mod good;
mod properties;
mod times;
mod wycheproof;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::domain::{
    AccountId, ClientId, EnvironmentId, Environments, Grant, Jti, Scope, UnixTime,
};

const ALL: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];
const ISSUER: &str = "https://gateway.example";
const AUDIENCE: &str = "campaign-api";
const IAT: i64 = 1_795_314_000;
const EXP: i64 = IAT + 3600;
const SKEW: Duration = Duration::from_secs(30);

fn new_key(algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pkcs8(&generate(algorithm).unwrap()).unwrap())
}

fn ring(key: &Arc<SigningKey>) -> Keyring {
    Keyring::new(key.clone(), vec![])
}

fn expectations() -> Expectations {
    Expectations { issuer: ISSUER.into(), audience: AUDIENCE.into(), clock_skew: SKEW }
}

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn grant() -> Grant {
    Grant {
        scopes: ["campaign.list", "campaign.toggle"].map(|it| Scope::new(it).unwrap()).into(),
        environments: Environments::Only(BTreeSet::from([EnvironmentId::new("prod").unwrap()])),
    }
}

fn mint_with(key: &SigningKey, grant: &Grant) -> Result<MintedToken, MintError> {
    let token = NewToken {
        issuer: ISSUER,
        audience: AUDIENCE,
        client_id: ClientId::from_random([1; 16]),
        account: &AccountId::new("acme").unwrap(),
        grant,
        generation: 3,
        jti: Jti::from_random([2; 16]),
        issued_at: at(IAT),
        expires_at: at(EXP),
    };
    mint(key, &token)
}

fn minted(key: &SigningKey) -> String {
    mint_with(key, &grant()).unwrap().expose().to_owned()
}

fn header(key: &SigningKey) -> Value {
    json!({"typ": "at+jwt", "alg": key.algorithm().as_str(), "kid": key.kid().as_str()})
}

fn claims() -> Value {
    let id = ClientId::from_random([1; 16]).to_string();
    json!({"iss": ISSUER, "sub": id, "client_id": id, "aud": AUDIENCE, "iat": IAT, "exp": EXP,
        "jti": Jti::from_random([2; 16]).to_string(), "scope": "campaign.list env:*",
        "account": "acme", "gen": 1})
}

/// `base` with one member set, or taken out when the value is `Null`.
fn with(mut base: Value, member: &str, value: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), value);
    }
    base
}

/// Signs whatever it is given: what only somebody with our key could do.
fn signed(key: &SigningKey, header: &str, payload: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

fn signed_json(key: &SigningKey, header: &Value, claims: &Value) -> String {
    signed(key, &header.to_string(), &claims.to_string())
}

/// As the gateway does it: what has not the shape of a token is malformed.
fn judge(token: &str, keys: &Keyring, now: UnixTime) -> Result<VerifiedToken, TokenError> {
    let token = UnverifiedToken::parse(token).ok_or(TokenError::Malformed)?;
    verify(token, keys, &expectations(), now)
}

fn verdict(token: &str, keys: &Keyring) -> Result<(), TokenError> {
    judge(token, keys, at(IAT + 1)).map(|_| ())
}

//! What the values are made of: version, JSON, times, bytes and hashes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::{NameError, SecretHash, UnixTime};

/// The version that is written.
pub(super) const VERSION: u8 = 1;

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Fault(format!("a name in it {error}"))
    }
}

/// Makes an optional field one that must stand there, `null` or not.
pub(super) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)
}

pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault(error.to_string()))
}

#[expect(
    clippy::expect_used,
    reason = "strings, numbers and lists of them always have a JSON form"
)]
pub(super) fn encode_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value).expect("plain values have a JSON form");
    bytes
}

pub(super) fn encode_raw(value: &[u8]) -> Vec<u8> {
    [&[VERSION], value].concat()
}

pub(super) fn time(millis: i64) -> Result<UnixTime, Fault> {
    let at = UnixTime::from_millis(millis);
    if at.as_millis() == millis { Ok(at) } else { Err(Fault(format!("{millis} is no time"))) }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn pack(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn unpack(text: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault("its base64url is broken".into()))
}

pub(super) fn hash(text: &str) -> Result<SecretHash, Fault> {
    let bytes = unpack(text)?;
    let bytes = bytes.try_into().map_err(|_| Fault("its hash is not 32 bytes long".into()))?;
    Ok(SecretHash::from_bytes(bytes))
}

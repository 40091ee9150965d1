//! When and for what a credential was used, at rest. The scopes are one string,
//! so that all that a credential can hold fits into an entry.

use serde::{Deserialize, Serialize};

use super::Usage;
use super::parts::{Fault, encode_json, json, time};
use super::wire::Encode;
use crate::domain::{ClientId, Generation, Scope};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageV1 {
    /// Milliseconds, by generation.
    last_used: Vec<(Generation, i64)>,
    scopes: String,
}

impl Encode for Usage {
    fn encode(&self) -> Vec<u8> {
        let scopes: Vec<&str> = self.scopes.iter().map(Scope::as_str).collect();
        let last_used = self.last_used.iter().map(|(g, at)| (*g, at.as_millis())).collect();
        encode_json(&UsageV1 { last_used, scopes: scopes.join(" ") })
    }
}

pub(super) fn decode(client_id: ClientId, body: &[u8]) -> Result<Usage, Fault> {
    let UsageV1 { last_used, scopes } = json(body)?;
    let last_used = last_used.into_iter().map(|(g, at)| Ok((g, time(at)?)));
    let last_used = last_used.collect::<Result<_, Fault>>()?;
    let scopes = scopes.split(' ').filter(|word| !word.is_empty()).map(Scope::new);
    Ok(Usage { client_id, last_used, scopes: scopes.collect::<Result<_, _>>()? })
}

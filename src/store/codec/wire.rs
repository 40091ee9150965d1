//! Version 1 of the values: mirrors of the domain's types, which know no serde.
//! A field that may be empty is written as `null` and must stand there: one that
//! got lost must not read as "never expires" or "no limit".

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::hour_of;
use super::parts::{Fault, VERSION, encode_json, hash, json, millis, pack, present, time, unpack};
use super::{CutOff, Pack, Record, RecordId, RevokedToken, StoredKey, trail, usage};
use crate::domain::{
    AccountId, AdminName, Administrator, ClientId, Credential, CredentialState, EnvironmentId,
    Environments, Generation, Jti, Revoked, RoleId, Scope, SecretGeneration, UnixTime,
};
use crate::store::chain;

/// The bytes of a record. Sealed: only this room says what lies in a store.
pub trait Encode {
    /// Version and value.
    fn encode(&self) -> Vec<u8>;
}

pub(super) fn decode(id: RecordId, bytes: &[u8]) -> Result<Record, Fault> {
    if matches!(id, RecordId::AuditHead) {
        return Ok(Record::AuditHead);
    }
    let bytes = match id {
        RecordId::Audit(_) => chain::split(bytes).ok_or_else(|| Fault("it has no link".into()))?.0,
        _ => bytes,
    };
    let body = match bytes.split_first() {
        Some((&VERSION, body)) => body,
        Some((other, _)) => {
            return Err(Fault(format!(
                "it has version {other}, this Portcullis knows only version {VERSION}: \
                 use the one that wrote it, or a newer one"
            )));
        }
        None => return Err(Fault("it is empty".into())),
    };
    Ok(match id {
        RecordId::Credential(id) => {
            Record::Credential(json::<CredentialV1>(body)?.into_domain(id)?)
        }
        RecordId::RevokedToken { hour, jti } => {
            Record::RevokedToken(json::<RevokedTokenV1>(body)?.into_domain(hour, jti)?)
        }
        RecordId::RevokedTokens { hour, first } => {
            Record::RevokedTokens(Pack::read(hour, first, body)?)
        }
        RecordId::CutOff(subject) => {
            let CutOffV1 { issued_before, by, at, reason } = json(body)?;
            let (issued_before, at) = (time(issued_before)?, time(at)?);
            Record::CutOff(CutOff { subject, issued_before, by, at, reason })
        }
        RecordId::SigningKey(kid) => {
            let SigningKeyV1 { algorithm, created_at, activates_at, sealed } = json(body)?;
            let (created_at, activates_at) = (time(created_at)?, time(activates_at)?);
            let sealed = unpack(&sealed)?;
            Record::SigningKey(StoredKey { kid, algorithm, created_at, activates_at, sealed })
        }
        RecordId::Administrator(name) => {
            Record::Administrator(json::<AdministratorV1>(body)?.into_domain(name)?)
        }
        RecordId::Audit(revision) => Record::Audit(revision, trail::decode(body)?),
        RecordId::Usage(client_id) => Record::Usage(usage::decode(client_id, body)?),
        RecordId::AuditHead => Record::AuditHead,
        RecordId::Meta(name) => Record::Meta { name, value: body.to_vec() },
    })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialV1 {
    name: String,
    description: String,
    account: String,
    roles: Vec<String>,
    extra_scopes: Vec<String>,
    environments: EnvironmentsV1,
    #[serde(deserialize_with = "present")]
    rate: Option<String>,
    #[serde(deserialize_with = "present")]
    concurrency: Option<u32>,
    created_by: String,
    created_at: i64,
    #[serde(deserialize_with = "present")]
    expires_at: Option<i64>,
    state: StateV1,
    /// Not in the first records; one that got lost is asleep.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    armed: BTreeMap<String, i64>,
    secrets: Vec<SecretV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EnvironmentsV1 {
    All,
    Only(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateV1 {
    Active,
    Suspended,
    Revoked(RevokedV1),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedV1 {
    by: String,
    at: i64,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretV1 {
    generation: Generation,
    created_at: i64,
    #[serde(deserialize_with = "present")]
    retires_at: Option<i64>,
    /// Not in the first records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retired: bool,
    /// Milliseconds; not in the first records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retire_unused: Option<u64>,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedTokenV1 {
    expires_at: i64,
    #[serde(deserialize_with = "present")]
    client_id: Option<String>,
    revoked_by: String,
    revoked_at: i64,
    #[serde(deserialize_with = "present")]
    reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CutOffV1 {
    issued_before: i64,
    by: String,
    at: i64,
    #[serde(deserialize_with = "present")]
    reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SigningKeyV1 {
    algorithm: String,
    created_at: i64,
    activates_at: i64,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdministratorV1 {
    role: String,
    key_hash: String,
    created_by: String,
    created_at: i64,
}

impl Encode for Credential {
    fn encode(&self) -> Vec<u8> {
        encode_json(&CredentialV1 {
            name: self.name.clone(),
            description: self.description.clone(),
            account: self.account.to_string(),
            roles: self.roles.iter().map(RoleId::to_string).collect(),
            extra_scopes: self.extra_scopes.iter().map(Scope::to_string).collect(),
            environments: match &self.environments {
                Environments::All => EnvironmentsV1::All,
                Environments::Only(list) => {
                    EnvironmentsV1::Only(list.iter().map(EnvironmentId::to_string).collect())
                }
            },
            rate: self.rate.map(|rate| rate.to_string()),
            concurrency: self.concurrency,
            created_by: self.created_by.clone(),
            created_at: self.created_at.as_millis(),
            expires_at: self.expires_at.map(UnixTime::as_millis),
            state: match &self.state {
                CredentialState::Active => StateV1::Active,
                CredentialState::Suspended => StateV1::Suspended,
                CredentialState::Revoked(Revoked { by, at, reason }) => {
                    StateV1::Revoked(RevokedV1 {
                        by: by.clone(),
                        at: at.as_millis(),
                        reason: reason.clone(),
                    })
                }
            },
            armed: self
                .armed
                .iter()
                .map(|(role, until)| (role.to_string(), until.as_millis()))
                .collect(),
            secrets: self.secrets.iter().map(SecretV1::from_domain).collect(),
        })
    }
}

impl CredentialV1 {
    fn into_domain(self, client_id: ClientId) -> Result<Credential, Fault> {
        Ok(Credential {
            client_id,
            name: self.name,
            description: self.description,
            account: AccountId::new(&self.account)?,
            roles: self.roles.iter().map(|id| RoleId::new(id)).collect::<Result<_, _>>()?,
            extra_scopes: self
                .extra_scopes
                .iter()
                .map(|s| Scope::new(s))
                .collect::<Result<_, _>>()?,
            environments: match self.environments {
                EnvironmentsV1::All => Environments::All,
                // The domain reads an empty list as "all": it must not come to that.
                EnvironmentsV1::Only(list) if list.is_empty() => {
                    return Err(Fault("its list of environments is empty".into()));
                }
                EnvironmentsV1::Only(list) => Environments::Only(
                    list.iter().map(|id| EnvironmentId::new(id)).collect::<Result<_, _>>()?,
                ),
            },
            rate: self.rate.map(|rate| rate.parse()).transpose()?,
            concurrency: self.concurrency,
            created_by: self.created_by,
            created_at: time(self.created_at)?,
            expires_at: self.expires_at.map(time).transpose()?,
            state: match self.state {
                StateV1::Active => CredentialState::Active,
                StateV1::Suspended => CredentialState::Suspended,
                StateV1::Revoked(RevokedV1 { by, at, reason }) => {
                    CredentialState::Revoked(Revoked { by, at: time(at)?, reason })
                }
            },
            armed: self
                .armed
                .into_iter()
                .map(|(role, until)| Ok((RoleId::new(&role)?, time(until)?)))
                .collect::<Result<_, Fault>>()?,
            secrets: self
                .secrets
                .into_iter()
                .map(SecretV1::into_domain)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl SecretV1 {
    fn from_domain(secret: &SecretGeneration) -> Self {
        SecretV1 {
            generation: secret.generation,
            created_at: secret.created_at.as_millis(),
            retires_at: secret.retires_at.map(UnixTime::as_millis),
            retired: secret.retired,
            retire_unused: secret.retire_unused.map(millis),
            hash: pack(secret.hash.as_bytes()),
        }
    }

    fn into_domain(self) -> Result<SecretGeneration, Fault> {
        Ok(SecretGeneration {
            generation: self.generation,
            created_at: time(self.created_at)?,
            retires_at: self.retires_at.map(time).transpose()?,
            retired: self.retired,
            retire_unused: self.retire_unused.map(Duration::from_millis),
            hash: hash(&self.hash)?,
        })
    }
}

impl Encode for RevokedToken {
    fn encode(&self) -> Vec<u8> {
        encode_json(&RevokedTokenV1 {
            expires_at: self.expires_at.as_millis(),
            client_id: self.client_id.map(|id| id.to_string()),
            revoked_by: self.revoked_by.clone(),
            revoked_at: self.revoked_at.as_millis(),
            reason: self.reason.clone(),
        })
    }
}

impl RevokedTokenV1 {
    fn into_domain(self, hour: u32, jti: Jti) -> Result<RevokedToken, Fault> {
        let expires_at = time(self.expires_at)?;
        if hour_of(expires_at) != hour {
            return Err(Fault("its key and its value name different hours of expiry".into()));
        }
        let client_id = match self.client_id {
            Some(id) => {
                Some(ClientId::parse(&id).ok_or_else(|| Fault("its client_id is no UUID".into()))?)
            }
            None => None,
        };
        let revoked_at = time(self.revoked_at)?;
        let (revoked_by, reason) = (self.revoked_by, self.reason);
        Ok(RevokedToken { jti, expires_at, client_id, revoked_by, revoked_at, reason })
    }
}

impl Encode for CutOff {
    fn encode(&self) -> Vec<u8> {
        encode_json(&CutOffV1 {
            issued_before: self.issued_before.as_millis(),
            by: self.by.clone(),
            at: self.at.as_millis(),
            reason: self.reason.clone(),
        })
    }
}

impl Encode for StoredKey {
    fn encode(&self) -> Vec<u8> {
        encode_json(&SigningKeyV1 {
            algorithm: self.algorithm.clone(),
            created_at: self.created_at.as_millis(),
            activates_at: self.activates_at.as_millis(),
            sealed: pack(&self.sealed),
        })
    }
}

impl Encode for Administrator {
    fn encode(&self) -> Vec<u8> {
        encode_json(&AdministratorV1 {
            role: self.role.to_string(),
            key_hash: pack(self.key_hash.as_bytes()),
            created_by: self.created_by.clone(),
            created_at: self.created_at.as_millis(),
        })
    }
}

impl AdministratorV1 {
    fn into_domain(self, name: AdminName) -> Result<Administrator, Fault> {
        let (role, key_hash) = (self.role.parse()?, hash(&self.key_hash)?);
        let (created_by, created_at) = (self.created_by, time(self.created_at)?);
        Ok(Administrator { name, role, key_hash, created_by, created_at })
    }
}

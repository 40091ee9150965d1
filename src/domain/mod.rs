//! The words of the gateway: ids, scopes, roles, credentials, time, secrets.
//!
//! Values here are valid by construction and know nothing of the wire, the disk
//! or the configuration file: `claims`, `dto`, `codec` and `raw` translate.
//! Nothing here does I/O; time and randomness come in as arguments.

mod admin;
mod audit;
mod credential;
mod difference;
mod entropy;
mod grant;
mod id;
mod limit;
mod mask;
mod rate;
mod request_id;
mod role;
mod scope;
mod secret;
mod time;

pub use admin::{AdminRole, Administrator};
pub use audit::{Action, AuditEntry, Changed, Changes};
pub use credential::{
    Credential, CredentialState, Revoked, SecretGeneration, StateError, StateName,
};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use grant::{Environments, Grant};
pub use id::{
    AccountId, AdminName, ClientId, EnvironmentId, Generation, Jti, Kid, NameError, RoleId,
    RouteName, UpstreamName,
};
pub use limit::Limit;
pub(crate) use mask::masked;
pub use rate::Rate;
pub(crate) use request_id::{RequestIds, hex, sane_request_id};
pub use role::{Role, RoleSet};
pub use scope::{Scope, ScopeSet};
pub use secret::{AdminKey, ClientSecret, SecretHash, SecretHasher, SecretText};
pub use time::{Clock, ManualClock, SystemClock, UnixTime, parse_duration, show_duration};

//! A small world: routes as in the contract's examples, three roles of which
//! one is armed, one credential, one key.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::*;
use crate::domain::{
    AccountId, EnvironmentId, Generation, Grant, Jti, Role, RoleId, RouteName, Scope, ScopeSet,
    UpstreamName,
};
use crate::revocation::{RevocationSet, Standing};
use crate::token::{Algorithm, Expectations, Keyring, NewToken, SigningKey, generate, mint};

pub(super) const ISSUER: &str = "https://gateway.example";
pub(super) const AUDIENCE: &str = "campaign-api";
pub(super) const NOW: i64 = 1_795_314_000;
pub(super) const SKEW: Duration = Duration::from_secs(30);
pub(super) const CLIENT: [u8; 16] = [7; 16];
pub(super) const JTI: [u8; 16] = [9; 16];

/// Made once: generating keys is the slow part of these tests.
pub(super) static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(new_key);
pub(super) static OTHER_KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(new_key);

fn new_key() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pkcs8(&generate(Algorithm::EdDsa).unwrap()).unwrap())
}

pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) revoked: RevocationSet,
    pub(super) now: UnixTime,
}

pub(super) fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
}

pub(super) fn client() -> ClientId {
    ClientId::from_random(CLIENT)
}

pub(super) fn jti() -> Jti {
    Jti::from_random(JTI)
}

pub(super) fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

pub(super) fn scopes<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> ScopeSet {
    words.into_iter().map(|word| Scope::new(word.as_ref()).unwrap()).collect()
}

pub(super) fn environments<S: AsRef<str>>(ids: impl IntoIterator<Item = S>) -> Environments {
    let ids = ids.into_iter().map(|id| EnvironmentId::new(id.as_ref()).unwrap());
    Environments::from_list(ids.collect())
}

pub(super) fn role(id: &str, armed: bool, words: &[&str]) -> Role {
    Role {
        id: RoleId::new(id).unwrap(),
        label: id.into(),
        description: String::new(),
        scopes: scopes(words),
        armed,
        rate: None,
        concurrency: None,
    }
}

/// `"a"`, `"a b"` for any, `"a+b"` for all, `"@…"`.
pub(super) fn access(text: &str) -> Access {
    if text.contains('+') {
        Access::AllOf(scopes(text.split('+')))
    } else if text.contains(' ') {
        Access::AnyOf(scopes(text.split(' ')))
    } else {
        Access::parse(text).unwrap()
    }
}

/// A route; bound where its path says so, else any account and any environment.
pub(super) fn spec(name: &str, path: &str, allow: &[(&str, &str)]) -> RouteSpec {
    RouteSpec {
        name: RouteName::new(name).unwrap(),
        host: None,
        path: path.into(),
        upstream: UpstreamName::new("legacy").unwrap(),
        allow: allow.iter().map(|(method, takes)| ((*method).into(), access(takes))).collect(),
        any_account: !path.contains("{account}"),
        any_environment: !path.contains("{environment}"),
        account_query: None,
        environment_query: None,
        body_rules: BTreeMap::new(),
        body_bytes: None,
    }
}

pub(super) fn rule(keys: &[&str], takes: &str) -> BodyRule<Access> {
    BodyRule { keys: keys.iter().map(|key| (*key).to_owned()).collect(), allow: access(takes) }
}

pub(super) fn routes() -> Vec<RouteSpec> {
    const STAGE: &str = "/v1/accounts/{account}/account_environments/{environment}/campaigns";
    let mut campaign = spec(
        "campaign",
        &format!("{STAGE}/{{id}}"),
        &[
            ("GET", "campaign.list"),
            ("PATCH", "campaign.update"),
            ("DELETE", "campaign.update+campaign.delete"),
        ],
    );
    campaign.body_rules = BTreeMap::from([(
        "PATCH".to_owned(),
        vec![rule(&["status"], "campaign.toggle"), rule(&["status", "at"], "campaign.schedule")],
    )]);
    let mut search = spec(
        "search",
        "/v1/accounts/{account}/search",
        &[("POST", "campaign.list campaign.create")],
    );
    search.any_environment = false;
    let mut report =
        spec("report", "/report", &[("GET", "report.read"), ("PUT", "@authenticated")]);
    (report.any_account, report.account_query) = (false, Some("account_id".into()));
    (report.any_environment, report.environment_query) = (false, Some("env".into()));
    let mut own = spec("own-health", "/health", &[("GET", "ops.read")]);
    own.host = Some("ops.example.com".into());
    vec![
        spec("campaigns", STAGE, &[("GET", "campaign.list"), ("POST", "campaign.create")]),
        campaign,
        search,
        spec("labels", "/v1/accounts/{account}/labels", &[("GET", "label.read")]),
        spec("profile", "/v1/accounts/{account}/profile", &[("GET", "@authenticated")]),
        spec("me", "/v1/me", &[("GET", "@authenticated"), ("PUT", "me.write")]),
        spec("health", "/health", &[("GET", "@public"), ("POST", "ops.write")]),
        own,
        report,
        spec("clear", "/lib/clear", &[("DELETE", "library.clear")]),
        spec("library", "/lib/{*rest}", &[("GET", "library.read"), ("DELETE", "library.delete")]),
        spec("item", "/lib/items/{id}", &[("DELETE", "library.delete")]),
    ]
}

pub(super) const OPERATOR: &[&str] =
    &["campaign.list", "campaign.toggle", "campaign.schedule", "label.read", "report.read"];

pub(super) fn roles() -> Vec<Role> {
    vec![
        role("operator", false, OPERATOR),
        role("editor", false, &["campaign.update", "campaign.create", "library.delete"]),
        role("cleaner", true, &["library.clear", "campaign.delete"]),
    ]
}

/// Active, of `acme`, with every role and all environments.
pub(super) fn standing() -> Standing {
    Standing {
        revision: 1,
        state: StandingState::Active,
        expires_at: None,
        generations: vec![(1, None), (2, Some(at(NOW + 600)))],
        account: account("acme"),
        roles: roles().into_iter().map(|role| role.id).collect(),
        extra_scopes: scopes(["extra.read"]),
        armed: BTreeMap::new(),
        environments: Environments::All,
        rate: None,
        concurrency: None,
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(routes(), roles())
    }

    pub(super) fn of(routes: Vec<RouteSpec>, roles: Vec<Role>) -> Self {
        let world = Self::without_credential(RouteTable::compile(routes).unwrap(), roles);
        world.revoked.set_standing(client(), standing());
        world
    }

    pub(super) fn without_credential(routes: RouteTable, roles: Vec<Role>) -> Self {
        let parts = SnapshotParts {
            routes,
            roles,
            keys: Arc::new(Keyring::new(KEY.clone(), vec![])),
            expect: Expectations {
                issuer: ISSUER.into(),
                audience: AUDIENCE.into(),
                clock_skew: SKEW,
            },
            cache_entries: 16,
        };
        World { snapshot: Snapshot::new(parts), revoked: RevocationSet::default(), now: at(NOW) }
    }

    /// Commits another standing of the credential.
    pub(super) fn stand(&self, change: impl FnOnce(&mut Standing)) {
        let mut next = Standing::clone(&self.revoked.standing(client()).unwrap());
        next.revision += 1;
        change(&mut next);
        self.revoked.set_standing(client(), next);
    }
}

/// What a token says, before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    pub(super) issuer: &'static str,
    pub(super) audience: &'static str,
    pub(super) client: ClientId,
    pub(super) jti: Jti,
    pub(super) account: AccountId,
    pub(super) grant: Grant,
    pub(super) generation: Generation,
    pub(super) issued_at: UnixTime,
    pub(super) expires_at: UnixTime,
}

/// All scopes of all roles in all environments, for an hour.
pub(super) fn claims() -> Claims {
    let mut all: ScopeSet = roles().into_iter().flat_map(|role| role.scopes).collect();
    all.extend(scopes(["extra.read"]));
    Claims {
        issuer: ISSUER,
        audience: AUDIENCE,
        client: client(),
        jti: jti(),
        account: account("acme"),
        grant: Grant { scopes: all, environments: Environments::All },
        generation: 1,
        issued_at: at(NOW - 10),
        expires_at: at(NOW + 3600),
    }
}

impl Claims {
    pub(super) fn sign(&self, key: &SigningKey) -> String {
        let token = NewToken {
            issuer: self.issuer,
            audience: self.audience,
            client_id: self.client,
            account: &self.account,
            grant: &self.grant,
            generation: self.generation,
            jti: self.jti,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        };
        mint(key, &token).unwrap().expose().to_owned()
    }
}

/// A good token with something changed.
pub(super) fn token(change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = claims();
    change(&mut claims);
    claims.sign(&KEY)
}

/// A good token with these scopes only.
pub(super) fn token_of(words: &[&str]) -> String {
    token(|claims| claims.grant.scopes = scopes(words))
}

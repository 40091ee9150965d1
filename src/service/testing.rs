//! A small world to test use cases in: a real memory store and memory, a clock
//! that stands still, randomness from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::{
    Actor, Context, CreatedAdmin, CredentialRequest, Front, Issued, Memory, Minting, create_admin,
    issue_credential,
};
use crate::domain::{
    AdminName, AdminRole, Entropy, EntropyError, Grant, Jti, ManualClock, Role, RoleId, RouteName,
    Scope, SecretHasher, UnixTime, UpstreamName,
};
use crate::policy::{Access, RouteSpec, RouteTable, Snapshot, SnapshotParts};
use crate::store::{MemoryStore, Store};
use crate::token::{
    Algorithm, Expectations, Keyring, MintedToken, NewToken, Sealer, SigningKey, generate, mint,
};

pub(crate) const ISSUER: &str = "http://gateway.test";
pub(crate) const AUDIENCE: &str = "campaign-api";
pub(crate) const SKEW: Duration = Duration::from_secs(30);

/// The moment at which every world begins.
pub(crate) fn start() -> UnixTime {
    UnixTime::from_secs(1_795_314_000)
}

/// Bytes that nobody needs to guess (splitmix64).
pub(crate) struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(8) {
            const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
            let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A context and the handles by which a test moves it.
pub(crate) struct TestWorld {
    pub(crate) ctx: Arc<Context>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
}

impl TestWorld {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// A gateway that starts over what `store` holds: a restart, if it is a used one.
    pub(crate) fn over(store: Arc<MemoryStore>) -> Self {
        let memory = Arc::new(Memory::default());
        memory.load(&*store).unwrap();
        store.observe(Arc::clone(&memory) as Arc<_>);
        let clock = Arc::new(ManualClock::new(start()));
        let ctx = Context {
            store: Arc::clone(&store) as Arc<dyn Store>,
            memory,
            world: ArcSwap::from_pointee(snapshot()),
            minting: ArcSwap::from_pointee(Minting {
                issuer: ISSUER.into(),
                audience: AUDIENCE.into(),
                token_ttl: Duration::from_secs(12 * 3600),
                max_token_ttl: Duration::from_secs(24 * 3600),
                front: Front::default(),
                token_rate: None,
                clock_skew: SKEW,
            }),
            clock: Arc::clone(&clock) as Arc<_>,
            entropy: Arc::new(Seeded(AtomicU64::new(store.status().head))),
            hasher: SecretHasher::new(&[7; 32]),
            sealer: Sealer::new(&[7; 32]).unwrap(),
        };
        TestWorld { ctx: Arc::new(ctx), store, clock }
    }

    /// Replaces the signing key by one that lies in the store.
    pub(crate) async fn keep_key(&self) {
        let ctx = &self.ctx;
        let means = super::keys::Means {
            store: &*ctx.store,
            memory: &ctx.memory,
            sealer: &ctx.sealer,
            master_key_file: "master.key",
            clock: &*ctx.clock,
            entropy: &*ctx.entropy,
        };
        let ring = super::keys::prepare(means, Some(Algorithm::EdDsa), None).await.unwrap();
        let ring = Arc::new(ring);
        ctx.world.rcu(|world| Arc::new(world.with_keys(Arc::clone(&ring))));
    }

    /// An administrator; gives the key.
    pub(crate) async fn admin(&self, name: &str, role: AdminRole) -> String {
        let name = AdminName::new(name).unwrap();
        let CreatedAdmin { key, .. } =
            create_admin(&self.ctx, &Actor::command_line(), name, role).await.unwrap();
        key.expose().to_owned()
    }

    /// A credential of the account `acme` with all of `campaign-operator`.
    pub(crate) async fn credential(&self, name: &str) -> Issued {
        let request = CredentialRequest {
            name: name.into(),
            account: "acme".into(),
            roles: vec!["campaign-operator".into()],
            ..CredentialRequest::default()
        };
        let checked = request.check(&self.ctx.world.load(), self.ctx.now()).unwrap();
        issue_credential(&self.ctx, &Actor::command_line(), checked).await.unwrap()
    }

    /// A token of a credential with all its rights.
    pub(crate) fn token(&self, issued: &Issued) -> MintedToken {
        let world = self.ctx.world.load();
        let credential = &issued.credential;
        let mut jti = [0; 16];
        self.ctx.entropy.fill(&mut jti).unwrap();
        let grant = Grant {
            scopes: world.scopes_of(&credential.roles, &credential.extra_scopes),
            environments: credential.environments.clone(),
        };
        let token = NewToken {
            issuer: ISSUER,
            audience: AUDIENCE,
            client_id: credential.client_id,
            account: &credential.account,
            grant: &grant,
            generation: 1,
            jti: Jti::from_random(jti),
            issued_at: self.ctx.now(),
            expires_at: self.ctx.now().plus(Duration::from_secs(3600)),
        };
        mint(world.keys().signing(), &token).unwrap()
    }
}

fn role(id: &str, label: &str, scopes: &[&str], armed: bool) -> Role {
    Role {
        id: RoleId::new(id).unwrap(),
        label: label.into(),
        description: format!("{label}, described"),
        scopes: scopes.iter().map(|scope| Scope::new(scope).unwrap()).collect(),
        armed,
        rate: None,
        concurrency: None,
    }
}

fn snapshot() -> Snapshot {
    let allow =
        [("GET", "campaign.list"), ("POST", "campaign.create"), ("PATCH", "@authenticated")];
    let route = RouteSpec {
        name: RouteName::new("campaigns").unwrap(),
        host: None,
        path: "/v1/accounts/{account}/campaigns".into(),
        upstream: UpstreamName::new("legacy").unwrap(),
        allow: allow
            .into_iter()
            .map(|(method, access)| (method.to_owned(), Access::parse(access).unwrap()))
            .collect::<BTreeMap<_, _>>(),
        any_account: false,
        any_environment: true,
        account_query: None,
        environment_query: None,
        body_rules: BTreeMap::new(),
        body_bytes: None,
    };
    let key = SigningKey::from_pkcs8(&generate(Algorithm::EdDsa).unwrap()).unwrap();
    Snapshot::new(SnapshotParts {
        routes: RouteTable::compile(vec![route]).unwrap(),
        roles: vec![
            role(
                "campaign-operator",
                "Manage status",
                &["campaign.toggle", "campaign.list"],
                false,
            ),
            role("campaign-viewer", "Read Every Campaign", &["campaign.list"], false),
            role("library-cleaner", "Clear libraries", &["library.clear"], true),
        ],
        keys: Arc::new(Keyring::new(Arc::new(key), Vec::new())),
        expect: Expectations { issuer: ISSUER.into(), audience: AUDIENCE.into(), clock_skew: SKEW },
        cache_entries: 100,
    })
}

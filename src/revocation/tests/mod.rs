//! What the tests of this room share: real tokens and a standing.

mod filter;
mod set;
mod streams;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::*;
use crate::domain::{
    AccountId, ClientId, Environments, Generation, Grant, Jti, RoleSet, ScopeSet, UnixTime,
};
use crate::token::{
    Algorithm, Expectations, Keyring, NewToken, SigningKey, UnverifiedToken, VerifiedToken,
    generate, mint, verify,
};

const NOW: i64 = 1_795_314_000;

static KEYS: LazyLock<Keyring> = LazyLock::new(|| {
    let key = SigningKey::from_pkcs8(&generate(Algorithm::EdDsa).unwrap()).unwrap();
    Keyring::new(Arc::new(key), vec![])
});

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn client(n: u8) -> ClientId {
    ClientId::from_random([n; 16])
}

fn jti(n: u8) -> Jti {
    Jti::from_random([n; 16])
}

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

/// Client, account, generation, `iat`, `jti`: all that this room looks at.
#[derive(Clone, Debug)]
struct Said {
    client: u8,
    account: &'static str,
    generation: Generation,
    issued_at: i64,
    jti: u8,
}

fn said() -> Said {
    Said { client: 1, account: "acme", generation: 1, issued_at: NOW, jti: 1 }
}

impl Said {
    /// The only way to a verified token is to sign and verify one.
    fn token(&self) -> VerifiedToken {
        let grant = Grant { scopes: ScopeSet::new(), environments: Environments::All };
        let new = NewToken {
            issuer: "i",
            audience: "a",
            client_id: client(self.client),
            account: &account(self.account),
            grant: &grant,
            generation: self.generation,
            jti: jti(self.jti),
            issued_at: at(self.issued_at),
            expires_at: at(NOW + 3600),
        };
        let text = mint(KEYS.signing(), &new).unwrap();
        let expect = Expectations {
            issuer: "i".into(),
            audience: "a".into(),
            clock_skew: Duration::from_secs(100),
        };
        verify(UnverifiedToken::parse(text.expose()).unwrap(), &KEYS, &expect, at(NOW)).unwrap()
    }
}

fn standing() -> Standing {
    Standing {
        revision: 1,
        state: StandingState::Active,
        expires_at: None,
        generations: vec![(1, None), (2, None)],
        account: account("acme"),
        roles: RoleSet::default(),
        extra_scopes: ScopeSet::new(),
        armed: std::collections::BTreeMap::new(),
        environments: Environments::All,
        rate: None,
        concurrency: None,
    }
}

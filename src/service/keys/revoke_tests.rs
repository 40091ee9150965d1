//! Revoked keys, over a store, with restarts.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::revocation::CutSlot;
use crate::service::RevokeError;
use crate::service::testing::TestWorld;
use crate::service::{Actor, verify_audit};
use crate::token::{TokenError, UnverifiedToken, VerifiedToken, verify};

fn signing(world: &TestWorld) -> String {
    world.ctx.world.load().keys().signing().kid().to_string()
}

fn published(world: &TestWorld) -> Vec<String> {
    let jwks = world.ctx.world.load().keys().jwks();
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn check(world: &TestWorld, token: &str) -> Result<VerifiedToken, TokenError> {
    let snapshot = world.ctx.world.load();
    let token = UnverifiedToken::parse(token).unwrap();
    verify(token, snapshot.keys(), snapshot.expectations(), world.ctx.now())
}

#[tokio::test]
async fn the_active_key_and_its_tokens_die_and_another_signs() {
    let world = TestWorld::new();
    world.keep_key().await;
    let old = signing(&world);
    let issued = world.credential("a").await;
    let text = world.token(&issued).expose().to_owned();
    let token = check(&world, &text).unwrap();
    let slot = Arc::new(CutSlot::default());
    let memory = &world.ctx.memory;
    let guard = memory.streams.register(&token, token.expires_at(), slot.clone());
    let by = Actor::gateway();
    let first = revoke(&world.ctx, &by, &old, " stolen ").await.unwrap();
    assert_eq!((first.streams_closed, first.repeated), (1, false));
    assert!(slot.reason().is_some());
    drop(guard);
    assert_eq!(check(&world, &text), Err(TokenError::UnknownKey));
    assert!(memory.revoked.check(&token, world.ctx.now()).is_err(), "verified before, dead now");
    let new = signing(&world);
    assert_ne!(new, old);
    assert_eq!(published(&world), std::slice::from_ref(&new));
    assert!(check(&world, world.token(&issued).expose()).is_ok());
    let (trail, _) = memory.trail.list(None, 1, |_| true);
    let entry = &trail[0].1;
    assert_eq!((entry.action, &entry.target), (Action::KeyRevoked, &old));
    assert_eq!(entry.reason.as_deref(), Some("stolen"));
    assert!(entry.changes.iter().any(|c| c.after.as_deref() == Some(&new)), "{entry:?}");
    let head = world.store.status().head;
    let again = revoke(&world.ctx, &by, &old, "again").await.unwrap();
    assert_eq!(again, crate::service::Receipt { repeated: true, ..first });
    assert_eq!(world.store.status().head, head);
    assert_eq!(verify_audit(&world.ctx).unwrap().first_broken, None);

    let restarted = TestWorld::over(Arc::clone(&world.store));
    restarted.keep_key().await;
    assert_eq!(published(&restarted), [new]);
    assert_eq!(check(&restarted, &text), Err(TokenError::UnknownKey));
    let again = revoke(&restarted.ctx, &by, &old, "again").await.unwrap();
    assert_eq!(again, crate::service::Receipt { repeated: true, ..first });
}

#[tokio::test]
async fn a_key_that_does_not_sign_has_no_successor() {
    let world = TestWorld::new();
    world.keep_key().await;
    let by = Actor::gateway();
    let active = signing(&world);
    let next = rotate(&world.ctx, &by, None, Duration::from_secs(60)).await.unwrap();
    revoke(&world.ctx, &by, &next.kid, "r").await.unwrap();
    assert_eq!((signing(&world), published(&world)), (active.clone(), vec![active.clone()]));
    world.clock.advance(Duration::from_secs(61));
    retire(&world.ctx).await.unwrap();
    assert_eq!(signing(&world), active, "what was revoked never signs");
    // One whose time has come counts as signing before the ring knows.
    let next = rotate(&world.ctx, &by, None, Duration::from_secs(60)).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    revoke(&world.ctx, &by, &next.kid, "r").await.unwrap();
    assert!(![active, next.kid].contains(&signing(&world)));
}

#[tokio::test]
async fn the_operators_key_stays_dead_although_its_file_is_there() {
    let world = TestWorld::new();
    world.keep_key().await;
    let pem = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    let pem = SecretText::new(pem.to_owned());
    let start = async |world: &TestWorld| {
        let ctx = &world.ctx;
        let means = Means {
            store: &*ctx.store,
            memory: &ctx.memory,
            sealer: &ctx.sealer,
            master_key_file: "master.key",
            clock: &*ctx.clock,
            entropy: &*ctx.entropy,
        };
        let ring = Arc::new(prepare(means, Some(Algorithm::EdDsa), Some(&pem)).await.unwrap());
        ctx.world.rcu(|world| Arc::new(world.with_keys(Arc::clone(&ring))));
    };
    let kept = signing(&world);
    start(&world).await;
    let own = signing(&world);
    assert_ne!(own, kept);
    revoke(&world.ctx, &Actor::gateway(), &own, "r").await.unwrap();
    let new = signing(&world);
    assert!(![&own, &kept].contains(&&new));
    assert!(!published(&world).contains(&own));
    let restarted = TestWorld::over(Arc::clone(&world.store));
    start(&restarted).await;
    assert_eq!(signing(&restarted), new);
    assert!(!published(&restarted).contains(&own));
}

#[tokio::test]
async fn what_is_no_key_or_has_no_reason_changes_nothing() {
    let world = TestWorld::new();
    world.keep_key().await;
    let head = world.store.status().head;
    for kid in ["x", "", "../a", &"k".repeat(200)] {
        let outcome = revoke(&world.ctx, &Actor::gateway(), kid, "r").await;
        let unknown = KeyRevokeError::Revoke(RevokeError::Unknown("signing key"));
        assert_eq!(outcome.unwrap_err().to_string(), unknown.to_string(), "{kid}");
    }
    for reason in ["", " ", "a\nb", &"x".repeat(301)] {
        let outcome = revoke(&world.ctx, &Actor::gateway(), &signing(&world), reason).await;
        let invalid = matches!(outcome, Err(KeyRevokeError::Revoke(RevokeError::Invalid(_))));
        assert!(invalid, "{reason:?}");
    }
    assert_eq!(world.store.status().head, head);
}

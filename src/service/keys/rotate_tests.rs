//! Rotations, over a store and with a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use super::ring::{KeyState, list};
use super::*;
use crate::service::testing::TestWorld;
use crate::service::{Actor, verify_audit};
use crate::store::MemoryStore;
use crate::token::{UnverifiedToken, verify};

const LIFE: Duration = Duration::from_secs(24 * 3600 + 30);

async fn world() -> TestWorld {
    let world = TestWorld::new();
    world.keep_key().await;
    world
}

fn states(world: &TestWorld) -> Vec<KeyState> {
    list(&world.ctx).into_iter().map(|key| key.state).collect()
}

fn published(world: &TestWorld) -> usize {
    world.ctx.world.load().keys().jwks()["keys"].as_array().unwrap().len()
}

fn signing(world: &TestWorld) -> String {
    world.ctx.world.load().keys().signing().kid().to_string()
}

#[tokio::test]
async fn a_key_is_published_then_signs_then_the_old_one_goes() {
    use KeyState::{Active, Next, Retiring};
    let world = world().await;
    let old = signing(&world);
    let issued = world.credential("a").await;
    let token = world.token(&issued).expose().to_owned();
    let believed = || {
        let snapshot = world.ctx.world.load();
        let token = UnverifiedToken::parse(&token).unwrap();
        verify(token, snapshot.keys(), snapshot.expectations(), world.ctx.now()).is_ok()
    };
    let minutes = Duration::from_secs(600);
    let next = rotate(&world.ctx, &Actor::gateway(), None, minutes).await.unwrap();
    assert_eq!((states(&world), published(&world)), (vec![Next, Active], 2));
    assert_eq!(signing(&world), old);
    world.clock.advance(minutes - Duration::from_millis(1));
    retire(&world.ctx).await.unwrap();
    assert_eq!(signing(&world), old);
    world.clock.advance(Duration::from_millis(1));
    retire(&world.ctx).await.unwrap();
    assert_eq!((signing(&world), states(&world)), (next.kid.clone(), vec![Active, Retiring]));
    assert!(believed());
    let end = list(&world.ctx)[1].retires_at.unwrap();
    assert_eq!(end, world.ctx.now().plus(LIFE));
    world.clock.advance(LIFE - Duration::from_millis(1));
    assert_eq!(retire(&world.ctx).await.unwrap(), 0);
    assert_eq!(published(&world), 2);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(retire(&world.ctx).await.unwrap(), 1);
    assert_eq!((states(&world), published(&world), believed()), (vec![Active], 1, false));
    let (trail, _) = world.ctx.memory.trail.list(None, 1, |_| true);
    assert_eq!((trail[0].1.action, &trail[0].1.target), (Action::KeyRetired, &old));
    assert_eq!(verify_audit(&world.ctx).unwrap().first_broken, None);
    let restarted = TestWorld::over(Arc::clone(&world.store));
    restarted.clock.set(world.ctx.now());
    restarted.keep_key().await;
    assert_eq!((signing(&restarted), published(&restarted)), (next.kid, 1));
}

#[tokio::test]
async fn at_once_and_to_another_algorithm_even_over_a_restart() {
    let world = world().await;
    let waiting = Duration::from_secs(3600);
    rotate(&world.ctx, &Actor::gateway(), None, waiting).await.unwrap();
    let es = Some(Algorithm::Es256);
    let now = rotate(&world.ctx, &Actor::gateway(), es, Duration::ZERO).await.unwrap();
    assert_eq!((now.state, signing(&world)), (KeyState::Active, now.kid.clone()));
    assert_eq!(published(&world), 3);
    world.clock.advance(waiting);
    retire(&world.ctx).await.unwrap();
    assert_eq!(signing(&world), now.kid, "the newest of those whose time has come");
    // The configuration still says EdDSA, as it did before the rotation.
    let restarted = TestWorld::over(Arc::clone(&world.store));
    restarted.clock.set(world.ctx.now());
    restarted.keep_key().await;
    assert_eq!((signing(&restarted), published(&restarted)), (now.kid, 3));
}

#[tokio::test]
async fn nobody_loses_a_rotation() {
    let world = world().await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let ctx = Arc::clone(&world.ctx);
            let after = Duration::ZERO;
            tokio::spawn(async move { rotate(&ctx, &Actor::gateway(), None, after).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(published(&world), 17);
    assert_eq!(signing(&world), list(&world.ctx)[0].kid);
}

#[tokio::test]
async fn the_operators_key_is_not_rotated() {
    let world = TestWorld::over(Arc::new(MemoryStore::new()));
    let outcome = rotate(&world.ctx, &Actor::gateway(), None, Duration::ZERO).await;
    assert!(matches!(outcome, Err(RotateError::OperatorsKey)));
    assert_eq!(states(&world), [KeyState::Active]);
    assert!(!refresh(&world.ctx));
}

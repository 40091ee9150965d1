//! A token is worth what its credential is worth now, cached or not.

use std::sync::Arc;

use super::*;
use crate::domain::{Jti, RoleId};

/// One request, before and after each change, so that the token is in the cache.
#[track_caller]
fn turns<R>(change: impl FnOnce(&World) -> R, reason: &str) {
    let world = World::new();
    let ask = Ask::new("GET", "/v1/me").with(&token(|_| {}));
    check(&world, &ask, "allow me acme");
    assert_eq!(world.snapshot.cache().len(), 1);
    change(&world);
    let expected = match reason {
        "" => "allow me acme".to_owned(),
        reason => format!("deny {reason} me"),
    };
    check(&world, &ask, &expected);
    // And for who comes with an empty cache.
    world.snapshot.cache().clear();
    check(&world, &ask, &expected);
}

#[test]
fn revoking_counts_at_once() {
    turns(|world| world.revoked.revoke_token(jti(), at(NOW + 9999)), "revoked");
    turns(|world| world.revoked.revoke_token(Jti::from_random([1; 16]), at(NOW + 9999)), "");
    turns(|world| world.stand(|s| s.state = StandingState::Revoked), "revoked");
    turns(|world| world.stand(|s| s.state = StandingState::Suspended), "suspended");
    turns(|world| world.stand(|s| s.expires_at = Some(at(NOW))), "expired");
    turns(|world| world.stand(|s| s.expires_at = Some(at(NOW + 1))), "");
    turns(|world| world.stand(|s| s.generations = vec![(2, None)]), "revoked");
    turns(|world| world.stand(|s| s.generations = vec![(1, Some(at(NOW)))]), "revoked");
    turns(|world| world.stand(|s| s.generations = vec![(1, Some(at(NOW + 1)))]), "");
    turns(|world| world.stand(|s| s.account = account("other")), "revoked");
    // The token was issued ten seconds ago.
    turns(|world| world.revoked.cut_off_client(client(), at(NOW - 9)), "revoked");
    turns(|world| world.revoked.cut_off_client(client(), at(NOW - 10)), "");
    turns(|world| world.revoked.cut_off_client(ClientId::from_random([1; 16]), at(NOW)), "");
    turns(|world| world.revoked.cut_off_account(account("acme"), at(NOW - 9)), "revoked");
    turns(|world| world.revoked.cut_off_account(account("acme"), at(NOW - 10)), "");
    turns(|world| world.revoked.cut_off_account(account("other"), at(NOW)), "");
}

#[test]
fn suspending_is_undone_and_revoking_is_not_forgotten() {
    let world = World::new();
    let ask = Ask::new("GET", "/v1/me").with(&token(|_| {}));
    world.stand(|s| s.state = StandingState::Suspended);
    check(&world, &ask, "deny suspended me");
    world.stand(|s| s.state = StandingState::Active);
    check(&world, &ask, "allow me acme");
    world.stand(|s| s.state = StandingState::Revoked);
    check(&world, &ask, "deny revoked me");
    // An older commit that comes late changes nothing.
    world.revoked.set_standing(client(), standing());
    check(&world, &ask, "deny revoked me");
}

#[test]
fn a_credential_that_nobody_knows_is_dead() {
    let world = World::new();
    let ask = |change: fn(&mut Claims)| Ask::new("GET", "/v1/me").with(&token(change));
    check(&world, &ask(|c| c.client = ClientId::from_random([1; 16])), "deny revoked me");
    check(&world, &ask(|c| c.account = account("other")), "deny revoked me");
    check(&world, &ask(|c| c.generation = 2), "allow me acme");
    check(&world, &ask(|c| c.generation = 3), "deny revoked me");
}

#[test]
fn narrowing_takes_effect_on_a_cached_token() {
    let world = World::new();
    let prod = "/v1/accounts/acme/account_environments/prod/campaigns";
    let list = Ask::new("GET", prod).with(&token(|_| {}));
    let create = Ask { method: "POST", ..list.clone() };
    check(&world, &list, "allow campaigns acme");
    check(&world, &create, "allow campaigns acme");
    world.stand(|s| s.roles = [RoleId::new("operator").unwrap()].into());
    check(&world, &list, "allow campaigns acme");
    check(&world, &create, "deny insufficient_scope campaigns");
    world.stand(|s| s.environments = environments(["test"]));
    check(&world, &list, "deny wrong_environment campaigns");
    world.stand(|s| s.roles.clear());
    check(&world, &list, "deny insufficient_scope campaigns");
    // What it gets back counts again, but never more than the token says.
    world.stand(|s| *s = crate::revocation::Standing { revision: s.revision, ..standing() });
    check(&world, &create, "allow campaigns acme");
    let weak = Ask { method: "POST", ..Ask::new("POST", prod).with(&token_of(&["campaign.list"])) };
    check(&world, &weak, "deny insufficient_scope campaigns");
}

#[test]
fn a_change_in_the_same_commit_counts_too() {
    let world = World::new();
    let ask = Ask::new("GET", "/v1/accounts/acme/labels").with(&token(|_| {}));
    check(&world, &ask, "allow labels acme");
    world.stand(|s| {
        s.revision -= 1;
        s.roles.clear();
    });
    check(&world, &ask, "deny insufficient_scope labels");
}

#[test]
fn a_role_that_left_the_configuration_grants_nothing() {
    let without = roles().into_iter().filter(|role| role.id.as_str() != "operator").collect();
    let world = World::of(routes(), without);
    let ask = Ask::new("GET", "/v1/accounts/acme/labels").with(&token(|_| {}));
    check(&world, &ask, "deny insufficient_scope labels");
    let Decision::Allow(permit) = judge(&world, &Ask::new("GET", "/v1/me").with(&token(|_| {})))
    else {
        panic!()
    };
    let text = permit.principal().unwrap().scope_text();
    assert!(!text.contains("label.read") && text.contains("extra.read"), "{text}");
}

#[test]
fn the_upstream_hears_of_no_right_that_was_lost() {
    let world = World::new();
    let ask = Ask::new("GET", "/v1/me")
        .with(&token(|c| c.grant.environments = environments(["prod", "test"])));
    let text = |world: &World| match judge(world, &ask) {
        Decision::Allow(permit) => permit.principal().unwrap().scope_text().to_owned(),
        other => panic!("{other:?}"),
    };
    assert!(text(&world).ends_with("report.read env:prod env:test"), "{}", text(&world));
    world.stand(|s| s.environments = environments(["test", "dev"]));
    assert!(text(&world).ends_with("report.read env:test"), "{}", text(&world));
    world.stand(|s| s.environments = environments(["dev"]));
    assert!(text(&world).ends_with("report.read"), "{}", text(&world));
    world.stand(|s| (s.roles.clear(), s.extra_scopes.clear()).0);
    assert_eq!(text(&world), "");
}

#[test]
fn an_armed_role_counts_while_it_is_awake() {
    let mut world = World::new();
    let clear = Ask::new("DELETE", "/lib/clear").with(&token(|_| {}));
    let delete = "/v1/accounts/acme/account_environments/prod/campaigns/1";
    let both = Ask { method: "DELETE", ..Ask::new("DELETE", delete).with(&token(|_| {})) };
    let weak = Ask::new("DELETE", "/lib/clear").with(&token_of(&["campaign.list"]));
    let cleaner = || RoleId::new("cleaner").unwrap();
    check(&world, &clear, "deny not_armed clear");
    world.stand(|s| s.armed = [(cleaner(), at(NOW + 60))].into());
    for _ in 0..2 {
        check(&world, &clear, "allow clear acme");
        check(&world, &both, "allow campaign acme");
        check(&world, &weak, "deny insufficient_scope clear");
        world.snapshot.cache().clear();
    }
    let ground = |world: &World, ask: &Ask| match judge(world, ask) {
        Decision::Allow(permit) => Arc::clone(permit.ground().unwrap()),
        other => panic!("{other:?}"),
    };
    let awake = ground(&world, &clear);
    assert_eq!(awake.armed(), [(cleaner(), at(NOW + 60))]);
    let plain = ground(&world, &Ask::new("GET", "/v1/me").with(&token(|_| {})));
    assert!(plain.armed().is_empty());
    // In the cache or not, the minute counts.
    world.now = at(NOW + 60);
    check(&world, &clear, "deny not_armed clear");
    check(&world, &both, "deny not_armed campaign");
    world.now = at(NOW);
    // A role that is not armed needs no window, and one that was lost has none.
    world.stand(|s| s.armed = [(RoleId::new("operator").unwrap(), at(NOW + 60))].into());
    check(&world, &clear, "deny not_armed clear");
    world.stand(|s| {
        s.armed = [(cleaner(), at(NOW + 60))].into();
        s.roles.clear();
    });
    check(&world, &clear, "deny insufficient_scope clear");
}

/// A permit holds for as long as the same request would be let through.
#[test]
fn a_permit_is_asked_again() {
    let world = World::new();
    let stage = "/v1/accounts/acme/account_environments/prod/campaigns";
    let permit = |world: &World, method, target: &str| {
        let ask = Ask::new(method, target).with(&token(|_| {}));
        match judge(world, &ask) {
            Decision::Allow(permit) => Arc::clone(permit.ground().unwrap()),
            other => panic!("{other:?}"),
        }
    };
    world.stand(|s| s.armed = [(RoleId::new("cleaner").unwrap(), at(NOW + 60))].into());
    let grounds = [
        permit(&world, "GET", stage),
        permit(&world, "POST", stage),
        permit(&world, "POST", "/v1/accounts/acme/search"),
        permit(&world, "DELETE", "/lib/clear"),
        permit(&world, "GET", "/v1/me"),
    ];
    let full = (*world.revoked.standing(client()).unwrap()).clone();
    let holds = |change: &dyn Fn(&mut crate::revocation::Standing)| {
        let mut standing = full.clone();
        change(&mut standing);
        let told = grounds.iter().map(|ground| ground.holds(&world.snapshot, &standing, world.now));
        told.collect::<Vec<_>>()
    };
    assert_eq!(holds(&|_| ()), [true; 5]);
    let operator = |s: &mut crate::revocation::Standing| {
        s.roles = [RoleId::new("operator").unwrap()].into();
    };
    assert_eq!(holds(&operator), [true, false, true, false, true]);
    assert_eq!(holds(&|s| s.roles.clear()), [false, false, false, false, true]);
    // Of two scopes that would do, each does.
    assert_eq!(
        holds(&|s| {
            s.roles.clear();
            s.extra_scopes = scopes(["campaign.create"]);
        }),
        [false, true, true, false, true]
    );
    assert_eq!(
        holds(&|s| s.environments = environments(["prod"])),
        [true, true, false, true, true]
    );
    assert_eq!(
        holds(&|s| s.environments = environments(["test"])),
        [false, false, false, true, true]
    );
    assert_eq!(holds(&|s| s.armed.clear()), [true, true, true, false, true]);
    let late = |ground: &Arc<Ground>| ground.holds(&world.snapshot, &full, at(NOW + 60));
    assert_eq!(grounds.each_ref().map(late), [true, true, true, false, true]);
}

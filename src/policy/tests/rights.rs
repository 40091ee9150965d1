//! Scope, then account, then environment.

use super::*;
use crate::domain::RoleId;

const PROD: &str = "/v1/accounts/acme/account_environments/prod/campaigns";

/// A world whose credential has every scope there is as its own.
fn rich() -> World {
    let world = World::new();
    let words = [
        "campaign.list",
        "campaign.create",
        "campaign.update",
        "campaign.delete",
        "label.read",
        "report.read",
        "library.read",
        "library.delete",
        "me.write",
        "ops.read",
    ];
    world.stand(|s| s.extra_scopes = scopes(words));
    world
}

#[test]
fn scopes_any_all_and_none() {
    let world = rich();
    let one = &format!("{PROD}/7");
    for (method, target, held, expected) in [
        ("GET", PROD, vec!["campaign.list"], "allow campaigns acme"),
        ("GET", PROD, vec!["campaign.create"], "deny insufficient_scope campaigns"),
        ("GET", PROD, vec!["campaign.listing"], "deny insufficient_scope campaigns"),
        ("GET", PROD, vec![], "deny insufficient_scope campaigns"),
        ("POST", "/v1/accounts/acme/search", vec!["campaign.list"], "allow search acme"),
        ("POST", "/v1/accounts/acme/search", vec!["campaign.create"], "allow search acme"),
        ("POST", "/v1/accounts/acme/search", vec!["label.read"], "deny insufficient_scope search"),
        ("DELETE", one, vec!["campaign.update", "campaign.delete"], "allow campaign acme"),
        ("DELETE", one, vec!["campaign.update"], "deny insufficient_scope campaign"),
        ("DELETE", one, vec!["campaign.delete"], "deny insufficient_scope campaign"),
        ("GET", "/v1/me", vec![], "allow me acme"),
        ("PUT", "/v1/me", vec![], "deny insufficient_scope me"),
        ("PUT", "/v1/me", vec!["me.write"], "allow me acme"),
        ("GET", "/v1/accounts/acme/profile", vec![], "allow profile acme"),
        ("DELETE", "/lib/x/y", vec!["library.delete"], "allow library acme"),
        ("DELETE", "/lib/clear", vec!["library.delete"], "deny insufficient_scope clear"),
    ] {
        check(&world, &Ask::new(method, target).with(&token_of(&held)), expected);
    }
}

#[test]
fn a_403_names_what_would_have_been_needed() {
    let world = rich();
    for (method, target, needed) in [
        ("POST", "/v1/accounts/acme/search", vec!["campaign.create", "campaign.list"]),
        ("DELETE", "/lib/clear", vec!["library.clear"]),
    ] {
        let ask = Ask::new(method, target).with(&token_of(&["label.read"]));
        let Decision::Deny(denial) = judge(&world, &ask) else { panic!("{ask:?}") };
        assert_eq!(denial.reason.status(), 403);
        assert_eq!(denial.needed, scopes(needed).into_iter().collect::<Vec<_>>());
        assert_eq!(denial.principal.unwrap().token().client_id(), client());
    }
}

#[test]
fn the_account_in_the_path() {
    let world = World::new();
    let good = token(|_| {});
    for (target, expected) in [
        ("/v1/accounts/acme/labels", "allow labels acme"),
        ("/v1/accounts/other/labels", "deny wrong_account labels"),
        ("/v1/accounts/ACME/labels", "deny wrong_account labels"),
        ("/v1/accounts/acme;x=1/labels", "deny wrong_account labels"),
        ("/v1/accounts/acme%20/labels", "deny wrong_account labels"),
        ("/v1/accounts/acm%65/labels", "deny malformed_request -"),
        ("/v1/accounts//labels", "deny malformed_request -"),
        ("/v1/accounts/other/profile", "deny wrong_account profile"),
        ("/v1/accounts/acme/profile", "allow profile acme"),
    ] {
        check(&world, &Ask::new("GET", target).with(&good), expected);
    }
    let weak = token_of(&["campaign.list"]);
    let ask = Ask::new("GET", "/v1/accounts/other/labels").with(&weak);
    check(&world, &ask, "deny insufficient_scope labels");
}

#[test]
fn the_environment_in_the_path_or_nowhere() {
    let world = World::new();
    let all = token(|_| {});
    let prod = token(|c| c.grant.environments = environments(["prod"]));
    let two = token(|c| c.grant.environments = environments(["prod", "test"]));
    let test = "/v1/accounts/acme/account_environments/test/campaigns";
    let other = "/v1/accounts/other/account_environments/test/campaigns";
    for (token, method, target, expected) in [
        (&all, "GET", PROD, "allow campaigns acme"),
        (&all, "GET", test, "allow campaigns acme"),
        (&prod, "GET", PROD, "allow campaigns acme"),
        (&prod, "GET", test, "deny wrong_environment campaigns"),
        (&two, "GET", test, "allow campaigns acme"),
        (&prod, "GET", other, "deny wrong_account campaigns"),
        (&all, "POST", "/v1/accounts/acme/search", "allow search acme"),
        (&prod, "POST", "/v1/accounts/acme/search", "deny wrong_environment search"),
        (&two, "POST", "/v1/accounts/acme/search", "deny wrong_environment search"),
        (&prod, "GET", "/v1/accounts/acme/labels", "allow labels acme"),
        (&prod, "GET", "/v1/accounts/acme/profile", "allow profile acme"),
        (&prod, "GET", "/v1/me", "allow me acme"),
    ] {
        check(&world, &Ask::new(method, target).with(token), expected);
    }
    // Of the credential's environments and the token's, what is in both counts.
    world.stand(|s| s.environments = environments(["prod"]));
    check(&world, &Ask::new("GET", test).with(&all), "deny wrong_environment campaigns");
    check(&world, &Ask::new("GET", PROD).with(&all), "allow campaigns acme");
    let search = Ask::new("POST", "/v1/accounts/acme/search").with(&all);
    check(&world, &search, "deny wrong_environment search");
    world.stand(|s| s.environments = environments(["dev"]));
    check(&world, &Ask::new("GET", PROD).with(&prod), "deny wrong_environment campaigns");
    check(
        &world,
        &Ask::new("POST", "/v1/accounts/acme/search").with(&prod),
        "deny wrong_environment search",
    );
}

#[test]
fn account_and_environment_in_the_query() {
    let world = World::new();
    let prod = token(|c| c.grant.environments = environments(["prod"]));
    for (query, expected) in [
        ("?account_id=acme&env=prod", "allow report acme"),
        ("?env=prod&x=%zz&account_id=acme&", "allow report acme"),
        ("?account_id=%61cme&env=prod", "allow report acme"),
        ("?account_id=other&env=prod", "deny wrong_account report"),
        ("?account_id=acme&env=test", "deny wrong_environment report"),
        ("?account_id=&env=prod", "deny wrong_account report"),
        ("?account_id=acme&env=", "deny wrong_environment report"),
        ("?account_id=acme+&env=prod", "deny wrong_account report"),
        ("?account_id=acme%00&env=prod", "deny wrong_account report"),
        ("?account_id=acme,other&env=prod", "deny wrong_account report"),
        ("", "deny malformed_request report"),
        ("?", "deny malformed_request report"),
        ("?account_id=acme", "deny malformed_request report"),
        ("?env=prod", "deny malformed_request report"),
        ("?account_id=acme&account_id=acme&env=prod", "deny malformed_request report"),
        ("?account_id=acme&Account_ID=other&env=prod", "deny malformed_request report"),
        ("?account_id=acme&account_id%5b0%5D=other&env=prod", "deny malformed_request report"),
        ("?account_id=acme;account_id=other&env=prod", "deny malformed_request report"),
        ("?account_id=acme&env=prod?env=test", "deny malformed_request report"),
    ] {
        let target = format!("/report{query}");
        check(&world, &Ask::new("GET", &target).with(&prod), expected);
        if expected.contains("malformed") {
            // A request that can't be judged is 400 before it is 401.
            check(&world, &Ask::new("GET", &target), expected);
            check(&world, &Ask::new("PUT", &target), expected);
        }
    }
    // Who asks for no scope is still bound.
    let ask = |query: &str| Ask::new("PUT", &format!("/report{query}")).with(&prod);
    check(&world, &ask("?account_id=acme&env=prod"), "allow report acme");
    check(&world, &ask("?account_id=other&env=prod"), "deny wrong_account report");
    check(&world, &ask("?account_id=acme&env=test"), "deny wrong_environment report");
}

#[test]
fn an_armed_role_sleeps() {
    let world = World::new();
    let clear = Ask::new("DELETE", "/lib/clear").with(&token(|_| {}));
    check(&world, &clear, "deny not_armed clear");
    // All that is needed, but only together with what sleeps.
    let delete = Ask::new("DELETE", &format!("{PROD}/7")).with(&token(|_| {}));
    check(&world, &delete, "deny not_armed campaign");
    // A token without the scope would not be helped by arming.
    let without = Ask::new("DELETE", "/lib/clear").with(&token_of(&["library.delete"]));
    check(&world, &without, "deny insufficient_scope clear");
    // Sleeping comes before the account: nothing is told of that.
    let other = "/v1/accounts/other/account_environments/prod/campaigns/7";
    let other = Ask::new("DELETE", other).with(&token(|_| {}));
    check(&world, &other, "deny not_armed campaign");
    // The same scope from a role that is awake counts.
    world.stand(|s| s.extra_scopes = scopes(["library.clear"]));
    check(&world, &clear, "allow clear acme");
    world.stand(|s| (s.extra_scopes.clear(), s.roles.remove(&RoleId::new("cleaner").unwrap())).0);
    check(&world, &clear, "deny insufficient_scope clear");
}

#[test]
fn the_order_of_refusals() {
    let mut world = World::new();
    let ask = |target: &str, token: &str| Ask::new("GET", target).with(token);
    let wrong = "/v1/accounts/other/labels";
    let weak = token_of(&["campaign.list"]);
    // Scope before account; a dead token before both; expiry before revocation.
    check(&world, &ask(wrong, &weak), "deny insufficient_scope labels");
    world.stand(|s| s.state = StandingState::Suspended);
    check(&world, &ask(wrong, &weak), "deny suspended labels");
    world.revoked.revoke_token(jti(), at(NOW + 9999));
    check(&world, &ask(wrong, &weak), "deny revoked labels");
    world.now = at(NOW + 3630);
    check(&world, &ask(wrong, &weak), "deny expired labels");
    check(&world, &ask("/report", &weak), "deny malformed_request report");
    check(&world, &ask("/nowhere", &weak), "deny no_route -");
}

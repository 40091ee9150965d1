//! Rights that depend on the keys of a body.

use super::*;

const ONE: &str = "/v1/accounts/acme/account_environments/prod/campaigns/7";

#[test]
fn the_first_rule_that_fits() {
    let world = World::new();
    for (body, held, expected) in [
        (keys(&["status"]), "campaign.toggle", "allow campaign acme"),
        (keys(&["status"]), "campaign.schedule", "deny insufficient_scope campaign"),
        (keys(&["status"]), "campaign.update", "deny insufficient_scope campaign"),
        (keys(&["at"]), "campaign.schedule", "allow campaign acme"),
        (keys(&["at"]), "campaign.toggle", "deny insufficient_scope campaign"),
        (keys(&["at", "status"]), "campaign.schedule", "allow campaign acme"),
        (keys(&["at", "status"]), "campaign.toggle", "deny insufficient_scope campaign"),
        (keys(&["status", "name"]), "campaign.update", "allow campaign acme"),
        (keys(&["status", "name"]), "campaign.toggle", "deny insufficient_scope campaign"),
        (keys(&["Status"]), "campaign.toggle", "deny insufficient_scope campaign"),
        (keys(&[""]), "campaign.toggle", "deny insufficient_scope campaign"),
        // Nothing is not "made up of these keys".
        (keys(&[]), "campaign.toggle", "deny insufficient_scope campaign"),
        (keys(&[]), "campaign.update", "allow campaign acme"),
        (Held::Absent, "campaign.toggle", "deny insufficient_scope campaign"),
        (Held::Absent, "campaign.update", "allow campaign acme"),
        (Held::TooLong, "campaign.toggle", "deny insufficient_scope campaign"),
        (Held::TooLong, "campaign.update", "allow campaign acme"),
        (Held::Ambiguous, "campaign.toggle", "deny malformed_request campaign"),
        (Held::Ambiguous, "campaign.update", "deny malformed_request campaign"),
        (Held::Unread, "campaign.toggle", "read campaign"),
    ] {
        let ask = Ask::new("PATCH", ONE).with(&token_of(&[held])).body(body);
        check(&world, &ask, expected);
    }
}

#[test]
fn a_body_is_read_for_live_tokens_only() {
    let world = World::new();
    let patch = |target: &str| Ask::new("PATCH", target);
    check(&world, &patch(ONE), "deny token_missing campaign");
    check(&world, &patch(ONE).with("x"), "deny token_malformed campaign");
    check(&world, &patch(ONE).with(&claims().sign(&OTHER_KEY)), "deny unknown_key campaign");
    let good = token(|_| {});
    check(&world, &patch(ONE).with(&good), "read campaign");
    check(&world, &patch(ONE).body(Held::Ambiguous), "deny token_missing campaign");
    world.revoked.revoke_token(jti(), at(NOW + 9999));
    check(&world, &patch(ONE).with(&good), "deny revoked campaign");
    check(&world, &patch(ONE).with(&good).body(keys(&["status"])), "deny revoked campaign");
}

#[test]
fn account_and_environment_count_whatever_the_rule() {
    let world = World::new();
    let toggle = token(|c| {
        c.grant.scopes = scopes(["campaign.toggle"]);
        c.grant.environments = environments(["test"]);
    });
    let ask = |target: &str| Ask::new("PATCH", target).with(&toggle).body(keys(&["status"]));
    check(&world, &ask(ONE), "deny wrong_environment campaign");
    let other = "/v1/accounts/other/account_environments/test/campaigns/7";
    check(&world, &ask(other), "deny wrong_account campaign");
    let test = "/v1/accounts/acme/account_environments/test/campaigns/7";
    check(&world, &ask(test), "allow campaign acme");
}

#[test]
fn no_rules_no_reading() {
    let world = World::new();
    for body in [Held::Unread, Held::Absent, Held::TooLong, Held::Ambiguous, keys(&["status"])] {
        let ask = Ask::new("GET", ONE).with(&token(|_| {})).body(body);
        check(&world, &ask, "allow campaign acme");
    }
}

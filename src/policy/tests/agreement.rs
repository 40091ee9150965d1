//! `decide` and the oracle agree, whatever the world and the request.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::oracle::{Facts, TokenStory, answer};
use super::scenes::*;
use super::*;
use crate::domain::ClientId;

impl TokenStory {
    /// The token as it comes over the wire.
    fn written(&self) -> String {
        let good = self.claims.sign(&KEY);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        match self.flaw {
            None => good,
            Some("token_malformed") => "AAAA.AAAA".to_owned(),
            Some("unknown_key") => self.claims.sign(&OTHER_KEY),
            Some("bad_signature") => {
                let first = if signature.starts_with('A') { "B" } else { "A" };
                format!("{signed}.{first}{}", &signature[1..])
            }
            // Another `alg` over the same claims.
            Some(_) => {
                use base64::Engine;
                use base64::engine::general_purpose::URL_SAFE_NO_PAD;
                let header = format!(r#"{{"typ":"at+jwt","alg":"none","kid":"{}"}}"#, KEY.kid());
                let (_, rest) = good.split_once('.').unwrap();
                format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
            }
        }
    }
}

fn build(specs: &[RouteSpec], past: &Past) -> World {
    let table = RouteTable::compile(specs.to_vec()).unwrap();
    let world = World::without_credential(table, scene_roles());
    if let Some(standing) = &past.standing {
        world.revoked.set_standing(client(), standing.clone());
    }
    // Noise that must not matter.
    world.revoked.cut_off_client(ClientId::from_random([1; 16]), at(NOW));
    if past.jti_revoked {
        world.revoked.revoke_token(jti(), at(NOW));
    }
    if let Some(cut) = past.client_cut {
        world.revoked.cut_off_client(client(), cut);
    }
    if let Some(cut) = past.account_cut {
        world.revoked.cut_off_account(account("acme"), cut);
    }
    world
}

/// What could be read in two ways may be refused more often than the oracle
/// would; that it is refused often enough is tested in `forwarding`.
fn refused_out_of_caution(ask: &Ask, answer: &str) -> bool {
    let path = ask.target.split('?').next().unwrap();
    answer == "deny malformed_request -" && (path.contains([';', '%']) || path.ends_with('/'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_oracle(
        specs in table(),
        past in past(),
        token in token_story(),
        plans in prop::collection::vec(plan(), 12),
    ) {
        let world = build(&specs, &past);
        let roles = scene_roles();
        let facts = Facts {
            specs: &specs,
            roles: &roles,
            standing: past.standing.as_ref(),
            jti_revoked: past.jti_revoked,
            client_cut: past.client_cut,
            account_cut: past.account_cut,
            now: world.now,
        };
        let written = token.written();
        for plan in plans {
            let ask = plan.ask(&specs, &written);
            let answered = tell(&judge(&world, &ask));
            if !refused_out_of_caution(&ask, &answered) {
                prop_assert_eq!(answered, answer(&facts, &ask, Some(&token)), "{:?}", ask);
            }
        }
    }

    /// A change is seen by a warm cache as it is by a cold one.
    #[test]
    fn the_cache_changes_no_answer(
        specs in table(),
        before in past(),
        after in past(),
        token in token_story(),
        plans in prop::collection::vec(plan(), 4),
    ) {
        let warm = build(&specs, &before);
        let written = token.written();
        let asks: Vec<Ask> = plans.iter().map(|plan| plan.ask(&specs, &written)).collect();
        asks.iter().for_each(|ask| drop(judge(&warm, ask)));
        // What was committed before stays committed.
        let mut all = after;
        all.jti_revoked |= before.jti_revoked;
        all.client_cut = all.client_cut.max(before.client_cut);
        all.account_cut = all.account_cut.max(before.account_cut);
        all.standing = match (before.standing, all.standing) {
            (_, Some(mut after)) => {
                after.revision = 2;
                Some(after)
            }
            (before, None) => before,
        };
        let cold = build(&specs, &all);
        let update = build(&[], &all);
        if let Some(standing) = update.revoked.standing(client()) {
            warm.revoked.set_standing(client(), (*standing).clone());
        }
        if all.jti_revoked {
            warm.revoked.revoke_token(jti(), at(NOW));
        }
        if let Some(cut) = all.client_cut {
            warm.revoked.cut_off_client(client(), cut);
        }
        if let Some(cut) = all.account_cut {
            warm.revoked.cut_off_account(account("acme"), cut);
        }
        for ask in &asks {
            prop_assert_eq!(tell(&judge(&warm, ask)), tell(&judge(&cold, ask)), "{:?}", ask);
        }
    }

    #[test]
    fn never_panics(
        method in "\\PC{0,8}|GET|HEAD",
        host in prop::option::of("\\PC{0,12}|\\[?[0-9a-f:.]{0,8}\\]?(:[0-9]{0,6})?"),
        target in "/v1/\\PC{0,30}|/report\\?[ -~]{0,40}|/[ -~]{0,40}|/lib/([a-z;%/.]|%[0-9a-f]{2}){0,12}",
        authorization in prop::collection::vec("Bearer [A-Za-z0-9_.-]{0,40}|\\PC{0,20}", 0..3),
        words in prop::collection::btree_set("\\PC{0,6}|status", 0..3),
        now in any::<i64>(),
    ) {
        let mut world = World::new();
        world.now = UnixTime::from_millis(now);
        let ask = Ask {
            method: "GET",
            host,
            target,
            authorization,
            body: Held::Keys(words),
        };
        if let Ok(facts) = ask.facts() {
            let facts = RequestFacts { method: &method, ..facts };
            let first = decide(&world.snapshot, &world.revoked, &facts, world.now);
            let again = decide(&world.snapshot, &world.revoked, &facts, world.now);
            prop_assert_eq!(tell(&first), tell(&again));
        }
    }
}

/// The random scenes are worth something: they come to every kind of answer.
#[test]
fn the_scenes_come_to_every_answer() {
    let mut runner = TestRunner::deterministic();
    let scene = (table(), past(), token_story(), prop::collection::vec(plan(), 12));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..400 {
        let (specs, past, token, plans) = scene.new_tree(&mut runner).unwrap().current();
        let world = build(&specs, &past);
        let written = token.written();
        for plan in plans {
            let answer = tell(&judge(&world, &plan.ask(&specs, &written)));
            let mut words = answer.split(' ');
            let kind = match (words.next(), words.next(), words.next()) {
                (Some("deny"), Some(reason), _) => reason,
                (Some("allow"), _, Some("nobody")) => "allow nobody",
                (Some(kind), ..) => kind,
                _ => "",
            };
            *seen.entry(kind.to_owned()).or_default() += 1;
        }
    }
    let by_decide = |reason: &&Reason| {
        use Reason::*;
        let elsewhere = [
            HeadersTooLarge,
            TargetTooLong,
            BodyTooLarge,
            RateLimited,
            RevocationStale,
            Overloaded,
        ];
        !elsewhere.contains(reason)
    };
    let reasons = Reason::ALL.iter().filter(by_decide).map(|reason| reason.as_str());
    for kind in reasons.chain(["allow", "allow nobody", "read"]) {
        assert!(seen.get(kind).is_some_and(|count| *count >= 5), "{kind}: {seen:?}");
    }
    assert!(seen["allow"] >= 200, "{seen:?}");
}

//! The use cases over a real memory store.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use super::testing::{SKEW, TestWorld, start};
use super::*;
use crate::domain::{AccountId, AdminName, AdminRole, Jti, RoleId, StateName, UnixTime};
use crate::policy::Decision;
use crate::revocation::CutSlot;
use crate::store::codec::CutOffSubject;
use crate::store::{CommitError, Store};
use crate::token::{UnverifiedToken, VerifiedToken, verify};

fn cli() -> Actor {
    Actor::command_line()
}

fn verified(world: &TestWorld, issued: &Issued) -> (String, VerifiedToken) {
    let text = world.token(issued).expose().to_owned();
    let snapshot = world.ctx.world.load();
    let token = UnverifiedToken::parse(&text).unwrap();
    let token = verify(token, snapshot.keys(), snapshot.expectations(), world.ctx.now()).unwrap();
    (text, token)
}

fn is_dead(world: &TestWorld, token: &VerifiedToken) -> bool {
    world.ctx.memory.revoked.check(token, world.ctx.now()).is_err()
}

#[tokio::test]
async fn every_bad_field_is_told_at_once() {
    let world = TestWorld::new();
    let request = CredentialRequest {
        name: "x".repeat(101),
        description: "a\u{7}".into(),
        account: "a/b".into(),
        roles: vec!["nobody".into(), "campaign-operator".into()],
        scopes: vec!["a b".into(), "*".into()],
        environments: vec!["*".into(), "production".into()],
        expires_at: Some("2020-01-01T00:00:00Z".into()),
        rate: Some("fast".into()),
        concurrency: Some(0),
    };
    let faults = request.check(&world.ctx.world.load(), world.ctx.now()).unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "name",
            "description",
            "account",
            "roles",
            "scopes",
            "scopes",
            "environments",
            "expires_at",
            "rate",
            "concurrency"
        ]
    );
}

#[tokio::test]
async fn what_can_be_minted_can_be_revoked() {
    let world = TestWorld::new();
    let most = |count: usize| CredentialRequest {
        name: "n".into(),
        description: "\u{1f980}".repeat(count),
        account: "acme".into(),
        roles: vec!["campaign-operator".into()],
        ..CredentialRequest::default()
    };
    let check = |request: CredentialRequest| request.check(&world.ctx.world.load(), start());
    let longest = (0..=1000).rev().find(|count| check(most(*count)).is_ok()).unwrap();
    assert!(longest > 900, "{longest}");
    let checked = check(most(longest)).unwrap();
    let issued = issue_credential(&world.ctx, &cli(), checked).await.unwrap();
    let reason = "\u{1f980}".repeat(300);
    let id = issued.credential.client_id;
    revoke_credential(&world.ctx, &cli(), id, &reason).await.unwrap();
    let many: Vec<String> = (0..400).map(|n| format!("some.right-number-{n}")).collect();
    let faults = check(CredentialRequest { scopes: many, ..most(1) }).unwrap_err();
    assert_eq!(faults[0].field, "scopes");
}

#[tokio::test]
async fn a_second_revocation_gets_the_first_receipt_even_after_a_restart() {
    let world = TestWorld::new();
    let issued = world.credential("a").await;
    let id = issued.credential.client_id;
    let (_, token) = verified(&world, &issued);
    let slot = Arc::new(CutSlot::default());
    let streams = &world.ctx.memory.streams;
    let _guard = streams.register(&token, token.expires_at(), Arc::clone(&slot));
    let first = revoke_credential(&world.ctx, &cli(), id, "leaked").await.unwrap();
    assert_eq!((first.streams_closed, first.repeated), (1, false));
    assert!(slot.reason().is_some() && is_dead(&world, &token));
    world.clock.advance(Duration::from_secs(60));
    let again = revoke_credential(&world.ctx, &cli(), id, "other").await.unwrap();
    assert_eq!(again, Receipt { repeated: true, ..first });
    let restarted = TestWorld::over(Arc::clone(&world.store));
    let after = revoke_credential(&restarted.ctx, &cli(), id, "other").await.unwrap();
    assert_eq!(after, again);
    assert!(is_dead(&restarted, &token));
    let resumed = resume(&restarted.ctx, &cli(), id).await;
    assert!(matches!(resumed, Err(RevokeError::State(_))));
}

#[tokio::test]
async fn all_who_revoke_at_once_get_one_receipt() {
    let world = TestWorld::new();
    let id = world.credential("a").await.credential.client_id;
    // Each finds out that it was too late, and looks again.
    for _ in 0..3 {
        world.store.fail_next(CommitError::Conflict);
    }
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let ctx = Arc::clone(&world.ctx);
            tokio::spawn(async move {
                revoke_credential(&ctx, &cli(), id, &format!("reason {n}")).await.unwrap()
            })
        })
        .collect();
    let receipts = futures::future::join_all(tasks).await;
    let receipts: Vec<_> = receipts.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.repeated).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.revision == receipts[0].revision));
}

#[tokio::test]
async fn no_receipt_without_a_commit() {
    let world = TestWorld::new();
    let id = world.credential("a").await.credential.client_id;
    let head = world.store.status().head;
    world.store.fail_next(CommitError::NotDone("full".into()));
    world.store.fail_next(CommitError::Unknown("gone".into()));
    let refused = revoke_credential(&world.ctx, &cli(), id, "r").await;
    assert!(matches!(refused, Err(RevokeError::Change(ChangeError::NotDone(_)))));
    let unknown = suspend(&world.ctx, &cli(), id).await;
    assert!(matches!(unknown, Err(RevokeError::Change(ChangeError::Unknown(_)))));
    let credential = world.ctx.memory.directory.get(id).unwrap();
    assert_eq!(credential.state_at(world.ctx.now()), StateName::Active);
    assert_eq!(world.store.status().head, head);
    // What happened although nobody was told is found out by asking again.
    world.store.lose_next_answer();
    assert!(revoke_credential(&world.ctx, &cli(), id, "r").await.is_err());
    assert!(revoke_credential(&world.ctx, &cli(), id, "r").await.unwrap().repeated);
}

#[tokio::test]
async fn one_token_by_its_text_or_its_id() {
    let world = TestWorld::new();
    let issued = world.credential("a").await;
    let (text, token) = verified(&world, &issued);
    let (_, other) = verified(&world, &issued);
    world.clock.advance(Duration::from_secs(2 * 3600));
    let by_text = TokenRef::by_text(&world.ctx, &text).unwrap();
    let first = revoke_token(&world.ctx, &cli(), by_text, Some("leaked")).await.unwrap();
    world.clock.set(start());
    assert!(is_dead(&world, &token) && !is_dead(&world, &other));
    let by_id = TokenRef::by_id(token.jti());
    let second = revoke_token(&world.ctx, &cli(), by_id, None).await.unwrap();
    assert_eq!(second, Receipt { repeated: true, ..first });
    let restarted = TestWorld::over(Arc::clone(&world.store));
    assert_eq!(revoke_token(&restarted.ctx, &cli(), by_id, None).await.unwrap(), second);
    let unseen = TokenRef::by_id(Jti::from_random([9; 16]));
    assert!(!revoke_token(&world.ctx, &cli(), unseen, None).await.unwrap().repeated);
    let strange = world.token(&issued).expose().to_owned();
    let signature = strange.rsplit('.').next().unwrap();
    let forged = format!("{}.{signature}", text.rsplit_once('.').unwrap().0);
    for bad in ["", "x", forged.as_str(), signature] {
        assert_eq!(TokenRef::by_text(&world.ctx, bad).unwrap_err().field, "token", "{bad}");
    }
}

#[tokio::test]
async fn a_cut_off_moves_forward_only() {
    let world = TestWorld::new();
    let issued = world.credential("a").await;
    let (_, old) = verified(&world, &issued);
    world.clock.advance(Duration::from_secs(100));
    let (_, young) = verified(&world, &issued);
    let account = || CutOffSubject::Account(AccountId::new("acme").unwrap());
    let at = |secs| start().plus(Duration::from_secs(secs));
    let first = cut_off(&world.ctx, &cli(), account(), at(50), None).await.unwrap();
    assert!(is_dead(&world, &old) && !is_dead(&world, &young));
    let earlier = cut_off(&world.ctx, &cli(), account(), at(20), None).await.unwrap();
    assert_eq!(earlier, Receipt { repeated: true, ..first });
    let later = cut_off(&world.ctx, &cli(), account(), at(100), None).await.unwrap();
    assert!(!later.repeated && !is_dead(&world, &young));
    let restarted = TestWorld::over(Arc::clone(&world.store));
    let same = CutOffSubject::Client(issued.credential.client_id);
    let now = cut_off(&restarted.ctx, &cli(), same, start(), None).await.unwrap();
    assert!(!now.repeated && is_dead(&restarted, &old));
    let future = cut_off(&world.ctx, &cli(), account(), at(131), None).await;
    assert!(matches!(future, Err(RevokeError::Invalid(_))));
    // Whose clock is fast means now; what comes after it lives.
    restarted.clock.advance(Duration::from_millis(100_300));
    let (_, last) = verified(&restarted, &issued);
    let fast = cut_off(&restarted.ctx, &cli(), account(), at(110), None).await.unwrap();
    assert!(!fast.repeated && is_dead(&restarted, &last));
    let credential = restarted.ctx.memory.directory.get(issued.credential.client_id).unwrap();
    let generation = credential.secrets[0].generation;
    let mint = || mint_token(&restarted.ctx, &credential, generation, None, Lifetime::Usual);
    let wait = Duration::from_millis(700);
    assert_eq!(mint().unwrap_err(), MintRefusal::NotYet(wait));
    let snapshot = restarted.ctx.world.load();
    // Every cut-off ends what was handed out before it, however many there are in a second.
    for round in 1..20 {
        restarted.clock.advance(wait);
        let minted = mint().unwrap().token;
        let next = UnverifiedToken::parse(minted.expose()).unwrap();
        let now = restarted.ctx.now();
        let next = verify(next, snapshot.keys(), snapshot.expectations(), now).unwrap();
        assert_eq!((next.issued_at(), now), (at(100 + round), at(100 + round)));
        assert!(!is_dead(&restarted, &next));
        restarted.clock.advance(Duration::from_millis(300));
        let same = CutOffSubject::Client(issued.credential.client_id);
        let cut = cut_off(&restarted.ctx, &cli(), same, restarted.ctx.now(), None).await.unwrap();
        assert!(!cut.repeated && is_dead(&restarted, &next));
        assert_eq!(mint().unwrap_err(), MintRefusal::NotYet(wait));
    }
    let nobody = CutOffSubject::Account(AccountId::new("nobody").unwrap());
    let nobody = cut_off(&world.ctx, &cli(), nobody, at(1), None).await;
    assert!(matches!(nobody, Err(RevokeError::Unknown(_))));
}

/// Whatever the clock does then.
#[tokio::test]
async fn a_secret_whose_time_has_run_out_is_retired_for_good() {
    let world = TestWorld::new();
    let client = world.credential("a").await.credential.client_id;
    let old = OldSecrets { after: Some(Duration::from_secs(120)), unused_for: None };
    add_secret(&world.ctx, &cli(), client, old).await.unwrap();
    world.clock.advance(Duration::from_secs(200));
    let first = retire_secret(&world.ctx, &cli(), client, 1).await.unwrap();
    assert!(!first.repeated);
    world.clock.set(start());
    let credential = world.ctx.memory.directory.get(client).unwrap();
    assert!(!credential.secrets[0].lives_at(world.ctx.now()));
    let again = retire_secret(&world.ctx, &cli(), client, 1).await.unwrap();
    assert_eq!(again, Receipt { repeated: true, ..first });
}

/// What is issued while time stands still says when that began: no time by the clock would
/// end it.
#[tokio::test]
async fn nothing_is_cut_off_by_a_clock_that_is_behind() {
    let world = TestWorld::new();
    let issued = world.credential("a").await;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let (_, token) = verified(&world, &issued);
    revoke_token(&world.ctx, &cli(), TokenRef::verified(&token), None).await.unwrap();
    world.clock.advance(days(9));
    sweep(&world.ctx).await.unwrap();
    world.clock.set(start());
    assert!(world.ctx.behind() > days(1));
    let same = || CutOffSubject::Client(issued.credential.client_id);
    let behind = cut_off(&world.ctx, &cli(), same(), start(), None).await;
    assert!(matches!(behind, Err(RevokeError::ClockBehind(_))), "{behind:?}");
    world.clock.set(start().plus(days(9)));
    assert!(cut_off(&world.ctx, &cli(), same(), start(), None).await.is_ok());
}

#[tokio::test]
async fn administrators_are_known_by_their_keys() {
    let world = TestWorld::new();
    let key = world.admin("root", AdminRole::SuperAdmin).await;
    let other = world.admin("reader", AdminRole::Viewer).await;
    assert_eq!(authenticate_admin(&world.ctx, &key).unwrap().name.as_str(), "root");
    assert_eq!(authenticate_admin(&world.ctx, &other).unwrap().role, AdminRole::Viewer);
    let typo = key.replace(&key[10..12], "00");
    for bad in ["", "pak1", typo.as_str()] {
        assert!(authenticate_admin(&world.ctx, bad).is_none(), "{bad}");
    }
    for (name, taken) in [("root", true), ("gateway", false), ("command-line", false)] {
        let name = AdminName::new(name).unwrap();
        let error = create_admin(&world.ctx, &cli(), name, AdminRole::Admin).await.unwrap_err();
        assert_eq!(matches!(error, AdminError::NameTaken), taken, "{error}");
    }
}

#[tokio::test]
async fn explains_as_the_data_plane_would_judge() {
    let world = TestWorld::new();
    let issued = world.credential("a").await;
    let client = issued.credential.client_id;
    let ask = |method: &str, url: &str, bearer: Bearer| {
        let request = ExplainRequest { method: method.into(), url: url.into(), bearer };
        explain(&world.ctx, &request).unwrap()
    };
    let said = |explanation: &Explanation| match &explanation.verdict {
        Verdict::Judged(Decision::Allow(_)) => "allow".to_owned(),
        Verdict::Judged(Decision::Deny(denial)) => denial.reason.to_string(),
        Verdict::Judged(Decision::ReadBody(_)) => "read body".to_owned(),
        Verdict::Own(endpoint) => (*endpoint).to_owned(),
    };
    let good = "https://api.example.com/v1/accounts/acme/campaigns?page=2";
    for (method, url, bearer, expected) in [
        ("GET", good, Bearer::Client(client), "allow"),
        ("GET", good, Bearer::Token(world.token(&issued).expose().into()), "allow"),
        ("GET", good, Bearer::Token("x".into()), "token_malformed"),
        ("GET", good, Bearer::Nobody, "token_missing"),
        ("POST", good, Bearer::Client(client), "insufficient_scope"),
        ("PUT", good, Bearer::Client(client), "method_not_allowed"),
        ("GET", "/v1/accounts/other/campaigns", Bearer::Client(client), "wrong_account"),
        ("GET", "/v1/../x", Bearer::Client(client), "malformed_request"),
        ("GET", "/elsewhere", Bearer::Client(client), "no_route"),
    ] {
        assert_eq!(said(&ask(method, url, bearer)), expected, "{method} {url}");
    }
    let request = ExplainRequest { method: "G T".into(), url: "x".into(), bearer: Bearer::Nobody };
    match explain(&world.ctx, &request) {
        Err(ExplainError::Invalid(faults)) => assert_eq!(faults.len(), 2),
        other => panic!("{other:?}"),
    }
    suspend(&world.ctx, &cli(), client).await.unwrap();
    assert_eq!(said(&ask("GET", good, Bearer::Client(client))), "suspended");
    revoke_credential(&world.ctx, &cli(), client, "r").await.unwrap();
    assert_eq!(said(&ask("GET", good, Bearer::Client(client))), "revoked");
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_others_write() {
    let world = TestWorld::new();
    for n in 0..1200 {
        world.credential(&format!("old {n}")).await;
        world.clock.advance(Duration::from_millis(n % 3));
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = search(&world.ctx, &Filter::default(), after, 77);
        seen.extend(page.iter().map(|credential| credential.name.clone()));
        world.clock.advance(SKEW);
        world.credential("new").await;
        let Some(place) = next else { break };
        after = Some(place);
    }
    assert_eq!(seen.len(), 1200);
    assert!(!seen.contains(&"new".to_owned()));
    let unique: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), 1200);
    let filter = Filter { q: Some("OLD 119".into()), ..Filter::default() };
    let (found, next) = search(&world.ctx, &filter, None, 50);
    // 119, 1119, 1190 to 1199.
    assert_eq!((found.len(), next), (12, None));
    let (lines, next) = audit(&world.ctx, Some("credential.ISSUE"), None, 3);
    assert_eq!(lines.len(), 3);
    assert!(next.is_some() && lines[0].0 > lines[1].0);
    assert!(UnixTime::MAX > lines[0].1.at);
}

/// Whoever writes beside the requests may be ended at any moment.
#[tokio::test]
async fn what_was_on_its_way_to_the_store_is_written_the_next_time() {
    let world = TestWorld::new();
    let (ctx, memory) = (&world.ctx, &world.ctx.memory);
    let role = RoleId::new("library-cleaner").unwrap();
    let mut clients = Vec::new();
    for name in ["a", "b"] {
        let client = world.credential(name).await.credential.client_id;
        let roles = Some(vec![role.to_string()]);
        let patch = CredentialPatch { roles, ..CredentialPatch::default() };
        update_credential(ctx, &cli(), client, &Condition::default(), &patch).await.unwrap();
        let window = arm(ctx, &cli(), client, role.as_str(), SKEW).await.unwrap();
        memory.armed.used(client, &role, window.until.unwrap(), ctx.now());
        memory.activity.touch(client, 1, ctx.now());
        clients.push(client);
    }
    for _ in 0..2 {
        world.store.hang_next();
        assert!(note_uses(ctx).now_or_never().is_none());
        world.store.hang_next();
        assert!(keep_usage(ctx).now_or_never().is_none());
    }
    world.store.fail_next(CommitError::NotDone("full".into()));
    world.store.hang_next();
    assert!(note_uses(ctx).now_or_never().is_none(), "one can't be written, one hangs");
    let head = world.store.status().head;
    note_uses(ctx).await;
    keep_usage(ctx).await.unwrap();
    assert_eq!(world.store.status().head, head + 3, "two uses, and both last uses");
    note_uses(ctx).await;
    keep_usage(ctx).await.unwrap();
    assert_eq!(world.store.status().head, head + 3, "each once");
    let (lines, _) = audit(ctx, Some("role.use"), None, 9);
    let mut noted: Vec<_> = lines.iter().map(|(_, line)| line.target.clone()).collect();
    noted.sort();
    clients.sort();
    assert_eq!(noted, clients.iter().map(ToString::to_string).collect::<Vec<_>>());
}

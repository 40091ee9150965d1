//! The set is exact: what was revoked is refused, and nothing else is.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

fn set_with(standing: Standing) -> RevocationSet {
    let set = RevocationSet::default();
    set.set_standing(client(1), standing);
    set
}

#[track_caller]
fn check(set: &RevocationSet, said: &Said, expected: Result<(), Refusal>) {
    assert_eq!(set.check(&said.token(), at(NOW)).map(|_| ()), expected, "{said:?}");
}

#[test]
fn how_a_credential_stands() {
    let ended = |state| Standing { state, ..standing() };
    let until = |end| Standing { expires_at: Some(at(end)), ..standing() };
    let retires = |end| Standing { generations: vec![(1, Some(at(end)))], ..standing() };
    for (standing, expected) in [
        (standing(), Ok(())),
        (ended(StandingState::Suspended), Err(Refusal::Suspended)),
        (ended(StandingState::Revoked), Err(Refusal::Revoked)),
        (until(NOW), Err(Refusal::Expired)),
        (until(NOW + 1), Ok(())),
        (retires(NOW), Err(Refusal::Revoked)),
        (retires(NOW + 1), Ok(())),
        (Standing { generations: vec![], ..standing() }, Err(Refusal::Revoked)),
        (Standing { account: account("other"), ..standing() }, Err(Refusal::Revoked)),
        (Standing { state: StandingState::Revoked, ..until(NOW) }, Err(Refusal::Revoked)),
        (Standing { state: StandingState::Suspended, ..retires(NOW) }, Err(Refusal::Revoked)),
    ] {
        check(&set_with(standing), &said(), expected);
    }
    check(&RevocationSet::default(), &said(), Err(Refusal::Revoked));
    let set = set_with(standing());
    check(&set, &Said { account: "other", ..said() }, Err(Refusal::Revoked));
    check(&set, &Said { account: "ACME", ..said() }, Err(Refusal::Revoked));
    check(&set, &Said { generation: 3, ..said() }, Err(Refusal::Revoked));
    check(&set, &Said { client: 2, ..said() }, Err(Refusal::Revoked));
}

#[test]
fn an_older_standing_never_replaces_a_newer() {
    let set = set_with(Standing { revision: 5, ..standing() });
    set.set_standing(
        client(1),
        Standing { revision: 4, state: StandingState::Revoked, ..standing() },
    );
    check(&set, &said(), Ok(()));
    for (revision, state) in
        [(5, StandingState::Suspended), (6, StandingState::Active), (7, StandingState::Revoked)]
    {
        set.set_standing(client(1), Standing { revision, state, ..standing() });
        let stands = set.standing(client(1)).unwrap();
        assert_eq!((stands.revision, stands.state), (revision, state));
    }
    set.set_standing(client(1), Standing { revision: 6, ..standing() });
    check(&set, &said(), Err(Refusal::Revoked));
}

#[test]
fn the_later_cut_off_stands() {
    let set = set_with(standing());
    for (cut, issued_at, expected) in [
        (NOW - 10, NOW - 11, Err(Refusal::Revoked)),
        (NOW - 10, NOW - 10, Ok(())),
        (NOW - 20, NOW - 11, Err(Refusal::Revoked)),
        (NOW, NOW - 1, Err(Refusal::Revoked)),
        (NOW - 20, NOW - 1, Err(Refusal::Revoked)),
        (NOW, NOW, Ok(())),
    ] {
        set.cut_off_client(client(1), at(cut));
        check(&set, &Said { issued_at, ..said() }, expected);
    }
    assert_eq!(set.cut_off_count(), 1);
    let set = set_with(standing());
    set.cut_off_account(account("other"), at(NOW + 50));
    set.cut_off_client(client(2), at(NOW + 50));
    check(&set, &said(), Ok(()));
    set.cut_off_account(account("acme"), at(NOW + 1));
    set.cut_off_account(account("acme"), at(NOW - 1));
    check(&set, &said(), Err(Refusal::Revoked));
    check(&set, &Said { issued_at: NOW + 1, ..said() }, Ok(()));
    assert_eq!(set.cut_off_count(), 3);
}

/// A cut-off knows fractions of a second, `iat` doesn't: a token of the same
/// second may be older, so it is refused.
#[test]
fn within_one_second_the_cut_off_wins() {
    let set = set_with(standing());
    set.cut_off_client(client(1), UnixTime::from_millis(NOW * 1000 + 1));
    check(&set, &said(), Err(Refusal::Revoked));
    check(&set, &Said { issued_at: NOW + 1, ..said() }, Ok(()));
}

#[derive(Clone, Debug)]
enum Step {
    Revoke(u8, i64),
    Forget(u8),
    CutClient(u8, i64),
    CutAccount(&'static str, i64),
    Ask(Said),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(vec!["acme", "other"]);
    let time = || NOW - 3..NOW + 3;
    prop_oneof![
        3 => (0..6_u8, time()).prop_map(|(n, until)| Step::Revoke(n, until)),
        1 => (0..6_u8).prop_map(Step::Forget),
        1 => (1..4_u8, time()).prop_map(|(n, cut)| Step::CutClient(n, cut)),
        1 => (name(), time()).prop_map(|(name, cut)| Step::CutAccount(name, cut)),
        6 => (1..4_u8, name(), time(), 0..6_u8).prop_map(|(client, account, issued_at, jti)| {
            Step::Ask(Said { client, account, issued_at, jti, generation: 1 })
        }),
    ]
}

/// As plain as can be.
#[derive(Default)]
struct Plain {
    tokens: HashSet<u8>,
    clients: HashMap<u8, i64>,
    accounts: HashMap<&'static str, i64>,
}

impl Plain {
    fn refuses(&self, said: &Said) -> bool {
        let cut = |cut: Option<&i64>| cut.is_some_and(|cut| said.issued_at < *cut);
        self.tokens.contains(&said.jti)
            || cut(self.clients.get(&said.client))
            || cut(self.accounts.get(said.account))
    }
}

proptest! {
    /// No false positives and no false negatives, whatever the order.
    #[test]
    fn agrees_with_plain_sets(steps in prop::collection::vec(step(), 1..40)) {
        let set = RevocationSet::default();
        let mut plain = Plain::default();
        for (n, name) in [(1, "acme"), (2, "acme"), (3, "other")] {
            set.set_standing(client(n), Standing { account: account(name), ..standing() });
        }
        for step in steps {
            match step {
                Step::Revoke(n, until) => {
                    set.revoke_token(jti(n), at(until));
                    plain.tokens.insert(n);
                }
                Step::Forget(n) => {
                    set.forget_token(jti(n), UnixTime::MAX);
                    plain.tokens.remove(&n);
                }
                Step::CutClient(n, cut) => {
                    set.cut_off_client(client(n), at(cut));
                    let entry = plain.clients.entry(n).or_insert(cut);
                    *entry = cut.max(*entry);
                }
                Step::CutAccount(name, cut) => {
                    set.cut_off_account(account(name), at(cut));
                    let entry = plain.accounts.entry(name).or_insert(cut);
                    *entry = cut.max(*entry);
                }
                Step::Ask(said) => {
                    let own = if said.client == 3 { "other" } else { "acme" };
                    let refused = said.account != own || plain.refuses(&said);
                    let expected = if refused { Err(Refusal::Revoked) } else { Ok(()) };
                    let answer = set.check(&said.token(), at(NOW)).map(|_| ());
                    prop_assert_eq!(answer, expected, "{:?}", said);
                    prop_assert_eq!(set.is_token_revoked(jti(said.jti)), plain.tokens.contains(&said.jti));
                }
            }
        }
        prop_assert_eq!(set.token_count(), plain.tokens.len());
        prop_assert_eq!(set.cut_off_count(), plain.clients.len() + plain.accounts.len());
    }

    #[test]
    fn holds_arbitrary_ids(ids in prop::collection::hash_set(any::<[u8; 16]>(), 0..200), other in any::<[u8; 16]>()) {
        let set = RevocationSet::default();
        for id in &ids {
            set.revoke_token(Jti::from_bytes(*id), at(NOW));
            set.revoke_token(Jti::from_bytes(*id), UnixTime::MAX);
        }
        prop_assert!(ids.iter().all(|id| set.is_token_revoked(Jti::from_bytes(*id))));
        prop_assert_eq!(set.is_token_revoked(Jti::from_bytes(other)), ids.contains(&other));
        prop_assert_eq!(set.token_count(), ids.len());
    }
}

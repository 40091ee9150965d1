//! The fast search against a slow one that is plainly right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::directory::{Directory, Place};
use super::search::{Filter, search};
use super::testing::{TestWorld, start};
use crate::domain::{
    AccountId, AdminRole, ClientId, Credential, CredentialState, Environments, RoleId, ScopeSet,
    UnixTime,
};

/// Words whose case is not simple, and few of them, so that searches find.
const WORDS: [&str; 12] = [
    "Nightly",
    "REPORT",
    "Straße",
    "ΣΊΣΥΦΟΣ",
    "İstanbul",
    "\u{212a}elvin",
    "É",
    "e\u{301}",
    "ﬁn",
    "a",
    "Aa",
    "",
];
const PARTS: [&str; 14] = [
    "n",
    "ght",
    "REP",
    "ss",
    "ß",
    "σ",
    "ς",
    "i",
    "\u{307}",
    "K",
    "é",
    "\u{301}",
    "status",
    "campaign-O",
];
const ROLES: [&str; 5] =
    ["campaign-operator", "campaign-viewer", "library-cleaner", "Gone", "gone"];

fn credential(id: u8, at: u8, words: &[usize], roles: &[usize]) -> Credential {
    let text = |from: usize| {
        let words = words.iter().skip(from).step_by(3).map(|word| WORDS[word % WORDS.len()]);
        words.collect::<Vec<_>>().join(" ")
    };
    Credential {
        client_id: ClientId::from_random([id; 16]),
        name: text(0),
        description: text(1),
        account: AccountId::new("acme").unwrap(),
        roles: roles.iter().map(|role| RoleId::new(ROLES[role % ROLES.len()]).unwrap()).collect(),
        extra_scopes: ScopeSet::new(),
        environments: Environments::All,
        rate: None,
        concurrency: None,
        created_by: text(2),
        created_at: UnixTime::from_secs(i64::from(at)),
        expires_at: None,
        state: CredentialState::Active,
        armed: BTreeMap::new(),
        secrets: Vec::new(),
    }
}

/// What the search box promises, in so many words.
fn finds(world: &TestWorld, q: &str, credential: &Credential) -> bool {
    let world = world.ctx.world.load();
    let labels = credential.roles.iter().map(|id| {
        let role = world.roles().iter().find(|role| role.id == *id);
        role.map_or_else(String::new, |role| role.label.clone())
    });
    let ids = credential.roles.iter().map(ToString::to_string);
    let texts = [&credential.created_by, &credential.name, &credential.description];
    let texts: Vec<String> = texts.into_iter().cloned().chain(labels).chain(ids).collect();
    q.split_whitespace().all(|part| {
        let part = part.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&part))
            || credential.client_id.to_string() == part
    })
}

fn all(world: &TestWorld, q: &str, limit: usize) -> Vec<Arc<Credential>> {
    let filter = Filter { q: Some(q.to_owned()), ..Filter::default() };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = search(&world.ctx, &filter, after, limit);
        assert!(page.len() <= limit);
        found.extend(page);
        let Some(place) = next else { return found };
        after = Some(place);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn finds_what_a_look_at_each_finds(
        puts in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(0..12_usize, 0..7), prop::collection::vec(0..5_usize, 0..3)),
            0..700,
        ),
        parts in prop::collection::vec(0..PARTS.len() + WORDS.len(), 0..3),
        limit in 1..60_usize,
        whose in prop::option::of(any::<u8>()),
    ) {
        let world = TestWorld::new();
        let mut kept: BTreeMap<Place, Credential> = BTreeMap::new();
        for (n, (id, words, roles)) in puts.iter().enumerate() {
            // The same id comes again: then its place is the same and all else changes.
            let credential = credential(*id, id.wrapping_mul(37) % 50, words, roles);
            kept.insert((credential.created_at, credential.client_id), credential.clone());
            world.ctx.memory.directory.put(credential, n as u64);
        }
        let part = |at: &usize| PARTS.iter().chain(&WORDS).nth(*at).copied().unwrap();
        let mut q = parts.iter().map(part).collect::<Vec<_>>().join(" ");
        if let Some(id) = whose {
            let id = ClientId::from_random([id; 16]).to_string();
            q = format!("{} {q} ", if limit % 2 == 0 { id.to_uppercase() } else { id });
        }
        let expected = kept.values().rev().filter(|it| finds(&world, &q, it));
        let found = all(&world, &q, limit);
        prop_assert!(found.iter().map(|it| &**it).eq(expected), "{q:?}");
    }
}

#[test]
fn a_whole_id_finds_its_credential_and_a_part_of_one_does_not() {
    let world = TestWorld::new();
    for id in 0..=255 {
        world.ctx.memory.directory.put(credential(id, id / 2, &[0], &[]), u64::from(id));
    }
    for id in [0, 1, 127, 255] {
        let id = ClientId::from_random([id; 16]).to_string();
        for typed in [id.clone(), format!("\t{} \n", id.to_uppercase()), format!("night {id}")] {
            let found = all(&world, &typed, 9);
            assert_eq!(found.len(), 1, "{typed}");
            assert_eq!(found[0].client_id.to_string(), id);
        }
        let (half, simple) = (&id[..23], id.replace('-', ""));
        for typed in [half, &simple, &format!("{id} report"), &format!("{id}{id}")] {
            assert_eq!(all(&world, typed, 9).len(), 0, "{typed}");
        }
    }
}

#[tokio::test]
async fn the_newest_is_first_within_a_millisecond_too() {
    let world = TestWorld::new();
    let mut made = Vec::new();
    let mut mint = async |count: usize| {
        for n in 0..count {
            made.push(world.credential(&format!("{n}")).await.credential.client_id);
        }
    };
    mint(300).await;
    // The clock is set back a little, and catches up.
    world.clock.set(start().minus(Duration::from_secs(9)));
    mint(5).await;
    world.clock.set(start().plus(Duration::from_secs(9)));
    mint(5).await;
    made.reverse();
    for world in [&world, &TestWorld::over(world.store.clone())] {
        for limit in [7, 1000] {
            let listed: Vec<ClientId> =
                all(world, "", limit).iter().map(|credential| credential.client_id).collect();
            assert_eq!(listed, made, "{limit}");
        }
    }

    // A clock that was far ahead does not make all that comes later young for ever.
    world.clock.set(start().plus(Duration::from_secs(86_400)));
    world.credential("ahead").await;
    world.clock.set(start().plus(Duration::from_secs(60)));
    let later = world.credential("later").await.credential;
    assert_eq!(later.created_at, start().plus(Duration::from_secs(60)));
}

#[tokio::test]
async fn so_are_administrators() {
    let world = TestWorld::new();
    let names = ["m", "z", "a", "k", "b"];
    for name in names {
        world.admin(name, AdminRole::Viewer).await;
    }
    let listed = world.ctx.memory.admins.list();
    let listed: Vec<&str> = listed.iter().map(|admin| admin.name.as_str()).collect();
    assert_eq!(listed, ["b", "k", "a", "z", "m"]);
}

#[test]
fn no_part_is_found_across_two_columns() {
    let world = TestWorld::new();
    let mut one = credential(1, 1, &[], &[]);
    (one.created_by, one.name, one.description) = ("ab".into(), "cd".into(), "ef".into());
    world.ctx.memory.directory.put(one, 1);
    for (q, count) in [("AB CD EF", 1), ("bc", 0), ("de", 0), ("ef", 1), ("f\n", 1), ("\n", 1)] {
        assert_eq!(all(&world, q, 9).len(), count, "{q:?}");
    }
}

#[test]
fn a_search_sees_what_was_there_all_along_while_others_write() {
    let world = TestWorld::new();
    let directory = &world.ctx.memory.directory;
    let numbered = |n: u32, name: &str| {
        let mut it = credential(0, 0, &[], &[]);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
        (it.client_id, it.name) = (ClientId::from_random(id), format!("{name} {n}"));
        it.created_at = UnixTime::from_secs(i64::from(n % 701));
        it
    };
    for n in 0..2000 {
        directory.put(numbered(n, "Kept"), 1);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // New ones everywhere, and the old ones changed again and again.
            for n in (2000..).take_while(|_| !done.load(Ordering::Relaxed)) {
                directory.put(numbered(n, "new"), 1);
                directory.put(numbered(n % 2000, "kept, and changed"), 2);
            }
        });
        for round in 0..20 {
            let found = all(&world, "KEPT", 50 + round);
            assert_eq!(found.len(), 2000);
            assert!(found.is_sorted_by(|a, b| {
                (a.created_at, a.client_id) > (b.created_at, b.client_id)
            }));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_common_is_shared() {
    let directory = Directory::default();
    for n in 0..3 {
        directory.put(credential(n, n, &[], &[1, 2]), 1);
    }
    let [a, b] = [0, 1].map(|n| directory.get(ClientId::from_random([n; 16])).unwrap());
    assert!(std::ptr::eq(a.account.as_str(), b.account.as_str()));
    assert!(std::ptr::eq(&*a.roles, &*b.roles));
    assert!(directory.has_account(&a.account));
    assert!(!directory.has_account(&AccountId::new("other").unwrap()));
}

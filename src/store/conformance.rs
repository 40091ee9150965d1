//! What every engine must do, as tests: `conformance::suite!(harness)` in an
//! engine's own tests runs them all.

mod chained;
mod snapshots;

use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;

use super::{
    Change, CommitError, Committed, Effect, Entry, Guard, Key, MAX_ENTRY_BYTES, MAX_KEY_BYTES,
    MAX_OPS, Observer, Op, Receipt, Revision, Store,
};

pub(crate) use snapshots::a_snapshot_is_of_one_moment;

pub(crate) use chained::{a_scan_sees_its_prefix, what_is_appended_is_chained};

/// How an engine is made for a test.
pub(crate) trait Harness {
    /// Opens an empty store.
    fn open(&self) -> Arc<dyn Store>;

    /// Opens what [`Harness::open`] gave once more, after it was closed. `None`
    /// for engines that keep nothing.
    fn reopen(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

/// One test for each rule. The harness is made anew for each.
macro_rules! suite {
    ($harness:expr) => {
        $crate::store::conformance::suite!($harness; revisions_count_by_one, guards_hold,
            guards_see_what_came_just_before, one_of_many_creators_wins, all_or_nothing,
            appended_keys_end_with_the_revision, what_is_appended_is_chained,
            a_scan_sees_its_prefix, a_snapshot_is_of_one_moment, deleting_removes,
            the_observer_hears_all_in_order_before_the_answer, load_is_in_order,
            what_is_too_big_is_refused, reopening_keeps_everything,
            many_at_once_all_come_back, a_dropped_future_takes_nothing_back,
            closing_refuses);
    };
    ($harness:expr; $($rule:ident),*) => {
        mod conforms {
            use super::*;
            $(#[test] fn $rule() { $crate::store::conformance::$rule(&$harness); })*
        }
    };
}
pub(crate) use suite;

/// Runs a future on its own runtime with several threads.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn key(text: &str) -> Key {
    Key(text.as_bytes().to_vec())
}

pub(crate) fn put_op(at: &str, value: &str) -> Op {
    Op::Put { key: key(at), value: value.as_bytes().to_vec() }
}

fn append(prefix: &str, value: &str) -> Op {
    Op::Append { prefix: key(prefix), value: value.as_bytes().to_vec() }
}

/// A change that writes one value and has no guard.
pub(crate) fn put(at: &str, value: &str) -> Change {
    Change { guards: Vec::new(), ops: vec![put_op(at, value)] }
}

/// A change that writes one value where there is none.
pub(crate) fn create(at: &str, value: &str) -> Change {
    Change { guards: vec![Guard::Absent(key(at))], ops: vec![put_op(at, value)] }
}

fn delete(at: &str) -> Change {
    Change { guards: Vec::new(), ops: vec![Op::Delete { key: key(at) }] }
}

pub(crate) fn commit(store: &dyn Store, change: Change) -> Result<Receipt, CommitError> {
    block_on(store.commit(change))
}

/// Everything in the store: key, value, revision.
pub(crate) fn contents(store: &dyn Store) -> Vec<(String, String, Revision)> {
    let mut all = Vec::new();
    store
        .load(&mut |entry| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            all.push((text(&entry.key.0), text(&entry.value), entry.revision));
        })
        .unwrap();
    all
}

fn line(key: &str, value: &str, revision: Revision) -> (String, String, Revision) {
    (key.into(), value.into(), revision)
}

/// Keeps what it hears.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<Committed>>);

impl Heard {
    pub(crate) fn revisions(&self) -> Vec<Revision> {
        self.0.lock().iter().map(|committed| committed.revision).collect()
    }
}

impl Observer for Heard {
    fn committed(&self, change: &Committed) -> usize {
        self.0.lock().push(change.clone());
        usize::try_from(change.revision).unwrap() * 10
    }
}

pub(crate) fn revisions_count_by_one(harness: &dyn Harness) {
    let store = harness.open();
    assert_eq!(store.load(&mut |_| panic!("it should be empty")).unwrap(), 0);
    assert_eq!(store.status().head, 0);
    assert_eq!(store.status().refusing, None);
    for revision in 1..=5 {
        assert_eq!(commit(&*store, put("k", "v")).unwrap().revision, revision);
        assert_eq!(store.status().head, revision);
    }
    // A refused change takes no revision; one without ops does.
    assert_eq!(commit(&*store, create("k", "v")), Err(CommitError::Conflict));
    assert_eq!(commit(&*store, Change::default()).unwrap().revision, 6);
    assert_eq!(contents(&*store), [line("k", "v", 5)]);
}

pub(crate) fn guards_hold(harness: &dyn Harness) {
    let store = harness.open();
    let at = |revision, value| Change {
        guards: vec![Guard::At(key("k"), revision)],
        ops: vec![put_op("k", value)],
    };
    assert_eq!(commit(&*store, at(0, "none")), Err(CommitError::Conflict));
    assert_eq!(commit(&*store, create("k", "first")).unwrap().revision, 1);
    assert_eq!(commit(&*store, create("k", "again")), Err(CommitError::Conflict));
    assert_eq!(commit(&*store, put("other", "v")).unwrap().revision, 2);
    assert_eq!(commit(&*store, at(2, "wrong")), Err(CommitError::Conflict));
    assert_eq!(commit(&*store, at(1, "second")).unwrap().revision, 3);
    assert_eq!(commit(&*store, at(1, "late")), Err(CommitError::Conflict));
    // All the guards count, and a guard needs no op on its key.
    let elsewhere = Change {
        guards: vec![Guard::At(key("k"), 3), Guard::Absent(key("other"))],
        ops: vec![put_op("third", "v")],
    };
    assert_eq!(commit(&*store, elsewhere), Err(CommitError::Conflict));
    assert_eq!(commit(&*store, delete("k")).unwrap().revision, 4);
    assert_eq!(commit(&*store, at(3, "gone")), Err(CommitError::Conflict));
    assert_eq!(commit(&*store, create("k", "anew")).unwrap().revision, 5);
    assert_eq!(contents(&*store), [line("k", "anew", 5), line("other", "v", 2)]);
}

/// Polled together, so that an engine that groups will group them.
pub(crate) fn guards_see_what_came_just_before(harness: &dyn Harness) {
    let store = harness.open();
    let next = |from: u64| Change {
        guards: vec![if from == 0 {
            Guard::Absent(key("chain"))
        } else {
            Guard::At(key("chain"), from)
        }],
        ops: vec![put_op("chain", &format!("{}", from + 1))],
    };
    let changes = [next(0), next(0), next(1), next(1), next(2), delete("chain"), next(0)];
    let answers = block_on(join_all(changes.map(|change| store.commit(change))));
    let revisions: Vec<_> = answers.iter().map(|a| a.as_ref().map(|r| r.revision).ok()).collect();
    assert_eq!(revisions, [Some(1), None, Some(2), None, Some(3), Some(4), Some(5)]);
    assert_eq!(contents(&*store), [line("chain", "1", 5)]);
}

pub(crate) fn one_of_many_creators_wins(harness: &dyn Harness) {
    let store = harness.open();
    let answers = block_on(async {
        let racers: Vec<_> = (0..64)
            .map(|racer| {
                let store = store.clone();
                tokio::spawn(async move { store.commit(create("k", &format!("{racer}"))).await })
            })
            .collect();
        join_all(racers).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    });
    let winner = answers.iter().position(Result::is_ok).unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(answers.iter().filter(|a| **a == Err(CommitError::Conflict)).count(), 63);
    assert_eq!(contents(&*store), [line("k", &format!("{winner}"), 1)]);
}

pub(crate) fn all_or_nothing(harness: &dyn Harness) {
    let store = harness.open();
    let ops = || vec![put_op("a", "1"), put_op("b", "1"), append("x/", "1")];
    let taken = Change { guards: vec![Guard::At(key("a"), 9)], ops: ops() };
    assert_eq!(commit(&*store, taken), Err(CommitError::Conflict));
    let long = Op::Put { key: key("c"), value: vec![0; MAX_ENTRY_BYTES + 1] };
    let ill = Change { guards: Vec::new(), ops: [ops(), vec![long]].concat() };
    assert!(matches!(commit(&*store, ill), Err(CommitError::NotDone(_))));
    assert_eq!(contents(&*store), []);
    commit(&*store, Change { guards: Vec::new(), ops: ops() }).unwrap();
    assert_eq!(contents(&*store).len(), 4);
}

pub(crate) fn appended_keys_end_with_the_revision(harness: &dyn Harness) {
    let store = harness.open();
    commit(&*store, put("k", "v")).unwrap();
    let change = Change { guards: Vec::new(), ops: vec![append("x/", "one"), append("y/", "two")] };
    assert_eq!(commit(&*store, change).unwrap().revision, 2);
    let end = "\0\0\0\0\0\0\0\u{2}";
    let found: Vec<_> = contents(&*store).into_iter().map(|(key, _, at)| (key, at)).collect();
    let at = |key: &str, end: &str| (format!("{key}{end}"), 2);
    let expected = [("k".to_owned(), 1), at("x/", ""), at("x/", end), at("y/", ""), at("y/", end)];
    assert_eq!(found, expected);
    // Two under one prefix would be one key: the first would be lost.
    let twice = Change { guards: Vec::new(), ops: vec![append("x/", "1"), append("x/", "2")] };
    assert!(matches!(commit(&*store, twice), Err(CommitError::NotDone(_))));
}

pub(crate) fn deleting_removes(harness: &dyn Harness) {
    let store = harness.open();
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    commit(&*store, put("k", "v")).unwrap();
    commit(&*store, delete("k")).unwrap();
    commit(&*store, delete("k")).unwrap();
    let both = vec![
        put_op("k", "1"),
        Op::Delete { key: key("k") },
        Op::Delete { key: key("k") },
        put_op("k", "2"),
    ];
    commit(&*store, Change { guards: Vec::new(), ops: both }).unwrap();
    assert_eq!(contents(&*store), [line("k", "2", 4)]);
    let put = |value: &str, revision| {
        Effect::Put(Entry { key: key("k"), value: value.as_bytes().to_vec(), revision })
    };
    let gone = || Effect::Deleted(key("k"));
    let effects: Vec<_> = heard.0.lock().iter().map(|c| c.effects.clone()).collect();
    let expected =
        [vec![put("v", 1)], vec![gone()], vec![], vec![put("1", 4), gone(), put("2", 4)]];
    assert_eq!(effects, expected);
}

pub(crate) fn the_observer_hears_all_in_order_before_the_answer(harness: &dyn Harness) {
    let store = harness.open();
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    block_on(async {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let (store, heard) = (store.clone(), heard.clone());
                tokio::spawn(async move {
                    for turn in 0..10 {
                        let receipt = store.commit(put(&format!("{writer}/{turn}"), "v")).await;
                        let Receipt { revision, ended } = receipt.unwrap();
                        assert!(heard.revisions().contains(&revision));
                        assert_eq!(ended as u64, revision * 10);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
    assert_eq!(heard.revisions(), (1..=160).collect::<Vec<_>>());
}

pub(crate) fn load_is_in_order(harness: &dyn Harness) {
    let store = harness.open();
    for at in ["b", "", "a", "\0", "ab", "c\u{7f}", "a\0"] {
        commit(&*store, put(at, "v")).unwrap();
    }
    let keys: Vec<_> = contents(&*store).into_iter().map(|(key, _, _)| key).collect();
    assert_eq!(keys, ["", "\0", "a", "a\0", "ab", "b", "c\u{7f}"]);
    assert_eq!(store.load(&mut |_| ()).unwrap(), 7);
}

pub(crate) fn what_is_too_big_is_refused(harness: &dyn Harness) {
    let store = harness.open();
    let many = |count| Change {
        guards: Vec::new(),
        ops: (0..count).map(|n| put_op(&format!("{n:03}"), "v")).collect(),
    };
    let sized = |key: usize, value: usize| Change {
        guards: Vec::new(),
        ops: vec![Op::Put { key: Key(vec![b'k'; key]), value: vec![b'v'; value] }],
    };
    for bad in [
        many(MAX_OPS + 1),
        sized(MAX_KEY_BYTES + 1, 1),
        sized(10, MAX_ENTRY_BYTES - 9),
        sized(1, MAX_ENTRY_BYTES),
    ] {
        assert!(matches!(commit(&*store, bad), Err(CommitError::NotDone(_))));
    }
    assert_eq!(store.status().head, 0);
    commit(&*store, many(MAX_OPS)).unwrap();
    commit(&*store, sized(MAX_KEY_BYTES, MAX_ENTRY_BYTES - MAX_KEY_BYTES)).unwrap();
    assert_eq!(contents(&*store).len(), MAX_OPS + 1);
}

pub(crate) fn reopening_keeps_everything(harness: &dyn Harness) {
    let store = harness.open();
    for n in 0..50 {
        let ops = vec![put_op(&format!("{}", n % 20), &format!("{n}")), append("x/", "entry")];
        commit(&*store, Change { guards: Vec::new(), ops }).unwrap();
    }
    commit(&*store, delete("7")).unwrap();
    let before = contents(&*store);
    store.close();
    drop(store);
    for more in 1..4 {
        let Some(store) = harness.reopen() else { return };
        assert_eq!(store.status().head, 50 + more);
        let after = contents(&*store);
        assert_eq!(after.iter().filter(|(key, _, _)| key != "more").count(), before.len());
        assert!(before.iter().all(|line| after.contains(line)));
        // Guards know the revisions of before.
        let (at, _, revision) = before[3].clone();
        let wrong = Change { guards: vec![Guard::At(key(&at), revision + 1)], ops: Vec::new() };
        assert_eq!(commit(&*store, wrong), Err(CommitError::Conflict));
        let ops = vec![put_op("more", "v")];
        let right = Change { guards: vec![Guard::At(key(&at), revision)], ops };
        assert_eq!(commit(&*store, right).unwrap().revision, 51 + more);
        store.close();
    }
}

pub(crate) fn many_at_once_all_come_back(harness: &dyn Harness) {
    let store = harness.open();
    block_on(async {
        for round in 0..8 {
            let writers: Vec<_> = (0..64)
                .map(|writer| {
                    let store = store.clone();
                    let ops: Vec<_> = (0..=writer)
                        .map(|n| put_op(&format!("{round}/{writer}/{n}"), "v"))
                        .collect();
                    tokio::spawn(async move { store.commit(Change { guards: vec![], ops }).await })
                })
                .collect();
            let all = tokio::time::timeout(std::time::Duration::from_secs(30), join_all(writers));
            for answer in all.await.expect("all should have come back") {
                answer.unwrap().unwrap();
            }
        }
    });
    assert_eq!(store.status().head, 512);
    assert_eq!(contents(&*store).len(), 8 * (64 * 65 / 2));
}

pub(crate) fn a_dropped_future_takes_nothing_back(harness: &dyn Harness) {
    let store = harness.open();
    block_on(async {
        let mut future = store.commit(put("dropped", "v"));
        let _ = futures::poll!(&mut future);
        drop(future);
        // The next one comes after it.
        assert_eq!(store.commit(put("k", "v")).await.unwrap().revision, 2);
    });
    assert_eq!(contents(&*store), [line("dropped", "v", 1), line("k", "v", 2)]);
}

pub(crate) fn closing_refuses(harness: &dyn Harness) {
    let store = harness.open();
    commit(&*store, put("k", "v")).unwrap();
    store.close();
    store.close();
    assert!(matches!(commit(&*store, put("k", "w")), Err(CommitError::NotDone(_))));
    assert!(store.status().refusing.is_some());
    assert_eq!(store.status().head, 1);
}

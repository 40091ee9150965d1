//! The chain of appended values, and scans.

use futures::future::join_all;

use super::{Harness, append, block_on, commit, key, put, put_op};
use crate::store::chain::{Head, NO_LINK, link_to, split};
use crate::store::{Change, Entry, Guard, MAX_OPS, Store};

/// Follows a chain from its beginning; gives how many values it has.
fn follow(store: &dyn Store, prefix: &str) -> u64 {
    let (mut head, mut link, mut count) = (None, NO_LINK, 0);
    let visit = &mut |entry: Entry| {
        let Some(rest) = entry.key.0.get(prefix.len()..).filter(|rest| !rest.is_empty()) else {
            head = Head::decode(&entry.value);
            return;
        };
        assert_eq!(rest, entry.revision.to_be_bytes());
        let (value, before) = split(&entry.value).unwrap();
        assert_eq!((value, *before), (b"v".as_slice(), link));
        link = link_to(&entry.key, &entry.value);
        count += 1;
        if let Some(head) = head.filter(|head| head.revision == entry.revision) {
            assert_eq!(head.link, link);
        }
    };
    store.scan(&key(prefix), visit).unwrap();
    assert_eq!(head.map(|head| head.link), (count > 0).then_some(link));
    count
}

/// Whoever races, whatever is refused, and over a restart.
pub(crate) fn what_is_appended_is_chained(harness: &dyn Harness) {
    let store = harness.open();
    assert_eq!(follow(&*store, "x/"), 0);
    block_on(async {
        let writers = (0..200).map(|n| {
            let store = store.clone();
            let mut ops = vec![append("x/", "v")];
            if n % 3 == 0 {
                ops.push(append("y/", "v"));
            }
            let guards = if n % 5 == 0 { vec![Guard::Absent(key("x/"))] } else { Vec::new() };
            tokio::spawn(async move { store.commit(Change { guards, ops }).await })
        });
        let answers = join_all(writers).await;
        assert!(answers.iter().filter(|a| a.as_ref().unwrap().is_ok()).count() >= 160);
    });
    let (x, y) = (follow(&*store, "x/"), follow(&*store, "y/"));
    assert!(x >= 160 && y >= 50, "{x} {y}");
    store.close();
    drop(store);
    let Some(store) = harness.reopen() else { return };
    let more = Change { guards: Vec::new(), ops: vec![append("x/", "v")] };
    commit(&*store, more).unwrap();
    assert_eq!((follow(&*store, "x/"), follow(&*store, "y/")), (x + 1, y));
    // A head that is no good stops nobody; it shows in the chain.
    let spoilt = || Change { guards: Vec::new(), ops: vec![put_op("x/", "?")] };
    commit(&*store, spoilt()).unwrap();
    commit(&*store, Change { guards: Vec::new(), ops: vec![append("x/", "v")] }).unwrap();
}

pub(crate) fn a_scan_sees_its_prefix(harness: &dyn Harness) {
    let store = harness.open();
    for at in ["a", "b/", "b/2", "b/1", "b", "b0", "c", "b/\u{7f}"] {
        commit(&*store, put(at, "v")).unwrap();
    }
    for round in 0..20 {
        let ops = (0..MAX_OPS).map(|n| put_op(&format!("m/{:04}", round * MAX_OPS + n), "v"));
        commit(&*store, Change { guards: Vec::new(), ops: ops.collect() }).unwrap();
    }
    let seen = |prefix: &str| {
        let mut seen = Vec::new();
        let visit = &mut |entry: Entry| seen.push(String::from_utf8(entry.key.0).unwrap());
        store.scan(&key(prefix), visit).unwrap();
        seen
    };
    assert_eq!(seen("b/"), ["b/", "b/1", "b/2", "b/\u{7f}"]);
    assert_eq!(seen("c"), ["c"]);
    assert_eq!(seen("d"), [""; 0]);
    assert_eq!(seen("").len(), 8 + 20 * MAX_OPS);
    let many = seen("m/");
    assert!(many.len() == 20 * MAX_OPS && many.is_sorted());
}

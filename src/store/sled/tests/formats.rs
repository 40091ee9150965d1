use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use super::*;
use crate::store::conformance::{block_on, commit, contents, put};
use crate::store::sled::engine::{FORMAT, open_sled};

/// A store as the last version before formats were recorded left it.
fn old_store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-format-1.tar.gz");
    let unpacked = Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(folder.path()).status();
    assert!(unpacked.unwrap().success());
    folder
}

/// What lies in a store that is closed. Its lock may be held a moment longer: by threads of
/// sled's own, and by a child that another test is just about to start.
fn raw<T>(store: &Path, work: impl Fn(&::sled::Db) -> T) -> T {
    let folder = Folder::open(store).unwrap();
    let db = open_sled(&folder, &options(store)).unwrap();
    let done = db.with(|db| {
        let done = work(db);
        db.flush()?;
        Ok(done)
    });
    done.unwrap_or_else(|fault| panic!("{}", fault.what()))
}

fn format_of(store: &Path) -> Option<Vec<u8>> {
    raw(store, |db| db.get(b"e\0format").unwrap().map(|stored| stored[8..].to_vec()))
}

fn keys(store: &SledStore) -> Vec<Key> {
    let mut keys = Vec::new();
    store.load(&mut |entry| keys.push(entry.key)).unwrap();
    keys
}

#[test]
fn an_older_store_is_moved_forward_where_it_lies() {
    let folder = old_store();
    let path = folder.path().join("store");
    assert_eq!(format_of(&path), None);
    let store = open(&path).unwrap();
    let (all, head) = (keys(&store), store.status().head);
    let revoked = all.iter().filter(|key| key.0.starts_with(b"t/")).count();
    let credentials = all.iter().filter(|key| key.0.starts_with(b"c/")).count();
    assert_eq!((revoked, credentials), (150, 3));
    store.close();
    assert_eq!(format_of(&path), Some(FORMAT.to_be_bytes().to_vec()));
    // Once: it is not moved again, and takes changes.
    let store = open(&path).unwrap();
    assert_eq!((keys(&store), store.status().head), (all, head));
    assert_eq!(commit(&store, put("k", "v")).unwrap().revision, head + 1);
}

#[test]
fn a_crash_on_the_way_forward_loses_nothing() {
    for failing in [Step::Open, Step::Apply, Step::Flush, Step::Sync, Step::Witness] {
        let folder = old_store();
        let path = folder.path().join("store");
        let broken = options(&path).with_faults(move |step| {
            if step == failing { Err(io::Error::other("it ends here")) } else { Ok(()) }
        });
        let error = SledStore::open(broken).unwrap_err();
        assert!(error.to_string().contains("it ends here"), "{failing:?}: {error}");
        let store = open(&path).unwrap_or_else(|error| panic!("{failing:?}: {error}"));
        assert_eq!(keys(&store).iter().filter(|key| key.0.starts_with(b"t/")).count(), 150);
        store.close();
        assert!(format_of(&path).is_some(), "{failing:?}");
    }
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let folder = Temporary::new();
    let path = folder.path();
    let store = open(&path).unwrap();
    commit(&store, put("k", "v")).unwrap();
    store.close();
    let set = |format: u32| {
        raw(&path, |db| db.insert(b"e\0format", [&[0; 8][..], &format.to_be_bytes()].concat()))
            .unwrap();
    };
    set(FORMAT + 1);
    let witness = std::fs::read(path.join("witness")).unwrap();
    for _ in 0..2 {
        let error = open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Newer { .. }), "{error}");
        for says in ["newer version", "format 3", "up to 2", path.to_str().unwrap()] {
            assert!(error.to_string().contains(says), "{error}");
        }
    }
    assert_eq!(std::fs::read(path.join("witness")).unwrap(), witness);
    set(FORMAT);
    assert_eq!(contents(&open(&path).unwrap()).len(), 1);
    // One that was lost or spoilt is damage, not an older store.
    raw(&path, |db| db.remove(b"e\0format")).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Damaged { .. })));
    raw(&path, |db| db.insert(b"e\0format", b"short")).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Damaged { .. })));
}

#[test]
fn what_one_store_held_makes_another() {
    let (from, to) = (Temporary::new(), Temporary::new());
    let store = open(&from.path()).unwrap();
    for n in 0..700 {
        commit(&store, put(&format!("{}", n % 600), &format!("{n}"))).unwrap();
    }
    let mut entries = Vec::new();
    let revision = store
        .snapshot(&mut |entry| {
            entries.push(entry);
            true
        })
        .unwrap();
    let fill = |path: &Path| {
        let mut entries = entries.iter().cloned().map(Ok);
        SledStore::fill(&options(path), revision, &mut entries)
    };
    fill(&to.path()).unwrap();
    let filled = open(&to.path()).unwrap();
    assert_eq!(contents(&filled), contents(&store));
    assert_eq!(commit(&filled, put("next", "v")).unwrap().revision, revision + 1);
    filled.close();
    // Never over something.
    assert!(matches!(fill(&to.path()), Err(OpenError::NotEmpty { .. })));
    assert!(matches!(fill(&from.path()), Err(OpenError::Locked { .. })));
    // What broke off is no store: it opens as an empty one, or not at all.
    let half = Temporary::new();
    let mut entries = entries.iter().cloned().map(Ok).take(500).chain([Err(io::Error::other("x"))]);
    assert!(SledStore::fill(&options(&half.path()), revision, &mut entries).is_err());
    assert_eq!(contents(&open(&half.path()).unwrap()), []);
}

#[test]
fn one_copy_at_a_time_and_none_of_a_failed_store() {
    let folder = Temporary::new();
    let store = open(&folder.path()).unwrap();
    for n in 0..300 {
        commit(&store, put(&format!("{n}"), "v")).unwrap();
    }
    let mut second = None;
    let first = store.snapshot(&mut |_| {
        second.get_or_insert_with(|| store.snapshot(&mut |_| true));
        true
    });
    assert!(first.is_ok());
    assert!(second.unwrap().unwrap_err().to_string().contains("another copy"));
    block_on(async { store.close() });
    assert!(store.snapshot(&mut |_| true).is_err());
}

/// One that was begun before the store failed must not eat what the next one is to have.
#[test]
fn a_copy_that_outlives_a_failure_takes_nothing_of_the_next() {
    let folder = Temporary::new();
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let faulty = options(&folder.path()).with_faults(move |step| {
        let now = step == Step::Apply && failing.swap(false, Ordering::SeqCst);
        if now { Err(io::Error::other("for once")) } else { Ok(()) }
    });
    let store = SledStore::open(faulty).unwrap();
    for n in 0..600 {
        commit(&store, put(&format!("{n}"), "v")).unwrap();
    }
    let (begun, has_begun) = channel();
    let (go_on, goes_on) = channel::<()>();
    let (store, mut count) = (&store, 0);
    std::thread::scope(|scope| {
        let mut first = Some(scope.spawn(move || {
            let mut waits = true;
            store.snapshot(&mut |_| {
                if std::mem::take(&mut waits) {
                    begun.send(()).unwrap();
                    goes_on.recv().unwrap();
                }
                true
            })
        }));
        has_begun.recv().unwrap();
        fails.store(true, Ordering::SeqCst);
        assert!(commit(store, put("k", "v")).is_err());
        until("it takes changes again", || commit(store, put("k", "v")).is_ok());
        let second = store.snapshot(&mut |_| {
            count += 1;
            if let Some(first) = first.take() {
                go_on.send(()).unwrap();
                let error = first.join().unwrap().unwrap_err().to_string();
                assert!(error.contains("failed on the way"), "{error}");
            }
            true
        });
        assert!(second.is_ok(), "{second:?}");
    });
    assert_eq!(count, 601);
}

use std::process::Command;

use super::*;
use crate::store::conformance::{Heard, block_on, commit, contents, create, put};

/// A disk whose next steps fail as told.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Option<Step>>>);

impl Disk {
    fn fail_at(&self, step: Option<Step>) {
        *self.0.lock() = step;
    }

    fn open(&self, folder: &Temporary) -> SledStore {
        let disk = self.clone();
        let options = options(&folder.path()).with_faults(move |step| {
            // While anything fails, opening does: nothing is mended by itself.
            match *disk.0.lock() {
                Some(failing) if failing == step || step == Step::Open => {
                    Err(io::Error::other(format!("{failing:?} fails")))
                }
                _ => Ok(()),
            }
        });
        SledStore::open(options).unwrap()
    }
}

#[test]
fn a_failing_disk_gives_no_receipt_and_what_was_unknown_is_told_if_it_lasted() {
    for (step, lasts) in
        [(Step::Apply, false), (Step::Flush, true), (Step::Sync, true), (Step::Witness, true)]
    {
        let (folder, disk, heard) = (Temporary::new(), Disk::default(), Arc::new(Heard::default()));
        let store = disk.open(&folder);
        store.observe(heard.clone());
        commit(&store, put("a", "1")).unwrap();
        disk.fail_at(Some(step));
        let failed = commit(&store, put("b", "1"));
        assert!(matches!(&failed, Err(CommitError::Unknown(why)) if why.contains("fails")));
        let refused = commit(&store, put("c", "1"));
        assert!(matches!(refused, Err(CommitError::NotDone(_))), "{step:?}: {refused:?}");
        assert_eq!(heard.revisions(), [1], "{step:?}");
        let status = store.status();
        assert_eq!(status.head, 1);
        assert!(status.refusing.unwrap().contains("fails"));

        disk.fail_at(None);
        until("it takes changes again", || store.status().refusing.is_none());
        let told = if lasts { vec![1, 2] } else { vec![1] };
        assert_eq!(heard.revisions(), told, "{step:?}");
        let next = commit(&store, create("d", "1")).unwrap().revision;
        assert_eq!(next, told.len() as u64 + 1, "{step:?}");
        let before = contents(&store);
        assert_eq!(before.iter().any(|(key, _, _)| key == "b"), lasts, "{step:?}");
        assert!(!before.iter().any(|(key, _, _)| key == "c"));
        store.close();
        assert_eq!(contents(&open(&folder.path()).unwrap()), before);
    }
}

#[test]
fn a_failing_group_gives_nobody_a_receipt() {
    let (folder, disk, heard) = (Temporary::new(), Disk::default(), Arc::new(Heard::default()));
    let store = disk.open(&folder);
    store.observe(heard.clone());
    disk.fail_at(Some(Step::Sync));
    let commits = (0..64).map(|n| store.commit(create(&format!("{}", n % 8), "v")));
    let answers = block_on(futures::future::join_all(commits));
    for answer in &answers {
        let honest = matches!(answer, Err(CommitError::Unknown(_) | CommitError::NotDone(_)));
        assert!(honest, "{answer:?}");
    }
    assert!(heard.revisions().is_empty());
    disk.fail_at(None);
    until("it takes changes again", || store.status().refusing.is_none());
    // Whatever came of it, memory and disk agree.
    assert_eq!(heard.revisions().last().copied().unwrap_or(0), store.status().head);
    assert_eq!(contents(&store).len(), heard.0.lock().iter().flat_map(|c| &c.effects).count());
    for n in 0..8 {
        let there = contents(&store).iter().any(|(key, _, _)| *key == format!("{n}"));
        assert_eq!(commit(&store, create(&format!("{n}"), "v")).is_err(), there);
    }
}

#[test]
fn closing_a_failed_store_lets_go_of_it() {
    let (folder, disk) = (Temporary::new(), Disk::default());
    let store = disk.open(&folder);
    commit(&store, put("a", "1")).unwrap();
    disk.fail_at(Some(Step::Flush));
    commit(&store, put("b", "1")).unwrap_err();
    store.close();
    assert!(contents(&open(&folder.path()).unwrap()).iter().any(|(key, _, _)| key == "a"));
}

#[test]
fn damage_found_while_opening_again_is_final() {
    let (folder, disk) = (Temporary::new(), Disk::default());
    let store = disk.open(&folder);
    commit(&store, put("a", "1")).unwrap();
    disk.fail_at(Some(Step::Apply));
    commit(&store, put("b", "1")).unwrap_err();
    std::fs::remove_file(folder.path().join("witness")).unwrap();
    disk.fail_at(None);
    until("it is given up", || store.status().refusing.is_some_and(|why| why.contains("damaged")));
    let refused = commit(&store, put("c", "1"));
    assert!(matches!(refused, Err(CommitError::NotDone(why)) if why.contains("backup")));
}

#[test]
fn an_observer_that_panics_does_not_end_the_store() {
    struct Bad;
    impl Observer for Bad {
        fn committed(&self, change: &crate::store::Committed) -> usize {
            assert_ne!(change.revision, 1, "meant to be");
            7
        }
    }
    let folder = Temporary::new();
    let store = open(&folder.path()).unwrap();
    store.observe(Arc::new(Bad));
    assert!(matches!(commit(&store, put("a", "1")), Err(CommitError::Unknown(_))));
    assert_eq!(commit(&store, put("b", "1")), Ok(Receipt { revision: 2, ended: 7 }));
}

/// A filesystem that turned read-only, as a failing disk makes it.
#[test]
fn a_read_only_filesystem_is_refused_and_named() {
    let mount = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(mount.path()).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !run("mount", &["-t", "tmpfs", "-o", "size=12m", "tmpfs"]) {
        println!("skipped: only root may mount a filesystem");
        return;
    }
    let _unmount = Unmount(mount.path());
    let path = mount.path().join("store");
    let store = open(&path).unwrap();
    commit(&store, put("first", "v")).unwrap();
    store.close();
    // Busy while anybody has a file open to write: what sled leaves behind, or a child that
    // is just being started.
    until("it is read-only", || run("mount", &["-o", "remount,ro"]));
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");
    assert!(run("mount", &["-o", "remount,rw"]));
    let there = contents(&open(&path).unwrap());
    assert_eq!(there.len(), 1);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// A real disk that is full: a small filesystem in memory, where it may be mounted.
#[test]
fn a_full_disk_refuses_and_recovers_when_there_is_room() {
    let mount = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(mount.path()).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !run("mount", &["-t", "tmpfs", "-o", "size=12m", "tmpfs"]) {
        println!("skipped: only root may mount a filesystem");
        return;
    }
    let unmount = Unmount(mount.path());
    let ballast = mount.path().join("ballast");
    let heard = Arc::new(Heard::default());
    let store = open(&mount.path().join("store")).unwrap();
    store.observe(heard.clone());
    commit(&store, put("first", "v")).unwrap();
    // Fills what is left: writing ends with an error.
    std::fs::write(&ballast, vec![1; 16 << 20]).unwrap_err();
    let mut acknowledged = Vec::new();
    let failed = (0..20_000).find_map(|n| {
        let key = format!("{n}");
        match commit(&store, put(&key, &"v".repeat(4000))) {
            Ok(_) => acknowledged.push(key),
            Err(error) => return Some(error),
        }
        None
    });
    let failed = failed.expect("the disk should have been full");
    assert!(!matches!(failed, CommitError::Conflict), "{failed}");
    until("it says so", || store.status().refusing.is_some());
    std::fs::remove_file(&ballast).unwrap();
    until("it takes changes again", || store.status().refusing.is_none());
    commit(&store, put("last", "v")).unwrap();
    let there = contents(&store);
    for key in acknowledged.iter().map(String::as_str).chain(["first", "last"]) {
        assert!(there.iter().any(|(found, _, _)| found == key), "{key} is missing");
    }
    assert_eq!(heard.revisions(), (1..=store.status().head).collect::<Vec<_>>());
    drop(store);
    // And a store that can't even be made says what to do.
    std::fs::write(&ballast, vec![1; 16 << 20]).unwrap_err();
    let error = open(&mount.path().join("another")).unwrap_err();
    assert!(matches!(error, OpenError::NoSpace { .. }), "{error}");
    drop(unmount);
}

use super::*;
use crate::store::conformance::{commit, contents, put};
use crate::store::{Key, MAX_ENTRY_BYTES, Op};

#[test]
fn a_second_opening_is_refused_until_the_first_is_closed() {
    let folder = Temporary::new();
    let store = open(&folder.path()).unwrap();
    let error = open(&folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("admin port"), "{error}");
    store.close();
    let second = open(&folder.path()).unwrap();
    drop(second);
    open(&folder.path()).unwrap();
}

/// A crash while a store is made must not leave one that never opens again.
#[test]
fn a_store_left_half_made_is_made_anew() {
    for leave in 0..4 {
        let folder = Temporary::new();
        drop(open(&folder.path()).unwrap());
        let sled = folder.path().join("sled");
        match leave {
            0 => std::fs::remove_dir_all(&sled).unwrap(),
            1 => std::fs::write(sled.join("db"), vec![7; 300_000]).unwrap(),
            2 => std::fs::remove_file(sled.join("db")).unwrap(),
            _ => {
                std::fs::remove_dir_all(&sled).unwrap();
                std::fs::remove_file(folder.path().join("witness")).unwrap();
                std::fs::write(folder.path().join("witness.new"), "half").unwrap();
            }
        }
        let store = open(&folder.path()).unwrap_or_else(|error| panic!("{leave}: {error}"));
        assert_eq!(commit(&store, put("k", "v")).unwrap().revision, 1);
    }
}

#[test]
fn it_can_be_closed_and_opened_many_times() {
    let folder = Temporary::new();
    for round in 1..20 {
        let store = open(&folder.path()).unwrap();
        assert_eq!(commit(&store, put("k", &format!("{round}"))).unwrap().revision, round);
    }
}

#[test]
fn load_after_closing_is_an_error() {
    let folder = Temporary::new();
    let store = open(&folder.path()).unwrap();
    store.close();
    assert!(matches!(store.load(&mut |_| ()), Err(StoreError::Io(_))));
}

/// sled puts pages that grow too large into files that it never syncs: entries of
/// the greatest size must not make it do so.
#[test]
fn the_largest_entries_stay_in_sleds_main_file() {
    let folder = Temporary::new();
    let store = open(&folder.path()).unwrap();
    let blobs = folder.path().join("sled/blobs");
    let blobs = || std::fs::read_dir(&blobs).unwrap().count();
    let mut place = 1u64;
    for round in 0..60 {
        let ops = (0..32)
            .map(|n| {
                // A fixed sequence that jumps about, so that pages split and merge.
                place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n + 1);
                let key = Key(format!("{:04}", place >> 55).into_bytes());
                let value = vec![b'v'; MAX_ENTRY_BYTES - key.0.len()];
                if place.is_multiple_of(3) { Op::Delete { key } } else { Op::Put { key, value } }
            })
            .collect();
        commit(&store, Change { guards: Vec::new(), ops }).unwrap();
        assert_eq!(blobs(), 0, "round {round}");
    }
    assert!(contents(&store).len() > 100);
}

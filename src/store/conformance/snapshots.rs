//! Everything as of one moment, while commits go on.

use super::{Harness, commit, contents, key, put_op};
use crate::store::{Change, Entry, Op};

pub(crate) fn a_snapshot_is_of_one_moment(harness: &dyn Harness) {
    let store = harness.open();
    let nothing = store.snapshot(&mut |_| panic!("it is empty"));
    assert_eq!(nothing.unwrap(), 0);
    let change = |ops| commit(&*store, Change { guards: Vec::new(), ops }).unwrap().revision;
    for round in 0..12 {
        change((0..100).map(|n| put_op(&format!("{:04}", round * 100 + n), "old")).collect());
    }
    for turn in 0..3 {
        let before = contents(&*store);
        let (mut seen, mut count) = (Vec::new(), 0);
        let revision = store.snapshot(&mut |Entry { key: at, value, revision }| {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            seen.push((text(at.0), text(value), revision));
            count += 1;
            if count % 60 == 1 {
                // Behind, here and ahead: changed twice, removed, made and removed again.
                let near = |by: i32| format!("{:04}", (count + by).rem_euclid(1200));
                change(vec![
                    put_op(&near(-20), "new"),
                    put_op(&near(30), "new"),
                    put_op(&near(500), "newer"),
                    Op::Delete { key: key(&near(40)) },
                    Op::Delete { key: key(&near(501)) },
                    put_op(&format!("{}+{turn}", near(300)), "made"),
                    put_op(&format!("{}+{turn}", near(301)), "made"),
                    put_op("zzzz", "last"),
                ]);
                change(vec![
                    put_op(&near(500), "newest"),
                    put_op(&near(501), "back"),
                    Op::Delete { key: key(&format!("{}+{turn}", near(301))) },
                    Op::Delete { key: key("zzzz") },
                ]);
            }
            true
        });
        let newest = before.iter().map(|(_, _, revision)| *revision).max();
        assert!(newest <= revision.ok(), "turn {turn}");
        assert_eq!(seen, before, "turn {turn}");
    }
    // One that was stopped is in nobody's way.
    assert!(store.snapshot(&mut |_| false).is_err());
    assert!(store.snapshot(&mut |_| true).is_ok());
}

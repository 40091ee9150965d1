use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::store::conformance::{block_on, contents, put};

const FOLDER: &str = "PORTCULLIS_TEST_STORE";

/// Not a test of its own: what the test below kills.
#[test]
#[ignore = "run by the test that kills it"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = Arc::new(open(Path::new(&folder)).unwrap());
    block_on(async {
        let writers: Vec<_> = (0..64)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for turn in 0.. {
                        let key = format!("{}-{writer}-{turn}", std::process::id());
                        store.commit(put(&key, "v")).await.unwrap();
                        println!("kept {key}");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

/// `kill -9` in the midst of 64 writers, ten times, on the same store.
#[test]
fn killing_it_loses_nothing_that_was_acknowledged() {
    let folder = Temporary::new();
    let mut kept = BTreeSet::new();
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::sled::tests::crash::writer", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut take = |line: Option<String>| {
            // A line of the test runner's may stand before the first.
            let key = line.as_deref().and_then(|line| Some(line.split_once("kept ")?.1.to_owned()));
            key.is_some_and(|key| kept.insert(key))
        };
        let mut seen = 0;
        while seen < 100 + round * 97 {
            let line = lines.next();
            assert!(line.is_some(), "round {round}: the writers ended");
            seen += usize::from(take(line));
        }
        child.kill().unwrap();
        // The last line may be cut short: such a key was never read whole.
        let rest: Vec<String> = lines.collect();
        let whole = rest.len().saturating_sub(1);
        rest.into_iter().take(whole).for_each(|line| {
            take(Some(line));
        });
        child.wait().unwrap();
        let store = open(&folder.path()).unwrap();
        let there: BTreeSet<_> = contents(&store).into_iter().map(|(key, _, _)| key).collect();
        let lost: Vec<_> = kept.difference(&there).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        // At most what was under way is there besides.
        assert!(there.len() <= kept.len() + 64 * (round + 1), "round {round}");
    }
}

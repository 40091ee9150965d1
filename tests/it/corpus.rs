//! What fuzzing found worth keeping is looked at again, each time.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::panic::catch_unwind;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        assert!(catch_unwind(|| check(&input)).is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn paths() {
    replay("path", checks::path);
}

#[test]
fn bearer_headers() {
    replay("bearer", checks::bearer);
}

#[test]
fn tokens() {
    replay("token", checks::token);
}

#[test]
fn configurations() {
    replay("config", checks::config);
}

#[test]
fn bodies() {
    replay("body", checks::body);
}

#[test]
fn heads() {
    replay("head", checks::head);
}

#[test]
fn chunked_bodies() {
    replay("chunks", checks::chunks);
}

/// The checks can fail.
#[test]
fn normalisers_disagree_about_what_is_refused() {
    let differs = |path: &'static str| catch_unwind(|| checks::same_to_everybody(path)).is_err();
    for refused in ["/a/../b", "/a//b", "/%61", "/a%2e", "/a/./b", "/a%2fb", "/a\\b", "/a%5cb"] {
        assert!(differs(refused), "{refused}");
    }
    for accepted in ["/", "/a/b", "/caf%C3%A9", "/a%20b", "/a;v=1", "/a:b@c"] {
        assert!(!differs(accepted), "{accepted}");
    }
}

//! The commands as processes: the story of `demo --once`, and what SIGHUP does.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

#[test]
fn the_demo_tells_its_story_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["demo", "--once", "--json"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let story: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &story["ok"]), (Some(0), &Value::Bool(true)), "{story:#}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn help_and_usage_have_their_exit_codes() {
    let run = |args: &[&str]| {
        let output = Command::new(PROGRAM).args(args).env_remove("PORTCULLIS_ADMIN_KEY").output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    for (args, code, says) in [
        (&["--version"][..], 0, "portcullis 0."),
        (&["explain", "--help"], 0, "Exit codes"),
        (&["openapi"], 0, "/v1/credentials/{client_id}/revoke"),
        (&["serve"], 2, "--config"),
        (&["serve", "--config", "no-such-file"], 2, "can't be read"),
        (&["credential", "list"], 2, "PORTCULLIS_ADMIN_KEY"),
    ] {
        let (got, said) = run(args);
        assert_eq!(got, code, "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

#[test]
fn a_reload_takes_a_good_file_on_and_leaves_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("p.toml"), folder.path().join("log"));
    let good = "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
                [metrics]\nlisten = \"127.0.0.1:0\"\n[store]\nengine = \"memory\"\n\
                [oauth]\nissuer = \"http://127.0.0.1:1\"\naudience = \"a\"\n";
    std::fs::write(&file, good).unwrap();
    let mut server = Command::new(PROGRAM)
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let pid = server.id().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &pid]).status().unwrap();
    let wait_for = |words: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let said = std::fs::read_to_string(&log).unwrap();
            if said.contains(words) {
                return;
            }
            assert!(Instant::now() < end, "no {words:?} in {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_for("is ready");
    wait_for("PORTCULLIS_ADMIN_KEY=pak1");
    std::fs::write(&file, format!("{good}nonsense = 1\nmore = 2\n")).unwrap();
    signal("-HUP");
    wait_for("2 faults); all stays as it was");
    wait_for("oauth.nonsense");
    std::fs::write(&file, format!("{good}[[role]]\nid = \"r\"\nscopes = [\"a.b\"]\n")).unwrap();
    signal("-HUP");
    wait_for("is taken on: 1 role added");
    signal("-TERM");
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

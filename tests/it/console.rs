//! The web console in a browser that nobody here wrote: Debian's Chromium.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::Harness;

const CHROMIUM: &str = "/usr/bin/chromium";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/console")
}

/// True if browser, node and driver are there. Where CI is set they must be.
fn is_installed() -> bool {
    let node = Command::new("node").arg("--version").output();
    let missing = if !node.is_ok_and(|output| output.status.success()) {
        "node"
    } else if !folder().join("node_modules/playwright-core").exists() {
        "playwright-core"
    } else if !Path::new(CHROMIUM).exists() {
        "chromium"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "{missing} is missing; `make test` installs it");
    // Past the test runner, which keeps what passing tests print.
    let _ = writeln!(std::io::stderr(), "skipped: {missing} is missing; `make test` installs it");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_plays_the_console() {
    if !is_installed() {
        return;
    }
    let h = Harness::start().await;
    let path = "/v1/accounts/acme/account_environments/prod/campaigns";
    let mut command = Command::new("node");
    command
        .arg(folder().join("drive.mjs"))
        .env("CHROMIUM", CHROMIUM)
        .env("ADMIN_URL", format!("http://{}", h.running().admin))
        .env("ADMIN_KEY", &h.admin_key)
        .env("DATA_URL", h.url(""))
        .env("DATA_PATH", path)
        .env("ROLE_A", "Get the tests information")
        .env("ROLE_B", "Manage status of every tests")
        .env("PICTURES", Path::new(env!("CARGO_MANIFEST_DIR")).join("target/console"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();

    // What the console showed is so.
    let credential = format!("/v1/credentials/{}", seen["client_id"].as_str().unwrap());
    let (_, shown) = h.admin("GET", &credential, Value::Null).await;
    assert_eq!(
        [&shown["state"], &shown["revoked_by"], &shown["revoked_reason"]],
        ["revoked", "root", "leaked in a log"]
    );
    let before = h.upstream.count();
    assert_eq!(h.ask("GET", path, seen["token"].as_str()).await.0, 401);
    h.logged(|line| line["reason"] == "revoked" && line["client_id"] == seen["client_id"]).await;
    assert_eq!(h.upstream.count(), before, "nothing went through");
}

//! A client that nobody here wrote: n8n-nodes-abtasty, as it is on npm, with
//! the routes that are shipped for its API.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Harness, Minted};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/n8n")
}

/// True if node and the client are there. Where CI is set they must be.
fn is_installed() -> bool {
    let node = Command::new("node").arg("--version").output();
    let missing = if !node.is_ok_and(|output| output.status.success()) {
        "node"
    } else if !folder().join("node_modules/n8n-nodes-abtasty").exists() {
        "n8n-nodes-abtasty"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "{missing} is missing; `make test` installs it");
    // Past the test runner, which keeps what passing tests print.
    let _ = writeln!(std::io::stderr(), "skipped: {missing} is missing; `make test` installs it");
    false
}

/// The roles and routes of config/abtasty.toml, all of them to our upstream.
fn routes() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/abtasty.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let from = text.find("[[role]]").unwrap();
    let lines = text[from..].lines().map(|line| match line.starts_with("upstream = ") {
        true => "upstream = \"legacy\"\n".to_owned(),
        false => format!("{line}\n"),
    });
    lines.collect()
}

/// Runs all operations. Returns how that ended, and what became of each.
async fn drive(h: &Harness, minted: &Minted) -> (Output, Vec<Value>) {
    let mut command = Command::new("node");
    command
        .arg(folder().join("drive.mjs"))
        .env("GATEWAY_URL", h.url(""))
        .env("CLIENT_ID", &minted.client_id)
        .env("CLIENT_SECRET", &minted.client_secret)
        .env("ACCOUNT", "acme");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_nobody_here_wrote_drives_all_its_operations() {
    if !is_installed() {
        return;
    }
    let h = Harness::builder().routes(routes()).start().await;
    let everything = json!({
        "name": "n8n",
        "account": "acme",
        "roles": [
            "campaign-reader",
            "campaign-operator",
            "user-admin",
            "library-updater",
            "library-emergency",
            "checksum-reader",
            "segments-exchanger",
        ],
        "scopes": ["data.query"],
    });
    let minted = h.mint_with(everything).await;
    let (output, operations) = drive(&h, &minted).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(operations.len(), 23);
    let seen = h.upstream.seen();
    assert_eq!(seen.len(), operations.len());
    for (operation, seen) in operations.iter().zip(&seen) {
        assert_eq!(operation["method"], seen.method(), "{operation}");
        assert_eq!(operation["path"], seen.target(), "{operation}");
        assert_eq!(seen.field("x-portcullis-client-id"), Some(minted.client_id.as_str()));
        assert_eq!(seen.field("authorization"), None, "the token is for us");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_hears_no_where_its_roles_end_and_everywhere_once_revoked() {
    if !is_installed() {
        return;
    }
    let h = Harness::builder().routes(routes()).start().await;
    let minted = h.mint(&["campaign-reader"]).await;
    let (output, operations) = drive(&h, &minted).await;
    assert_eq!(output.status.code(), Some(1));
    let status = |operations: &[Value], name: &str| {
        operations.iter().find(|o| o["operation"] == name).unwrap()["status"].as_u64().unwrap()
    };
    assert_eq!(status(&operations, "publicAPITestsList"), 200);
    for refused in ["publicAPIScriptDelete", "publicAPITestPlayPatch", "publicAPIUsersList"] {
        assert_eq!(status(&operations, refused), 403, "{refused}");
    }
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    assert_eq!(h.admin("POST", &path, json!({ "reason": "test" })).await.0, 200);
    let before = h.upstream.count();
    let (_, operations) = drive(&h, &minted).await;
    assert!(operations.iter().all(|o| o["status"] == 400 && o["path"] == "/oauth/v2/token"));
    assert_eq!(h.upstream.count(), before, "nothing went through");
}

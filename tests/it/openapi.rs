//! The admin port against its own description, by a program that nobody here
//! wrote: schemathesis, as it is on PyPI. No 5xx, no status, type or field that
//! is not declared. And the description itself, by a linter for such documents.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Harness;

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/schemathesis/bin/st")
}

/// True if it is there. Where CI is set it must be.
fn is_installed() -> bool {
    if program().exists() {
        return true;
    }
    let missing = "schemathesis is missing; `make test` installs it";
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    // Past the test runner, which keeps what passing tests print.
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
    false
}

/// The description, with every object closed: a field that is not declared is
/// one that nobody may rely on. Objects that are part of others stay open.
fn closed(mut document: Value) -> Value {
    let mut parts = Vec::new();
    find_parts(&document, &mut parts);
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (name, schema) in schemas.iter_mut() {
        close(schema, parts.contains(&format!("#/components/schemas/{name}")));
    }
    document
}

/// The schemas that others are made of.
fn find_parts(value: &Value, parts: &mut Vec<String>) {
    if let Some(all) = value["allOf"].as_array() {
        parts.extend(all.iter().filter_map(|it| it["$ref"].as_str()).map(str::to_owned));
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|it| find_parts(it, parts)),
        Value::Array(items) => items.iter().for_each(|it| find_parts(it, parts)),
        _ => {}
    }
}

fn close(value: &mut Value, is_part: bool) {
    let Some(schema) = value.as_object_mut() else { return };
    for (word, inner) in schema.iter_mut() {
        match inner {
            Value::Array(members) => members.iter_mut().for_each(|it| close(it, word == "allOf")),
            Value::Object(fields) if word == "properties" => {
                fields.values_mut().for_each(|it| close(it, false));
            }
            other => close(other, false),
        }
    }
    if schema.contains_key("allOf") {
        schema.insert("unevaluatedProperties".into(), json!(false));
    } else if schema.get("properties").is_some_and(Value::is_object) && !is_part {
        schema.insert("additionalProperties".into(), json!(false));
    }
}

/// It would be no use if nothing were found.
#[test]
fn closing_reaches_every_object() {
    let document = closed(serde_json::from_str(&portcullis::api::openapi()).unwrap());
    let schemas = &document["components"]["schemas"];
    for (name, _) in schemas.as_object().unwrap().iter().filter(|(_, it)| it["type"] == "object") {
        let schema = &schemas[name];
        let open = schema["properties"].is_object() && schema["additionalProperties"].is_null();
        assert!(!open || name == "CredentialView", "{name}");
    }
    let line = &schemas["Page_AuditView"]["properties"]["items"]["items"];
    assert_eq!(line["additionalProperties"], false, "{line}");
    assert_eq!(schemas["MintedView"]["unevaluatedProperties"], false);
}

/// What tools for such documents would complain about.
#[test]
fn the_description_has_no_lint() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/redocly");
    let program = folder.join("node_modules/.bin/redocly");
    if !program.exists() {
        let missing = "redocly is missing; `make test` installs it";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        let _ = writeln!(std::io::stderr(), "skipped: {missing}");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("openapi.json");
    std::fs::write(&file, portcullis::api::openapi()).unwrap();
    let output = Command::new(program)
        .args(["lint", "--config"])
        .arg(folder.join("redocly.yaml"))
        .arg(&file)
        // It is to look at the file, and at nothing else.
        .envs([("REDOCLY_TELEMETRY", "off"), ("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")])
        .env("HOME", home.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_is_as_it_is_described() {
    if !is_installed() {
        return;
    }
    let gateway = Harness::start().await;
    gateway.mint(&["reader"]).await;
    let (_, document) = gateway.admin("GET", "/openapi.json", Value::Null).await;
    let file = gateway.folder.path().join("openapi.json");
    std::fs::write(&file, closed(document).to_string()).unwrap();
    // Signing in apart and last: its wrong keys slow down whoever sends them.
    for path in ["--exclude-path", "--include-path"] {
        let mut command = Command::new(program());
        command
            .current_dir(gateway.folder.path())
            .args(["run", "--no-color", "--generation-deterministic", "--max-examples", "20"])
            .args(["--phases", "examples,coverage,fuzzing", path, "/v1/session"])
            .args([
                "--checks",
                "not_a_server_error,status_code_conformance,content_type_conformance,\
                 response_schema_conformance",
            ])
            .arg("--url")
            .arg(format!("http://{}", gateway.running().admin))
            .arg("-H")
            .arg(format!("Authorization: Bearer {}", gateway.admin_key))
            .arg(&file);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).replace(&gateway.admin_key, "[key]");
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    gateway.clock.advance(Duration::from_secs(120));
    // Whatever it did, the trail of it is whole.
    let (_, report) = gateway.admin("GET", "/v1/audit/verify", Value::Null).await;
    assert_eq!(report["ok"], true, "{report}");
}

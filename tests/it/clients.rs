//! Programs that nobody here wrote, as they are published: OAuth clients against the
//! OAuth endpoints, promtool against the metrics. `make conformance` runs many more.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::Harness;
use crate::process::Process;
use crate::upstream::Upstream;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says what is missing. Where CI is set nothing may be.
fn skip(missing: &str) {
    assert!(std::env::var_os("CI").is_none(), "{missing} is missing; `make test` installs it");
    // Past the test runner, which keeps what passing tests print.
    let _ = writeln!(std::io::stderr(), "skipped: {missing} is missing; `make test` installs it");
}

fn runs(program: &Path) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// oauth4webapi and openid-client: they throw on a wrong content type, a missing
/// field, another issuer.
#[tokio::test(flavor = "multi_thread")]
async fn strict_oauth_clients_discover_trade_introspect_and_revoke() {
    let folder = root().join("tests/clients/oauth");
    if !runs(Path::new("node")) || !folder.join("node_modules/openid-client").exists() {
        return skip("openid-client");
    }
    let process = Process::start(Upstream::start().await.address).await;
    let body = json!({ "name": "n", "account": "acme", "roles": ["reader"] });
    let minted = process.admin("/v1/credentials", body).await;
    let mut command = Command::new("node");
    command.arg("drive.mjs").current_dir(folder).arg(format!("http://{}", process.data));
    command.arg(minted["client_id"].as_str().unwrap());
    command.arg(minted["client_secret"].as_str().unwrap());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 15, "{said}");
}

fn promtool() -> Option<PathBuf> {
    let places = [root().join("target/tools/debian/usr/bin/promtool"), PathBuf::from("promtool")];
    places.into_iter().find(|place| runs(place))
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    let Some(promtool) = promtool() else { return skip("promtool") };
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    for (path, token) in [("/any/acme/x", &*token), ("/any/acme/x", "x"), ("/nowhere", &token)] {
        h.http.get(h.url(path)).bearer_auth(token).send().await.unwrap();
    }
    let text = h.metrics().await;
    assert!(text.contains("portcullis_requests_total{"), "{text}");
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

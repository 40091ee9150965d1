//! A configuration is taken on whole or not at all, and what runs on a right
//! that is gone with the old one is cut.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Harness, ROUTES};
use crate::raw::Raw;
use crate::wait::until;

async fn stream(h: &Harness, token: &str, method: &str, path: &str) -> Raw {
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 10\r\n\r\n12345"
    ))
    .await;
    raw
}

async fn open_streams(h: &Harness, count: usize) {
    let streams = &h.running().context.memory.streams;
    until("as many streams", async || streams.count() == count).await;
}

const LIBRARY: &str = "/backend/accounts/acme/tag-rebuild";
const ANY: &str = "/any/acme/x";

/// What changes in the file, and whether streams on the library's route and on
/// that for any token live on.
#[tokio::test(flavor = "multi_thread")]
async fn what_loses_its_right_is_cut_and_the_rest_lives_on() {
    let literal = "[[route]]\nname = \"nearer\"\npath = \"/backend/accounts/{account}/{x}\"\n\
        upstream = \"legacy\"\nenvironment = \"any\"\nallow = { PATCH = \"campaign.list\" }\n";
    let nearer = "[[route]]\nname = \"nearer\"\npath = \"/any/acme/x\"\nupstream = \"legacy\"\n\
        account = \"any\"\nenvironment = \"any\"\nallow = { PATCH = \"library.clear\" }\n";
    for (what, from, to, library, any) in [
        ("nothing", "", "", true, true),
        ("a role loses a scope", "[\"library.update\"]", "[\"library.read\"]", false, true),
        ("a role gains one", "[\"library.update\"]", "[\"library.update\", \"a.b\"]", true, true),
        (
            "a route takes more",
            "PATCH = \"library.update\"",
            "PATCH = \"library.clear\"",
            false,
            true,
        ),
        (
            "a route takes less",
            "PATCH = \"library.update\"",
            "PATCH = \"campaign.list\"",
            true,
            true,
        ),
        (
            "a route loses the method",
            "{ PATCH = \"library.update\" }",
            "{ GET = \"library.update\" }",
            false,
            true,
        ),
        ("a route goes elsewhere", "tag-rebuild", "tag-other", false, true),
        (
            "a route is for another host",
            "tag-rebuild\"",
            "tag-rebuild\"\nhost = \"other\"",
            false,
            true,
        ),
        ("a name changes", "name = \"library\"", "name = \"renamed\"", true, true),
        ("a farther route comes", "", literal, true, true),
        ("a nearer route comes", "", nearer, true, false),
        (
            "a placeholder has another name",
            "/any/{account}/{*rest}",
            "/any/{account}/{*all}",
            true,
            true,
        ),
    ] {
        let h = Harness::start().await;
        let token = h.token(&["reader", "library"]).await;
        let mut one = stream(&h, &token, "PATCH", LIBRARY).await;
        let mut other = stream(&h, &token, "PATCH", ANY).await;
        open_streams(&h, 2).await;
        let routes =
            if from.is_empty() { format!("{ROUTES}{to}") } else { ROUTES.replace(from, to) };
        let taken = h.reload_routes(&routes).await;
        assert_eq!(taken.generation, 2);
        let kept = usize::from(library) + usize::from(any);
        assert_eq!(taken.streams_closed, 2 - kept, "{what}");
        open_streams(&h, kept).await;
        for (alive, raw) in [(library, &mut one), (any, &mut other)] {
            if alive {
                raw.send("67890").await;
                assert_eq!(raw.answer().await.unwrap().status, 200, "{what}");
            } else {
                assert!(raw.is_closed().await, "{what}");
            }
        }
        let cut = format!("portcullis_streams_cut_total{{reason=\"narrowed\"}} {}", 2 - kept);
        h.metered(&[&cut]).await;
    }
}

/// A server with a file of its own.
struct Server {
    child: Child,
    log: std::path::PathBuf,
}

impl Server {
    async fn wait_for(&self, words: &str) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            if said.contains(words) {
                return said;
            }
            assert!(Instant::now() < end, "no {words:?} in {said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn after<'a>(said: &'a str, mark: &str) -> &'a str {
    said.split(mark).nth(1).unwrap().split_whitespace().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_admin_port_it_answers_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("p.toml"), folder.path().join("log"));
    let good = "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
        [metrics]\nlisten = \"127.0.0.1:0\"\n[store]\nengine = \"memory\"\n\
        [oauth]\nissuer = \"http://127.0.0.1:1\"\naudience = \"a\"\n";
    std::fs::write(&file, good).unwrap();
    let program = env!("CARGO_BIN_EXE_portcullis");
    let child = Command::new(program)
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let server = Server { child, log };
    let said = server.wait_for("PORTCULLIS_ADMIN_KEY=pak1").await;
    let key = after(&said, "PORTCULLIS_ADMIN_KEY=").to_owned();
    let admin = after(&said, "PORTCULLIS_ADMIN_URL=").to_owned();
    let http = reqwest::Client::new();
    let call = async |method: &str, path: &str| {
        let request = http.request(method.parse().unwrap(), format!("{admin}{path}"));
        let answer = request.bearer_auth(&key).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let role = "[[role]]\nid = \"r\"\nscopes = [\"a.b\"]\n";
    std::fs::write(&file, format!("{good}{role}")).unwrap();
    let (status, told) = call("POST", "/v1/reload").await;
    assert_eq!(status, 200, "{told}");
    assert_eq!((&told["generation"], &told["streams_closed"]), (&json!(2), &json!(0)));
    assert_eq!(told["changed"], json!(["role \"r\" added"]));
    server.wait_for("is taken on: 1 role added").await;
    let (_, trail) = call("GET", "/v1/audit?q=config.reload").await;
    assert_eq!(trail["items"][0]["actor"], "first", "{trail}");
    assert!(trail["items"][0]["changes"].to_string().contains("role \\\"r\\\" added"), "{trail}");

    std::fs::write(&file, format!("{good}nonsense = 1\nmore = 2\n")).unwrap();
    let (status, told) = call("POST", "/v1/reload").await;
    assert_eq!((status, &told["error"]), (422, &json!("invalid_configuration")), "{told}");
    let fields = told["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 2, "{told}");
    for (fault, (key, line)) in fields.iter().zip([("oauth.nonsense", 12), ("oauth.more", 13)]) {
        assert_eq!((&fault["field"], &fault["line"]), (&json!(key), &json!(line)), "{told}");
    }
    let fixed = good.replacen("listen = [", "threads = 1\ndrain_timeout = \"1s\"\nlisten = [", 1);
    std::fs::write(&file, format!("{fixed}{}", role.replace("a.b", "c.d"))).unwrap();
    let (status, told) = call("POST", "/v1/reload").await;
    assert_eq!(status, 422, "{told}");
    let named: Vec<_> = told["fields"].as_array().unwrap().iter().map(|f| &f["field"]).collect();
    assert_eq!(named, ["server.threads", "server.drain_timeout"], "{told}");
    assert!(told["fields"][0]["message"].as_str().unwrap().contains("restart"), "{told}");
    let (_, roles) = call("GET", "/v1/roles").await;
    assert_eq!(roles["items"][0]["scopes"], json!(["a.b"]), "nothing of it was taken on");

    // The command says the same, and errors are JSON where that was asked for.
    let command = |args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).env("PORTCULLIS_ADMIN_URL", &admin).env("PORTCULLIS_ADMIN_KEY", &key);
        command.output().unwrap()
    };
    let refused = command(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("server.threads"));
    let refused = command(&["reload", "--json"]);
    let told: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!((&told["status"], &told["exit_code"]), (&json!(422), &json!(1)), "{told}");
    assert_eq!(told["answer"]["fields"][0]["field"], "server.threads", "{told}");
    std::fs::write(&file, good).unwrap();
    let taken = command(&["reload"]);
    let said = String::from_utf8_lossy(&taken.stdout).into_owned();
    assert!(taken.status.success() && said.contains("role \"r\" removed"), "{said}");
    let page = http.get(format!(
        "http://{}",
        after(&std::fs::read_to_string(&server.log).unwrap(), "metrics  http://")
    ));
    let metrics = page.send().await.unwrap().text().await.unwrap();
    for line in ["{outcome=\"ok\"} 2", "{outcome=\"refused\"} 4"] {
        assert!(metrics.contains(&format!("portcullis_config_reloads_total{line}")), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_answers_itself_is_explained_as_that() {
    let h = Harness::start().await;
    for (url, endpoint) in [
        ("/oauth2/token", "oauth.token"),
        ("/acme/token?x=1", "oauth.token"),
        ("/.well-known/jwks.json", "oauth.jwks"),
        ("/token", "oauth.token_info"),
    ] {
        let (_, told) =
            h.admin("POST", "/v1/explain", json!({ "method": "GET", "url": url })).await;
        assert_eq!(
            (&told["decision"], &told["endpoint"]),
            (&json!("local"), &json!(endpoint)),
            "{url}"
        );
    }
    let (_, told) =
        h.admin("POST", "/v1/explain", json!({ "method": "GET", "url": "/none" })).await;
    assert_eq!((&told["decision"], &told["reason"]), (&json!("deny"), &json!("no_route")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_there_is_nothing_to_read_again() {
    let h = Harness::start().await;
    let (status, told) = h.admin("POST", "/v1/reload", Value::Null).await;
    assert_eq!((status, &told["error"]), (409, &json!("conflict")), "{told}");
}

//! Starts the real gateway in this process, and the world round it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use portcullis::app::{Means, Running, StartError, TakenOn, start};
use portcullis::config;
use portcullis::domain::{AdminName, AdminRole, Clock, ManualClock, SystemEntropy, UnixTime};
use portcullis::edge::{Probe, Resolver, Sample, SystemResolver};
use portcullis::service::{Actor, create_admin};
use portcullis::store::Store;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::addresses::Refusing;
use crate::upstream::Upstream;
use crate::wait::{PATIENCE, STEP};

/// Everything that was written to the access log.
#[derive(Clone, Default)]
pub(crate) struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl LogBuffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A gateway, its upstream, its clock and its log.
pub(crate) struct Harness {
    running: Option<Running>,
    pub(crate) upstream: Upstream,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: LogBuffer,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) http: reqwest::Client,
    pub(crate) admin_key: String,
    pub(crate) text: String,
    store: Option<Arc<dyn Store>>,
    resolver: Arc<dyn Resolver>,
    /// Instead of `clock`.
    other_clock: Option<Arc<dyn Clock>>,
    /// Of the first start.
    probe: Mutex<Option<Box<dyn Probe>>>,
    _dead: Refusing,
}

/// A minted credential.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

/// The routes that most tests use.
pub(crate) const ROUTES: &str = r#"
[[role]]
id = "reader"
label = "Get the tests information"
description = "Reads campaigns"
scopes = ["campaign.list", "campaign.read"]
[[role]]
id = "operator"
label = "Manage status of every tests"
description = "Runs and pauses"
scopes = ["campaign.toggle", "campaign.schedule"]
[[role]]
id = "library"
label = "Update the library"
description = "Updates"
scopes = ["library.update"]
[[role]]
id = "emergency"
label = "Clear the library"
description = "Empties the library"
scopes = ["library.clear"]
armed = true

[[route]]
name = "campaigns"
path = "/v1/accounts/{account}/account_environments/{environment}/campaigns"
upstream = "legacy"
allow = { GET = "campaign.list", POST = "campaign.create" }
[[route]]
name = "campaign"
path = "/v1/accounts/{account}/account_environments/{environment}/campaigns/{id}"
upstream = "legacy"
allow = { GET = "campaign.read", PATCH = "campaign.update", DELETE = "campaign.delete" }
body_rules = { PATCH = [{ keys = ["status"], allow = "campaign.toggle" }] }
[[route]]
name = "projects"
path = "/v1/accounts/{account}/projects"
upstream = "legacy"
allow = { GET = "campaign.list" }
[[route]]
name = "library"
path = "/backend/accounts/{account}/tag-rebuild"
upstream = "legacy"
environment = "any"
allow = { PATCH = "library.update" }
[[route]]
name = "clear"
path = "/backend/accounts/{account}/tag-clear"
upstream = "legacy"
environment = "any"
allow = { DELETE = "library.clear" }
[[route]]
name = "any"
path = "/any/{account}/{*rest}"
upstream = "legacy"
environment = "any"
allow = { GET = "@authenticated", POST = "@authenticated", PUT = "@authenticated", PATCH = "@authenticated", DELETE = "@authenticated", OPTIONS = "@authenticated" }
body_bytes = 0
[[route]]
name = "small"
path = "/small/{account}"
upstream = "legacy"
environment = "any"
allow = { POST = "@authenticated" }
body_bytes = "1KiB"
[[route]]
name = "query"
path = "/resource-loader"
upstream = "legacy"
bind_query = { account = "account_id", environment = "account_environment_id" }
allow = { POST = "campaign.list" }
[[route]]
name = "status"
path = "/public/{*rest}"
upstream = "legacy"
allow = { GET = "@public", POST = "@public" }
[[route]]
name = "dead"
path = "/dead/{account}/{*rest}"
upstream = "dead"
environment = "any"
allow = { GET = "@authenticated", POST = "@authenticated" }
"#;

/// Is never late: how busy the machine is refuses nobody.
struct InTime;

#[async_trait]
impl Probe for InTime {
    async fn next(&mut self) -> Sample {
        std::future::pending().await
    }

    fn another(&self) -> Box<dyn Probe> {
        Box::new(InTime)
    }
}

/// Asks each time on a connection of its own: one that was kept may be closing just then,
/// and would count.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).pool_max_idle_per_host(0).build().unwrap()
}

/// What a test may set before the start.
pub(crate) struct Builder {
    engine: &'static str,
    routes: String,
    server: String,
    upstream_extra: String,
    store: Option<Arc<dyn Store>>,
    resolver: Arc<dyn Resolver>,
    /// Instead of `clock`.
    other_clock: Option<Arc<dyn Clock>>,
    probe: Option<Box<dyn Probe>>,
}

impl Builder {
    pub(crate) fn engine(mut self, engine: &'static str) -> Self {
        self.engine = engine;
        self
    }

    pub(crate) fn routes(mut self, routes: String) -> Self {
        self.routes = routes;
        self
    }

    pub(crate) fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self
    }

    pub(crate) fn upstream(mut self, lines: &str) -> Self {
        self.upstream_extra.push_str(lines);
        self
    }

    pub(crate) fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Another clock than the harness's own.
    pub(crate) fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.other_clock = Some(clock);
        self
    }

    /// Says how late the data plane is.
    pub(crate) fn probe(mut self, probe: Box<dyn Probe>) -> Self {
        self.probe = Some(probe);
        self
    }

    pub(crate) fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    pub(crate) async fn start(self) -> Harness {
        let upstream = Upstream::start().await;
        let folder = tempfile::tempdir().unwrap();
        let dead = Refusing::new();
        let text = format!(
            r#"
[server]
listen = ["127.0.0.1:0"]
drain_timeout = "5s"
{server}
[admin]
listen = "127.0.0.1:0"
[metrics]
listen = "127.0.0.1:0"
[store]
engine = "{engine}"
path = "{path}"
[oauth]
issuer = "http://127.0.0.1:8080"
audience = "campaign-api"
token_info_path = "/token"
[[upstream]]
name = "legacy"
addresses = ["{legacy}"]
{upstream_extra}
[[upstream]]
name = "dead"
addresses = ["{dead}"]
connect_timeout = "2s"
{routes}
"#,
            server = self.server,
            engine = self.engine,
            path = folder.path().join("state").display(),
            legacy = upstream.address,
            upstream_extra = self.upstream_extra,
            dead = dead.address,
            routes = self.routes,
        );
        let mut harness = Harness {
            running: None,
            upstream,
            clock: Arc::new(ManualClock::new(UnixTime::from_secs(1_795_316_400))),
            log: LogBuffer::default(),
            folder,
            http: client(),
            admin_key: String::new(),
            text,
            store: self.store,
            resolver: self.resolver,
            other_clock: self.other_clock,
            probe: Mutex::new(self.probe),
            _dead: dead,
        };
        harness.launch().await.unwrap();
        let context = &harness.running().context;
        let name = AdminName::new("root").unwrap();
        let made =
            create_admin(context, &Actor::gateway(), name, AdminRole::SuperAdmin).await.unwrap();
        harness.admin_key = made.key.expose().to_owned();
        harness
    }
}

impl Harness {
    pub(crate) fn builder() -> Builder {
        Builder {
            engine: "memory",
            routes: ROUTES.to_owned(),
            server: String::new(),
            upstream_extra: String::new(),
            store: None,
            resolver: Arc::new(SystemResolver),
            other_clock: None,
            probe: None,
        }
    }

    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    async fn launch(&mut self) -> Result<(), StartError> {
        let config = config::parse(&self.text, Path::new("."))
            .unwrap_or_else(|errors| panic!("the configuration of the test: {errors}"));
        let means = Means {
            clock: match &self.other_clock {
                Some(other) => Arc::clone(other),
                None => Arc::clone(&self.clock) as Arc<dyn Clock>,
            },
            entropy: Arc::new(SystemEntropy),
            log: Box::new(self.log.clone()),
            store: self.store.clone(),
            resolver: Arc::clone(&self.resolver),
            probe: match self.probe.lock().unwrap().take() {
                Some(probe) => probe,
                None => Box::new(InTime),
            },
        };
        self.running = Some(start(config, means).await?);
        Ok(())
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("the gateway runs")
    }

    /// Takes on the same configuration with other roles and routes.
    pub(crate) async fn reload_routes(&self, routes: &str) -> TakenOn {
        let (kept, _) = self.text.split_once("\n[[role]]").unwrap();
        let config = config::parse(&format!("{kept}\n{routes}"), Path::new("."));
        self.running().reload(config.unwrap_or_else(|errors| panic!("{errors}"))).await.unwrap()
    }

    /// Stops the gateway.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Stops the gateway and starts it again on the same store.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.launch().await.unwrap();
    }

    /// Starts again after [`Harness::stop`]; says why it can't.
    pub(crate) async fn try_launch(&mut self) -> Result<(), StartError> {
        self.launch().await
    }

    /// Takes a changed configuration on; what `change` makes of the old one.
    pub(crate) async fn reload(
        &mut self,
        change: impl FnOnce(String) -> String,
    ) -> Result<TakenOn, StartError> {
        self.text = change(std::mem::take(&mut self.text));
        let config = config::parse(&self.text, Path::new("."))
            .unwrap_or_else(|errors| panic!("the configuration of the test: {errors}"));
        self.running().reload(config).await
    }

    pub(crate) fn state_folder(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn data(&self) -> std::net::SocketAddr {
        self.running().data[0]
    }

    /// Where TLS is spoken.
    pub(crate) fn data_tls(&self) -> std::net::SocketAddr {
        self.running().data_tls[0]
    }

    /// Begins to stop the gateway, and leaves it to itself.
    pub(crate) fn stop_in_background(&mut self) -> tokio::task::JoinHandle<()> {
        let running = self.running.take().expect("the gateway runs");
        tokio::spawn(running.stop())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.data())
    }

    /// Asks the admin port as the first administrator.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.running().admin);
        let mut request =
            self.http.request(method.parse().unwrap(), url).bearer_auth(&self.admin_key);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Mints a credential of account `acme`.
    pub(crate) async fn mint(&self, roles: &[&str]) -> Minted {
        self.mint_with(json!({ "name": "n", "account": "acme", "roles": roles })).await
    }

    pub(crate) async fn mint_with(&self, body: Value) -> Minted {
        let (status, made) = self.admin("POST", "/v1/credentials", body).await;
        assert_eq!(status, 201, "{made}");
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        Minted { client_id: text("client_id"), client_secret: text("client_secret") }
    }

    /// Trades a credential for a token.
    pub(crate) async fn trade(&self, minted: &Minted) -> String {
        let (status, answer) = self.try_trade(minted).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn try_trade(&self, minted: &Minted) -> (u16, Value) {
        let body = json!({
            "grant_type": "client_credentials",
            "client_id": minted.client_id,
            "client_secret": minted.client_secret,
        });
        let response = self.http.post(self.url("/oauth2/token")).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// A fresh credential's token.
    pub(crate) async fn token(&self, roles: &[&str]) -> String {
        self.trade(&self.mint(roles).await).await
    }

    /// Asks the data plane.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// The metrics page.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.running().metrics);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Waits until the metrics page has these lines, and returns it: what a client has its
    /// answer to is counted a moment later.
    pub(crate) async fn metered(&self, lines: &[&str]) -> String {
        let find = async {
            loop {
                let page = self.metrics().await;
                if lines.iter().all(|wanted| page.lines().any(|line| line == *wanted)) {
                    return page;
                }
                sleep(STEP).await;
            }
        };
        match timeout(PATIENCE, find).await {
            Ok(page) => page,
            Err(_) => panic!("not all of {lines:#?} are in\n{}", self.metrics().await),
        }
    }

    /// Waits until the log has a line that `wanted` picks, and returns it.
    pub(crate) async fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = async {
            loop {
                if let Some(line) = self.log.lines().into_iter().rev().find(&wanted) {
                    return line;
                }
                sleep(STEP).await;
            }
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| {
            panic!("no such line in the log:\n{}", self.log.text());
        })
    }
}

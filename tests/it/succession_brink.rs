//! Upgrades that fail at the worst moments: the new process has the store, or was told to
//! serve. The old one goes on, and nobody notices.

use serde_json::json;
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use crate::gateway::{Gateway, Load, STALLS};
use crate::process::{halt, program, stands_still, states};
use crate::signals::{hang, is_read};
use crate::succession::written;
use crate::wait::{PATIENCE, STEP};

impl Gateway {
    /// Upgrades as far as the new process has opened the store, and reads its key file:
    /// what is sent through the pipe lets it go on. Also gives its number.
    async fn half_way(&self) -> (pipe::Sender, u32) {
        let key = self.file("state.key");
        std::fs::copy(&key, self.file("kept.key")).unwrap();
        hang(&key);
        let script = "#!/bin/sh\necho $$ >\"${0%/*}/number\"\n";
        self.put(&format!("{script}exec {} \"$@\"\n", program()));
        self.signal("-USR2", self.pid);
        let pipe = is_read(&key).await;
        (pipe, written(&self.file("number")).await.trim().parse().unwrap())
    }

    /// Lets the new process read its key.
    fn go_on(&self, pipe: pipe::Sender) {
        let key = std::fs::read(self.file("kept.key")).unwrap();
        assert_eq!(pipe.try_write(&key).unwrap(), key.len());
        drop(pipe);
        std::fs::rename(self.file("kept.key"), self.file("state.key")).unwrap();
    }

    /// Upgrades as far as the new process waits to be told to serve. The old one is
    /// stopped, and tells it so when it goes on. Gives the new one's number.
    async fn brink(&self) -> u32 {
        let (pipe, new) = self.half_way().await;
        halt(self.pid).await;
        self.go_on(pipe);
        self.said("waiting for the word to serve").await;
        // What it said is on its way when none of its threads has anything left to do.
        stands_still(new, 'S').await;
        new
    }

    async fn is_as_before(&mut self, token: &str) {
        let url = format!("http://{}/readyz", self.process.metrics);
        assert_eq!(self.process.http.get(url).send().await.unwrap().status(), 200);
        assert_eq!(self.process.ask(token).await, 200);
        assert_eq!(self.try_change().await.0, 201);
        self.put_back();
        let old = self.pid;
        self.upgrade().await;
        assert_eq!(self.process.ask(token).await, 200);
        assert_eq!(self.try_change().await.0, 201);
        assert!(self.is_gone(old).await);
    }
}

/// It is alive, and accepts nobody: the old process serves all the while, and ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_hangs_when_it_is_to_serve_is_ended_and_the_old_one_goes_on() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    let new = gateway.brink().await;
    halt(new).await;
    gateway.signal("-CONT", gateway.pid);
    let load = Load::on(&gateway, &token);
    load.goes_on().await;
    // Nobody takes changes, and nobody says otherwise.
    assert_eq!(gateway.try_change().await.0, 503);
    assert!(states(new).contains(&'T'), "it is not ended at once");
    gateway.wait_for_outcome("failed", 1).await;
    load.goes_on().await;
    assert!(gateway.is_gone(new).await);
    gateway.said("told to serve, it accepted nobody within 5 s").await;
    gateway.is_as_before(&token).await;
    load.end().await;
}

/// Nor is it an outage if it dies right then.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_dies_when_it_is_to_serve_leaves_the_old_one_serving() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    let load = Load::on(&gateway, &token);
    let new = gateway.brink().await;
    gateway.signal("-KILL", new);
    gateway.signal("-CONT", gateway.pid);
    gateway.wait_for_outcome("failed", 1).await;
    load.goes_on().await;
    gateway.said("it ended when it was to serve").await;
    let old = gateway.pid;
    assert_eq!(gateway.wait_for_word("").await, format!("MAINPID={old}\n"));
    gateway.is_as_before(&token).await;
    load.end().await;
}

/// A signal to end the old process at that moment ends both, and nothing is left locked.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_new_process_hangs_ends_both() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    let new = gateway.brink().await;
    halt(new).await;
    gateway.signal("-CONT", gateway.pid);
    gateway.signal("-TERM", gateway.pid);
    let status = gateway.process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.process.stderr());
    assert!(gateway.is_gone(new).await);
    gateway.process.launch().await;
    assert_eq!(gateway.process.ask(&token).await, 200);
    assert_eq!(gateway.try_change().await.0, 201);
}

/// Who drains for long can still revoke: the store is not waited for until the end.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_new_process_has_the_store_gives_it_back_at_once() {
    let delay = "drain_timeout = \"5s\"\nshutdown_delay = \"1h\"";
    let mut gateway = Gateway::start(delay).await;
    let (_, token) = gateway.mint().await;
    let (_pipe, new) = gateway.half_way().await;
    assert_eq!(gateway.try_change().await.0, 503);
    gateway.signal("-TERM", gateway.pid);
    assert!(gateway.is_gone(new).await);
    let back = async {
        while gateway.try_change().await.0 != 201 {
            sleep(STEP).await;
        }
    };
    timeout(PATIENCE, back).await.expect("the store is back");
    assert_eq!(gateway.process.ask(&token).await, 200, "it still serves");
    gateway.revoke(&token).await;
    assert_eq!(gateway.process.ask(&token).await, 401);
    gateway.said("ending: not ready any more").await;
    gateway.signal("-TERM", gateway.pid);
    let status = gateway.process.ended().await;
    assert_eq!(status.code(), Some(1), "{}", gateway.process.stderr());
}

/// What the new process changes before it fails is in the store, and the old one knows.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_changed_before_it_failed_is_known() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (made, token) = gateway.mint().await;
    let good = std::fs::read_to_string(gateway.process.config()).unwrap();
    // A key of another algorithm is made first, and nobody says that it is known.
    let other = good.replace("[oauth]", "[oauth]\nalgorithm = \"ES256\"");
    std::fs::write(gateway.process.config(), other).unwrap();
    let (pipe, new) = gateway.half_way().await;
    halt(gateway.pid).await;
    gateway.go_on(pipe);
    assert!(gateway.is_gone(new).await, "without a receipt it can't go on");
    gateway.signal("-CONT", gateway.pid);
    gateway.wait_for_outcome("failed", 1).await;
    gateway.said("a new signing key could not be stored").await;
    let url = format!("http://{}/.well-known/jwks.json", gateway.process.data);
    let keys = gateway.process.http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(keys.contains("ES256"), "the new key is published: {keys}");
    let (_, answer) = gateway.process.trade(&made).await;
    assert_eq!(gateway.process.ask(answer["access_token"].as_str().unwrap()).await, 200);
    std::fs::write(gateway.process.config(), &good).unwrap();
    gateway.is_as_before(&token).await;
}

/// While the store is away nobody can revoke: names and ports are tried before that.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_store_is_done_before_the_store_is_asked_for() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    let good = std::fs::read_to_string(gateway.process.config()).unwrap();
    let legacy = format!("addresses = [\"{}\"]", gateway.upstream.address);
    let bad = [
        (gateway.process.metrics.to_string(), "192.0.2.1:1", "can't listen on 192.0.2.1:1"),
        (legacy, "addresses = [\"no.such.name.invalid:1\"]", "can't be resolved"),
    ];
    for (times, (from, to, said)) in bad.iter().enumerate() {
        std::fs::write(gateway.process.config(), good.replace(from, to)).unwrap();
        gateway.upgrade_in_vain("failed", times + 1).await;
        gateway.said(said).await;
    }
    // What is logged is written by a thread of its own.
    let ended = "it ended before its configuration was checked";
    let both = async {
        while gateway.process.stderr().matches(ended).count() < 2 {
            sleep(STEP).await;
        }
    };
    timeout(PATIENCE, both).await.expect("both ended before");
    let said = gateway.process.stderr();
    assert!(!said.contains("a new process has checked its configuration"), "{said}");
    std::fs::write(gateway.process.config(), &good).unwrap();
    gateway.is_as_before(&token).await;
}

/// Versions that don't know the same words are told apart before anything is lent.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_upgrades_in_another_way_is_refused_with_the_way_out() {
    let mut gateway = Gateway::start("drain_timeout = \"5s\"").await;
    let (_, token) = gateway.mint().await;
    gateway.put(&STALLS.replace("\"spoken\":2", "\"spoken\":1"));
    gateway.upgrade_in_vain("failed", 1).await;
    gateway.said("version 0 upgrades in another way: restart instead").await;
    gateway.is_as_before(&token).await;
}

/// What still runs in the old process loses its right by a reload of the new one, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_cuts_what_lost_its_right_in_the_process_that_drains() {
    let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
    let (_, lives) = gateway.mint().await;
    let body = json!({"name": "n", "account": "acme", "scopes": ["library.update"]});
    let made = gateway.process.admin("/v1/credentials", body).await;
    let dies = gateway.process.trade(&made).await.1["access_token"].as_str().unwrap().to_owned();
    let events = async |gateway: &Gateway, token: &str, n: usize| {
        let stream = gateway.events(token).await;
        gateway.upstream.wait_for_streams(n).await;
        stream
    };
    let (mut living, mut dying) =
        (events(&gateway, &lives, 1).await, events(&gateway, &dies, 2).await);
    let old = gateway.pid;
    gateway.upgrade().await;
    let config = std::fs::read_to_string(gateway.process.config()).unwrap();
    let any = config.find("name = \"any\"").unwrap();
    let (before, route) = config.split_at(any);
    let narrow = route.replacen("@authenticated", "campaign.list", 1);
    assert_ne!(narrow, route);
    std::fs::write(gateway.process.config(), format!("{before}{narrow}")).unwrap();
    gateway.signal("-HUP", gateway.pid);
    assert!(timeout(PATIENCE, dying.is_closed()).await.expect("it is cut"));
    gateway.upstream.wait_for_streams(1).await;
    assert!(gateway.is_running(old), "{}", gateway.process.stderr());
    gateway.revoke(&lives).await;
    assert!(living.is_closed().await);
    assert!(gateway.is_gone(old).await);
}

/// A version that can't read what the next one took on does not know what is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn what_drains_ends_if_it_can_not_read_what_was_taken_on() {
    let mut gateway = Gateway::start("drain_timeout = \"60s\"").await;
    let (_, token) = gateway.mint().await;
    let mut stream = gateway.events(&token).await;
    gateway.upstream.wait_for_streams(1).await;
    // Stands for a newer one, which knows a key that the old one does not.
    let newer = gateway.file("newer.toml");
    std::fs::copy(gateway.process.config(), &newer).unwrap();
    gateway
        .put(&format!("#!/bin/sh\nexec {} serve --config \"${{0%/*}}/newer.toml\"\n", program()));
    let old = gateway.pid;
    gateway.upgrade().await;
    std::fs::write(gateway.process.config(), "[server]\nof_the_future = 1\n").unwrap();
    gateway.signal("-HUP", gateway.pid);
    assert!(timeout(PATIENCE, stream.is_closed()).await.expect("it is cut"));
    assert!(gateway.is_gone(old).await);
    gateway.said("can't be read by the version that drains").await;
    assert_eq!(gateway.process.ask(&token).await, 200);
}

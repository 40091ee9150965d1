//! Every way to lose a right ends every kind of stream, and nobody else's.

use std::time::Duration;

use portcullis::domain::Clock;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Harness, Minted};
use crate::held::{Front, Held, STREAMS, World, close_of, ends, path, routes};
use crate::raw::Raw;
use crate::wait::PATIENCE;

/// Opens every kind of stream for a victim and a neighbour, takes the victim's
/// right away, and looks at both.
async fn check(
    reason: &str,
    tokens: impl AsyncFnOnce(&Harness, &Minted, &Minted) -> (String, String),
    cut: impl AsyncFnOnce(&World, &Minted, &str),
) {
    let world = World::start().await;
    let victim = world.h.mint(&["reader"]).await;
    let neighbour = world.h.mint(&["watcher"]).await;
    let (dies, lives) = tokens(&world.h, &victim, &neighbour).await;
    let (mut doomed, mut spared) = (Vec::new(), Vec::new());
    for (kind, front) in STREAMS {
        doomed.push(world.open(kind, *front, "victim", &dies).await);
        spared.push(world.open(kind, *front, "neighbour", &lives).await);
    }
    cut(&world, &victim, &dies).await;
    for ((kind, front), held) in STREAMS.iter().zip(doomed) {
        let path = path(kind, *front, "victim");
        ends(&path, held, reason).await;
        let told = |line: &Value| line["path"] == path.as_str() && line["reason"] == reason;
        assert_eq!(world.h.logged(told).await["decision"], "allow", "{path}");
    }
    world.upstream.wait_open("/victim", 0).await;
    let counted = format!("portcullis_streams_cut_total{{reason=\"{reason}\"}} {}", STREAMS.len());
    let gauge = format!("portcullis_open_streams {}", STREAMS.len());
    world.h.metered(&[&counted, &gauge]).await;
    for ((kind, front), held) in STREAMS.iter().zip(&mut spared) {
        world.still_works(&path(kind, *front, "neighbour"), held).await;
    }
    assert_eq!(world.upstream.open("/neighbour"), STREAMS.len());
    for held in &spared {
        if let Held::Busy(_, sending) = held {
            sending.abort();
        }
    }
    drop(spared);
    world.upstream.wait_open("/neighbour", 0).await;
}

/// Both tokens, one after the other.
async fn both(h: &Harness, victim: &Minted, neighbour: &Minted) -> (String, String) {
    (h.trade(victim).await, h.trade(neighbour).await)
}

async fn post(world: &World, path: &str, body: Value) {
    let (status, answer) = world.h.admin("POST", path, body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["streams_closed"], STREAMS.len(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked() {
    check("revoked", both, async |world, _, token| {
        post(world, "/v1/revocations", json!({ "token": token })).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_revoked() {
    check("revoked", both, async |world, victim, _| {
        let path = format!("/v1/credentials/{}/revoke", victim.client_id);
        post(world, &path, json!({ "reason": "leaked" })).await;
    })
    .await;
}

/// An upload whose answer is over is under way as much as any other.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_cut_that_outlasts_its_answer() {
    let h = Harness::start().await;
    let minted = h.mint(&["operator"]).await;
    let token = h.trade(&minted).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!(
        "POST /any/acme/early HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    ))
    .await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    raw.send("1\r\nb\r\n").await;
    h.upstream.wait_for_streams(1).await;
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    let (status, receipt) = h.admin("POST", &path, json!({ "reason": "leaked" })).await;
    assert_eq!((status, &receipt["streams_closed"]), (200, &json!(1)));
    h.upstream.wait_for_streams(0).await;
    assert!(raw.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_suspended() {
    check("suspended", both, async |world, victim, _| {
        let path = format!("/v1/credentials/{}/suspend", victim.client_id);
        post(world, &path, json!({})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_retired() {
    check("revoked", both, async |world, victim, _| {
        let path = format!("/v1/credentials/{}/secrets", victim.client_id);
        let (status, _) = world.h.admin("POST", &path, json!({ "retire_old_after": "24h" })).await;
        assert_eq!(status, 201);
        let (status, receipt) = world.h.admin("DELETE", &format!("{path}/1"), json!(null)).await;
        assert_eq!((status, &receipt["streams_closed"]), (200, &json!(STREAMS.len())), "{receipt}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tokens_from_before_are_cut_off() {
    check("revoked", both, async |world, victim, _| {
        let before = world.h.clock.now().plus(Duration::from_secs(2)).to_string();
        world.h.clock.advance(Duration::from_secs(4));
        let cut = json!({ "client_id": victim.client_id, "issued_before": before });
        post(world, "/v1/revocations", cut).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_narrowed() {
    check("narrowed", both, async |world, victim, _| {
        let path = format!("/v1/credentials/{}", victim.client_id);
        let (status, answer) =
            world.h.admin("PATCH", &path, json!({ "roles": ["operator"] })).await;
        assert_eq!(status, 200, "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_is_revoked() {
    let tokens = async |h: &Harness, victim: &Minted, neighbour: &Minted| {
        let dies = h.trade(victim).await;
        h.admin("POST", "/v1/keys/rotate", json!({ "activate_after": "0s" })).await;
        (dies, h.trade(neighbour).await)
    };
    check("revoked", tokens, async |world, _, token| {
        let head = token.split('.').next().unwrap();
        let head = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, head).unwrap();
        let head: Value = serde_json::from_slice(&head).unwrap();
        let path = format!("/v1/keys/{}/revoke", head["kid"].as_str().unwrap());
        post(world, &path, json!({ "reason": "leaked" })).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires() {
    let tokens = async |h: &Harness, victim: &Minted, neighbour: &Minted| {
        let dies = h.trade(victim).await;
        h.clock.advance(Duration::from_secs(6 * 3600));
        (dies, h.trade(neighbour).await)
    };
    check("expired", tokens, async |world, _, _| {
        world.h.clock.advance(Duration::from_secs(6 * 3600 + 30));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_the_right_away() {
    check("narrowed", both, async |world, _, _| {
        let routes = routes(&world.upstream);
        let less = routes.replacen(
            "scopes = [\"campaign.list\", \"campaign.read\"]",
            "scopes = [\"campaign.read\"]",
            1,
        );
        assert_ne!(less, routes);
        let taken = world.h.reload_routes(&less).await;
        assert_eq!(taken.streams_closed, STREAMS.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_told_when_the_gateway_stops() {
    let mut world = World::start().await;
    let token = world.h.token(&["reader"]).await;
    let mut held = Vec::new();
    for front in [Front::Plain, Front::Tls, Front::Http2] {
        held.push(world.open("ws-idle", front, "last", &token).await);
    }
    let stopping = world.h.stop_in_background();
    for held in held {
        let Held::Socket(socket) = held else { panic!("a socket is a socket") };
        let close = close_of(socket).await.expect("a close frame");
        assert_eq!(u16::from(close.code), 1001);
    }
    world.upstream.wait_open("/last", 0).await;
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tunnel_outlasts_the_idle_timeout() {
    let mut world = World::with("[server.limits]\nidle_timeout = \"1s\"\n").await;
    let token = world.h.token(&["reader"]).await;
    world.connect_again().await;
    let fronts = [Front::Http2, Front::Plain];
    let mut held = Vec::new();
    for front in fronts {
        held.push(world.open("ws-idle", front, "quiet", &token).await);
    }
    // Two connections that do nothing are closed meanwhile, one after the other.
    for _ in 0..2 {
        let mut idle = TcpStream::connect(world.h.data()).await.unwrap();
        assert_eq!(timeout(PATIENCE, idle.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
    for (front, held) in fronts.into_iter().zip(&mut held) {
        world.still_works(&path("ws-idle", front, "quiet"), held).await;
    }
}

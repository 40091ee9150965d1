//! Streams of one HTTP/2 connection: each ends by itself, and all end well.

use bytes::Bytes;
use http::Request;
use serde_json::json;

use crate::harness::Harness;
use crate::secure::{H2, Pki, Whole, request};
use crate::wait::until;

const EVENTS: &str = "https://localhost/any/acme/events";

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_resets_its_stream_and_leaves_its_siblings() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let (leaked, kept) = (h.mint(&["reader"]).await, h.mint(&["reader"]).await);
    let (one, two) = (h.trade(&leaked).await, h.trade(&kept).await);
    let h2 = pki.client().h2(h.data_tls(), "localhost").await;
    let mut dies = h2.ask(request("GET", EVENTS, Some(&one))).await.unwrap().into_body();
    let mut lives = h2.ask(request("GET", EVENTS, Some(&two))).await.unwrap().into_body();
    assert_eq!(dies.data().await.unwrap().unwrap(), "data: 1");
    assert_eq!(lives.data().await.unwrap().unwrap(), "data: 1");
    h.upstream.wait_for_streams(2).await;
    let path = format!("/v1/credentials/{}/revoke", leaked.client_id);
    let (status, receipt) = h.admin("POST", &path, json!({"reason": "leaked"})).await;
    assert_eq!((status, receipt["streams_closed"].as_u64()), (200, Some(1)), "{receipt}");
    let error = dies.data().await.unwrap().unwrap_err();
    assert!(error.is_reset(), "{error}");
    h.upstream.wait_for_streams(1).await;
    let uri = "https://localhost/any/acme/x";
    assert_eq!(h2.exchange(request("GET", uri, Some(&two)), b"").await.status, 200);
    assert_eq!(h2.exchange(request("GET", uri, Some(&one)), b"").await.status, 401);
    assert!(!lives.is_end_stream());
    h.logged(|line| line["reason"] == "revoked" && line["status"] == 200).await;
    h.metered(&["portcullis_streams_cut_total{reason=\"revoked\"} 1"]).await;
    drop(lives);
    h.upstream.wait_for_streams(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_lets_go_of_the_upstream() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    let body = h2.ask(request("GET", EVENTS, Some(&token))).await.unwrap().into_body();
    h.upstream.wait_for_streams(1).await;
    drop(body);
    h.upstream.wait_for_streams(0).await;
    let _body = h2.ask(request("GET", EVENTS, Some(&token))).await.unwrap().into_body();
    h.upstream.wait_for_streams(1).await;
    h2.driver.abort();
    h.upstream.wait_for_streams(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_announced_and_what_is_under_way_is_answered() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let mut h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let token = h.token(&["reader"]).await;
    let h2 = pki.client().h2(h.data_tls(), "localhost").await;
    let wait = request("GET", "https://localhost/any/acme/wait", Some(&token));
    let (response, _) = h2.begin(wait, true).await;
    h.upstream.wait_for(1).await;
    let stopping = h.stop_in_background();
    until("GOAWAY: no new requests are taken", async || {
        let Ok(mut send) = h2.send.clone().ready().await else { return true };
        let late = request("GET", "https://localhost/any/acme/x", Some(&token));
        let Ok((answer, _)) = send.send_request(late, true) else { return true };
        answer.await.is_err()
    })
    .await;
    assert!(!stopping.is_finished());
    h.upstream.release();
    assert_eq!(Whole::of(response.await.unwrap()).await.status, 200);
    h2.driver.await.unwrap().unwrap();
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_end_is_cut_when_the_drain_is_over() {
    let mut h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    let mut body = h2.ask(request("GET", EVENTS, Some(&token))).await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "data: 1");
    h.stop().await;
    assert!(body.data().await.is_none_or(|data| data.is_err()));
    h.upstream.wait_for_streams(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_answered_and_told_apart() {
    let h = Harness::builder().upstream("read_timeout = \"1s\"\n").start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for (method, body) in [("GET", true), ("HEAD", false)] {
        let silent = request(method, "http://h/any/acme/silent", Some(&token));
        let answer = h2.exchange(silent, b"").await;
        assert_eq!((answer.status, answer.body.is_empty()), (504, !body), "{method}");
        if body {
            assert_eq!(answer.json()["error"], "upstream_timeout");
        }
        let id = answer.field("x-request-id").unwrap();
        let line = h.logged(|line| line["request_id"] == id && line["status"] == 504).await;
        assert_eq!(line["bytes_out"], answer.body.len(), "{method}");
    }
    h.logged(|line| line["reason"] == "upstream_timeout" && line["status"] == 504).await;
    let (response, mut stalled) = h2.begin(upload(&token), false).await;
    stalled.send_data(Bytes::from_static(b"a"), false).unwrap();
    let answer = Whole::of(response.await.unwrap()).await;
    assert_eq!((answer.status, &answer.json()["error"]), (408, &json!("request_timeout")));
    let line = h.logged(|line| line["reason"] == "client_timeout" && line["status"] == 408).await;
    assert_eq!(line["bytes_out"], answer.body.len());
    // Its upload may stop: nobody reads it.
    let stop = std::future::poll_fn(|context| stalled.poll_reset(context)).await;
    assert_eq!(stop.unwrap(), h2::Reason::NO_ERROR);
    assert_eq!(h2.exchange(request("GET", "http://h/public/x", None), b"").await.status, 200);
}

fn upload(token: &str) -> Request<()> {
    request("POST", "http://h/any/acme/upload", Some(token))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upload_is_bounded_by_the_idle_timeout() {
    let limits = "[server.limits]\nidle_timeout = \"1s\"\n";
    let h = Harness::builder().server(limits).start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    let (response, mut stalled) = h2.begin(upload(&token), false).await;
    stalled.send_data(Bytes::from_static(b"a"), false).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), response).await;
    assert_eq!(ended.expect("long before the upstream's minute").unwrap().status(), 408);
    h.logged(|line| line["reason"] == "client_timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_outlast_its_answer_for_ever() {
    let limits = "[server.limits]\nidle_timeout = \"1s\"\n";
    let h = Harness::builder().server(limits).start().await;
    let h2 = H2::plain(h.data()).await;
    let upload = request("POST", "http://h/public/early", None);
    let (response, mut endless) = h2.begin(upload, false).await;
    endless.send_data(Bytes::from_static(b"a"), false).unwrap();
    let answer = response.await.unwrap();
    assert_eq!(answer.status(), 200);
    h.upstream.wait_for_streams(1).await;
    // It goes on and on, and comes to an end all the same.
    let gone = std::future::poll_fn(|context| endless.poll_reset(context));
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.expect("a reset").unwrap();
    h.upstream.wait_for_streams(0).await;
    h.logged(|line| line["reason"] == "client_timeout" && line["status"] == 200).await;
}

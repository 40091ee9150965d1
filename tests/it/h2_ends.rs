//! What an HTTP/2 client hears when the gateway ends its stream, and on the way there.

use std::future::poll_fn;

use bytes::Bytes;
use http::Request;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::endless::Endless;
use crate::harness::{Harness, Minted, ROUTES};
use crate::held::{routes, trailers_of};
use crate::secure::{H2, Whole, request};
use crate::wait::PATIENCE;

fn call(path: &str, token: &str) -> Request<()> {
    let mut call = request("POST", &format!("http://h{path}"), Some(token));
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    call
}

async fn revoke(h: &Harness, minted: &Minted) {
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    let (status, receipt) = h.admin("POST", &path, json!({ "reason": "leaked" })).await;
    assert_eq!((status, receipt["streams_closed"].as_u64()), (200, Some(1)), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_is_told_why_it_is_cut() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let h2 = H2::plain(h.data()).await;
    let (waiting, mut send) = h2.begin(call("/any/acme/silent", &token), false).await;
    send.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
    h.upstream.wait_for(1).await;
    revoke(&h, &minted).await;
    let answer = Whole::of(timeout(PATIENCE, waiting).await.expect("an end").unwrap()).await;
    assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("16")));
    assert!(answer.ended_with_head && answer.field("grpc-message").is_some());
    assert!(answer.field("www-authenticate").unwrap().contains("resource_metadata=\"http"));
    let id = answer.field("x-request-id").unwrap().to_owned();
    let line = h.logged(|line| line["request_id"] == id.as_str()).await;
    assert_eq!((&line["reason"], &line["decision"]), (&json!("revoked"), &json!("allow")));
}

/// For others nothing could be told from an answer of the service's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_is_reset_when_it_is_cut() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let h2 = H2::plain(h.data()).await;
    let waiting = request("GET", "http://h/any/acme/silent", Some(&token));
    let (waiting, _) = h2.begin(waiting, true).await;
    h.upstream.wait_for(1).await;
    revoke(&h, &minted).await;
    let error = timeout(PATIENCE, waiting).await.expect("an end").unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_told_of_silence() {
    let h = Harness::builder().upstream("read_timeout = \"200ms\"\n").start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for (is_whole, status) in [(true, 504), (false, 408)] {
        let (silent, mut send) = h2.begin(call("/any/acme/silent", &token), false).await;
        send.send_data(Bytes::from_static(b"\0\0\0\0\0"), is_whole).unwrap();
        let answer = Whole::of(timeout(PATIENCE, silent).await.expect("an end").unwrap()).await;
        assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("4")), "{status}");
        let line = h.logged(|line| line["status"] == status).await;
        assert_eq!(line["bytes_out"], 0, "a head says it all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_told_that_its_service_broke_off() {
    let upstream = Endless::start().await;
    let h = Harness::builder().routes(routes(&upstream)).start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    let (response, mut send) = h2.begin(call("/g/acme/grpc/x", &token), false).await;
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap().len(), 6);
    // This one takes the end of what it is sent for its own, without a status.
    send.send_data(Bytes::new(), true).unwrap();
    let trailers = timeout(PATIENCE, trailers_of(&mut body)).await.expect("an end");
    assert_eq!(trailers.get("grpc-status").unwrap(), "14");
    h.logged(|line| line["path"] == "/g/acme/grpc/x" && line["reason"] == "bad_gateway").await;
}

/// The rest of a message waits for a window that never opens; the end does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_told_though_it_reads_nothing() {
    let upstream = Endless::start().await;
    let h = Harness::builder().routes(routes(&upstream)).start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let mut options = h2::client::Builder::new();
    options.initial_window_size(1);
    let stream = TcpStream::connect(h.data()).await.unwrap();
    let (send, connection) = options.handshake(stream).await.unwrap();
    let h2 = H2 { send, driver: tokio::spawn(connection) };
    let (response, _send) = h2.begin(call("/g/acme/grpc/deaf", &token), false).await;
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap().len(), 1);
    revoke(&h, &minted).await;
    upstream.wait_open("/deaf", 0).await;
    let trailers = timeout(PATIENCE, trailers_of(&mut body)).await.expect("an end");
    assert_eq!(trailers.get("grpc-status").unwrap(), "16");
}

/// What was sent lies in buffers of the system's, and no more comes.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_at_all_is_cut_all_the_same() {
    let upstream = Endless::start().await;
    let h = Harness::builder().routes(routes(&upstream)).start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let mut options = h2::client::Builder::new();
    options.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
    let stream = TcpStream::connect(h.data()).await.unwrap();
    let (send, mut connection) = options.handshake::<_, Bytes>(stream).await.unwrap();
    let mut send = send.ready().await.unwrap();
    let download = request("GET", "http://h/s/acme/download/stuck", Some(&token));
    let (response, _) = send.send_request(download, true).unwrap();
    let body = tokio::select! {
        response = response => response.unwrap().into_body(),
        ended = &mut connection => panic!("{ended:?}"),
    };
    // Nobody drives the connection any more.
    upstream.wait_open("/stuck", 1).await;
    revoke(&h, &minted).await;
    upstream.wait_open("/stuck", 0).await;
    h.logged(|line| line["path"] == "/s/acme/download/stuck" && line["reason"] == "revoked").await;
    drop((body, connection));
}

/// An answer that finds no window is not kept for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_is_taken_back() {
    let h = Harness::builder().upstream("read_timeout = \"200ms\"\n").start().await;
    let token = h.token(&["reader"]).await;
    let mut options = h2::client::Builder::new();
    options.initial_window_size(0);
    let stream = TcpStream::connect(h.data()).await.unwrap();
    let (send, connection) = options.handshake(stream).await.unwrap();
    let h2 = H2 { send, driver: tokio::spawn(connection) };
    let silent = request("GET", "http://h/any/acme/silent", Some(&token));
    let answer = h2.ask(silent).await.unwrap();
    assert_eq!(answer.status(), 504);
    let mut body = answer.into_body();
    let end = timeout(PATIENCE, body.data()).await.expect("an end");
    assert!(end.is_none_or(|data| data.is_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_pass_and_not_without_end() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for (sent, passed) in [(0, 0), (2, 2), (40, 16)] {
        let uri = format!("http://h/any/acme/hints-{sent}");
        let (mut response, _) = h2.begin(request("GET", &uri, Some(&token)), true).await;
        let mut hints = Vec::new();
        while let Some(hint) = poll_fn(|cx| response.poll_informational(cx)).await {
            hints.push(hint.unwrap());
        }
        assert_eq!(hints.len(), passed, "of {sent}");
        for (n, hint) in hints.iter().enumerate() {
            assert_eq!((hint.status().as_u16(), hint.headers().len()), (103, 1), "{hint:?}");
            assert_eq!(hint.headers().get("link").unwrap(), &format!("</{n}>"));
        }
        assert_eq!(Whole::of(response.await.unwrap()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_100_gets_one() {
    let h = Harness::start().await;
    let token = h.token(&["operator"]).await;
    let h2 = H2::plain(h.data()).await;
    let uri = "http://h/v1/accounts/acme/account_environments/1/campaigns/2";
    let mut patch = request("PATCH", uri, Some(&token));
    patch.headers_mut().insert("content-type", "application/json".parse().unwrap());
    patch.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut send) = h2.begin(patch, false).await;
    let go_on = timeout(PATIENCE, poll_fn(|cx| response.poll_informational(cx))).await;
    assert_eq!(go_on.expect("a 100").unwrap().unwrap().status(), 100);
    send.send_data(Bytes::from_static(br#"{"status":"pause"}"#), true).unwrap();
    assert_eq!(Whole::of(response.await.unwrap()).await.status, 200);
}

/// Pingora looks for a client that leaves only where it waits for that client.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_noticed_while_the_upstream_takes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = format!(
        "{ROUTES}\n[[upstream]]\nname = \"full\"\naddresses = [\"{address}\"]\nprotocol = \"h2c\"\n\
         [[route]]\nname = \"full\"\npath = \"/full/{{account}}\"\nupstream = \"full\"\n\
         environment = \"any\"\nbody_bytes = 0\nallow = {{ POST = \"@authenticated\" }}\n"
    );
    let h = Harness::builder().routes(routes).start().await;
    let token = h.token(&["reader"]).await;
    let (asked, begun) = tokio::sync::oneshot::channel();
    let upstream = tokio::spawn(async move {
        // Somebody may only look whether it is there.
        let mut serving = loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(serving) = h2::server::handshake(stream).await {
                break serving;
            }
        };
        let (request, mut respond) = serving.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while serving.accept().await.is_some() {} });
        let mut upload = request.into_body();
        let mut left = 65_535;
        while left > 0 {
            left -= upload.data().await.unwrap().unwrap().len();
        }
        asked.send(()).unwrap();
        // Nothing of it is released: no more fits.
        poll_fn(|cx| respond.poll_reset(cx)).await.unwrap()
    });
    let h2 = H2::plain(h.data()).await;
    let (response, mut upload) =
        h2.begin(request("POST", "http://h/full/acme", Some(&token)), false).await;
    upload.reserve_capacity(1 << 20);
    upload.send_data(Bytes::from(vec![0; 1 << 20]), false).unwrap();
    begun.await.unwrap();
    upload.send_reset(h2::Reason::CANCEL);
    drop(response);
    let reset = timeout(PATIENCE, upstream).await.expect("long before any timeout").unwrap();
    assert_eq!(reset, h2::Reason::CANCEL);
    h.logged(|line| line["path"] == "/full/acme").await;
}

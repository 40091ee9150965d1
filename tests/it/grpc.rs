//! Refusals in the shape that gRPC clients read.

use http::Request;

use crate::harness::Harness;
use crate::secure::H2;

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_head_with_a_status() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for (path, token, media, code, status) in [
        ("/any/acme/x", None, "application/grpc", "16", 401),
        ("/any/other/x", Some(&token), "application/grpc+proto", "7", 403),
        ("/pkg.Service/Method", Some(&token), "application/grpc", "12", 404),
        ("/any/acme/../x", Some(&token), "application/grpc;x=y", "3", 400),
        ("/dead/acme/x", Some(&token), "application/grpc", "14", 502),
    ] {
        let mut builder = Request::builder()
            .method("POST")
            .uri(format!("http://h{path}"))
            .header("content-type", media)
            .header("te", "trailers");
        if let Some(token) = token {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        let answer = h2.exchange(builder.body(()).unwrap(), b"\0\0\0\0\0").await;
        assert_eq!((answer.status, answer.field("grpc-status")), (200, Some(code)), "{path}");
        assert_eq!(answer.field("content-type"), Some(media), "{path}");
        assert!(answer.field("grpc-message").is_some_and(|text| !text.is_empty()), "{path}");
        assert!(answer.ended_with_head && answer.body.is_empty(), "{path}");
        assert!(answer.field("x-request-id").is_some(), "{path}");
        // The log has what everybody else would have got.
        let id = answer.field("x-request-id").unwrap().to_owned();
        let line = h.logged(|line| line["request_id"] == id.as_str()).await;
        assert_eq!(line["status"], status, "{path}");
    }
    assert_eq!(h.upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_get_an_ordinary_answer() {
    let h = Harness::start().await;
    let h2 = H2::plain(h.data()).await;
    let plain = Request::builder()
        .method("POST")
        .uri("http://h/any/acme/x")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let answer = h2.exchange(plain, b"{}").await;
    assert_eq!((answer.status, answer.field("grpc-status")), (401, None));
    let over_http1 = h.http.post(h.url("/any/acme/x")).header("content-type", "application/grpc");
    assert_eq!(over_http1.send().await.unwrap().status(), 401);
}

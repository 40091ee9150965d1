//! Uploads over HTTP/2 whose end comes in a way of its own: all of it reaches the
//! upstream, and no upstream is blamed for what a client does.

use bytes::Bytes;
use http::HeaderMap;

use crate::backends::Http2;
use crate::harness::{Harness, ROUTES};
use crate::secure::{H2, Whole, request};

/// Routes whose body is held, to an HTTP/1.1 upstream (`/one`) and one of HTTP/2 (`/two`).
async fn held() -> (Harness, Http2) {
    let two = Http2::start(None).await;
    let route = |name: &str, upstream: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"{upstream}\"\n\
             account = \"any\"\nbody_bytes = \"100KiB\"\nallow = {{ POST = \"campaign.list\" }}\n\
             body_rules = {{ POST = [{{ keys = [\"status\"], allow = \"campaign.toggle\" }}] }}\n"
        )
    };
    let routes = format!(
        "{ROUTES}\n[[upstream]]\nname = \"two\"\naddresses = [\"{}\"]\nprotocol = \"h2c\"\n{}{}",
        two.address,
        route("one", "legacy"),
        route("two", "two")
    );
    (Harness::builder().routes(routes).start().await, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_and_ends_oddly_goes_up_whole() {
    let (h, two) = held().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    let long = vec![b'a'; 70_000];
    for (path, ends_with_trailers, body) in [
        ("one", true, &[][..]),
        ("two", true, &[]),
        ("one", true, b"{}"),
        ("two", true, b"{}"),
        // Longer than what is held, with the end in the frame that makes it so.
        ("one", false, &long),
        ("two", false, &long),
        ("one", true, &long),
        ("two", true, &long),
    ] {
        let what = format!("/{path}, {} bytes, trailers: {ends_with_trailers}", body.len());
        let ask = request("POST", &format!("http://h/{path}"), Some(&token));
        let (response, mut upload) = h2.begin(ask, false).await;
        let mut frames = body.chunks(16_000).peekable();
        while let Some(frame) = frames.next() {
            let is_end = frames.peek().is_none() && !ends_with_trailers;
            upload.send_data(Bytes::copy_from_slice(frame), is_end).unwrap();
        }
        if ends_with_trailers {
            upload.send_trailers(HeaderMap::new()).unwrap();
        }
        assert_eq!(Whole::of(response.await.unwrap()).await.status, 200, "{what}");
        let seen = match path {
            "one" => h.upstream.last().body,
            _ => two.seen().pop().unwrap().body,
        };
        assert_eq!(seen.len(), body.len(), "{what}");
        assert!(seen == body, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_is_413_whatever_the_upstream_speaks() {
    let (h, two) = held().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for path in ["one", "two"] {
        for ends in [true, false] {
            let ask = request("POST", &format!("http://h/{path}"), Some(&token));
            let (response, mut upload) = h2.begin(ask, false).await;
            upload.send_data(Bytes::from(vec![b'a'; 110 << 10]), ends).unwrap();
            let answer = Whole::of(response.await.unwrap()).await;
            assert_eq!(answer.status, 413, "/{path}, at its end: {ends}");
        }
    }
    let metrics = h.metrics().await;
    for up in [h.upstream.address, two.address] {
        let up = format!("portcullis_upstream_up{{address=\"{up}\"");
        let mut lines = metrics.lines().filter(|line| line.starts_with(&up));
        assert!(lines.next().is_some_and(|line| line.ends_with(" 1")), "{metrics}");
    }
}

/// It would be an error of ours otherwise, and a warning, for each of a stranger's.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_the_middle_of_what_is_held_has_left() {
    let (h, _two) = held().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for path in ["/one", "/oauth2/token"] {
        let ask = request("POST", &format!("http://h{path}"), Some(&token));
        let (response, mut upload) = h2.begin(ask, false).await;
        upload.send_data(Bytes::from_static(b"{"), false).unwrap();
        upload.send_reset(h2::Reason::CANCEL);
        assert!(response.await.is_err());
        let line = h.logged(|line| line["path"] == path && line["status"] != 200).await;
        assert_eq!(
            (line["status"].as_u64(), line["reason"].as_str()),
            (Some(499), Some("client_gone"))
        );
    }
}

/// An HTTP/1.1 upstream takes what is as long as announced for a whole request.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_longer_than_announced_is_not_done() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for (rest, is_good) in [(&b""[..], true), (b"c", false)] {
        let mut ask = request("POST", "http://h/any/acme/x", Some(&token));
        ask.headers_mut().insert("content-length", "2".parse().unwrap());
        let before = h.upstream.count();
        let (response, mut upload) = h2.begin(ask, false).await;
        upload.send_data(Bytes::from_static(b"a"), false).unwrap();
        upload.send_data(Bytes::from_static(b"b"), false).unwrap();
        // By then the gateway has read both.
        let other = h2.exchange(request("GET", "http://h/any/acme/y", Some(&token)), b"").await;
        assert_eq!((other.status, h.upstream.count()), (200, before + 1));
        upload.send_data(Bytes::copy_from_slice(rest), true).unwrap();
        let answer = response.await;
        if is_good {
            assert_eq!(Whole::of(answer.unwrap()).await.status, 200);
            assert_eq!(h.upstream.last().body, b"ab");
        } else {
            assert_eq!(answer.unwrap_err().reason(), Some(h2::Reason::PROTOCOL_ERROR));
        }
        assert_eq!(h.upstream.count(), before + 1 + usize::from(is_good));
    }
}

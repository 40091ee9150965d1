//! Requests that are sent before the answers to those before them have come (RFC 9112
//! section 9.3.2): each is judged by itself, and answered in its turn.

use serde_json::json;

use crate::harness::Harness;
use crate::raw::{Answer, Raw};

fn request(line: &str, fields: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

/// What is sent at once, what is answered, and what the upstream is to see.
struct Row {
    text: String,
    status: u16,
    seen: Option<(&'static str, &'static str)>,
}

fn rows(token: &str) -> Vec<Row> {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let row = |line: &str, fields: &str, body: &str, status, seen| Row {
        text: request(line, &format!("{bearer}{fields}"), body),
        status,
        seen,
    };
    let chunked = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 1\r\nX-Portcullis-Scope: all\r\n\r\n";
    vec![
        row("GET /any/acme/1", "", "", 200, Some(("/any/acme/1", ""))),
        row("POST /any/acme/2", "Content-Length: 3\r\n", "abc", 200, Some(("/any/acme/2", "abc"))),
        Row { text: request("GET /any/acme/3", "", ""), status: 401, seen: None },
        row(
            "POST /any/acme/4",
            "Transfer-Encoding: chunked\r\n",
            chunked,
            200,
            Some(("/any/acme/4", "abcde")),
        ),
        row("GET /nowhere", "", "", 404, None),
        row("POST /any/acme/5", "Content-Length: 0\r\n", "", 200, Some(("/any/acme/5", ""))),
        row("GET /any/acme/6", "", "", 200, Some(("/any/acme/6", ""))),
    ]
}

async fn all_are_answered(h: &Harness, rows: &[Row], raw: &mut Raw, before: usize, how: &str) {
    for row in rows {
        let answer = raw.answer().await.unwrap_or_else(|| panic!("{how}: none for {}", row.text));
        assert_eq!(answer.status, row.status, "{how}: {}", row.text);
    }
    let seen = h.upstream.seen();
    let seen: Vec<_> =
        seen[before..].iter().map(|seen| (seen.target().to_owned(), seen.body.clone())).collect();
    let wanted: Vec<_> = rows
        .iter()
        .filter_map(|row| row.seen)
        .map(|(target, body)| (target.to_owned(), body.as_bytes().to_vec()))
        .collect();
    assert_eq!(seen, wanted, "{how}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_judged_and_answered_in_its_turn() {
    let h = Harness::start().await;
    let rows = rows(&h.token(&["operator"]).await);
    let text: String = rows.iter().map(|row| row.text.as_str()).collect();
    // All at once, and in two pieces, wherever they are cut.
    for cut in (0..text.len()).step_by(41).chain(text.len() - 8..text.len()) {
        let before = h.upstream.count();
        let mut raw = Raw::connect(h.data()).await;
        let (one, two) = text.split_at(cut);
        raw.send(one).await;
        tokio::task::yield_now().await;
        raw.send(two).await;
        all_are_answered(&h, &rows, &mut raw, before, &format!("cut at {cut}")).await;
    }
    let before = h.upstream.count();
    let mut raw = Raw::connect(h.data()).await;
    for byte in text.as_bytes() {
        raw.send([*byte]).await;
    }
    all_are_answered(&h, &rows, &mut raw, before, "byte by byte").await;
}

/// What comes while the one before it is under way waits, and is served then.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_between_waits() {
    let h = Harness::start().await;
    let token = h.token(&["operator"]).await;
    let fields = format!("Authorization: Bearer {token}\r\n");
    let mut raw = Raw::connect(h.data()).await;
    let before = h.upstream.count();
    raw.send(request("GET /any/acme/wait", &fields, "")).await;
    h.upstream.wait_for(before + 1).await;
    raw.send(request("GET /any/acme/2", &fields, "")).await;
    raw.send(request("GET /any/acme/3", "", "")).await;
    h.upstream.release();
    for status in [200, 200, 401] {
        assert_eq!(raw.answer().await.map(|answer| answer.status), Some(status));
    }
    assert_eq!(h.upstream.count(), before + 2);
}

/// After a request that ends its connection nothing is served.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_after_the_last_one() {
    let h = Harness::start().await;
    let token = h.token(&["operator"]).await;
    let fields = format!("Authorization: Bearer {token}\r\n");
    let smuggled = request("GET /any/acme/smuggled", &fields, "");
    let chunked = format!("{fields}Transfer-Encoding: chunked\r\n");
    for (first, status) in [
        (request("GET /any/acme/1", &format!("{fields}Connection: close\r\n"), ""), 200),
        (request("GET /any/acme/1", &format!("{fields}Host: g\r\n"), ""), 400),
        (request("POST /any/acme/1", &chunked, "1\r\nab\r\n0\r\n\r\n"), 400),
        (request("POST /any/acme/1", &chunked, "1\r\na\r\n0\r\nno trailer\r\n\r\n"), 400),
        (format!("GET /any/acme/1 HTTP/1.0\r\nHost: h\r\n{fields}\r\n"), 200),
    ] {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(format!("{first}{smuggled}")).await;
        let statuses: Vec<u16> = answers(&mut raw).await.iter().map(|a| a.status).collect();
        assert_eq!(statuses, [status], "{first}");
    }
    assert!(h.upstream.seen().iter().all(|seen| !seen.target().contains("smuggled")));
}

async fn answers(raw: &mut Raw) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(answer) = raw.answer().await {
        answers.push(answer);
    }
    answers
}

/// Who has sent more than was asked for is missed like anybody else.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_with_something_said_is_gone() {
    let h = Harness::start().await;
    let fields = format!("Authorization: Bearer {}\r\n", h.token(&["operator"]).await);
    for more in ["X".to_owned(), "GET /any/acme/1 HTTP/1.1\r\n".repeat(100), "X".repeat(100_000)] {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(request("GET /any/acme/events", &fields, &more)).await;
        let head = raw.head().await;
        assert!(head.is_some() || more.len() > 65_536, "{}", more.len());
        if more.len() <= 65_536 {
            h.upstream.wait_for_streams(1).await;
        }
        drop(raw);
        h.upstream.wait_for_streams(0).await;
    }
}

/// Who is revoked in between gets no further.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_dies_with_its_credential() {
    let h = Harness::start().await;
    let minted = h.mint(&["operator"]).await;
    let fields = format!("Authorization: Bearer {}\r\n", h.trade(&minted).await);
    let mut raw = Raw::connect(h.data()).await;
    let (one, two) = ("GET /any/acme/wait", "GET /any/acme/2");
    raw.send(request(one, &fields, "") + &request(two, &fields, "")).await;
    h.upstream.wait_for(1).await;
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    assert_eq!(h.admin("POST", &path, json!({"reason": "leaked"})).await.0, 200);
    h.upstream.release();
    assert!(raw.answer().await.is_none());
    assert_eq!(h.upstream.count(), 1);
}

//! Which heads have one reading.

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    header_bytes: 512,
    target_bytes: 64,
    header_timeout: Duration::from_secs(1),
    idle_timeout: Duration::from_secs(1),
};

fn verdict(head: &str) -> Result<(), (Reason, Option<String>)> {
    match find_end(head.as_bytes(), 0) {
        End::At(end) => {
            assert_eq!(end, head.len(), "{head:?}");
            check(head.as_bytes(), &LIMITS).map(drop).map_err(|d| (d.reason, d.detail))
        }
        End::Bad(what) => Err((Reason::MalformedRequest, Some(what.into()))),
        End::NotYet => panic!("no end in {head:?}"),
    }
}

#[test]
fn one_reading_passes() {
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a?b=[1]{2}|\\^` HTTP/1.0\r\nhost: [::1]:80\r\nX: caf\u{e9}\tx\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h_x.y\r\nTransfer-Encoding: Chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nEmpty:\r\n\r\n",
    ] {
        assert_eq!(verdict(head), Ok(()), "{head:?}");
    }
}

#[test]
fn two_readings_do_not() {
    for (head, word) in [
        ("GET /\r\n\r\n", "request line"),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "request line"),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "request line"),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "version"),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", "version"),
        ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", "method"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", "target"),
        ("GET /?a=\"b\" HTTP/1.1\r\nHost: h\r\n\r\n", "target"),
        ("GET / HTTP/1.1\r\n\r\n", "no Host"),
        ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "more than one Host"),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", "Host"),
        ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "Host"),
        ("GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", "Host"),
        ("GET / HTTP/1.1\r\nHost: h, g\r\n\r\n", "Host"),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "header name"),
        ("GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", "colon"),
        ("GET / HTTP/1.1\r\nHost: h\r\n fol:ded\r\n\r\n", "folded"),
        ("GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n", "colon"),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\u{1}\r\n\r\n", "control"),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "both",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "Content-Length",
        ),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", "whole number"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", "whole number"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "whole number"),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "chunked"),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "chunked"),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", "chunked"),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "more than one",
        ),
        ("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
        ("GET / HTTP/1.1\nHost: h\n\n", "LF"),
        ("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", "CR"),
        ("GET / HTTP/1.1\r\nHost: h\0\r\n\r\n", "NUL"),
    ] {
        let (reason, detail) = verdict(head).expect_err(head);
        assert_eq!(reason, Reason::MalformedRequest, "{head:?}");
        let detail = detail.unwrap_or_default();
        assert!(detail.contains(word), "{head:?}: {detail}");
    }
}

#[test]
fn limits() {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(64));
    assert_eq!(verdict(&long_target).unwrap_err().0, Reason::TargetTooLong);
    let long_head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(512));
    assert_eq!(verdict(&long_head).unwrap_err().0, Reason::HeadersTooLarge);
}

#[test]
fn the_end_is_found_however_the_bytes_arrive() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\nbody";
    for cut in 0..head.len() {
        let first = &head[..cut];
        let scanned = match find_end(first, 0) {
            End::At(end) => {
                assert_eq!(end, head.len() - 4);
                continue;
            }
            End::NotYet => cut,
            End::Bad(what) => panic!("{what}"),
        };
        match find_end(head, scanned) {
            End::At(end) => assert_eq!(end, head.len() - 4, "cut at {cut}"),
            _ => panic!("cut at {cut}"),
        }
    }
}

//! Which targets have one reading, and what a lenient server makes of others.

use proptest::prelude::*;

use crate::policy::path::*;

#[test]
fn one_reading_is_accepted_as_it_is() {
    for good in [
        "/",
        "/a",
        "/a/",
        "/a/b?x=//../%2e",
        "/a:b@c",
        "/caf%C3%A9",
        "/a%20b",
        "/a%3Bb",
        "/...",
        "/a.b",
        "/100%25",
        "/a?x[]=1&y={z}|\\^`",
        "/a;v=1",
        "/%e2%82%ac",
    ] {
        let target = Target::parse(good.as_bytes(), None).unwrap_or_else(|e| panic!("{good}: {e}"));
        assert_eq!(target.as_str(), good);
    }
}

#[test]
fn two_readings_are_refused() {
    use PathFault::*;
    for (bad, fault) in [
        ("", NotOriginForm),
        ("*", NotOriginForm),
        ("a/b", NotOriginForm),
        ("x:y", NotOriginForm),
        ("//", EmptySegment),
        ("//a", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/.", DotSegment),
        ("/a/..", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/..;/b", DotSegment),
        ("/a/..;x=1/b", DotSegment),
        ("/a/..%3b/b", DotSegment),
        ("/a/.;/b", DotSegment),
        ("/a/..%253b/b", DangerousEscape),
        ("/a/..%253Bx/b", DangerousEscape),
        ("/;/a", EmptySegment),
        ("/a/;x=1/b", EmptySegment),
        ("/a/%3bx/b", EmptySegment),
        ("/a/%3B", EmptySegment),
        ("/a/;", EmptySegment),
        ("/a/%2e%2e/b", NeedlessEscape),
        ("/a/%2E./b", NeedlessEscape),
        ("/%61", NeedlessEscape),
        ("/%7e", NeedlessEscape),
        ("/a%2fb", DangerousEscape),
        ("/a%2Fb", DangerousEscape),
        ("/a%5cb", DangerousEscape),
        ("/a%00", DangerousEscape),
        ("/a%0a", DangerousEscape),
        ("/a%7f", DangerousEscape),
        ("/a%252e", DangerousEscape),
        ("/a%252f", DangerousEscape),
        ("/a%25252f", DangerousEscape),
        ("/a\\b", NotAPathCharacter),
        ("/a\"b", NotAPathCharacter),
        ("/a{b}", NotAPathCharacter),
        ("/a^b", NotAPathCharacter),
        ("/a%", BrokenEscape),
        ("/a%2", BrokenEscape),
        ("/a%zz", BrokenEscape),
        ("/a%u002f", BrokenEscape),
        ("/%c0%ae", NotUtf8),
        ("/%c0%af", NotUtf8),
        ("/%ff", NotUtf8),
        ("/%e2%82", NotUtf8),
        ("/a#b", Fragment),
        ("/a b", RawByte),
        ("/a\tb", RawByte),
        ("/\u{e9}", RawByte),
        ("/a?\u{e9}", RawByte),
    ] {
        assert_eq!(Target::parse(bad.as_bytes(), None), Err(fault), "{bad}");
    }
}

#[test]
fn the_absolute_form_must_agree_with_host() {
    let parse = |raw: &'static str, host| Target::parse(raw.as_bytes(), host).map(|t| t.as_str());
    assert_eq!(parse("http://h:1/a?b", Some("h:1")), Ok("/a?b"));
    assert_eq!(parse("HTTP://h/a", Some("h")), Ok("/a"));
    assert_eq!(parse("http://H/a", Some("h")), Err(PathFault::WrongAuthority));
    assert_eq!(parse("http://h/a", Some("g")), Err(PathFault::WrongAuthority));
    assert_eq!(parse("http://h/a", None), Err(PathFault::WrongAuthority));
    assert_eq!(parse("http://u@h/a", Some("h")), Err(PathFault::WrongAuthority));
    assert_eq!(parse("http://h/../a", Some("h")), Err(PathFault::DotSegment));
    assert_eq!(parse("http://h", Some("h")), Err(PathFault::NotOriginForm));
    assert_eq!(
        parse("http://h?/a", Some("h?")),
        Ok("/a"),
        "a Host of that shape is refused before"
    );
    assert_eq!(parse("ftp://h/a", Some("h")), Err(PathFault::NotOriginForm));
}

#[test]
fn what_a_lenient_server_reads() {
    assert_eq!(lenient_reading("admin;x=1").as_deref(), Some("admin"));
    assert_eq!(lenient_reading("a%3Ab").as_deref(), Some("a:b"));
    assert_eq!(lenient_reading("admin%3Bx").as_deref(), Some("admin"));
    assert_eq!(lenient_reading("%2561dm%2569n").as_deref(), Some("admin"));
    assert_eq!(lenient_reading("admin%3B%25ff").as_deref(), Some("admin"));
    assert_eq!(lenient_reading("admin"), None);
    assert_eq!(lenient_reading("100%"), None);
}

proptest! {
    #[test]
    fn never_panics_and_never_alters(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(target) = Target::parse(&raw, None) {
            prop_assert_eq!(target.as_str().as_bytes(), &raw[..]);
        }
    }

    /// Whatever passes reads the same after decoding and dot-removal.
    #[test]
    fn accepted_paths_survive_normalising(raw in "(/([a.;%]|%2e|%2f|%3b|%c3%a9|\\.\\.){0,4}){1,4}") {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            for segment in path.segments() {
                let read = lenient_reading(segment).unwrap_or_else(|| segment.to_owned());
                prop_assert!(read != "." && read != ".." && !read.contains('/'), "{raw}");
            }
        }
    }
}

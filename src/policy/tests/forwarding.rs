//! The two tests that stand first: the path that is judged is the path that is
//! forwarded, and an upgrade is judged like anything else.

use percent_encoding::percent_decode;
use proptest::prelude::*;

use super::oracle::{Found, find};
use super::*;

/// Everything public, so that any path that is matched yields a permit.
fn open_routes() -> Vec<RouteSpec> {
    let paths = [
        "/",
        "/a",
        "/a/b",
        "/a/{x}",
        "/a/{x}/b",
        "/{x}/c",
        "/lib/clear",
        "/lib/{*rest}",
        "/lib/deep/{x}",
        "/lib/deep/down/{*rest}",
        "/{x}/{y}/{z}/d",
    ];
    let open = |(n, path): (usize, &&str)| spec(&format!("r{n}"), path, &[("GET", "@public")]);
    paths.iter().enumerate().map(open).collect()
}

/// The path as the most lenient of servers reads it: escapes decoded as often
/// as there are any, `\` taken for `/`, parameters cut off, dots resolved,
/// slashes merged, the last one dropped.
fn lenient(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    loop {
        let decoded: Vec<u8> = percent_decode(&bytes).collect();
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut kept = Vec::new();
    for segment in text.split('/') {
        match segment.split([';', '\0']).next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Paths that are made to be misread.
fn hostile_target() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c", "d", "lib", "clear", "deep", "down"]),
        3 => prop::sample::select(vec![".", "..", ";", ";x", "%2e", "%3b", "%3B", "%252e", "%61"]),
        2 => prop::sample::select(vec!["%2561", "%2563lear", "%25", "%253b", "%00", "%5c", "\\", ""]),
        1 => prop::sample::select(vec!["%c3%a9", "%20", "+", "~", "=", "?", "?x=/../a", "%ff", "#"]),
    ];
    let segment = prop::collection::vec(piece, 1..3).prop_map(|pieces| pieces.concat());
    let host = prop_oneof![9 => Just(""), 1 => Just("http://api.example.com")];
    let end = prop_oneof![4 => Just(""), 1 => Just("/"), 1 => Just("?q=1")];
    (host, prop::collection::vec(segment, 1..5), end)
        .prop_map(|(host, segments, end)| format!("{host}/{}{end}", segments.join("/")))
}

fn never_matched_on_another_path(world: &World, specs: &[RouteSpec], raw: &str) {
    let ask = Ask::new("GET", raw);
    let Decision::Allow(permit) = judge(world, &ask) else { return };
    let origin = raw.strip_prefix("http://api.example.com").unwrap_or(raw);
    assert_eq!(permit.target(), origin, "not the bytes that came");
    let path = origin.split('?').next().unwrap();
    let read = lenient(path);
    match find(specs, ask.host.as_deref(), &read) {
        Found::Routes(routes) => {
            let names: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
            assert_eq!(names, [permit.route().name.as_str()], "{raw} may be read as {read}");
        }
        Found::Nothing => panic!("{raw} may be read as {read}, which no route matches"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_route_is_never_matched_on_another_path_than_the_one_forwarded(
        raws in prop::collection::vec(prop_oneof![
            8 => hostile_target(),
            1 => "/[ -~]{0,20}",
            1 => "\\PC{0,20}",
        ], 8)
    ) {
        let specs = open_routes();
        thread_local! {
            static WORLD: World = World::of(open_routes(), vec![]);
        }
        WORLD.with(|world| {
            raws.iter().for_each(|raw| never_matched_on_another_path(world, &specs, raw));
        });
    }
}

/// The paths by which others were fooled.
#[test]
fn known_tricks_find_no_other_route() {
    let specs = open_routes();
    let world = World::of(open_routes(), vec![]);
    for raw in [
        "/lib/x/../clear",
        "/lib/x/..;/clear",
        "/lib/x/..%3b/clear",
        "/lib/x/..%253b/clear",
        "/lib/;x/clear",
        "/lib/;/clear",
        "/lib/%3b/clear",
        "/lib/%3Bx/clear",
        "/lib/%253b/clear",
        "/lib/clear/",
        "/lib/clear;",
        "/lib/clear;/",
        "/lib/clear%3b",
        "/lib/%63lear",
        "/lib/%2563lear",
        "/lib/%252563lear",
        "/lib/cl%2565ar;x",
        "/;x/a",
        "/;/lib/clear",
        "/lib//clear",
        "/lib/./clear",
        "/lib/clear/.",
        "/lib/clear/%2e",
        "/lib/clear/;",
        "/lib\\clear",
        "/lib/x%2f..%2fclear",
        "/lib/deep/",
        "/lib/deep/x/",
        "/a/b/",
    ] {
        never_matched_on_another_path(&world, &specs, raw);
    }
    for (raw, route) in [
        ("/lib/other/", "r7"),
        ("/lib/other;x", "r7"),
        ("/lib/clear/x", "r7"),
        ("/lib/clear.", "r7"),
        ("/lib/deep/down/x/", "r9"),
        ("/a/x%2520y", "r3"),
        ("/", "r0"),
    ] {
        check(&world, &Ask::new("GET", raw), &format!("allow {route} nobody"));
    }
}

/// Nothing of a request is judged but what stands here: there is no place for
/// an `Upgrade`, a version or a stream id, so none can open a second way. A new
/// field makes this fail to compile. That the edge asks for every shape of a
/// request is what the integration tests show.
#[test]
fn an_upgrade_header_changes_nothing_in_judging() {
    let world = World::new();
    for ask in [
        Ask::new("GET", "/v1/me"),
        Ask::new("GET", "/v1/me").with(&token(|_| {})),
        Ask::new("GET", "/v1/accounts/other/labels").with(&token(|_| {})),
        Ask::new("CONNECT", "/v1/me").with(&token(|_| {})),
        Ask::new("GET", "/health"),
    ] {
        let facts = ask.facts().unwrap();
        let RequestFacts { method, host, target, authorization, body } = facts;
        let plain = decide(&world.snapshot, &world.revoked, &facts, world.now);
        let upgrade = RequestFacts { method, host, target, authorization, body };
        let upgrade = decide(&world.snapshot, &world.revoked, &upgrade, world.now);
        assert_eq!(tell(&plain), tell(&upgrade), "{ask:?}");
    }
}

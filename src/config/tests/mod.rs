//! What the check makes of whole files.

mod issuer;
mod pem;
mod secrets;
mod shipped;
mod signing;
mod table;
mod tls;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

thread_local! {
    static ASKED: RefCell<Vec<(String, bool)>> = const { RefCell::new(Vec::new()) };
}

/// Called by the check: the keys that it knows, and whether they were there.
pub(super) fn note_asked(asked: Vec<(String, bool)>) {
    ASKED.set(asked);
}

const HEAD: &str = r#"[[upstream]]
name = "u"
addresses = ["127.0.0.1:9000"]
[oauth]
issuer = "http://127.0.0.1"
"#;

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    check::check(text, Path::new(""), Path::new("c.toml"), &|name| {
        variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
    })
}

fn good(snippet: &str) -> Config {
    with(&format!("{HEAD}{snippet}"), &[]).unwrap_or_else(|e| panic!("{snippet}\n{e}"))
}

fn faults(text: &str) -> Vec<Fault> {
    with(text, &[]).map_or_else(|e| e.faults().to_vec(), |_| Vec::new())
}

fn warned(config: &Config) -> String {
    config.warnings.iter().map(|w| format!("{}\n", w.at(Path::new("c")))).collect()
}

#[test]
fn a_small_file_has_defaults() {
    let config = with("[oauth]\nissuer = \"http://127.0.0.1:8080\"", &[]).unwrap();
    assert_eq!(config.server.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.admin.listen, "127.0.0.1:8081".parse().unwrap());
    assert_eq!(config.metrics.listen, "127.0.0.1:9464".parse().unwrap());
    assert_eq!(config.server.threads, 0);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    let limits = &config.server.limits;
    assert_eq!(
        (limits.header_bytes, limits.target_bytes, limits.body_bytes),
        (32768, 8192, 64 << 20)
    );
    assert_eq!(limits.header_timeout, Duration::from_secs(10));
    assert_eq!((limits.idle_timeout, limits.connections), (Duration::from_secs(75), 20_000));
    assert_eq!(config.store.engine, Engine::Sled);
    assert_eq!(config.store.path, PathBuf::from("var/portcullis"));
    assert_eq!(config.store.key_file, PathBuf::from("var/portcullis.key"));
    assert_eq!(config.oauth.audience, "campaign-api");
    assert_eq!(config.oauth.algorithm, crate::token::Algorithm::EdDsa);
    assert_eq!(config.oauth.token_ttl, Duration::from_secs(43_200));
    assert_eq!(config.oauth.max_token_ttl, Duration::from_secs(86_400));
    assert_eq!(config.oauth.clock_skew, Duration::from_secs(30));
    assert!(config.oauth.signing_key.is_none() && config.oauth.token_rate.is_none());
    assert_eq!(config.oauth.token_info_path, None);
    assert_eq!(config.oauth.token_paths.iter().count(), 4);
    assert_eq!(
        warned(&config),
        "c: route: there is none: every request but those of the token endpoints gets a 404\n"
    );
    let upstream = &good("").upstreams[0];
    assert_eq!((upstream.protocol, &upstream.tls), (Protocol::Http1, &None));
    assert!(matches!(upstream.authorization, UpstreamAuthorization::Strip));
    assert_eq!(upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(upstream.read_timeout, Duration::from_secs(60));
    assert_eq!(good("max_token_ttl = \"1h\"").oauth.token_ttl, Duration::from_secs(3600));
}

#[test]
fn a_store_that_depends_on_the_folder_is_told() {
    let told = |file: &str, store: &str| {
        let text = format!("{HEAD}[store]\n{store}");
        let config = check::check(&text, Path::new(""), Path::new(file), &|_| None).unwrap();
        let of_store = config.warnings.into_iter().filter(|it| it.key.starts_with("store"));
        of_store.map(|it| (it.key, it.line)).collect::<Vec<_>>()
    };
    let absolute = "path = \"/srv/store\"\n";
    for (file, store, expected) in [
        ("/etc/p.toml", "path = \"var/store\"", vec![("store.path", Some(7))]),
        ("/etc/p.toml", "", vec![("store.path", Some(6))]),
        ("/etc/p.toml", absolute, vec![]),
        (
            "/etc/p.toml",
            "path = \"/srv/store\"\nkey_file = \"seal.key\"",
            vec![("store.key_file", Some(8))],
        ),
        ("/etc/p.toml", "engine = \"memory\"", vec![]),
        ("p.toml", "path = \"var/store\"", vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(k, l)| (k.to_owned(), l)).collect();
        assert_eq!(told(file, store), expected, "{file} {store}");
    }
}

#[test]
fn what_was_likely_not_meant_is_told() {
    let route = |path: &str, method: &str| {
        let text = format!(
            "[[route]]\nname = \"r\"\nupstream = \"u\"\npath = \"{path}\"\n\
             allow = {{ {method} = \"@public\" }}"
        );
        warned(&good(&text))
    };
    for (path, method, expected) in [
        (
            "/a/:id",
            "GET",
            "c:9: route \"r\".path: has \":id\", which only itself matches; did you mean \"{id}\"?\n",
        ),
        (
            "/a/*",
            "GET",
            "c:9: route \"r\".path: has \"*\", which only itself matches; did you mean \"{*rest}\"?\n",
        ),
        (
            "/a/*all",
            "GET",
            "c:9: route \"r\".path: has \"*all\", which only itself matches; did you mean \"{*all}\"?\n",
        ),
        (
            "/a",
            "GETT",
            "c:10: route \"r\".allow.GETT: is no method that is registered; did you mean \"GET\"?\n",
        ),
        (
            "/a",
            "PATH",
            "c:10: route \"r\".allow.PATH: is no method that is registered; did you mean \"PATCH\"?\n",
        ),
        ("/a:b/x*/:", "DELETE", ""),
        ("/a", "PURGE", ""),
        ("/a", "PROPFIND", ""),
        ("/a", "COPY", ""),
        ("/a", "REPORT", ""),
        ("/a", "LOCK", ""),
    ] {
        assert_eq!(route(path, method), expected, "{path} {method}");
    }
}

/// Lines are counted once, not once for each fault.
#[test]
fn every_fault_of_a_large_file_has_its_line() {
    let route =
        "[[route]]\nname = \"r\"\nupstream = \"elsewhere\"\npath = \"no\"\nallow = { GET = 1 }\n";
    let text = format!("{HEAD}{}", route.repeat(300));
    let found = faults(&text);
    let lines: Vec<_> = text.lines().collect();
    assert!(found.len() >= 900, "{}", found.len());
    for fault in &found {
        let key = fault.key.rsplit('.').next().unwrap();
        let line = lines[fault.line.unwrap() - 1];
        assert!(line.contains(key) || key == "GET", "{fault:?} {line}");
    }
}

#[test]
fn ten_faults_are_ten_lines() {
    let text = r#"[server]
listen = ["nowhere"]
thread = 4
[server.limits]
header_bytes = "1TiB"
[admin]
listen = 8081
[oauth]
token_ttl = "soon"
[[upstream]]
name = "u"
addresses = ["127.0.0.1"]
[[role]]
id = "r"
scopes = ["a b"]
[[route]]
name = "one"
path = "/a/{x}"
upstream = "elsewhere"
allow = { GET = "@public" }
[[route]]
name = "two"
path = "/a/{y}"
upstream = "u"
allow = { GET = "@public" }
"#;
    let errors = with(text, &[]).unwrap_err();
    let seen: Vec<_> = errors.faults().iter().map(|f| (f.line, f.key.as_str())).collect();
    assert_eq!(
        seen,
        [
            (Some(2), "server.listen"),
            (Some(3), "server.thread"),
            (Some(5), "server.limits.header_bytes"),
            (Some(7), "admin.listen"),
            (Some(8), "oauth.issuer"),
            (Some(9), "oauth.token_ttl"),
            (Some(12), "upstream \"u\".addresses"),
            (Some(15), "role \"r\".scopes"),
            (Some(19), "route \"one\".upstream"),
            (Some(23), "route \"two\".path"),
        ]
    );
    let shown = errors.to_string();
    assert_eq!(shown.lines().count(), 10, "{shown}");
    let third = "c.toml:3: server.thread: is no known key; did you mean \"threads\"?";
    assert_eq!(shown.lines().nth(1), Some(third));
}

#[test]
fn one_fault_does_not_hide_another_or_make_one_up() {
    let text = "[server]\nlisten = [\"127.0.0.1:8081\"]\n[admin]\nlisten = \"x\"\n\
                [[route]]\nname = \"r\"\npath = \"/x\"\nupstream = \"u\"\naccount = \"any\"\n\
                allow = { HEAD = \"a\", get = \"b\", PUT = 3 }\nbody_bytes = false\n";
    let found = faults(&format!("{HEAD}{text}"));
    let seen: Vec<_> = found.iter().map(|f| (f.line.unwrap(), f.key.as_str())).collect();
    let key = |name: &str| format!("route \"r\".{name}");
    assert_eq!(
        seen,
        [
            (9, "admin.listen"),
            (15, key("allow.PUT").as_str()),
            (15, key("allow").as_str()),
            (15, key("allow").as_str()),
            (16, key("body_bytes").as_str()),
        ],
        "{found:#?}"
    );
}

#[test]
fn every_syntax_error_has_its_line() {
    let found = faults("[server]\nthreads = = 1\n[oauth]\nissuer = \"x\n");
    let lines: Vec<_> = found.iter().map(|f| f.line).collect();
    assert!(lines.contains(&Some(2)) && lines.contains(&Some(4)), "{found:#?}");
}

#[test]
fn what_is_allowed_and_likely_not_meant() {
    let config = good(
        "[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n\
         trusted_proxies = [\"0.0.0.0/0\", \"10.1.2.3/8\", \"::1\"]\n\
         [admin]\nlisten = \"0.0.0.0:8081\"\n\
         [[role]]\nid = \"r\"\nscopes = [\"a\"]\n",
    );
    let warned = warned(&config);
    for word in [
        "c:7: server.listen: has port 0",
        "c:8: server.trusted_proxies: takes in every",
        "c:10: admin.listen: lets other machines",
        "c:13: role \"r\".scopes",
        "c:1: upstream \"u\": is the upstream of no route",
    ] {
        assert!(warned.contains(word), "{word}\n{warned}");
    }
    let networks: Vec<_> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["0.0.0.0/0", "10.0.0.0/8", "::1/128"]);
    assert_eq!(config.roles[0].label, "r");
}

#[test]
fn a_file_that_is_not_there() {
    let error = load(Path::new("no/such.toml")).unwrap_err();
    assert!(error.to_string().starts_with("no/such.toml: can't be read: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, b"a = 1\nb = \"\xff\"").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("is not UTF-8, from line 2 on"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = with(&text, &[]);
    }

    #[test]
    fn no_toml_makes_it_panic(
        section in "(|server|oauth|\\[upstream\\]|\\[role\\]|\\[route\\]|server.tls|server.limits|store)",
        lines in prop::collection::vec((
            "(listen|path|allow|name|id|scopes|tls|body_rules|authorization|token_paths|issuer|addresses|bind_query|target_bytes|host)",
            "(-?[0-9]{1,20}|0x[0-9a-f]{1,17}|true|[0-9]\\.5|1979-05-27|\"[ -~&&[^\"\\\\]]{0,12}\"|'\\$\\{[A-Z]?\\}?'|\\[('/\\{?[a-z]?\\}?'(, )?){0,3}\\]|\\{ ([a-z]|GET) = (1|'a'|\\[\\]) \\})",
        ), 0..6),
    ) {
        let body: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let text = if section.is_empty() { body } else { format!("[{section}]\n{body}") };
        if let Err(errors) = with(&text, &[("A", "x")]) {
            prop_assert!(!errors.faults().is_empty());
            prop_assert_eq!(errors.to_string().lines().count(), errors.faults().len());
        }
    }

    #[test]
    fn a_shipped_file_with_a_hole_makes_no_panic(from in 0usize..9000, length in 0usize..60) {
        let text = include_str!("../../../config/portcullis.toml");
        let keep: String = text.chars().take(from).chain(text.chars().skip(from + length)).collect();
        let _ = with(&keep, &[]);
    }
}

//! Snippets with one fault each: its line, its key, a word of its message.

use super::{HEAD, faults};

#[test]
fn what_is_wrong_and_where() {
    let route = |body: &str| format!("[[route]]\nname = \"r\"\nupstream = \"u\"\n{body}");
    let upstream =
        |body: &str| format!("[[upstream]]\nname = \"v\"\naddresses = [\"h:1\"]\n{body}");
    // The snippet's first line is line 6.
    for (snippet, line, key, word) in [
        ("audience = 3", 6, "oauth.audience", "must be"),
        ("audience = \"a b\"", 6, "oauth.audience", "spaces"),
        ("algoritm = \"EdDSA\"", 6, "oauth.algoritm", "did you mean \"algorithm\"?"),
        ("algorithm = \"HS256\"", 6, "oauth.algorithm", "\"EdDSA\", \"ES256\" or \"RS256\""),
        ("token_ttl = \"48h\"", 6, "oauth.token_ttl", "max_token_ttl"),
        ("token_ttl = \"1500ms\"", 6, "oauth.token_ttl", "whole seconds"),
        ("token_ttl = 90", 6, "oauth.token_ttl", "a duration such as"),
        ("token_ttl = \"90 s\"", 6, "oauth.token_ttl", "it is \"90 s\""),
        ("max_token_ttl = \"999d\"", 6, "oauth.max_token_ttl", "between 1s and 366d"),
        ("clock_skew = \"1h\"", 6, "oauth.clock_skew", "between 0s and 10m"),
        ("token_rate = \"5/d\"", 6, "oauth.token_rate", "100/s"),
        ("token_paths = []", 6, "oauth.token_paths", "at least one"),
        ("token_paths = [\"/a\",\n\"/{x}/b\"]", 7, "oauth.token_paths", "{account}"),
        ("token_paths = [\"/a\", \"/a\"]", 6, "oauth.token_paths", "once"),
        ("token_paths = [\"/oauth2/revoke\"]", 6, "oauth.token_paths", "otherwise"),
        ("token_info_path = \"/v1/token\"", 6, "oauth.token_info_path", "token_paths"),
        ("token_info_path = \"/{account}/t\"", 6, "oauth.token_info_path", "plain path"),
        ("signing_key_file = \"no/such\"", 6, "oauth.signing_key_file", "can't be read"),
        ("signing_key_file = \"src\"", 6, "oauth.signing_key_file", "name a file"),
        ("signing_key = \"x\"", 6, "oauth.signing_key", "PKCS#8"),
        ("audience = \"${NOT_SET}\"", 6, "oauth.audience", "NOT_SET, which is not set"),
        ("[server]\nlisten = \"127.0.0.1:1\"", 7, "server.listen", "an array of addresses"),
        ("[server]\nlisten = []", 7, "server.listen", "at least one"),
        ("[server]\nlisten = [\"localhost:1\"]", 7, "server.listen", "an IP address and a port"),
        (
            "[server]\nlisten = [\"[::]:8081\",\n\"0.0.0.0:8081\"]",
            0,
            "admin.listen",
            "server.listen has",
        ),
        ("[admin]\nlisten = \"127.0.0.1:8080\"", 7, "admin.listen", "by default"),
        (
            "[server]\nlisten = [\"0.0.0.0:1\"]\n[[upstream]]\nname = \"v\"\naddresses = [\"127.0.0.1:1\"]",
            10,
            "upstream \"v\".addresses",
            "(server.listen)",
        ),
        ("[server]\nthreads = -1", 7, "server.threads", "between 0 and 1024"),
        ("[server]\nthreads = 1.5", 7, "server.threads", "whole number"),
        ("[server]\ntrusted_proxies = [\"10/8\"]", 7, "server.trusted_proxies", "10.0.0.0/8"),
        (
            "[server.limits]\nheader_bytes = \"64\"",
            7,
            "server.limits.header_bytes",
            "between 1KiB and 1MiB",
        ),
        (
            "[server.limits]\nheader_bytes = \"64KB\"",
            7,
            "server.limits.header_bytes",
            "such as \"64KiB\"",
        ),
        (
            "[server.limits]\nheader_bytes = \"1KiB\"\ntarget_bytes = 2048",
            8,
            "server.limits.target_bytes",
            "header_bytes",
        ),
        ("[server.limits]\nbody_bytes = -1", 7, "server.limits.body_bytes", "size"),
        ("[server.limits]\nconnections = 0", 7, "server.limits.connections", "between 1"),
        ("[server.tls]\nlisten = [\"127.0.0.1:2\"]", 6, "server.tls.certificates", "is missing"),
        (
            "[server.tls]\ncertificates = [{ cert = \"no\", key = \"Cargo.toml\" }]",
            7,
            "server.tls.certificates.cert",
            "can't be read",
        ),
        (
            "[server.tls]\ncertificates = [{ cert = \"no\", key = \"Cargo.toml\" }]",
            7,
            "server.tls.certificates.key",
            "PRIVATE KEY",
        ),
        (
            "[server.tls]\nclient_auth = \"required\"",
            7,
            "server.tls.client_auth",
            "needs client_ca",
        ),
        ("[store]\nengine = \"slud\"", 7, "store.engine", "\"sled\", \"memory\" or \"etcd\""),
        ("[store]\npath = \"\"", 7, "store.path", "empty"),
        ("[store]\npath = \"d\"\nkey_file = \"d/key\"", 8, "store.key_file", "outside"),
        ("[stor]", 6, "stor", "did you mean \"store\"?"),
        ("[[server]]", 6, "server", "must be a table"),
        (&upstream("tls = true"), 6, "upstream \"v\".server_name", "is missing"),
        (&upstream("server_name = \"x\""), 9, "upstream \"v\".server_name", "tls = true"),
        (&upstream("protocol = \"h2\""), 9, "upstream \"v\".protocol", "tls = true"),
        (
            &upstream("tls = true\nserver_name = \"x\"\nprotocol = \"h2c\""),
            11,
            "upstream \"v\".protocol",
            "in clear",
        ),
        (
            &upstream("tls = true\nserver_name = \"\""),
            10,
            "upstream \"v\".server_name",
            "host name",
        ),
        (&upstream("health_check = 3"), 9, "upstream \"v\".health_check", "a table"),
        (
            &upstream("health_check = { pathh = \"/x\" }"),
            9,
            "upstream \"v\".health_check.pathh",
            "did you mean \"path\"?",
        ),
        (
            &upstream("health_check = { path = \"x\" }"),
            9,
            "upstream \"v\".health_check.path",
            "/health",
        ),
        (
            &upstream("health_check = { path = \"/x y\" }"),
            9,
            "upstream \"v\".health_check.path",
            "/health",
        ),
        (
            &upstream("health_check = { interval = \"0s\" }"),
            9,
            "upstream \"v\".health_check.interval",
            "between 100ms and 10m",
        ),
        (
            &upstream("health_check = { unhealthy_after = 0 }"),
            9,
            "upstream \"v\".health_check.unhealthy_after",
            "between 1 and 100",
        ),
        (
            &upstream("outlier_ejection = { base_time = \"10m\", max_time = \"1m\" }"),
            9,
            "upstream \"v\".outlier_ejection.max_time",
            "base_time",
        ),
        (&upstream("authorization = \"Bearer s\""), 9, "upstream \"v\".authorization", "set_file"),
        (&upstream("authorization = {}"), 9, "upstream \"v\".authorization", "set_file"),
        (
            &upstream("authorization = { set = \"a\\nb\" }"),
            9,
            "upstream \"v\".authorization.set",
            "header value",
        ),
        (
            &upstream("connect_timeout = \"0s\""),
            9,
            "upstream \"v\".connect_timeout",
            "between 10ms",
        ),
        ("[[upstream]]\nname = \"u\"\naddresses = [\"h:1\"]", 7, "upstream \"u\".name", "unique"),
        (
            "[[upstream]]\nname = \"v\"\naddresses = []",
            8,
            "upstream \"v\".addresses",
            "at least one",
        ),
        (
            "[[upstream]]\nname = \"v\"\naddresses = [\"http://h:1\"]",
            8,
            "upstream \"v\".addresses",
            "a host and a port",
        ),
        (
            "[[upstream]]\nname = \"v\"\naddresses = [\"h\"]",
            8,
            "upstream \"v\".addresses",
            "a host and a port",
        ),
        (
            "[[upstream]]\nname = \"v\"\naddresses = [\"1.2.3.400:1\"]",
            8,
            "upstream \"v\".addresses",
            "a host and a port",
        ),
        (
            "[[upstream]]\nname = \"v\"\naddresses = [\"h:1\", \"h:1\"]",
            8,
            "upstream \"v\".addresses",
            "once",
        ),
        (
            "[[upstream]]\nname = \"v\"\naddresses = [\"127.0.0.1:8081\"]",
            8,
            "upstream \"v\".addresses",
            "round and round",
        ),
        ("[[upstream]]\naddresses = [\"h:1\"]", 6, "upstream[2].name", "is missing"),
        ("[role]\nid = \"r\"", 6, "role", "[[role]]"),
        ("[[role]]\nid = \"r\"\nscopes = []", 8, "role \"r\".scopes", "at least one"),
        ("[[role]]\nid = \"r\"", 6, "role \"r\".scopes", "is missing"),
        ("[[role]]\nid = \"r\"\nscopes = [\"a\",\n\"env:*\"]", 9, "role \"r\".scopes", "env:"),
        ("[[role]]\nid = \"r/\"\nscopes = [\"a\"]", 7, "role \"r/\".id", "letters"),
        ("[[role]]\nid = \"r\"\nscopes = [\"a\"]\nrate = \"0/s\"", 9, "role \"r\".rate", "rate"),
        (
            "[[role]]\nid = \"r\"\nscopes = [\"a\"]\nconcurrency = 0",
            9,
            "role \"r\".concurrency",
            "between 1",
        ),
        (
            "[[role]]\nid = \"r\"\nscopes = [\"a\"]\n[[role]]\nid = \"r\"\nscopes = [\"a\"]",
            10,
            "role \"r\".id",
            "unique",
        ),
        (&route("path = \"/x\"\nallow = { GET = \"a\" }"), 9, "route \"r\".path", "{account}"),
        (
            &route("path = \"x\"\nallow = { GET = \"@public\" }"),
            9,
            "route \"r\".path",
            "begin with",
        ),
        (&route("path = \"/x\"\nallow = {}"), 10, "route \"r\".allow", "no method"),
        (&route("path = \"/x\"\nallow = \"a\""), 10, "route \"r\".allow", "a table"),
        (&route("path = \"/x\""), 6, "route \"r\".allow", "is missing"),
        (
            &route("path = \"/x\"\n[route.allow]\nGET = \"@public\"\nPOST = \"@pubic\""),
            12,
            "route \"r\".allow.POST",
            "@public",
        ),
        (
            &route("path = \"/x\"\nallow = { get = \"@public\" }"),
            10,
            "route \"r\".allow",
            "capitals",
        ),
        (
            &route("path = \"/x\"\nallow = { GET = [] }\naccount = \"any\""),
            10,
            "route \"r\".allow.GET",
            "at least one",
        ),
        (
            &route("path = \"/x\"\nallow = { GET = { any = [\"a\"] } }\naccount = \"any\""),
            10,
            "route \"r\".allow.GET.any",
            "known",
        ),
        (
            &route("path = \"/x\"\nallow = { GET = 1 }\naccount = \"any\""),
            10,
            "route \"r\".allow.GET",
            "array of scopes",
        ),
        (
            &route("path = \"/x\"\nallow = { GET = \"a\" }\naccount = \"all\""),
            11,
            "route \"r\".account",
            "must be \"any\"",
        ),
        (
            &route("path = \"/{account}\"\nallow = { GET = \"a\" }\naccount = \"any\""),
            11,
            "route \"r\".account",
            "rename",
        ),
        (
            &route("path = \"/x\"\nallow = { GET = \"a\" }\nbind_query = { account = \"\" }"),
            11,
            "route \"r\".bind_query.account",
            "query parameter",
        ),
        (
            &route(
                "path = \"/x\"\nallow = { GET = \"a\" }\naccount = \"any\"\nbody_bytes = \"many\"",
            ),
            12,
            "route \"r\".body_bytes",
            "size",
        ),
        (
            &route(
                "path = \"/x\"\nallow = { GET = \"a\" }\naccount = \"any\"\nbody_rules = { GET = [{ keys = [], allow = \"a\" }] }",
            ),
            12,
            "route \"r\".body_rules.GET.keys",
            "at least one",
        ),
        (
            &route(
                "path = \"/x\"\nallow = { GET = \"a\" }\naccount = \"any\"\nbody_rules = { PUT = [{ keys = [\"a\"], allow = \"a\" }] }",
            ),
            12,
            "route \"r\".body_rules",
            "does not list",
        ),
        (
            &route("host = \"h:80\"\npath = \"/x\"\nallow = { GET = \"@public\" }"),
            9,
            "route \"r\".host",
            "without a port",
        ),
        (
            &route("path = \"/v1/token\"\nallow = { GET = \"@public\" }"),
            9,
            "route \"r\".path",
            "answers itself",
        ),
        (
            &route("path = \"/v9/token\"\nallow = { GET = \"@public\" }"),
            9,
            "route \"r\".path",
            "(/{account}/token)",
        ),
        (
            &route("path = \"/.well-known/jwks.json\"\nallow = { GET = \"@public\" }"),
            9,
            "route \"r\".path",
            "answers itself",
        ),
        (
            "[[route]]\nname = \"r\"\npath = \"/x\"\nupstream = \"w\"\nallow = { GET = \"@public\" }",
            9,
            "route \"r\".upstream",
            "[[upstream]]",
        ),
        (
            "[[route]]\npath = \"/x\"\nupstream = \"u\"\nallow = { GET = \"@public\" }",
            6,
            "route[1].name",
            "is missing",
        ),
        ("x = [1, 2", 6, "", "no TOML, column"),
        ("audience = \"a\"\naudience = \"b\"", 7, "", "duplicate key"),
    ] {
        let found = faults(&format!("{HEAD}{snippet}"));
        let line = (line != 0).then_some(line);
        assert!(
            found.iter().any(|f| f.line == line && f.key == key && f.message.contains(word)),
            "{snippet}\nshould have, on line {line:?}, {key}: …{word}…\nhas {found:#?}"
        );
        let missing_too =
            ["client_auth", "cert = \"no\"", "{ any ="].iter().any(|s| snippet.contains(s));
        assert!(found.len() == 1 || missing_too, "{snippet}\nhas more: {found:#?}");
    }
}

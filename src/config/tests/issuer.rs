//! The issuer: what it may be, and what its path entails.

use super::*;

fn with_issuer(issuer: &str, more: &str) -> Result<Config, ConfigErrors> {
    with(&format!("{}{more}", HEAD.replace("http://127.0.0.1", issuer)), &[])
}

#[test]
fn what_is_no_issuer() {
    for bad in [
        "http://h/\u{e4}",
        "http://\u{e4}/",
        "http://h/a b",
        "http://h/a\\\"b",
        "http://h/a//b",
        "http://h/a/../b",
        "http://h/%61",
        "http://h/a?b",
        "http://h/a#b",
        "http://u@h/",
        "ftp://h/",
        "/auth",
        "h",
    ] {
        let errors = with_issuer(bad, "").unwrap_err();
        let [fault] = errors.faults() else { panic!("{bad}: {errors}") };
        assert_eq!((fault.line, fault.key.as_str()), (Some(5), "oauth.issuer"), "{bad}");
        assert!(fault.message.contains("http or https URL"), "{bad}: {fault:?}");
    }
}

#[test]
fn a_path_of_the_issuer_is_told_and_its_documents_are_ours() {
    for (issuer, path) in [
        ("http://127.0.0.1", ""),
        ("http://127.0.0.1/", ""),
        ("http://127.0.0.1/auth", "/auth"),
        ("http://127.0.0.1/auth/b/", "/auth/b"),
    ] {
        let config = with_issuer(issuer, "").unwrap();
        assert_eq!(config.oauth.issuer_path(), path);
        let told = warned(&config);
        assert_eq!(told.contains("oauth.issuer: has the path"), !path.is_empty(), "{told}");
    }
    let route = "[[route]]\nname = \"r\"\nupstream = \"u\"\n\
                 path = \"/.well-known/oauth-protected-resource/auth\"\n\
                 allow = { GET = \"@public\" }";
    assert!(with_issuer("http://127.0.0.1/other", route).is_ok());
    let errors = with_issuer("http://127.0.0.1/auth", route).unwrap_err();
    assert!(errors.to_string().contains("never proxies"), "{errors}");
}

//! `[oauth]`: tokens and the paths that hand them out.

use std::time::Duration;

use http::Uri;

use super::check::rate;
use super::files;
use super::model::Oauth;
use super::read::Section;
use super::server::{DAY, HOUR, SECOND};
use super::token_path::{TokenPath, TokenPaths};
use super::value::Value;
use crate::policy::CanonicalPath;
use crate::token::{Algorithm, KeyError, SigningKey};

const ALGORITHMS: [(&str, Algorithm); 3] =
    [("EdDSA", Algorithm::EdDsa), ("ES256", Algorithm::Es256), ("RS256", Algorithm::Rs256)];
const TOKEN_PATHS: [&str; 4] =
    ["/oauth2/token", "/oauth/v2/token", "/v1/token", "/{account}/token"];
/// The gateway's own, besides the token paths.
const OWN_PATHS: [&str; 5] = [
    "/oauth2/introspect",
    "/oauth2/revoke",
    "/.well-known/jwks.json",
    WELL_KNOWN_SERVER,
    WELL_KNOWN_RESOURCE,
];
/// Asked by the issuer's path too, which stands behind them.
const WELL_KNOWN_SERVER: &str = "/.well-known/oauth-authorization-server";
const WELL_KNOWN_RESOURCE: &str = "/.well-known/oauth-protected-resource";
/// Longer lives would keep revocations of single tokens for as long.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// `[oauth]`.
pub(super) fn oauth(section: &Section<'_>) -> Oauth {
    let issuer = section.need("issuer", "\"https://gateway.example.com\"", issuer);
    let audience = section.or("audience", "campaign-api".to_owned(), |value| {
        value.parsed("must be visible ASCII without spaces", |text| {
            (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()))
                .then(|| text.to_owned())
        })
    });
    let algorithm = section.get("algorithm", |value| value.word(&ALGORITHMS));
    let max_token_ttl = section.or("max_token_ttl", DAY, ttl);
    let token_ttl = section.or("token_ttl", max_token_ttl.min(12 * HOUR), |value| {
        let wanted = ttl(value)?;
        if wanted > max_token_ttl {
            return value.wrong("must not be more than max_token_ttl (\"24h\" if left out)");
        }
        Some(wanted)
    });
    let clock_skew = section
        .or("clock_skew", 30 * SECOND, |value| value.duration(Duration::ZERO..=600 * SECOND));
    // Where the algorithm itself is no good, nothing is compared with it.
    let wanted = algorithm.or_else(|| (!section.has("algorithm")).then_some(Algorithm::EdDsa));
    let signing_key =
        files::secret(section, "signing_key", "signing_key_file", |text| fits(text, wanted));
    let token_rate = section.get("token_rate", rate);
    let token_paths = section.get("token_paths", token_paths).unwrap_or_else(|| {
        TokenPaths::new(TOKEN_PATHS.iter().filter_map(|path| TokenPath::parse(path).ok()).collect())
    });
    let token_info_path = section.get("token_info_path", |value| {
        let path = value.parsed("must be a plain path, such as \"/token\"", |text| {
            let plain = CanonicalPath::parse(text).is_ok() && !text.contains(['{', '}']);
            plain.then(|| text.to_owned())
        })?;
        if token_paths.iter().any(|other| other.covers(&path)) {
            return value.wrong("must not be one of token_paths, nor match one with {account}");
        }
        own(value, path)
    });
    Oauth {
        issuer: issuer.unwrap_or_default(),
        audience,
        algorithm: algorithm.unwrap_or(Algorithm::EdDsa),
        token_ttl,
        max_token_ttl,
        clock_skew,
        signing_key,
        token_rate,
        token_paths,
        token_info_path,
    }
}

/// Whether a key can sign with this algorithm: what the start would refuse is refused here.
fn fits(pem: &str, wanted: Option<Algorithm>) -> Result<(), String> {
    let has = match SigningKey::from_pem(pem) {
        Ok(key) => key.algorithm(),
        Err(fault @ KeyError::NotPem) => {
            return Err(format!("{fault}; openssl pkcs8 -topk8 -nocrypt makes one of other forms"));
        }
        Err(fault) => return Err(fault.to_string()),
    };
    match wanted {
        Some(wanted) if wanted != has => Err(format!(
            "holds a key for {has}, but oauth.algorithm is {wanted}; set algorithm = \"{has}\", \
             or give another key"
        )),
        _ => Ok(()),
    }
}

/// RFC 8414 section 2; `http` too, since TLS may end before the gateway.
fn issuer(value: &Value<'_>) -> Option<String> {
    let must = "must be an http or https URL in plain ASCII, without user, query and fragment, \
                whose path can be read in one way only";
    let (text, uri) = value.parsed(must, |text| {
        let uri: Uri = text.parse().ok()?;
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        let plain = !text.contains(['?', '#', '@']) && uri.host().is_some_and(|h| !h.is_empty());
        let is_canonical = CanonicalPath::parse(uri.path()).is_ok();
        (web && plain && is_canonical && text.is_ascii()).then(|| (text.to_owned(), uri))
    })?;
    let here = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if uri.scheme_str() == Some("http") && !here {
        let message = "is no https URL: secrets and tokens would travel in clear";
        value.reader.warn(&value.place, message);
    }
    let path = path_of(&text);
    if !path.is_empty() {
        let message = format!(
            "has the path {path:?}: what is published begins with it ({path}/oauth2/introspect), \
             and is answered here without it, so a proxy in front must take it away. Discovery is \
             answered at {WELL_KNOWN_SERVER}{path}, as RFC 8414 says"
        );
        value.reader.warn(&value.place, message);
    }
    Some(text)
}

/// The path of an issuer, without a slash at its end; empty if that is all there is.
fn path_of(issuer: &str) -> &str {
    let (_, rest) = issuer.split_once("://").unwrap_or_default();
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default().trim_end_matches('/')
}

impl Oauth {
    /// The path of the issuer, such as `/auth`, without a slash at its end; mostly empty.
    pub fn issuer_path(&self) -> &str {
        path_of(&self.issuer)
    }
}

fn ttl(value: &Value<'_>) -> Option<Duration> {
    let ttl = value.duration(SECOND..=LONGEST)?;
    if ttl.subsec_nanos() != 0 {
        return value.wrong("must be whole seconds, as tokens count in them");
    }
    Some(ttl)
}

fn token_paths(value: &Value<'_>) -> Option<TokenPaths> {
    let mut seen = Vec::new();
    let paths = value.some("paths", |value| {
        let path = value.name(TokenPath::parse)?;
        if seen.contains(&path) {
            return value.wrong("must be listed once");
        }
        own(value, path.template().to_owned())?;
        seen.push(path.clone());
        Some(path)
    });
    paths.map(TokenPaths::new)
}

fn own(value: &Value<'_>, path: String) -> Option<String> {
    match OWN_PATHS.contains(&path.as_str()) {
        true => value.wrong("must not be a path that the gateway answers otherwise"),
        false => Some(path),
    }
}

/// The paths that are never proxied.
pub(super) fn reserved(oauth: Option<&Oauth>) -> Vec<TokenPath> {
    let issuer = oauth.map_or("", Oauth::issuer_path);
    let of_issuer = [WELL_KNOWN_SERVER, WELL_KNOWN_RESOURCE].map(|path| format!("{path}{issuer}"));
    let mut reserved: Vec<_> = OWN_PATHS
        .into_iter()
        .chain(oauth.and_then(|oauth| oauth.token_info_path.as_deref()))
        .chain(of_issuer.iter().map(String::as_str))
        .filter_map(|path| TokenPath::parse(path).ok())
        .collect();
    reserved.extend(oauth.into_iter().flat_map(|oauth| oauth.token_paths.iter()).cloned());
    reserved
}

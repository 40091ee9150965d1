//! The web console: static files that are part of the binary.
//!
//! They hold no data and need no key. The page talks to `/v1` like anyone else,
//! and under this policy it can talk to nobody else.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $kind:ident $name:literal,)+) => {
        /// Address, content type and content of each file.
        const FILES: &[(&str, &str, &str)] =
            &[$(($path, $kind, include_str!(concat!("console/", $name)))),+];
    };
}

files! {
    "/" HTML "index.html",
    "/console/style.css" CSS "style.css",
    "/console/views.css" CSS "views.css",
    "/console/icon.svg" SVG "icon.svg",
    "/console/main.js" SCRIPT "main.js",
    "/console/api.js" SCRIPT "api.js",
    "/console/dom.js" SCRIPT "dom.js",
    "/console/dialog.js" SCRIPT "dialog.js",
    "/console/fields.js" SCRIPT "fields.js",
    "/console/parts.js" SCRIPT "parts.js",
    "/console/once.js" SCRIPT "once.js",
    "/console/impact.js" SCRIPT "impact.js",
    "/console/reasons.js" SCRIPT "reasons.js",
    "/console/sign-in.js" SCRIPT "sign-in.js",
    "/console/credentials.js" SCRIPT "credentials.js",
    "/console/grant.js" SCRIPT "grant.js",
    "/console/generate.js" SCRIPT "generate.js",
    "/console/difference.js" SCRIPT "difference.js",
    "/console/edit.js" SCRIPT "edit.js",
    "/console/details.js" SCRIPT "details.js",
    "/console/lifecycle.js" SCRIPT "lifecycle.js",
    "/console/secrets.js" SCRIPT "secrets.js",
    "/console/arming.js" SCRIPT "arming.js",
    "/console/revocations.js" SCRIPT "revocations.js",
    "/console/keys.js" SCRIPT "keys.js",
    "/console/explain.js" SCRIPT "explain.js",
    "/console/live.js" SCRIPT "live.js",
    "/console/audit.js" SCRIPT "audit.js",
    "/console/admins.js" SCRIPT "admins.js",
}

/// Whether the path is that of a file here.
pub(super) fn is_file(path: &str) -> bool {
    FILES.iter().any(|(known, _, _)| *known == path)
}

/// All files of the console.
pub(super) fn console<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, content)| {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        router.route(
            path,
            get(move |headers| std::future::ready(file(&headers, kind, content, &tag))),
        )
    })
}

fn file(asked: &HeaderMap, kind: &'static str, content: &'static str, tag: &str) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let is_known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => content.into_response(),
    };
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        // Kept, but asked about each time: another version has other files.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

//! What is taken from the fields of a response on its way down.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, PROXY_AUTHENTICATE, TRANSFER_ENCODING, UPGRADE};
use pingora::http::{RequestHeader, ResponseHeader};

/// Whether a response, which does not switch protocols, ends with its head.
pub(crate) fn ends_with_head(request: &RequestHeader, response: &ResponseHeader) -> bool {
    request.method == http::Method::HEAD
        || matches!(response.status.as_u16(), 204 | 304)
        || response.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0")
            && !response.headers.contains_key(TRANSFER_ENCODING)
}

/// Fields of the upstream's connection say nothing about the client's (RFC
/// 9110 section 7.6.1). Pingora sets its own Connection and framing.
pub(crate) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    // One look at the names: to remove what is not there costs as much as to remove it.
    let (mut connection, mut there) = (false, [false; HOP_BY_HOP.len()]);
    // Nearly all names differ from these in length already.
    let keys = response.headers.keys();
    for name in keys.filter(|name| matches!(name.as_str().len(), 7 | 10 | 16 | 18)) {
        connection |= *name == CONNECTION;
        for (field, there) in HOP_BY_HOP.iter().zip(&mut there) {
            *there |= field == name;
        }
    }
    if connection {
        for name in nominated(response) {
            response.remove_header(name.as_str());
        }
    }
    for (name, _) in HOP_BY_HOP.iter().zip(there).filter(|(_, there)| *there) {
        response.remove_header(name);
    }
}

static HOP_BY_HOP: [HeaderName; 4] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    UPGRADE,
];

/// Fields that Connection names.
fn nominated(response: &ResponseHeader) -> Vec<String> {
    let fields = response.headers.get_all(CONNECTION);
    let values = || fields.iter().filter_map(|value| value.to_str().ok());
    // As a rule it says one word, which is no field or goes anyhow.
    let is_usual = |value: &str| {
        value.eq_ignore_ascii_case("keep-alive") || value.eq_ignore_ascii_case("close")
    };
    if values().all(is_usual) {
        return Vec::new();
    }
    values()
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| {
            !matches!(name.as_str(), "" | "close" | "transfer-encoding" | "content-length")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_hop_go_and_those_that_it_nominates() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("Keep-Alive", "timeout=5"),
            ("Connection", "Keep-Alive, X-Hop , close"),
            ("Connection", "x-Other,content-length"),
            ("X-Hop", "1"),
            ("x-other", "1"),
            ("Upgrade", "h2c"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Connection", "keep-alive"),
            ("Content-Length", "3"),
            ("X-Kept", "1"),
        ] {
            response.append_header(name, value).unwrap();
        }
        strip_hop_by_hop(&mut response);
        let mut left: Vec<&str> = response.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["connection", "content-length", "x-kept"]);
    }
}

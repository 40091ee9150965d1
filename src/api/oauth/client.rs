//! Who the client says it is: HTTP Basic or the body, one of them
//! (RFC 6749 section 2.3.1, RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::error::Refusal;
use super::params::{Params, decodable};
use crate::domain::SecretText;

const TWO_WAYS: Refusal =
    Refusal::invalid_request("The client authenticates itself in more than one way.");

/// What a client presents. Missing halves are empty: no credential has such.
pub(super) struct Presented {
    pub(super) client_id: String,
    pub(super) secret: SecretText,
    /// It came by HTTP Basic, whose refusal is 401.
    pub(super) basic: bool,
}

/// Reads the credentials of a request. Other schemes than Basic are ignored:
/// clients send empty and expired Bearers along with their body.
pub(super) fn presented(headers: &HeaderMap, params: &Params) -> Result<Presented, Refusal> {
    let mut basics = headers.get_all(AUTHORIZATION).iter().filter_map(|v| basic(v.as_bytes()));
    let Some(encoded) = basics.next() else {
        return Ok(Presented {
            client_id: params.client_id().unwrap_or_default().to_owned(),
            secret: SecretText::new(params.client_secret().unwrap_or_default().to_owned()),
            basic: false,
        });
    };
    if basics.next().is_some() || params.client_secret().is_some() {
        return Err(TWO_WAYS);
    }
    let (client_id, secret) = decode(encoded).ok_or(Refusal::UNDECODABLE)?;
    // Some libraries repeat the id in the body; a second id is a contradiction.
    if params.client_id().is_some_and(|id| id != client_id) {
        return Err(TWO_WAYS);
    }
    Ok(Presented { client_id, secret, basic: true })
}

/// What follows the scheme, if it is Basic.
fn basic(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(5)?;
    let ends = rest.first().is_none_or(|byte| *byte == b' ');
    (scheme.eq_ignore_ascii_case(b"basic") && ends).then(|| rest.trim_ascii())
}

/// Base64, then `id:secret`, then each of them as a form encodes it.
fn decode(encoded: &[u8]) -> Option<(String, SecretText)> {
    let bytes = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((form_decode(id)?, SecretText::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    if !decodable(text) {
        return None;
    }
    let spaced = Zeroizing::new(text.replace('+', " "));
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

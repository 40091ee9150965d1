//! A body as parameters: JSON, urlencoded or multipart.
//!
//! RFC 6749 knows urlencoded only; the clients of the APIs behind us send all
//! three, and some no Content-Type.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;
use futures::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use multer::{Constraints, Multipart, SizeLimit};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::error::Refusal;
use super::params::Params;

const MAX_FIELDS: usize = 32;
const MAX_FIELD_BYTES: u64 = 16 * 1024;

const NOT_JSON: Refusal = Refusal::invalid_request(
    "The body must be one JSON object whose parameters are strings, each given once.",
);
const NOT_TEXT: Refusal = Refusal::invalid_request("The body is not UTF-8 text.");
const NOT_MULTIPART: Refusal = Refusal::invalid_request(
    "The body must be a multipart/form-data of at most 32 small named fields in UTF-8.",
);
const JSON_AS_FORM: Refusal = Refusal::invalid_request(
    "The body looks like JSON but is declared as a form: send Content-Type: application/json.",
);
const WRONG_TYPE: Refusal = Refusal::invalid_request(
    "Content-Type must be application/json, application/x-www-form-urlencoded \
     or multipart/form-data.",
);

enum Form {
    Json,
    Urlencoded,
    Multipart(String),
}

/// Reads the parameters of a body.
pub(super) async fn params(headers: &HeaderMap, body: Bytes) -> Result<Params, Refusal> {
    match form_of(headers, &body)? {
        // Basic credentials need no body, whatever a client says its type is.
        _ if body.is_empty() => Ok(Params::default()),
        Form::Json => {
            serde_json::from_slice(&body).map(|JsonParams(params)| params).map_err(|_| NOT_JSON)
        }
        Form::Urlencoded => {
            let text = std::str::from_utf8(&body).map_err(|_| NOT_TEXT)?;
            if text.trim_start().starts_with('{') {
                return Err(JSON_AS_FORM);
            }
            let mut params = Params::default();
            params.put_form(text.trim_end_matches(['\r', '\n']))?;
            Ok(params)
        }
        Form::Multipart(boundary) => multipart(body, boundary).await,
    }
}

fn form_of(headers: &HeaderMap, body: &[u8]) -> Result<Form, Refusal> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = types.next() else {
        let json = body.trim_ascii_start().starts_with(b"{");
        return Ok(if json { Form::Json } else { Form::Urlencoded });
    };
    let text = value.to_str().ok().filter(|_| types.next().is_none()).ok_or(WRONG_TYPE)?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(Form::Json)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(Form::Urlencoded)
    } else if essence.eq_ignore_ascii_case("multipart/form-data") {
        multer::parse_boundary(text).map(Form::Multipart).map_err(|_| NOT_MULTIPART)
    } else {
        Err(WRONG_TYPE)
    }
}

async fn multipart(body: Bytes, boundary: String) -> Result<Params, Refusal> {
    let limits = Constraints::new().size_limit(SizeLimit::new().per_field(MAX_FIELD_BYTES));
    let whole = stream::iter([Ok::<_, Infallible>(body)]);
    let mut form = Multipart::with_constraints(whole, boundary, limits);
    let mut params = Params::default();
    for _ in 0..=MAX_FIELDS {
        let Some(field) = form.next_field().await.map_err(|_| NOT_MULTIPART)? else {
            return Ok(params);
        };
        let name = field.name().ok_or(NOT_MULTIPART)?.to_owned();
        let value = field.bytes().await.map_err(|_| NOT_MULTIPART)?;
        if Params::knows(&name) {
            let value = String::from_utf8(value.into()).map_err(|_| NOT_MULTIPART)?;
            params.put(&name, value)?;
        }
    }
    Err(NOT_MULTIPART)
}

/// Parameters as the members of an object.
struct JsonParams(Params);

impl<'de> Deserialize<'de> for JsonParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParamsVisitor).map(JsonParams)
    }
}

struct ParamsVisitor;

impl<'de> Visitor<'de> for ParamsVisitor {
    type Value = Params;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
        let mut params = Params::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let value = match &*name {
                "expires_in" => map.next_value::<Number>()?.0,
                // Null is a way to leave something out.
                name if Params::knows(name) => {
                    map.next_value::<Option<String>>()?.unwrap_or_default()
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            params.put(&name, value).map_err(|_| A::Error::custom("a parameter stands twice"))?;
        }
        Ok(params)
    }
}

/// A number, or a string with one in it, as text; judged further on.
struct Number(String);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor).map(Number)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    /// JSON has one kind of number: 1800.0 is 1800, and 1e30 is above any limit.
    fn visit_f64<E>(self, number: f64) -> Result<String, E> {
        Ok(if number.fract() == 0.0 { format!("{number:.0}") } else { number.to_string() })
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }
}

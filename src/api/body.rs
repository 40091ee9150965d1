//! A JSON body, read field by field, so that every fault can be told at once.
//!
//! Broken JSON, a field that stands twice and anything but an object are
//! refused whole: two readers must not see two things.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::timeout;

use super::error::ApiError;
use crate::domain::parse_duration;
use crate::service::FieldFault;

/// How long a body may take, however it dribbles in.
const DEADLINE: Duration = Duration::from_secs(10);

/// The fields that are left to be read, and what was wrong with the others.
pub(crate) struct Fields {
    left: BTreeMap<String, Value>,
    faults: Vec<FieldFault>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Fields::parse(&read(request, state).await?)
    }
}

/// The whole body.
async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let read = timeout(DEADLINE, Bytes::from_request(request, state)).await;
    let read = read.map_err(|_| {
        let text = "The body did not come within 10 seconds.";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", text).closing()
    })?;
    read.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let text = "The body is longer than 64 KiB.";
            return ApiError::new(rejection.status(), "content_too_large", text);
        }
        ApiError::broken("The body could not be read.")
    })
}

/// No body, or a JSON object without fields: what a call takes that needs none.
pub(crate) struct NoFields;

impl<S: Send + Sync> FromRequest<S> for NoFields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let MayBeFields(fields) = MayBeFields::from_request(request, state).await?;
        fields.finish(Vec::new()).map(|()| NoFields)
    }
}

/// Fields of which none is needed: no body is one without any.
pub(crate) struct MayBeFields(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for MayBeFields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = read(request, state).await?;
        let none = || Fields { left: BTreeMap::new(), faults: Vec::new() };
        let fields = if body.is_empty() { none() } else { Fields::parse(&body)? };
        Ok(MayBeFields(fields))
    }
}

impl Fields {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let Unique(left) = serde_json::from_slice(body).map_err(|error| {
            ApiError::broken(format!("The body must be one JSON object with unique keys: {error}."))
        })?;
        Ok(Fields { left, faults: Vec::new() })
    }

    /// Whether the field is there, and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there, `null` or not.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Takes those of `names` for faulty that are `null`.
    pub(crate) fn refuse_null(&mut self, names: &[&str]) {
        for name in names {
            if self.left.get(*name).is_some_and(Value::is_null) {
                self.left.remove(*name);
                self.faults.push(FieldFault::new(*name, "must not be null; leave it out instead"));
            }
        }
    }

    /// The fault of a field that must be there and is not.
    pub(crate) fn needs(&self, name: &str) -> Vec<FieldFault> {
        if self.has(name) { Vec::new() } else { vec![FieldFault::new(name, "is needed")] }
    }

    /// A duration of up to `longest`; nothing if it is missing or `null`.
    pub(crate) fn duration(&mut self, name: &str, longest: Duration) -> Option<Duration> {
        let text = self.text(name)?;
        let read = parse_duration(&text).filter(|read| *read <= longest);
        read.or_else(|| {
            let hours = longest.as_secs() / 3600;
            self.fault(
                name,
                &format!("must be a duration such as \"15m\", \"24h\", at most \"{hours}h\""),
            )
        })
    }

    /// A text; nothing if it is missing, `null` or not a text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.left.remove(name)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => self.fault(name, "must be a string"),
        }
    }

    /// A text that must be there.
    pub(crate) fn needed_text(&mut self, name: &str) -> String {
        if !self.has(name) {
            self.left.remove(name);
            self.faults.push(FieldFault::new(name, "is needed"));
            return String::new();
        }
        self.text(name).unwrap_or_default()
    }

    /// A list of texts; an empty one if it is missing or `null`.
    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(value) = self.left.remove(name) else { return Vec::new() };
        let texts = match value {
            Value::Null => Some(Vec::new()),
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        texts.or_else(|| self.fault(name, "must be a list of strings")).unwrap_or_default()
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&mut self, name: &str) -> Option<u64> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        value.as_u64().or_else(|| self.fault(name, "must be a whole number, 0 or more"))
    }

    fn fault<T>(&mut self, name: &str, message: &str) -> Option<T> {
        self.faults.push(FieldFault::new(name, message));
        None
    }

    /// All faults: what was wrong so far, fields that nobody asked for, and
    /// `more`, but for what is known of a field to be wrong already.
    pub(crate) fn finish(self, more: Vec<FieldFault>) -> Result<(), ApiError> {
        let mut faults = self.faults;
        let known: Vec<String> = faults.iter().map(|fault| fault.field.clone()).collect();
        faults.extend(more.into_iter().filter(|fault| !known.contains(&fault.field)));
        let unknown = self.left.into_keys();
        faults.extend(unknown.map(|name| FieldFault::new(name, "is no field of this call")));
        if faults.is_empty() { Ok(()) } else { Err(ApiError::fields(faults)) }
    }
}

/// A JSON object in which no key stands twice.
struct Unique(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if fields.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                }
                Ok(Unique(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_with_unique_keys() {
        for bad in [
            "",
            "null",
            "[]",
            "\"x\"",
            "{",
            "{}{}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"a\":}",
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":1,}",
        ] {
            assert!(Fields::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(Fields::parse(b" {\"a\": null} ").is_ok());
    }
}

//! A query string, read parameter by parameter, so that every fault can be told
//! at once; and the pages of lists.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use crate::service::FieldFault;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// The form of cursors. Another form gets another number, and old ones are
/// refused instead of misread.
const CURSOR_VERSION: u8 = 1;

/// The parameters that are left to be read, and what was wrong with the others.
pub(crate) struct Params {
    left: BTreeMap<String, String>,
    faults: Vec<FieldFault>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = Params { left: BTreeMap::new(), faults: Vec::new() };
        let query = parts.uri.query().unwrap_or_default();
        // Pairs are parted by ASCII: what is no UTF-8 as a whole isn't in a part.
        if percent_decode_str(query).decode_utf8().is_err() {
            return Err(ApiError::broken("The query must be UTF-8, percent-encoded."));
        }
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if params.left.insert(name.to_string(), value.into_owned()).is_some() {
                params.fault(&name, "must stand only once");
            }
        }
        Ok(params)
    }
}

impl Params {
    /// A parameter; one without a value counts as missing.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.left.remove(name).filter(|value| !value.is_empty())
    }

    /// A parameter that `read` makes something of.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        message: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = read(&text);
        if value.is_none() {
            self.fault(name, message);
        }
        value
    }

    /// How many items a page may have: no more than 200, whoever asks for more.
    pub(crate) fn limit(&mut self) -> usize {
        let fits = |text: &str| text.parse().ok().filter(|n| *n > 0);
        let limit = self.read("limit", "must be a whole number, 1 or more", fits);
        limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)
    }

    /// The place that `next_cursor` of the last page gave out for the same list.
    pub(crate) fn cursor<T>(
        &mut self,
        list: u8,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let message = "must be what next_cursor of the page before said";
        self.read("cursor", message, |text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            read(bytes.strip_prefix(&[CURSOR_VERSION, list])?)
        })
    }

    fn fault(&mut self, name: &str, message: &str) {
        self.faults.push(FieldFault::new(name, message));
    }

    /// All faults, parameters that nobody asked for among them: a filter with a
    /// typing error must not list everything.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        for name in std::mem::take(&mut self.left).into_keys() {
            self.fault(&name, "is no parameter of this call");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(ApiError::fields(self.faults)) }
    }
}

/// Writes a place in a list so that [`Params::cursor`] reads it.
pub(crate) fn cursor(list: u8, place: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([&[CURSOR_VERSION, list], place].concat())
}

/// The page of a list that is held in memory and does not change.
pub(crate) fn page_of<'a, T, V>(
    items: &'a [T],
    list: u8,
    params: &mut Params,
    view: impl Fn(&'a T) -> V,
) -> (Vec<V>, Option<String>) {
    let limit = params.limit();
    let place = params.cursor(list, |place| Some(u32::from_be_bytes(place.try_into().ok()?)));
    let start = place.and_then(|place| usize::try_from(place).ok()).unwrap_or(0);
    let page: Vec<V> = items.iter().skip(start).take(limit).map(view).collect();
    let end = start.saturating_add(page.len());
    let next = u32::try_from(end).ok().filter(|_| end < items.len());
    (page, next.map(|place| cursor(list, &place.to_be_bytes())))
}

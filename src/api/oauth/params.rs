//! The parameters of a request, each at most once (RFC 6749 section 3.2).

use form_urlencoded::parse;
use percent_encoding::percent_decode_str;

use super::error::Refusal;
use crate::domain::SecretText;

/// What we know to read; everything else is ignored, as the RFC says. It has no
/// Debug: there are secrets in it.
#[derive(Default)]
pub(super) struct Params {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretText>,
    scope: Option<String>,
    expires_in: Option<String>,
    token: Option<SecretText>,
    access_token: Option<SecretText>,
}

/// A parameter stands twice.
pub(super) struct Twice;

impl From<Twice> for Refusal {
    fn from(_: Twice) -> Self {
        Refusal::invalid_request("A parameter is given more than once.")
    }
}

impl Params {
    /// Whether this is a parameter that we read.
    pub(super) fn knows(name: &str) -> bool {
        const NAMES: [&str; 7] = [
            "grant_type",
            "client_id",
            "client_secret",
            "scope",
            "expires_in",
            "token",
            "access_token",
        ];
        NAMES.contains(&name)
    }

    /// Takes one in, even an empty one.
    pub(super) fn put(&mut self, name: &str, value: String) -> Result<(), Twice> {
        match name {
            "grant_type" => once(&mut self.grant_type, value),
            "client_id" => once(&mut self.client_id, value),
            "client_secret" => once(&mut self.client_secret, SecretText::new(value)),
            "scope" => once(&mut self.scope, value),
            "expires_in" => once(&mut self.expires_in, value),
            "token" => once(&mut self.token, SecretText::new(value)),
            "access_token" => once(&mut self.access_token, SecretText::new(value)),
            _ => Ok(()),
        }
    }

    /// Takes in a urlencoded form, of a body or a query, that is wholly decodable.
    pub(super) fn put_form(&mut self, form: &str) -> Result<(), Refusal> {
        if !decodable(form) {
            return Err(Refusal::invalid_request(
                "The parameters hold a broken percent-escape, or are not UTF-8.",
            ));
        }
        for (name, value) in parse(form.as_bytes()) {
            self.put(&name, value.into_owned())?;
        }
        Ok(())
    }

    /// The query of the token endpoint: `expires_in` may stand there, and
    /// nothing else that counts (RFC 6749 section 2.3.1).
    pub(super) fn put_token_query(&mut self, query: Option<&str>) -> Result<(), Refusal> {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(()) };
        let mut found = Params::default();
        found.put_form(query)?;
        if let Some(expires_in) = found.expires_in.take() {
            self.put("expires_in", expires_in)?;
        }
        let stray = parse(query.as_bytes()).any(|(name, _)| {
            const ELSE: [&str; 3] = ["client_assertion", "password", "refresh_token"];
            name != "expires_in" && (Params::knows(&name) || ELSE.contains(&&*name))
        });
        if stray {
            return Err(Refusal::invalid_request(
                "Only expires_in may stand in the query; send the other parameters in the body.",
            ));
        }
        Ok(())
    }

    pub(super) fn grant_type(&self) -> Option<&str> {
        given(self.grant_type.as_deref())
    }

    pub(super) fn client_id(&self) -> Option<&str> {
        given(self.client_id.as_deref())
    }

    pub(super) fn client_secret(&self) -> Option<&str> {
        given(self.client_secret.as_ref().map(SecretText::expose))
    }

    pub(super) fn scope(&self) -> Option<&str> {
        given(self.scope.as_deref())
    }

    pub(super) fn expires_in(&self) -> Option<&str> {
        given(self.expires_in.as_deref())
    }

    pub(super) fn token(&self) -> Option<&str> {
        given(self.token.as_ref().map(SecretText::expose))
    }

    pub(super) fn access_token(&self) -> Option<&str> {
        given(self.access_token.as_ref().map(SecretText::expose))
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Twice> {
    if slot.is_some() {
        return Err(Twice);
    }
    *slot = Some(value);
    Ok(())
}

/// One sent without a value is treated as one left out (RFC 6749 section 3.2).
fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

/// Whether every `%` begins an escape, and all of it is UTF-8. The form parser
/// would repair what is not.
pub(super) fn decodable(text: &str) -> bool {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let whole = text.split('%').skip(1).all(|rest| {
        let bytes = rest.as_bytes();
        hex(bytes.first()) && hex(bytes.get(1))
    });
    whole && percent_decode_str(text).decode_utf8().is_ok()
}

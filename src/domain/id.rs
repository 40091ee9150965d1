//! Names and ids, each its own type so that none can stand in for another.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Why a name was refused. The text completes "must …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must {0}")]
pub struct NameError(pub &'static str);

/// The most characters of any name here, and of a scope.
pub const LONGEST_NAME: usize = 128;

/// A name that stands in paths, scopes, headers and labels as it is:
/// letters, digits, `-`, `_` and `.`, never only dots.
fn check_name(text: &str, longest: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError("not be empty"));
    }
    if text.len() > longest {
        return Err(NameError("be at most 128 characters long"));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(NameError("be made of letters, digits, '-', '_' and '.' only"));
    }
    if text.bytes().all(|b| b == b'.') {
        return Err(NameError("not be made of dots only"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes letters, digits, `-`, `_` and `.`, up to 128 of them.
            ///
            /// # Errors
            /// What the text must be, when it is not.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_name(text, LONGEST_NAME)?;
                Ok($type(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The tenant a credential is bound to.
    AccountId
}
name! {
    /// A stage of an account (`production`, or an opaque id).
    EnvironmentId
}
name! {
    /// The id of a predefined role (`campaign-operator`).
    RoleId
}
name! {
    /// The name of a route; a metric label.
    RouteName
}
name! {
    /// The name of an upstream; a metric label.
    UpstreamName
}
name! {
    /// The name of an administrator.
    AdminName
}
name! {
    /// The id of a signing key: its RFC 7638 thumbprint.
    Kid
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type([u8; 16]);

        impl $type {
            /// A version 4 UUID made from 16 random bytes.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                $type(uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes())
            }

            /// From its 16 bytes, as they were stored.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                $type(bytes)
            }

            /// Reads the hyphenated form, in lower case, and no other:
            /// one id has one spelling.
            pub fn parse(text: &str) -> Option<Self> {
                let id = Uuid::try_parse(text).ok()?;
                let mut buffer = [0; 36];
                (&*id.hyphenated().encode_lower(&mut buffer) == text).then(|| $type(id.into_bytes()))
            }

            /// Its 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(Uuid::from_bytes_ref(&self.0).as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_id! {
    /// The public half of a credential.
    ClientId
}
uuid_id! {
    /// The id of one token (RFC 7519 section 4.1.7).
    Jti
}

/// Which of a credential's secrets: counted from 1, never used twice.
pub type Generation = u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_in_a_path() {
        for good in ["1", "campaign-operator", "a.b_c", "..a"] {
            assert!(AccountId::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(129);
        for bad in ["", ".", "..", "a/b", "a b", "é", "a%2e", "*", long.as_str()] {
            assert!(AccountId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = ClientId::from_random([0xab; 16]);
        assert_eq!(ClientId::parse(&id.to_string()), Some(id));
        assert_eq!(ClientId::parse(&id.to_string().to_uppercase()), None);
        assert_eq!(ClientId::parse(&format!("{{{id}}}")), None);
        assert_eq!(ClientId::parse(&id.to_string().replace('-', "")), None);
    }
}

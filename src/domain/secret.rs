//! Secrets that we mint: their text, their checksum, their hash.
//!
//! A secret is 64 letters and digits: a four-letter prefix by which scanners
//! find a leaked one, 54 random ones (321 bits) and a six-letter checksum by
//! which a typing error is told from a wrong secret before any look-up.
//! Nothing here can be serialised or printed by accident.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use super::{Entropy, EntropyError};

const LENGTH: usize = 64;
const CHECKSUM: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text of a secret: wiped when dropped, shown by [`SecretText::expose`] only.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Wraps what a caller presented.
    pub fn new(text: String) -> Self {
        SecretText(Zeroizing::new(text))
    }

    /// The secret itself, to show it once or to hash it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

macro_rules! secret {
    ($(#[$doc:meta])* $type:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $type(SecretText);

        impl $type {
            /// What every one of them begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a new one.
            ///
            /// # Errors
            /// When there is no randomness to be had.
            pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
                generate(Self::PREFIX, entropy).map($type)
            }

            /// True if prefix, length, alphabet and checksum are right.
            pub fn well_formed(text: &str) -> bool {
                well_formed(Self::PREFIX, text)
            }

            /// The secret itself, to show it once or to hash it.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }
        }
    };
}

secret! {
    /// The secret half of a credential.
    ClientSecret, "pcs1"
}
secret! {
    /// The key of an administrator.
    AdminKey, "pak1"
}

fn generate(prefix: &str, entropy: &dyn Entropy) -> Result<SecretText, EntropyError> {
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    text.push_str(prefix);
    let mut bytes = Zeroizing::new([0u8; 64]);
    while text.len() < LENGTH - CHECKSUM {
        entropy.fill(bytes.as_mut())?;
        // 248 = 4 * 62: what lies above would make some letters likelier.
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if text.len() < LENGTH - CHECKSUM {
                push_digit(&mut text, u32::from(*byte));
            }
        }
    }
    let mut sum = checksum(&text);
    for _ in 0..CHECKSUM {
        push_digit(&mut text, sum);
        sum /= 62;
    }
    Ok(SecretText(text))
}

fn push_digit(text: &mut String, value: u32) {
    let digit = ALPHABET.get((value % 62) as usize).copied().unwrap_or(b'0');
    text.push(char::from(digit));
}

/// The first four bytes of SHA-256: a typing check, not a defence.
fn checksum(text: &str) -> u32 {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().take(4).fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
}

fn well_formed(prefix: &str, text: &str) -> bool {
    if text.len() != LENGTH
        || !text.starts_with(prefix)
        || !text.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return false;
    }
    let (body, given) = text.split_at(LENGTH - CHECKSUM);
    let mut expected = String::with_capacity(CHECKSUM);
    let mut sum = checksum(body);
    for _ in 0..CHECKSUM {
        push_digit(&mut expected, sum);
        sum /= 62;
    }
    expected == given
}

/// What is kept of a secret: HMAC-SHA-256 under the gateway's own key. Secrets
/// are random and long, so a slow password hash would only throttle ourselves.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// From its 32 bytes, as they were stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        SecretHash(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

/// Hashes and compares secrets.
pub struct SecretHasher(hmac::Key);

impl fmt::Debug for SecretHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHasher")
    }
}

impl SecretHasher {
    /// With the gateway's own key, which never leaves it.
    pub fn new(key: &[u8; 32]) -> Self {
        SecretHasher(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The hash that is kept.
    pub fn hash(&self, secret: &str) -> SecretHash {
        let tag = hmac::sign(&self.0, secret.as_bytes());
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        SecretHash(bytes)
    }

    /// Compares in constant time.
    pub fn matches(&self, secret: &str, hash: &SecretHash) -> bool {
        verify_slices_are_equal(&self.hash(secret).0, &hash.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    #[test]
    fn sixty_four_letters_and_digits_with_a_checksum() {
        let secret = ClientSecret::generate(&SystemEntropy).unwrap();
        let text = secret.expose().to_owned();
        assert_eq!(text.len(), 64);
        assert!(ClientSecret::well_formed(&text));
        assert!(!AdminKey::well_formed(&text));
        for place in 0..64 {
            let mut typo = text.clone().into_bytes();
            typo[place] = if typo[place] == b'x' { b'y' } else { b'x' };
            assert!(!ClientSecret::well_formed(std::str::from_utf8(&typo).unwrap()), "{place}");
        }
        assert_eq!(format!("{secret:?}"), "ClientSecret([secret])");
    }

    #[test]
    fn a_hash_knows_its_secret_and_its_key() {
        let hasher = SecretHasher::new(&[1; 32]);
        let hash = hasher.hash("a");
        assert!(hasher.matches("a", &hash));
        assert!(!hasher.matches("b", &hash));
        assert!(!SecretHasher::new(&[2; 32]).matches("a", &hash));
    }
}

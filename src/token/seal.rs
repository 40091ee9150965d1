//! Encryption at rest under the gateway's master key: AES-256-GCM (NIST SP
//! 800-38D) with a key of its own, derived by HKDF-SHA-256 (RFC 5869).
//!
//! Each purpose has its own derived key, so that none can stand in for another.
//! Nonces are random: one key is good for some 2^32 seals, far beyond any store
//! of signing keys.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::domain::{Entropy, EntropyError};

/// Sealed bytes begin with it, so that there can be another form one day.
const VERSION: u8 = 1;

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No randomness, no nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The cipher refused to work.
    #[error("the cipher failed")]
    Cipher,
    /// Not sealed by us, for this, or not whole.
    #[error("was sealed with another key or for another purpose, or is damaged")]
    NotOurs,
}

/// Seals and opens small secrets.
pub struct Sealer(LessSafeKey);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// With a key derived from the gateway's master key.
    ///
    /// # Errors
    /// [`SealError::Cipher`] when the library has no such cipher.
    pub fn new(master: &[u8; 32]) -> Result<Self, SealError> {
        let key = derive(master, b"portcullis seal v1");
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| SealError::Cipher)?;
        Ok(Sealer(LessSafeKey::new(key)))
    }

    /// Encrypts. `context` says what it is and for whom; it is not stored, and
    /// [`Sealer::open`] wants the same one.
    ///
    /// # Errors
    /// When there is no randomness to be had, or the cipher fails.
    pub fn seal(
        &self,
        context: &str,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;
        let mut body = Zeroizing::new(plain.to_vec());
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce_used, Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| SealError::Cipher)?;
        Ok([&[VERSION], nonce.as_slice(), &body, tag.as_ref()].concat())
    }

    /// Decrypts what was sealed for the same context.
    ///
    /// # Errors
    /// [`SealError::NotOurs`] when anything about it is different.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(SealError::NotOurs)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::NotOurs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::NotOurs)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| SealError::NotOurs)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

/// The key for [`crate::domain::SecretHasher`].
pub fn derive_secret_hash_key(master: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    derive(master, b"portcullis secret hash v1")
}

/// HKDF-SHA-256 for one block of output, where the two steps of RFC 5869 are one
/// HMAC each. Unlike the library's own it can't fail, so that no caller has to
/// think of what to do without a key; a test compares the two.
fn derive(master: &[u8; 32], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let salt = hmac::Key::new(hmac::HMAC_SHA256, b"portcullis");
    let prk = hmac::sign(&salt, master);
    let mut expand = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, prk.as_ref()));
    expand.update(info);
    expand.update(&[1]);
    let mut key = Zeroizing::new([0; 32]);
    for (to, from) in key.iter_mut().zip(expand.sign().as_ref()) {
        *to = *from;
    }
    key
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hkdf;

    use super::*;
    use crate::domain::SystemEntropy;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        for plain in [&b""[..], b"a", &[0; 1200]] {
            let sealed = sealer.seal("signing-key/1", plain, &SystemEntropy).unwrap();
            assert_eq!(sealed.len(), plain.len() + 1 + 12 + 16);
            assert_eq!(&**sealer.open("signing-key/1", &sealed).unwrap(), plain);
            assert!(sealer.open("signing-key/2", &sealed).is_err());
            assert!(Sealer::new(&[8; 32]).unwrap().open("signing-key/1", &sealed).is_err());
        }
        let sealed = sealer.seal("c", b"secret", &SystemEntropy).unwrap();
        assert_ne!(sealed, sealer.seal("c", b"secret", &SystemEntropy).unwrap());
        for place in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[place] ^= 1;
            assert!(sealer.open("c", &bad).is_err(), "{place}");
            assert!(sealer.open("c", &sealed[..place]).is_err(), "{place}");
        }
        assert_eq!(format!("{sealer:?}"), "Sealer");
    }

    #[test]
    fn no_randomness_no_seal() {
        struct Dry;
        impl Entropy for Dry {
            fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
                Err(EntropyError("dry".to_owned()))
            }
        }
        let sealed = Sealer::new(&[7; 32]).unwrap().seal("c", b"secret", &Dry);
        assert!(matches!(sealed, Err(SealError::Entropy(_))));
    }

    #[test]
    fn derives_as_rfc_5869_says_and_apart() {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis").extract(&[7; 32]);
        let mut expected = [0; 32];
        prk.expand(&[b"portcullis seal v1"], hkdf::HKDF_SHA256)
            .unwrap()
            .fill(&mut expected)
            .unwrap();
        assert_eq!(*derive(&[7; 32], b"portcullis seal v1"), expected);
        assert_ne!(*derive_secret_hash_key(&[7; 32]), expected);
    }
}

//! Private keys: read from PKCS#8 (RFC 5958), used to sign, never shown.
//!
//! They have no serialisation and a redacted Debug. The key pair is parsed once:
//! the JOSE library would read the DER again for every signature.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Algorithm, VerifyingKey};
use crate::domain::Kid;

/// Why a key was refused or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither Ed25519, nor P-256, nor RSA.
    #[error("is no Ed25519, P-256 or RSA key in the form asked for (private: PKCS#8)")]
    Unsupported,
    /// RSA below 2048 bits (RFC 7518 section 3.3).
    #[error("is an RSA key of fewer than 2048 bits")]
    WeakRsa,
    /// No PEM with exactly one `PRIVATE KEY` block.
    #[error("must be PEM with one unencrypted PKCS#8 block, 'BEGIN PRIVATE KEY'")]
    NotPem,
    /// A public JWK that carries a private part.
    #[error("has a private member where a public key was asked for")]
    PrivateMember,
    /// A JWK for encryption, or for another algorithm.
    #[error("is not meant for checking signatures with its algorithm")]
    WrongPurpose,
    /// A JWK whose `kid` is not its thumbprint.
    #[error("has a kid that is not its RFC 7638 thumbprint")]
    WrongKid,
    /// The generator failed.
    #[error("could not be generated")]
    Generation,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// Signs tokens.
pub struct SigningKey {
    pair: Pair,
    public: VerifyingKey,
    /// The encoded header of every token it signs, with the dot.
    header: String,
}

impl SigningKey {
    /// Reads a PKCS#8 document (RFC 5958). The algorithm follows from the key:
    /// Ed25519 is `EdDSA`, P-256 `ES256`, RSA from 2048 to 8192 bits `RS256`.
    ///
    /// # Errors
    /// When it is none of these, or damaged.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            let public = VerifyingKey::ed25519(pair.public_key().as_ref())?;
            return Ok(Self::new(Pair::Ed25519(pair), public));
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            let public = VerifyingKey::p256(pair.public_key().as_ref())?;
            return Ok(Self::new(Pair::P256(pair), public));
        }
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|rejected| {
            if rejected.to_string() == "TooSmall" {
                KeyError::WeakRsa
            } else {
                KeyError::Unsupported
            }
        })?;
        let public = VerifyingKey::rsa(pair.public_key().as_ref())?;
        Ok(Self::new(Pair::Rsa(pair), public))
    }

    /// Reads the one `PRIVATE KEY` block of a PEM file (RFC 7468 section 10).
    ///
    /// # Errors
    /// When there is no such block or more than one, and as for
    /// [`SigningKey::from_pkcs8`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut blocks = pem::parse_many(text).map_err(|_| KeyError::NotPem)?.into_iter();
        let (Some(block), None) = (blocks.next(), blocks.next()) else {
            return Err(KeyError::NotPem);
        };
        if block.tag() != "PRIVATE KEY" {
            return Err(KeyError::NotPem);
        }
        Self::from_pkcs8(&Zeroizing::new(block.into_contents()))
    }

    fn new(pair: Pair, public: VerifyingKey) -> Self {
        let (alg, kid) = (public.algorithm(), public.kid());
        // Both are made of characters that JSON takes as they are.
        let header = format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"{kid}"}}"#);
        let header = URL_SAFE_NO_PAD.encode(header) + ".";
        SigningKey { pair, public, header }
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// Its RFC 7638 thumbprint.
    pub fn kid(&self) -> &Kid {
        self.public.kid()
    }

    /// Its public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public.clone()
    }

    pub(super) fn header(&self) -> &str {
        &self.header
    }

    /// The JWS signature over `message`; `None` if the library failed.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message).ok().map(|it| it.as_ref().to_vec()),
            Pair::P256(pair) => pair.sign(&random, message).ok().map(|it| it.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {} [secret])", self.algorithm(), self.kid())
    }
}

/// Makes a new private key, as PKCS#8 DER that is wiped when dropped. RSA keys
/// have 2048 bits.
///
/// # Errors
/// [`KeyError::Generation`] when the library could not.
pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let failed = |_| KeyError::Generation;
    let document = match algorithm {
        // Version 1 of the format: every OpenSSL reads it.
        Algorithm::EdDsa => {
            let document = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
            document.map_err(failed)?.as_ref().to_vec()
        }
        Algorithm::Es256 => {
            let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .and_then(|pair| pair.to_pkcs8v1());
            document.map_err(failed)?.as_ref().to_vec()
        }
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            pair.as_der().map_err(failed)?.as_ref().to_vec()
        }
    };
    Ok(Zeroizing::new(document))
}

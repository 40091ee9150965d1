//! A public key with the one algorithm it is for (RFC 7517, RFC 7638).
//!
//! The algorithm follows from the key's own type: a token has no say in it.
//! Nothing private ever enters: a JWK with a private member is refused.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters,
    EllipticCurveKeyType, Jwk, KeyAlgorithm, KeyOperations, OctetKeyPairParameters,
    OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType, ThumbprintHash,
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Algorithm, KeyError};
use crate::domain::Kid;

/// RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2.
pub(super) const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Checks signatures. Its Debug shows public things only.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    kid: Kid,
    algorithm: Algorithm,
    key: DecodingKey,
    jwk: Value,
}

impl VerifyingKey {
    /// From a public JWK (RFC 7517 section 4): Ed25519, P-256, or RSA of 2048 to
    /// 8192 bits. The id is always the key's thumbprint.
    ///
    /// # Errors
    /// When it is no such key, has a private member, is meant for something
    /// else (`use`, `key_ops`, `alg`), or has another `kid`.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        if PRIVATE_MEMBERS.iter().any(|member| jwk.get(member).is_some()) {
            return Err(KeyError::PrivateMember);
        }
        let jwk: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| KeyError::Unsupported)?;
        let key = Self::new(jwk.algorithm)?;
        let CommonParameters { public_key_use, key_operations, key_algorithm, key_id, .. } =
            jwk.common;
        let alg = KeyAlgorithm::from(key.algorithm.jose());
        let for_us = public_key_use.is_none_or(|it| it == PublicKeyUse::Signature)
            && key_operations.is_none_or(|it| it.contains(&KeyOperations::Verify))
            && key_algorithm.is_none_or(|it| it == alg);
        if !for_us {
            return Err(KeyError::WrongPurpose);
        }
        if key_id.is_some_and(|kid| kid != key.kid.as_str()) {
            return Err(KeyError::WrongKid);
        }
        Ok(key)
    }

    /// From the 32 bytes of an Ed25519 public key.
    pub(super) fn ed25519(public: &[u8]) -> Result<Self, KeyError> {
        let parameters = OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: URL_SAFE_NO_PAD.encode(public),
        };
        Self::new(AlgorithmParameters::OctetKeyPair(parameters))
    }

    /// From an uncompressed point on P-256 (SEC 1 section 2.3.3).
    pub(super) fn p256(point: &[u8]) -> Result<Self, KeyError> {
        let coordinates = point.strip_prefix(&[4]).ok_or(KeyError::Unsupported)?;
        let (x, y) = coordinates.split_at_checked(32).ok_or(KeyError::Unsupported)?;
        let parameters = EllipticCurveKeyParameters {
            key_type: EllipticCurveKeyType::EC,
            curve: EllipticCurve::P256,
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        };
        Self::new(AlgorithmParameters::EllipticCurve(parameters))
    }

    /// From an `RSAPublicKey` (RFC 8017 appendix A.1.1).
    pub(super) fn rsa(public: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(public)
            .map_err(|_| KeyError::Unsupported)?;
        let parameters = RSAKeyParameters {
            key_type: RSAKeyType::RSA,
            n: URL_SAFE_NO_PAD.encode(n),
            e: URL_SAFE_NO_PAD.encode(e),
        };
        Self::new(AlgorithmParameters::RSA(parameters))
    }

    fn new(parameters: AlgorithmParameters) -> Result<Self, KeyError> {
        let algorithm = checked_algorithm(&parameters)?;
        let mut jwk = Jwk { common: CommonParameters::default(), algorithm: parameters };
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Unsupported)?;
        let kid = Kid::new(&kid).map_err(|_| KeyError::Unsupported)?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::Unsupported)?;
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(algorithm.jose().into());
        jwk.common.key_id = Some(kid.as_str().to_owned());
        let jwk = serde_json::to_value(&jwk).map_err(|_| KeyError::Unsupported)?;
        Ok(VerifyingKey { kid, algorithm, key, jwk })
    }

    /// Its RFC 7638 thumbprint.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The only algorithm it is used with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public JWK with `use`, `alg` and `kid` (RFC 7517 section 4).
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// True if `signature`, base64url, is one over `message` by this key.
    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        // Named outright: the process-wide provider is whatever was installed first.
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.jose(), &self.key)
            .is_ok_and(|verifier| verifier.verify(message.as_bytes(), &signature).is_ok())
    }
}

/// The algorithm that a key of this type is for. Refuses at once what the
/// library would only refuse at every signature: bad base64url, a point that is
/// not on its curve, weak or degenerate numbers.
fn checked_algorithm(parameters: &AlgorithmParameters) -> Result<Algorithm, KeyError> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Unsupported);
    if let AlgorithmParameters::OctetKeyPair(key) = parameters
        && key.curve == EllipticCurve::Ed25519
    {
        ParsedPublicKey::new(&ED25519, decode(&key.x)?).map_err(|_| KeyError::Unsupported)?;
        return Ok(Algorithm::EdDsa);
    }
    if let AlgorithmParameters::EllipticCurve(key) = parameters
        && key.curve == EllipticCurve::P256
    {
        let (x, y) = (decode(&key.x)?, decode(&key.y)?);
        if x.len() != 32 || y.len() != 32 {
            return Err(KeyError::Unsupported);
        }
        let point = [&[4][..], &x, &y].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| KeyError::Unsupported)?;
        return Ok(Algorithm::Es256);
    }
    if let AlgorithmParameters::RSA(key) = parameters {
        check_rsa(&decode(&key.n)?, &decode(&key.e)?)?;
        return Ok(Algorithm::Rs256);
    }
    Err(KeyError::Unsupported)
}

/// 2048 to 8192 bits, an odd exponent from 3 to 32 bits.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), KeyError> {
    // RFC 7518 section 6.3.1.1: no leading zero, so the length is the size.
    let top = n.first().copied().unwrap_or(0);
    if top == 0 || n.len() < 256 || (n.len() == 256 && top < 0x80) {
        return Err(KeyError::WeakRsa);
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let exponent = odd(e) && e.len() <= 4 && e != [1] && e.first() != Some(&0);
    if n.len() > 1024 || !odd(n) || !exponent {
        return Err(KeyError::Unsupported);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thumbprints_of_the_rfcs() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let ed = VerifyingKey::from_jwk(&ed).unwrap();
        assert_eq!(ed.kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let rsa = json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "n": concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_",
            "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_",
            "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4",
            "vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")});
        let rsa = VerifyingKey::from_jwk(&rsa).unwrap();
        assert_eq!(rsa.kid().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(rsa.algorithm(), Algorithm::Rs256);
    }

    #[test]
    fn a_jwk_is_a_public_signing_key_or_refused() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let good = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        let again = VerifyingKey::from_jwk(&good).unwrap().jwk().clone();
        assert_eq!(VerifyingKey::from_jwk(&again).unwrap().jwk(), &again);
        for (member, value, error) in [
            ("d", json!("AAAA"), KeyError::PrivateMember),
            ("k", json!(null), KeyError::PrivateMember),
            ("use", json!("enc"), KeyError::WrongPurpose),
            ("key_ops", json!(["sign"]), KeyError::WrongPurpose),
            ("alg", json!("ES256"), KeyError::WrongPurpose),
            ("kid", json!("other"), KeyError::WrongKid),
            ("crv", json!("Ed448"), KeyError::Unsupported),
            ("crv", json!("P-256"), KeyError::Unsupported),
            ("x", json!("AAAA"), KeyError::Unsupported),
            ("kty", json!("oct"), KeyError::Unsupported),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert_eq!(VerifyingKey::from_jwk(&bad).err(), Some(error), "{bad}");
        }
        assert!(VerifyingKey::from_jwk(&json!([])).is_err());
    }

    #[test]
    fn rsa_numbers_are_not_degenerate() {
        let number = |first: u8, length: usize, last: u8| {
            let mut bytes = vec![0xaa; length];
            bytes[0] = first;
            bytes[length - 1] = last;
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let jwk = |n: &str, e: &str| json!({"kty": "RSA", "n": n, "e": e});
        let good = number(0x80, 256, 1);
        assert!(VerifyingKey::from_jwk(&jwk(&good, "AQAB")).is_ok());
        assert!(VerifyingKey::from_jwk(&jwk(&number(1, 257, 1), "Aw")).is_ok());
        for (n, e, error) in [
            (number(0x80, 128, 1), "AQAB", KeyError::WeakRsa),
            (number(0x7f, 256, 1), "AQAB", KeyError::WeakRsa),
            (number(0, 257, 1), "AQAB", KeyError::WeakRsa),
            (String::new(), "AQAB", KeyError::WeakRsa),
            (number(0x80, 1025, 1), "AQAB", KeyError::Unsupported),
            (number(0x80, 256, 2), "AQAB", KeyError::Unsupported),
            (good.clone(), "AQ", KeyError::Unsupported),
            (good.clone(), "AAEAAQ", KeyError::Unsupported),
            (good.clone(), "AQAA", KeyError::Unsupported),
            (good.clone(), "", KeyError::Unsupported),
            (good.clone(), "AQAB==", KeyError::Unsupported),
        ] {
            assert_eq!(VerifyingKey::from_jwk(&jwk(&n, e)).err(), Some(error), "{n} {e}");
        }
    }
}

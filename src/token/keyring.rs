//! The keys of one moment: one that signs, all that are still believed.
//!
//! A kid is a name in this map and nothing else: no path, no query, no URL.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{SigningKey, VerifyingKey};

/// Immutable; a rotation makes another one.
#[derive(Debug)]
pub struct Keyring {
    signing: Arc<SigningKey>,
    keys: HashMap<String, VerifyingKey>,
    jwks: Value,
}

impl Keyring {
    /// `others` are former keys, whose tokens still live. One that stands there
    /// twice, or is the signing key itself, counts once.
    pub fn new(signing: Arc<SigningKey>, others: Vec<VerifyingKey>) -> Self {
        let mut keys = HashMap::with_capacity(others.len() + 1);
        let mut published = Vec::with_capacity(others.len() + 1);
        for key in std::iter::once(signing.verifying_key()).chain(others) {
            if !keys.contains_key(key.kid().as_str()) {
                published.push(key.jwk().clone());
                keys.insert(key.kid().as_str().to_owned(), key);
            }
        }
        Keyring { signing, keys, jwks: json!({ "keys": published }) }
    }

    /// The key of this name.
    pub fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// Also believes `key` under a name that is not its thumbprint: test
    /// vectors have names of their own.
    #[cfg(test)]
    pub(super) fn alias(&mut self, kid: String, key: VerifyingKey) {
        self.keys.insert(kid, key);
    }

    /// The names of all keys that are believed.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The key that signs.
    pub fn signing(&self) -> &Arc<SigningKey> {
        &self.signing
    }

    /// All public keys, the signing one's first (RFC 7517 section 5).
    pub fn jwks(&self) -> Value {
        self.jwks.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::verifying_key::PRIVATE_MEMBERS;
    use super::super::{Algorithm, KeyError, generate};
    use super::*;

    fn new_key(algorithm: Algorithm) -> Arc<SigningKey> {
        let key = SigningKey::from_pkcs8(&generate(algorithm).unwrap()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        Arc::new(key)
    }

    #[test]
    fn publishes_public_members_only() {
        let (ed, ec, rsa) =
            (new_key(Algorithm::EdDsa), new_key(Algorithm::Es256), new_key(Algorithm::Rs256));
        let others = vec![ec.verifying_key(), rsa.verifying_key(), ed.verifying_key()];
        let ring = Keyring::new(ed.clone(), others);
        let jwks = ring.jwks();
        let keys = jwks["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 3);
        assert_eq!(keys[0]["kid"], ed.kid().as_str());
        for (jwk, members) in keys.iter().zip([
            vec!["alg", "crv", "kid", "kty", "use", "x"],
            vec!["alg", "crv", "kid", "kty", "use", "x", "y"],
            vec!["alg", "e", "kid", "kty", "n", "use"],
        ]) {
            let mut found: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
            found.sort_unstable();
            assert_eq!(found, members);
            assert!(PRIVATE_MEMBERS.iter().all(|member| jwk.get(member).is_none()));
            assert_eq!(jwk["use"], "sig");
            let kid = jwk["kid"].as_str().unwrap();
            assert_eq!(jwk["alg"], ring.get(kid).unwrap().algorithm().as_str());
            let again = VerifyingKey::from_jwk(jwk).unwrap();
            assert_eq!(again.jwk(), jwk);
        }
        assert!(ring.get("").is_none());
        assert!(ring.get("../../etc/passwd").is_none());
    }

    #[test]
    fn a_private_key_shows_nothing() {
        let der = generate(Algorithm::EdDsa).unwrap();
        let key = SigningKey::from_pkcs8(&der).unwrap();
        let debug = format!("{:?}", Keyring::new(Arc::new(key), vec![]));
        let seed: Vec<String> = der[16..].iter().map(u8::to_string).collect();
        assert!(!debug.contains(&seed.join(", ")), "{debug}");
        assert!(debug.contains("[secret]"));
    }

    /// RFC 8410 section 10.3; the version 2 document has the public key in it.
    #[test]
    fn reads_pem_of_both_versions() {
        let v1 = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let v2 = "-----BEGIN PRIVATE KEY-----\n\
            MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
            Z9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(v1).unwrap();
        assert_eq!(key.verifying_key().jwk()["x"], "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
        assert_eq!(SigningKey::from_pem(v2).unwrap().kid(), key.kid());
        let two = format!("{v1}{v1}");
        let sec1 = v1.replace("PRIVATE KEY", "EC PRIVATE KEY");
        let public = v1.replace("PRIVATE", "PUBLIC");
        for bad in ["", "nonsense", two.as_str(), sec1.as_str(), public.as_str()] {
            assert_eq!(SigningKey::from_pem(bad).err(), Some(KeyError::NotPem), "{bad}");
        }
        let damaged = v1.replace("MC4CAQ", "MC4CAg");
        assert_eq!(SigningKey::from_pem(&damaged).err(), Some(KeyError::Unsupported));
    }

    #[test]
    fn refuses_other_keys() {
        use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let p384 = p384.to_pkcs8v1().unwrap();
        assert_eq!(SigningKey::from_pkcs8(p384.as_ref()).err(), Some(KeyError::Unsupported));
        assert_eq!(SigningKey::from_pkcs8(&[]).err(), Some(KeyError::Unsupported));
        let good = generate(Algorithm::EdDsa).unwrap();
        assert!(SigningKey::from_pkcs8(&good[..good.len() - 1]).is_err());
    }
}

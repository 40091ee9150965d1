//! Certificates and keys of upstreams: PEM files (RFC 7468), read and tried out
//! while the file is checked, so that nothing can be wrong with them later.
//!
//! Whether a certificate has run out is not looked at: there is no clock here.

use std::fmt;

use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::files::read;
use super::value::Value;

/// A certificate chain and the key that fits it, in DER.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The chain, leaf first; never empty.
    pub chain: Vec<Vec<u8>>,
    /// The private key: PKCS#8, PKCS#1 or SEC 1; wiped when dropped.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientIdentity({} certificates, [key])", self.chain.len())
    }
}

/// The authorities in a PEM file; at least one.
pub(super) fn authorities(value: &Value<'_>) -> Option<Vec<Vec<u8>>> {
    let certificates = certificates(value)?;
    let mut store = RootCertStore::empty();
    for (place, der) in certificates.iter().enumerate() {
        if let Err(error) = store.add(CertificateDer::from(der.as_slice())) {
            let place = place + 1;
            return value.wrong(format_args!(
                "must name a file of certificates that can be trusted; number {place} can't ({error})"
            ));
        }
    }
    Some(certificates)
}

/// `{ cert = "a.pem", key = "a.key" }`: a chain, and the key of its leaf.
pub(super) fn identity(value: &Value<'_>) -> Option<ClientIdentity> {
    value.table(|section| {
        let chain = section.need("cert", "\"client.pem\"", certificates);
        // The value is kept: whether the key fits is seen when both are there.
        let key = section.need("key", "\"client.key\"", |value| {
            Some((private_key(value)?, section.value("key")?))
        });
        let (chain, (key, place)) = (chain?, key?);
        let Ok(der) = PrivateKeyDer::try_from(key.as_slice()) else {
            return place
                .wrong("must name a PEM file with a private key in PKCS#8, PKCS#1 or SEC 1");
        };
        let Ok(signer) = any_supported_type(&der) else {
            return place
                .wrong("must name a file with an RSA, ECDSA (P-256, P-384) or Ed25519 key");
        };
        let certificates = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        match CertifiedKey::new(certificates, signer).keys_match() {
            Ok(()) => Some(ClientIdentity { chain, key }),
            Err(_) => place.wrong("must name the key of the certificate in cert; this is another"),
        }
    })?
}

fn certificates(value: &Value<'_>) -> Option<Vec<Vec<u8>>> {
    let text = read(value)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let must = "must name a PEM file with a CERTIFICATE";
    let Ok(found) = found else { return value.wrong(format_args!("{must}; this one is damaged")) };
    if found.is_empty() {
        return value.wrong(must);
    }
    let found: Vec<Vec<u8>> = found.into_iter().map(|der| der.as_ref().to_vec()).collect();
    // Pingora takes it for granted that each can be parsed whole.
    let whole =
        |der: &Vec<u8>| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    match found.iter().position(|der| !whole(der)) {
        None => Some(found),
        Some(place) => {
            let place = place + 1;
            value.wrong(format_args!("{must}; number {place} in it is damaged"))
        }
    }
}

fn private_key(value: &Value<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let text = Zeroizing::new(read(value)?);
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Some(Zeroizing::new(key.secret_der().to_vec())),
        Err(_) => value.wrong("must name a PEM file with a PRIVATE KEY that is not encrypted"),
    }
}

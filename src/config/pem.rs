//! Certificates and keys, ours and those for upstreams: PEM files (RFC 7468), read
//! and tried out while the file is checked, so that nothing can be wrong with them
//! later.
//!
//! Whether a certificate has run out is not looked at: there is no clock here.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
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

/// A chain and the key of its leaf.
pub(super) struct Pair {
    /// As rustls takes them; they fit.
    pub(super) certified: CertifiedKey,
    /// The key once more, in DER: it can't be had of the other.
    key: Zeroizing<Vec<u8>>,
    /// Where the chain is named.
    pub(super) line: Option<usize>,
}

/// The authorities in a PEM file; at least one. They can be trusted.
pub(super) fn authorities(value: &Value<'_>) -> Option<RootsOf> {
    let certificates = certificates(value)?;
    let mut roots = RootCertStore::empty();
    for (place, der) in certificates.iter().enumerate() {
        if let Err(error) = roots.add(der.clone()) {
            let place = place + 1;
            return value.wrong(format_args!(
                "must name a file of certificates that can be trusted; number {place} can't ({error})"
            ));
        }
    }
    Some(RootsOf { certificates, roots })
}

/// Authorities, as a list and as what rustls asks.
pub(super) struct RootsOf {
    certificates: Vec<CertificateDer<'static>>,
    pub(super) roots: RootCertStore,
}

impl RootsOf {
    /// Each in DER.
    pub(super) fn in_der(&self) -> Vec<Vec<u8>> {
        in_der(&self.certificates)
    }
}

/// What is shown to an upstream.
pub(super) fn client_identity(value: &Value<'_>) -> Option<ClientIdentity> {
    let Pair { certified, key, .. } = pair(value)?;
    Some(ClientIdentity { chain: in_der(&certified.cert), key })
}

fn in_der(certificates: &[CertificateDer<'_>]) -> Vec<Vec<u8>> {
    certificates.iter().map(|der| der.to_vec()).collect()
}

/// `{ cert = "a.pem", key = "a.key" }`: a chain, and the key of its leaf.
pub(super) fn pair(value: &Value<'_>) -> Option<Pair> {
    value.table(|section| {
        let chain = section.need("cert", "\"a.pem\"", |value| {
            Some((certificates(value)?, value.reader.line(&value.place)))
        });
        // The value is kept: whether the key fits is seen when both are there.
        let key = section
            .need("key", "\"a.key\"", |value| Some((private_key(value)?, section.value("key")?)));
        let ((chain, line), ((signer, key), place)) = (chain?, key?);
        let certified = CertifiedKey::new(chain, signer);
        match certified.keys_match() {
            Ok(()) => Some(Pair { certified, key, line }),
            Err(_) => place.wrong("must name the key of the certificate in cert; this is another"),
        }
    })?
}

fn certificates(value: &Value<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let text = read(value)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let must = "must name a PEM file with a CERTIFICATE";
    let Ok(found) = found else { return value.wrong(format_args!("{must}; this one is damaged")) };
    if found.is_empty() {
        return value.wrong(must);
    }
    // Pingora takes it for granted that each can be parsed whole.
    let whole = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
    };
    match found.iter().position(|der| !whole(der)) {
        None => Some(found),
        Some(place) => {
            let place = place + 1;
            value.wrong(format_args!("{must}; number {place} in it is damaged"))
        }
    }
}

type Signer = Arc<dyn SigningKey>;

/// PKCS#8, SEC 1 or PKCS#1; never encrypted.
fn private_key(value: &Value<'_>) -> Option<(Signer, Zeroizing<Vec<u8>>)> {
    let text = Zeroizing::new(read(value)?);
    let Ok(key) = PrivateKeyDer::from_pem_slice(text.as_bytes()) else {
        return value.wrong("must name a PEM file with a PRIVATE KEY that is not encrypted");
    };
    let der = Zeroizing::new(key.secret_der().to_vec());
    match any_supported_type(&key) {
        Ok(signer) => Some((signer, der)),
        Err(_) => value.wrong(
            "must name a private key that can be used: an RSA key of 2048 bits or more, P-256, \
             P-384 or Ed25519",
        ),
    }
}

//! The certificates that the gateway shows, and those that it believes.
//!
//! They are read whole here, so that what `check` found good is what is served:
//! nothing is read a second time.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::files;
use super::model::{Identity, Tls};
use super::value::Value;
use super::{Config, Warning};
use crate::domain::{SecretText, UnixTime};

/// `{ cert = "a.pem", key = "a.key" }`.
pub(super) fn identity(value: &Value<'_>) -> Option<Identity> {
    value.table(|section| {
        let chain = section.need("cert", "\"a.pem\"", |value| Some((chain(value)?, line(value))));
        let key =
            section.need("key", "\"a.key\"", |value| Some((key(value)?, section.place_of("key"))));
        let (((chain, leaf), line), (key, place)) = (chain?, key?);
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            // Unknown: this kind of key does not tell.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                section.reader.fault(&place, "is not the key of the certificate beside it");
                return None;
            }
            Err(error) => {
                section.reader.fault(&place, format!("does not go with its certificate: {error}"));
                return None;
            }
        }
        let Leaf { names, from, until } = leaf;
        Some(Identity { names, from, until, line, pair: Arc::new(pair) })
    })?
}

fn line(value: &Value<'_>) -> Option<usize> {
    value.reader.line(&value.place)
}

/// Every certificate after the first must have a name, or nobody would ever
/// be shown it; and each name has one certificate.
pub(super) fn cross_check(value: &Value<'_>, identities: &[Identity]) {
    for (at, identity) in identities.iter().enumerate().skip(1) {
        if identity.names.is_empty() {
            let message = "has a certificate that names no host (subjectAltName): only the first \
                           one is shown to who asks for an unknown name";
            value.fault::<()>(message);
        }
        let before = identities.iter().take(at).flat_map(|other| &other.names);
        for name in before.filter(|name| identity.names.contains(name)) {
            let message = format!("has two certificates for {name:?}: the first one is shown");
            value.reader.warn(&value.place, message);
        }
    }
}

struct Leaf {
    names: Vec<String>,
    from: UnixTime,
    until: UnixTime,
}

fn chain(value: &Value<'_>) -> Option<(Vec<CertificateDer<'static>>, Leaf)> {
    let chain = certificates(value)?;
    let leaf = chain.first().and_then(|der| read_leaf(der));
    let Some(leaf) = leaf else {
        return value.wrong("must begin with an X.509 certificate that can be read");
    };
    Some((chain, leaf))
}

fn certificates(value: &Value<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let text = files::read(value)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Some(found),
        Ok(_) => value.wrong("must name a PEM file with a CERTIFICATE"),
        Err(error) => value.wrong(format_args!("must name a PEM file: {error}")),
    }
}

fn read_leaf(der: &CertificateDer<'_>) -> Option<Leaf> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let extension = certificate.subject_alternative_name().ok()?;
    let named = extension.map(|extension| extension.value.general_names.as_slice());
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    let validity = certificate.validity();
    Some(Leaf {
        names: named.unwrap_or_default().iter().filter_map(name).collect(),
        from: UnixTime::from_secs(validity.not_before.timestamp()),
        until: UnixTime::from_secs(validity.not_after.timestamp()),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// PKCS#8, SEC1 or PKCS#1; never encrypted.
fn key(value: &Value<'_>) -> Option<Arc<dyn SigningKey>> {
    let text = SecretText::new(files::read(value)?);
    let Ok(key) = PrivateKeyDer::from_pem_slice(text.expose().as_bytes()) else {
        return value.wrong("must name a PEM file with a PRIVATE KEY that is not encrypted");
    };
    match rustls::crypto::ring::sign::any_supported_type(&key) {
        Ok(key) => Some(key),
        Err(_) => value.wrong("must be an RSA key of 2048 bits or more, P-256, P-384 or Ed25519"),
    }
}

/// The authorities that sign the clients' certificates.
pub(super) fn authorities(value: &Value<'_>) -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(value)? {
        if let Err(error) = roots.add(certificate) {
            return value.wrong(format_args!("holds a certificate that is no authority: {error}"));
        }
    }
    Some(Arc::new(roots))
}

impl Config {
    /// What is wrong with the dates of certificates at `now`. A warning, not a
    /// fault: a gateway that does not start helps nobody whose certificate ran
    /// out in the night.
    pub fn out_of_date(&self, now: UnixTime) -> Vec<Warning> {
        let identities = self.server.tls.iter().flat_map(|tls: &Tls| &tls.identities);
        let warning = |identity: &Identity| {
            let message = if now >= identity.until {
                format!("ran out at {}: clients will refuse it", identity.until)
            } else if now < identity.from {
                format!("is not valid before {}: clients will refuse it", identity.from)
            } else {
                return None;
            };
            let key = "server.tls.certificates.cert".to_owned();
            Some(Warning { line: identity.line, key, message })
        };
        identities.filter_map(warning).collect()
    }
}

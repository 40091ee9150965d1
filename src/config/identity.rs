//! The certificates that the gateway shows: for which names, and until when.
//!
//! `pem` has read them whole, so that what `check` found good is what is served:
//! nothing is read a second time.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::model::{Identity, Tls};
use super::pem::{Pair, pair};
use super::value::Value;
use super::{Config, Warning};
use crate::domain::UnixTime;

/// `{ cert = "a.pem", key = "a.key" }`.
pub(super) fn identity(value: &Value<'_>) -> Option<Identity> {
    let Pair { certified, line, .. } = pair(value)?;
    let Some(Leaf { names, from, until }) = certified.cert.first().and_then(read_leaf) else {
        return value.wrong("must have a certificate whose names can be read");
    };
    if names.is_empty() {
        let message = "has a certificate that names no host (subjectAltName): clients that check \
                       names refuse it";
        value.reader.warn(&value.place, message);
    }
    Some(Identity { names, from, until, line, pair: Arc::new(certified) })
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

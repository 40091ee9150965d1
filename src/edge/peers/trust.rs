//! TLS to an upstream: whom to believe, and what to show.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

/// A certificate chain, leaf first, and its key, in DER.
type Shown<'a> = (&'a [Vec<u8>], &'a [u8]);

/// TLS to one upstream. Its server name is never empty: Pingora would verify
/// nothing then.
#[derive(Clone)]
pub struct Trust {
    server_name: String,
    authorities: Option<Arc<CaType>>,
    shown: Option<Arc<CertKey>>,
    /// Tells trust domains apart.
    fingerprint: Vec<u8>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Trust {
    /// Puts it together, of certificates that were tried out before: whether
    /// they hold is not looked at here. `None` if the server name is empty, or
    /// something else that must not be.
    pub fn new(
        server_name: String,
        authorities: Option<&[Vec<u8>]>,
        shown: Option<Shown<'_>>,
    ) -> Option<Self> {
        let empty = server_name.is_empty()
            || authorities.is_some_and(<[_]>::is_empty)
            || shown.is_some_and(|(chain, _)| chain.first().is_none_or(Vec::is_empty));
        if empty {
            return None;
        }
        let mut print = Print::default();
        print.add(server_name.as_bytes());
        print.add_all(authorities);
        print.add_all(shown.map(|(chain, _)| chain));
        print.add(shown.map(|(_, key)| key).unwrap_or_default());
        let parsed = |der: &Vec<u8>| WrappedX509::new(der.clone(), parse_x509);
        Some(Trust {
            server_name,
            authorities: authorities.map(|list| list.iter().map(parsed).collect()),
            shown: shown.map(|(chain, key)| Arc::new(CertKey::new(chain.to_vec(), key.to_vec()))),
            fingerprint: print.finish(),
        })
    }

    pub(super) fn server_name(&self) -> &str {
        &self.server_name
    }

    pub(super) fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }

    /// Makes a peer use it.
    pub(super) fn apply(&self, peer: &mut HttpPeer) {
        peer.options.ca = self.authorities.clone();
        peer.client_cert_key = self.shown.clone();
    }
}

/// A digest of a list of texts, none of which can pass for two.
#[derive(Default)]
pub(super) struct Print(Vec<u8>);

impl Print {
    pub(super) fn add(&mut self, part: &[u8]) {
        let mut digest = Context::new(&SHA256);
        digest.update(&self.0);
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
        self.0 = digest.finish().as_ref().to_vec();
    }

    fn add_all(&mut self, parts: Option<&[Vec<u8>]>) {
        let count = parts.map_or(u64::MAX, |parts| parts.len() as u64);
        self.add(&count.to_be_bytes());
        for part in parts.unwrap_or_default() {
            self.add(part);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// The first 64 bits.
    pub(super) fn short(self) -> u64 {
        self.0.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["up.example".to_owned()]).unwrap();
        made.cert.der().to_vec()
    }

    #[test]
    fn there_is_no_tls_without_a_name_or_with_nobody_to_believe() {
        let certificate = [certificate()];
        assert!(Trust::new(String::new(), None, None).is_none());
        assert!(Trust::new("a".into(), Some(&[]), None).is_none());
        assert!(Trust::new("a".into(), None, Some((&[], b"k"))).is_none());
        let trust = Trust::new("a".into(), Some(&certificate), Some((&certificate, b"hunter2")));
        let shown = format!("{:?}", trust.unwrap());
        assert!(shown.contains("\"a\"") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn every_difference_makes_another_domain() {
        let (a, b) = ([certificate()], [certificate()]);
        let both = [a[0].clone(), b[0].clone()];
        let print = |name: &str, ca: Option<&[Vec<u8>]>, shown: Option<Shown<'_>>| {
            Trust::new(name.to_owned(), ca, shown).unwrap().fingerprint
        };
        let all = [
            print("a", None, None),
            print("b", None, None),
            print("a", Some(&a), None),
            print("a", Some(&b), None),
            print("a", Some(&both), None),
            print("a", None, Some((&a, b"k"))),
            print("a", None, Some((&a, b"l"))),
            print("a", None, Some((&b, b"k"))),
            print("a", Some(&a), Some((&a, b"k"))),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{place}");
        }
        assert_eq!(print("a", Some(&a), None), all[2], "and none makes the same");
    }
}

//! TLS in front: which certificate is shown to whom, and what is agreed on.
//!
//! Versions and ciphers are rustls' own: TLS 1.2 and 1.3, forward secrecy and
//! AEAD only. One value holds all of it and is swapped whole at a reload, with
//! the keys of session tickets: a ticket from before a reload counts no more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

/// A certificate, its key, and the names that it is for.
pub struct Shown {
    /// Host names and addresses in lower case; `*.` stands for one label.
    pub names: Vec<String>,
    /// Chain and key.
    pub pair: Arc<CertifiedKey>,
}

/// What TLS in front is made of.
pub struct TlsParts {
    /// Picked by SNI; the first one is for all other names.
    pub shown: Vec<Shown>,
    /// Who signs the clients' certificates, if they are asked for, and whether
    /// there is no connection without one.
    pub clients: Option<(Arc<RootCertStore>, bool)>,
}

/// TLS in front, ready for handshakes.
pub struct TlsFront {
    pub(crate) config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    /// Whether a connection is held to the names of its certificate.
    binds: bool,
}

impl TlsFront {
    /// Puts it together.
    ///
    /// # Errors
    /// When there is no randomness for the tickets, or no authority.
    pub fn new(parts: TlsParts) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let asks = parts.clients.is_some();
        let builder = match parts.clients {
            None => builder.with_no_client_auth(),
            Some((roots, required)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier =
                    if required { verifier } else { verifier.allow_unauthenticated() }.build();
                let failed = |error: rustls::server::VerifierBuilderError| {
                    rustls::Error::General(error.to_string())
                };
                builder.with_client_cert_verifier(verifier.map_err(failed)?)
            }
        };
        let certificates = Arc::new(Certificates::new(parts.shown));
        let binds = asks && certificates.all.len() > 1;
        let mut config =
            builder.with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new()?;
        Ok(TlsFront { config: Arc::new(config), certificates, binds })
    }

    /// The names that requests on a connection must keep to: those of the
    /// certificate that was shown, where clients are asked for one of theirs
    /// and there are several of ours.
    pub(crate) fn bound(&self, sni: Option<&str>) -> Option<Arc<[String]>> {
        let certificate = self.certificates.pick(sni).filter(|_| self.binds)?;
        Some(Arc::clone(&certificate.names))
    }
}

/// Whether one of `names` is for the host of an authority.
pub(crate) fn covers(names: &[String], authority: &str) -> bool {
    let bare = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => authority.get(..at).unwrap_or_default(),
        _ => authority,
    };
    let host = bare.to_ascii_lowercase();
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Ok(address) = inner.unwrap_or(&host).parse::<IpAddr>() {
        let address = address.to_string();
        return names.contains(&address);
    }
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(parent) => {
            host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
        }
        None => *name == host,
    })
}

#[derive(Debug)]
struct Certificate {
    names: Arc<[String]>,
    pair: Arc<CertifiedKey>,
}

/// All that may be shown.
#[derive(Debug)]
struct Certificates {
    all: Vec<Certificate>,
    /// Exact names, and wildcards with their `*.`.
    by_name: HashMap<String, usize>,
}

impl Certificates {
    fn new(shown: Vec<Shown>) -> Self {
        let mut by_name = HashMap::new();
        for (place, shown) in shown.iter().enumerate() {
            for name in &shown.names {
                by_name.entry(name.clone()).or_insert(place);
            }
        }
        let certificate =
            |shown: Shown| Certificate { names: shown.names.into(), pair: shown.pair };
        Certificates { all: shown.into_iter().map(certificate).collect(), by_name }
    }

    /// An exact name beats a wildcard, which stands for one label (RFC 6125
    /// section 6.4.3).
    fn pick(&self, sni: Option<&str>) -> Option<&Certificate> {
        let name = sni.map(str::to_ascii_lowercase).unwrap_or_default();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        let place = self.by_name.get(&name).or_else(wildcard).copied().unwrap_or(0);
        self.all.get(place)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name()).map(|certificate| Arc::clone(&certificate.pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[&str]) -> Shown {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let signing = ring::sign::any_supported_type(&der).unwrap();
        Shown { names, pair: Arc::new(CertifiedKey::new(vec![made.der().clone()], signing)) }
    }

    #[test]
    fn the_name_picks_the_certificate() {
        let certificates = Certificates::new(vec![
            shown(&["first.example"]),
            shown(&["*.example.com", "example.com"]),
            shown(&["api.example.com", "first.example"]),
        ]);
        for (sni, place) in [
            (None, 0),
            (Some("unknown.example"), 0),
            (Some("first.example"), 0),
            (Some("example.com"), 1),
            (Some("www.example.com"), 1),
            (Some("WWW.Example.COM"), 1),
            (Some("a.www.example.com"), 0),
            (Some("api.example.com"), 2),
            (Some("*.example.com"), 1),
            (Some(".example.com"), 1),
            (Some("com"), 0),
            (Some(""), 0),
        ] {
            let picked = certificates.pick(sni).unwrap();
            assert!(Arc::ptr_eq(&picked.pair, &certificates.all[place].pair), "{sni:?}");
        }
    }

    #[test]
    fn names_cover_hosts() {
        let names: Vec<String> =
            ["api.example.com", "*.shop.example", "::1", "10.0.0.1"].map(str::to_owned).into();
        for host in [
            "api.example.com",
            "API.example.com:8443",
            "a.shop.example",
            "[::1]",
            "[0::1]:443",
            "10.0.0.1:1",
        ] {
            assert!(covers(&names, host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "x.api.example.com",
            "shop.example",
            "a.b.shop.example",
            ".shop.example",
            "10.0.0.2",
            "[::2]",
            "api.example.com.",
        ] {
            assert!(!covers(&names, host), "{host}");
        }
    }

    #[test]
    fn connections_are_bound_only_where_client_certificates_could_differ() {
        let roots = || {
            let mut roots = RootCertStore::empty();
            roots.add(shown(&["ca"]).pair.cert[0].clone()).unwrap();
            Arc::new(roots)
        };
        let front = |names: &[&str], clients: bool| {
            let shown = names.iter().map(|name| shown(&[name])).collect();
            let clients = clients.then(|| (roots(), true));
            TlsFront::new(TlsParts { shown, clients }).unwrap()
        };
        assert_eq!(front(&["a", "b"], false).bound(Some("b")), None);
        assert_eq!(front(&["a"], true).bound(Some("a")), None);
        let both = front(&["a", "b"], true);
        assert_eq!(both.bound(Some("b")).unwrap()[..], ["b".to_owned()]);
        assert_eq!(both.bound(None).unwrap()[..], ["a".to_owned()]);
    }
}

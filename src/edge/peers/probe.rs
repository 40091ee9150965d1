//! One look at an address: does it take a connection, does it answer?

use std::net::SocketAddr;

use http::Uri;
use pingora::lb::Backend;
use pingora::lb::health_check::{HealthCheck, HttpHealthCheck};
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::settings::HealthRule;
use pingora::http::RequestHeader;

/// How addresses are looked at.
pub(super) enum Probe {
    Connect,
    /// A GET, over the protocol and the TLS that requests go by.
    Ask(Box<HttpHealthCheck>),
}

impl Probe {
    /// `host` is the authority that is asked for.
    pub(super) fn new(rule: &HealthRule, host: &str, template: &HttpPeer) -> Self {
        let Some(path) = &rule.path else { return Probe::Connect };
        match request(path, host, template) {
            Ok(request) => {
                let mut check = HttpHealthCheck::new(host, false);
                check.peer_template = template.clone();
                check.peer_template.options.read_timeout = Some(rule.timeout);
                check.req = request;
                check.validator = Some(Box::new(|response| match response.status.is_success() {
                    true => Ok(()),
                    false => Error::e_explain(ErrorType::HTTPStatus(502), "not a 2xx"),
                }));
                Probe::Ask(Box::new(check))
            }
            Err(error) => {
                tracing::error!(
                    kind = error.etype().as_str(),
                    "a health check can't be asked; connecting must do"
                );
                Probe::Connect
            }
        }
    }

    /// True if all is well with the address.
    pub(super) async fn look(&self, address: SocketAddr, rule: &HealthRule) -> bool {
        let look = async {
            match self {
                Probe::Connect => TcpStream::connect(address).await.is_ok(),
                Probe::Ask(check) => {
                    let addr = PeerAddr::Inet(address);
                    let backend = Backend { addr, weight: 1, ext: Default::default() };
                    check.check(&backend).await.is_ok()
                }
            }
        };
        timeout(rule.timeout, look).await.unwrap_or(false)
    }
}

fn request(path: &str, host: &str, template: &HttpPeer) -> pingora::Result<RequestHeader> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    request.insert_header("Host", host)?;
    request.insert_header("User-Agent", "portcullis-health-check")?;
    if template.options.alpn.get_min_http_version() == 2 {
        let scheme = if template.is_tls() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build();
        let odd = |_| Error::explain(ErrorType::InvalidHTTPHeader, "an odd authority");
        request.set_uri(uri.map_err(odd)?);
        request.remove_header("Host");
    }
    Ok(request)
}

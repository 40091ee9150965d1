//! Pingora as it comes, forwarding on one thread: the floor that the gateway
//! stands on. HTTP/1.1 and, with prior knowledge, HTTP/2; no module, no log.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Nor has the gateway any.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

/// Serves until SIGINT, which ends it at once.
pub(crate) fn serve(listen: &str, upstream: SocketAddr) {
    let mut conf = ServerConf::new().unwrap_or_default();
    conf.threads = 1;
    // As in the gateway.
    conf.upstream_keepalive_pool_size = 1024;
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare(upstream));
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    service.app_logic_mut().unwrap().server_options = Some(options);
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever();
}

//! Upstreams that misbehave, speak TLS, or speak HTTP/2.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// An authority, and files of what it signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub(crate) struct Signed {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { issuer }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()
    }

    pub(crate) fn sign(&self, names: &[&str]) -> Signed {
        self.sign_until(names, 2099)
    }

    /// Good until the end of that year.
    pub(crate) fn sign_until(&self, names: &[&str], year: i32) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Signed {
    /// Puts both into files: `{name}.pem`, `{name}.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.cert).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}

/// How a TLS server treats those who come.
pub(crate) fn tls(own: &Signed, clients: Option<&Authority>, alpn: &[&str]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(vec![chain], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// What a scripted upstream does with a connection's requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Answers 200, and goes on.
    Answer,
    /// Closes once the request is read.
    Close,
    /// Sends this and closes.
    Say(&'static str),
    /// Reads and says nothing, until the other side leaves.
    Hush,
}

/// An upstream that does as it is told, and remembers all requests: the
/// request line and the body.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    state: Arc<ScriptedState>,
    accepting: tokio::task::AbortHandle,
}

struct ScriptedState {
    stopped: watch::Sender<bool>,
    act: Mutex<Act>,
    /// Beyond so many requests on a connection, it is closed instead.
    at_most: Mutex<usize>,
    seen: Mutex<Vec<(String, Vec<u8>)>>,
    /// The answer to `GET /health`.
    health: Mutex<u16>,
}

impl Scripted {
    pub(crate) async fn start(act: Act) -> Self {
        Self::listen(act, None).await
    }

    pub(crate) async fn start_tls(act: Act, config: ServerConfig) -> Self {
        Self::listen(act, Some(config)).await
    }

    async fn listen(act: Act, tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ScriptedState {
            stopped: watch::Sender::new(false),
            act: Mutex::new(act),
            at_most: Mutex::new(usize::MAX),
            seen: Mutex::default(),
            health: Mutex::new(200),
        });
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let kept = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (Arc::clone(&kept), acceptor.clone());
                tokio::spawn(async move {
                    let mut stopped = state.stopped.subscribe();
                    let play = async {
                        match acceptor {
                            None => play(stream, &state).await,
                            Some(acceptor) => {
                                if let Ok(stream) = acceptor.accept(stream).await {
                                    play(stream, &state).await;
                                }
                            }
                        }
                    };
                    tokio::select! {
                        () = play => {}
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                    }
                });
            }
        });
        Scripted { address, state, accepting: accepting.abort_handle() }
    }

    /// Lets go of the port and of all connections.
    pub(crate) fn stop(&self) {
        self.accepting.abort();
        self.state.stopped.send_replace(true);
    }

    pub(crate) fn now(&self, act: Act) {
        *self.state.act.lock().unwrap() = act;
    }

    /// Lets connections live for so many requests.
    pub(crate) fn at_most(&self, requests: usize) {
        *self.state.at_most.lock().unwrap() = requests;
    }

    pub(crate) fn health(&self, status: u16) {
        *self.state.health.lock().unwrap() = status;
    }

    /// All requests, but those for `/health`.
    pub(crate) fn seen(&self) -> Vec<(String, Vec<u8>)> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }
}

async fn play<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, state: &ScriptedState) {
    let mut buffer = Vec::new();
    let mut requests = 0;
    loop {
        let Some((line, body)) = request(&mut stream, &mut buffer).await else { return };
        if line.contains(" /health ") {
            let status = *state.health.lock().unwrap();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            continue;
        }
        state.seen.lock().unwrap().push((line, body));
        requests += 1;
        if requests > *state.at_most.lock().unwrap() {
            return;
        }
        let act = *state.act.lock().unwrap();
        match act {
            Act::Answer => {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.flush().await;
            }
            Act::Close => return,
            Act::Say(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
            Act::Hush => {
                let mut byte = [0];
                let _ = stream.read(&mut byte).await;
                return;
            }
        }
    }
}

/// The request line and the body of the next request.
async fn request<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map(|(_, value)| value.trim().parse().unwrap()).next().unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some((head.lines().next().unwrap().to_owned(), buffer.drain(..length).collect()))
}

/// A request as it came by HTTP/2.
#[derive(Clone, Debug)]
pub(crate) struct Seen2 {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Vec<u8>,
    /// Which connection it came by.
    pub(crate) connection: usize,
}

/// An upstream that speaks HTTP/2. `…/trailers` is answered with `grpc-status`
/// in trailers, `…/refuse` not at all, `…/hush` never.
#[derive(Clone)]
pub(crate) struct Http2 {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen2>>>,
}

impl Http2 {
    /// With prior knowledge, or over TLS.
    pub(crate) async fn start(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http2 =
            Http2 { address: listener.local_addr().unwrap(), seen: Arc::new(Mutex::default()) };
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let seen = Arc::clone(&http2.seen);
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connection += 1;
                let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
                tokio::spawn(async move { accept2(stream, acceptor, seen, connection).await });
            }
        });
        http2
    }

    pub(crate) fn seen(&self) -> Vec<Seen2> {
        self.seen.lock().unwrap().clone()
    }
}

async fn accept2(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    seen: Arc<Mutex<Vec<Seen2>>>,
    connection: usize,
) {
    match acceptor {
        None => serve2(stream, seen, connection).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve2(stream, seen, connection).await;
            }
        }
    }
}

async fn serve2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    seen: Arc<Mutex<Vec<Seen2>>>,
    connection: usize,
) {
    let Ok(mut serving) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = serving.accept().await {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move { answer2(request, respond, &seen, connection).await });
    }
}

async fn answer2(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    seen: &Mutex<Vec<Seen2>>,
    connection: usize,
) {
    let (head, mut stream) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = stream.data().await {
        let _ = stream.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    let echoed = Bytes::from(body.clone());
    seen.lock().unwrap().push(Seen2 { head, body, connection });
    let word = path.rsplit('/').next().unwrap();
    match word {
        "refuse" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        "hush" => {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        }
        _ => {
            let response = Response::builder().status(200).header("x-legacy", "a");
            let Ok(mut send) = respond.send_response(response.body(()).unwrap(), false) else {
                return;
            };
            let with_trailers = word == "trailers";
            let _ = send.send_data(echoed, !with_trailers);
            if with_trailers {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let _ = send.send_trailers(trailers);
            }
        }
    }
}

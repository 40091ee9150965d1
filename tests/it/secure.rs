//! Certificates made on the spot, and clients that speak TLS and HTTP/2.

use std::io::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::backends::Authority;
use crate::raw::Wire;
use crate::wait::PATIENCE;

/// An authority, and a folder for what it signs.
pub(crate) struct Pki {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Pki { authority, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for these names, into `{file}.pem` and `{file}.key`.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) {
        self.authority.sign(names).write(self.folder.path(), file);
    }

    /// `[server.tls]` with these certificates; the first one is the default.
    pub(crate) fn section(&self, files: &[&str], more: &str) -> String {
        let pair = |file: &&str| {
            let (cert, key) =
                (self.path(&format!("{file}.pem")), self.path(&format!("{file}.key")));
            format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
        };
        let pairs: Vec<String> = files.iter().map(pair).collect();
        format!(
            "[server.tls]\nlisten = [\"127.0.0.1:0\"]\ncertificates = [{}]\n{more}\n",
            pairs.join(", ")
        )
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> Client<'_> {
        Client { pki: self, versions: rustls::ALL_VERSIONS.to_vec(), alpn: &[], certificate: None }
    }

    pub(crate) fn leaf(&self, file: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("{file}.pem"))).unwrap()
    }
}

/// How a client goes about a handshake.
#[derive(Clone)]
pub(crate) struct Client<'a> {
    pki: &'a Pki,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: &'static [&'static str],
    certificate: Option<String>,
}

impl Client<'_> {
    pub(crate) fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub(crate) fn alpn(mut self, alpn: &'static [&'static str]) -> Self {
        self.alpn = alpn;
        self
    }

    pub(crate) fn certificate(mut self, file: &str) -> Self {
        self.certificate = Some(file.to_owned());
        self
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.pki.authority.der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let key = read_key(&self.pki.path(&format!("{file}.key")));
                builder.with_client_auth_cert(vec![self.pki.leaf(file)], key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
        timeout(PATIENCE, shaken).await.expect("a handshake or an end")
    }

    /// Connects, and speaks HTTP/2.
    pub(crate) async fn h2(&self, address: SocketAddr, name: &str) -> H2 {
        H2::over(self.clone().alpn(&["h2"]).connect(address, name).await.unwrap()).await
    }
}

fn read_key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap()
}

/// A client's HTTP/2 connection.
pub(crate) struct H2 {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) driver: JoinHandle<Result<(), h2::Error>>,
}

impl H2 {
    pub(crate) async fn over(stream: impl Wire + 'static) -> Self {
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        H2 { send, driver: tokio::spawn(connection) }
    }

    /// Who does not read one stream of it does not starve the others by itself.
    pub(crate) async fn wide(stream: impl Wire + 'static) -> Self {
        let mut options = h2::client::Builder::new();
        options.initial_connection_window_size(1 << 24);
        let (send, connection) = options.handshake(stream).await.unwrap();
        H2 { send, driver: tokio::spawn(connection) }
    }

    /// With prior knowledge, in clear.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        H2::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// Begins a request; its body goes into the stream.
    pub(crate) async fn begin(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request, is_whole).unwrap()
    }

    /// Asks for a WebSocket (RFC 8441): the answer, and the tunnel if there is one.
    pub(crate) async fn tunnel(
        &self,
        mut request: Request<()>,
        protocol: &'static str,
    ) -> Result<(Response<()>, Tunnel), h2::Error> {
        *request.method_mut() = http::Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static(protocol));
        let settled = async {
            while !self.send.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, settled).await.expect("it is advertised");
        let (response, send) = self.begin(request, false).await;
        let response = timeout(PATIENCE, response).await.expect("an answer or an end")?;
        let (head, receive) = response.into_parts();
        Ok((Response::from_parts(head, ()), Tunnel { receive, send, unread: Bytes::new() }))
    }

    /// Asks without a body; the head, and the body as it comes.
    pub(crate) async fn ask(
        &self,
        request: Request<()>,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let (response, _) = self.begin(request, true).await;
        timeout(PATIENCE, response).await.expect("an answer or an end")
    }

    /// Asks with a body; all of the answer.
    pub(crate) async fn exchange(&self, request: Request<()>, body: &[u8]) -> Whole {
        let (response, mut upload) = self.begin(request, body.is_empty()).await;
        if !body.is_empty() {
            // A refusal may be there already: then nobody wants it any more.
            let _ = upload.send_data(Bytes::copy_from_slice(body), true);
        }
        Whole::of(timeout(PATIENCE, response).await.expect("an answer").unwrap()).await
    }
}

/// The client's end of a tunnel through one stream.
pub(crate) struct Tunnel {
    pub(crate) receive: RecvStream,
    pub(crate) send: SendStream<Bytes>,
    unread: Bytes,
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        while self.unread.is_empty() {
            let Some(data) = ready!(self.receive.poll_data(cx)) else { return Poll::Ready(Ok(())) };
            self.unread = data.map_err(Error::other)?;
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread.split_to(count));
        let _ = self.receive.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize, Error>> {
        self.send.reserve_capacity(buf.len());
        // It is ready only when there is more room than before.
        if self.send.capacity() == 0 {
            let Some(room) = ready!(self.send.poll_capacity(cx)) else {
                return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
            };
            room.map_err(Error::other)?;
        }
        let count = self.send.capacity().min(buf.len());
        let piece = Bytes::copy_from_slice(&buf[..count]);
        self.send.send_data(piece, false).map_err(Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(Error::other))
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the head was all there was.
    pub(crate) ended_with_head: bool,
}

impl Whole {
    pub(crate) async fn of(response: Response<RecvStream>) -> Self {
        let (head, mut stream) = response.into_parts();
        let ended_with_head = stream.is_end_stream();
        let mut body = Vec::new();
        while let Some(chunk) = timeout(PATIENCE, stream.data()).await.expect("data or an end") {
            let chunk = chunk.unwrap();
            let _ = stream.flow_control().release_capacity(chunk.len());
            body.extend_from_slice(&chunk);
        }
        Whole { status: head.status.as_u16(), fields: head.headers, body, ended_with_head }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request without a body.
pub(crate) fn request(method: &str, uri: &str, token: Option<&str>) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(uri);
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder.body(()).unwrap()
}

//! A TLS connection as Pingora wants it.
//!
//! Both Pingora and whoever started it hold the connection, so that one answer
//! can go out after Pingora was dropped. They never use it at the same time.

use std::io::{IoSlice, Result};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// How long the alert that ends the encryption may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A handle of one TLS connection.
#[derive(Clone, Debug)]
pub(crate) struct TlsSession {
    stream: Arc<Mutex<TlsStream<TcpStream>>>,
    id: UniqueIDType,
    speaks_h2: bool,
    ssl: Arc<SslDigest>,
    socket: Arc<SocketDigest>,
}

impl TlsSession {
    pub(crate) fn new(stream: TlsStream<TcpStream>, peer: SocketAddr) -> Self {
        let (tcp, tls) = stream.get_ref();
        let id = tcp.as_raw_fd();
        let socket = SocketDigest::from_raw_fd(id);
        let _ = socket.peer_addr.set(Some(PeerAddr::Inet(peer)));
        let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let version = tls.protocol_version().and_then(|version| version.as_str());
        let (cipher, version) = (cipher.unwrap_or_default(), version.unwrap_or_default());
        TlsSession {
            id,
            speaks_h2: tls.alpn_protocol() == Some(b"h2"),
            ssl: Arc::new(SslDigest::new(cipher, version, None, None, Vec::new())),
            socket: Arc::new(socket),
            stream: Arc::new(Mutex::new(stream)),
        }
    }

    /// What ALPN agreed on.
    pub(crate) fn speaks_h2(&self) -> bool {
        self.speaks_h2
    }
}

impl AsyncRead for TlsSession {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut *self.stream.lock()).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsSession {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut *self.stream.lock()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut *self.stream.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut *self.stream.lock()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut *self.stream.lock()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[async_trait]
impl Shutdown for TlsSession {
    async fn shutdown(&mut self) {
        // Who has left, or does not read, needs no goodbye.
        let _ = timeout(FAREWELL, AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for TlsSession {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl Ssl for TlsSession {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.ssl))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.speaks_h2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for TlsSession {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for TlsSession {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for TlsSession {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

impl Peek for TlsSession {}

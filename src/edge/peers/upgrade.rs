//! Connections for requests that ask for another protocol (RFC 9110 section 7.8).
//!
//! Pingora 0.9.1 reads what the upstream answers and writes the end of the request
//! side by side, in either order. A 101 that is there first makes it take that end for
//! the end of the tunnel, and hang up. On a connection from here nothing can be read
//! between the request's last byte and Pingora's having said so to the connection.

use std::io::{Error, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures::task::AtomicWaker;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::ext::{connect, set_tcp_keepalive};
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error as PingoraError, ErrorType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Where the end of one request stands.
#[derive(Debug, Default)]
pub(crate) struct RequestEnd {
    /// It was handed over, and not passed on yet.
    is_due: AtomicBool,
    reader: AtomicWaker,
}

impl RequestEnd {
    /// To be called when all of the request was handed to Pingora, once its head is
    /// written.
    pub(crate) fn is_due(&self) {
        self.is_due.store(true, Ordering::Release);
    }

    /// Pingora flushes after the end, even where there is nothing to write.
    fn was_flushed(&self) {
        if self.is_due.swap(false, Ordering::AcqRel) {
            self.reader.wake();
        }
    }

    fn poll_passed(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_due.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        match self.is_due.load(Ordering::Acquire) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

/// Makes the one connection of one request.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Arc<RequestEnd>);

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &PeerAddr) -> pingora::Result<Stream> {
        let Some(address) = address.as_inet() else {
            return PingoraError::e_explain(ErrorType::ConnectNoRoute, "not an address of TCP");
        };
        let tcp = connect(address, None).await?;
        let socket = Socket { tcp, end: Arc::clone(&self.0) };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

#[derive(Debug)]
struct Socket {
    tcp: TcpStream,
    end: Arc<RequestEnd>,
}

impl VirtualSocket for Socket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> Result<()> {
        match option {
            VirtualSockOpt::KeepAlive(keepalive) => {
                set_tcp_keepalive(&self.tcp, &keepalive).map_err(Error::other)
            }
            // There is no other yet.
            _ => self.tcp.set_nodelay(true),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        ready!(self.end.poll_passed(cx));
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_flush(cx))?;
        self.end.was_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_waits_for_the_end_of_the_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let end = Arc::new(RequestEnd::default());
        let address = PeerAddr::Inet(listener.local_addr().unwrap());
        let connector = Connector(Arc::clone(&end));
        let mut stream = connector.connect(&address).await.unwrap();
        stream.set_nodelay().unwrap();
        let keepalive = pingora::protocols::TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 3,
            user_timeout: Duration::ZERO,
        };
        stream.set_keepalive(&keepalive).unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        upstream.write_all(b"ab").await.unwrap();
        // Before: a handshake, say.
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        stream.write_all(b"head").await.unwrap();
        stream.flush().await.unwrap();
        end.is_due();
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut read = Box::pin(reading.read_u8());
        assert!(futures::poll!(&mut read).is_pending());
        writing.flush().await.unwrap();
        assert_eq!(read.await.unwrap(), b'b');
    }
}

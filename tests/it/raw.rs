//! A client that sends any bytes, also those that client libraries refuse to.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// A response as it arrived.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
    }
}

/// What bytes go over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// One connection.
pub(crate) struct Raw {
    stream: Box<dyn Wire>,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw::over(stream)
    }

    pub(crate) fn over(stream: impl Wire + 'static) -> Self {
        Raw { stream: Box::new(stream), buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends what the other side may not want any more.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next response; `None` if the connection ends before it is whole.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer()).await.expect("an answer or an end")
    }

    /// The head of the next response only.
    pub(crate) async fn head(&mut self) -> Option<String> {
        timeout(PATIENCE, self.read_head()).await.expect("a head or an end")
    }

    /// True if the other side has closed and nothing more comes.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut more = [0; 1024];
        loop {
            match timeout(PATIENCE, self.stream.read(&mut more)).await.expect("an end") {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    }

    /// So many bytes, as they come.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let read = async { while self.buffer.len() < count && self.more().await.is_some() {} };
        timeout(PATIENCE, read).await.expect("so many bytes or an end");
        let there = count.min(self.buffer.len());
        self.buffer.drain(..there).collect()
    }

    /// All that is still to come.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let read = async { while self.more().await.is_some() {} };
        timeout(PATIENCE, read).await.expect("an end");
        std::mem::take(&mut self.buffer)
    }

    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(1..) => Some(()),
            _ => None,
        }
    }

    async fn read_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..at + 4]).into_owned();
                self.buffer.drain(..at + 4);
                return Some(head);
            }
            self.more().await?;
        }
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let head = loop {
            let head = self.read_head().await?;
            if !head.starts_with("HTTP/1.1 1") {
                break head;
            }
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.field("content-length").map(|v| v.parse::<usize>().unwrap());
        match length {
            Some(length) => {
                while self.buffer.len() < length {
                    self.more().await?;
                }
                answer.body = self.buffer.drain(..length).collect();
            }
            None if matches!(status, 204 | 304) => {}
            None => {
                while self.more().await.is_some() {}
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
        Some(answer)
    }
}

/// Sends one request on its own connection and returns the answer.
pub(crate) async fn once(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Option<Answer> {
    let mut raw = Raw::connect(address).await;
    raw.send(bytes).await;
    raw.answer().await
}

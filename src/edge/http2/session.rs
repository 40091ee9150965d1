//! One HTTP/2 stream as Pingora sees it: a session of our own, since Pingora's
//! would keep the stream to itself.
//!
//! It behaves as Pingora's does, but for what that can't: interim answers pass, and there
//! are WebSockets. Its timeouts for reading are `patience`'s business.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use futures::future::Either;
use h2::{Reason, RecvStream};
use http::{HeaderMap, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::time::timeout;

use super::sending::{Progress, Shared};
use super::websocket::Shape;
use crate::edge::trailers::{Trailers, Trailing};

/// What is kept of an upload, for another attempt or for the judge.
const KEPT: usize = 64 << 10;

/// A stream.
pub(super) struct Http2Session {
    shape: Shape,
    request: RequestHeader,
    upload: RecvStream,
    /// True once the upload's end, or its trailers, were met.
    is_read: bool,
    /// The length that the head announced, and how much of it has come.
    announced: Option<u64>,
    arrived: u64,
    /// What makes it as long as announced. An HTTP/1.1 upstream would take it for the end,
    /// so it waits for the client's: what is malformed must not be done.
    last: Option<Bytes>,
    /// How much was passed on.
    read: usize,
    kept: Option<FixedBuffer>,
    /// What comes behind the bodies, where there is a way for it.
    trailing: Arc<Trailing>,
    sending: Shared,
    written: Option<ResponseHeader>,
    sent: usize,
    digest: Arc<Digest>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

impl Http2Session {
    pub(super) fn new(
        request: RequestHeader,
        upload: RecvStream,
        sending: Shared,
        trailing: Arc<Trailing>,
        digest: Arc<Digest>,
    ) -> Self {
        let announced = request.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        Http2Session {
            shape: Shape::of(&request),
            request,
            upload,
            is_read: false,
            announced,
            arrived: 0,
            last: None,
            read: 0,
            kept: None,
            trailing,
            sending,
            written: None,
            sent: 0,
            digest,
            write_timeout: None,
            drain_timeout: None,
        }
    }

    fn is_ended(&self) -> bool {
        self.sending.progress() == Progress::Whole
    }

    async fn write_head(&mut self, mut header: ResponseHeader, end: bool) -> Result<()> {
        if self.written.is_some() {
            return Ok(());
        }
        let opens_tunnel = self.shape.takes(&mut header)?;
        if header.status.is_informational() {
            // There is nothing to switch to (RFC 9113 section 8.6).
            if header.status != StatusCode::SWITCHING_PROTOCOLS {
                self.sending.interim(header).await;
            }
            return Ok(());
        }
        // Pingora asks for no more of it than the status.
        let written = ResponseHeader::build_no_case(header.status, Some(0))?;
        let sent = self.sending.respond(header, end).await;
        sent.or_err(ErrorType::WriteError, "while writing a head")?;
        self.written = Some(written);
        if opens_tunnel {
            self.shape = Shape::Tunnel;
            self.sending.becomes_tunnel();
        }
        Ok(())
    }

    fn passed_on(&mut self, data: Bytes) -> Bytes {
        self.read += data.len();
        if let Some(kept) = &mut self.kept {
            kept.write_to_buffer(&data);
        }
        data
    }

    async fn drain(&mut self) -> Result<()> {
        while self.read_body_bytes().await?.is_some() {}
        Ok(())
    }
}

impl Drop for Http2Session {
    fn drop(&mut self) {
        if self.is_read || self.upload.is_end_stream() {
            self.sending.uploaded();
        }
    }
}

#[async_trait]
impl Session for Http2Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.shape == Shape::Asking {
            return Ok(None);
        }
        while !self.is_read {
            let data = self.upload.data().await.transpose();
            let data = data.or_err(ErrorType::ReadError, "while reading the client's body");
            let Some(data) = data.map_err(Error::into_down)? else {
                let trailers = self.upload.trailers().await;
                let trailers = trailers.or_err(ErrorType::ReadError, "while reading trailers");
                let trailers = trailers.map_err(Error::into_down)?.unwrap_or_default();
                self.trailing.request_ends(Trailers::of(&trailers));
                self.is_read = true;
                break;
            };
            let _ = self.upload.flow_control().release_capacity(data.len());
            self.arrived += data.len() as u64;
            if self.announced == Some(self.arrived) && !self.upload.is_end_stream() {
                self.last.get_or_insert(data);
                continue;
            }
            return Ok(Some(self.passed_on(data)));
        }
        Ok(self.last.take().map(|last| self.passed_on(last)))
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if self.is_body_done() {
            return Ok(());
        }
        match self.drain_timeout {
            None => self.drain().await,
            Some(most) => timeout(most, self.drain()).await.unwrap_or_else(|_| {
                Error::e_explain(ErrorType::ReadTimedout, "while draining the client's body")
            }),
        }
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(*resp, end).await
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(resp.clone(), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        if self.is_ended() {
            return Ok(());
        }
        let length = data.len();
        let sent = match end {
            true => Either::Left(self.sending.end(data, self.trailing.of_answer())),
            false => Either::Right(self.sending.data(data, false)),
        };
        match self.write_timeout {
            None => sent.await?,
            Some(most) => match timeout(most, sent).await {
                Ok(sent) => sent?,
                Err(_) => {
                    let slow = "the client does not take what is sent";
                    return Err(Error::explain(ErrorType::WriteTimedout, slow).into_down());
                }
            },
        }
        self.sent += length;
        Ok(())
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.is_ended() {
            return Ok(());
        }
        Ok(self.sending.trailers(trailers).await?)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_end = false;
        for task in tasks {
            is_end |= match task {
                HttpTask::Header(header, end) => {
                    self.write_head(*header, end).await.map_err(Error::into_down)?;
                    end
                }
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    if let Some(data) = data.filter(|data| !data.is_empty()) {
                        self.write_body(data, end).await?;
                    }
                    // What the client still says has nowhere to go.
                    self.is_read |= end && self.shape == Shape::Tunnel;
                    end
                }
                HttpTask::Trailer(Some(trailers)) => {
                    self.write_trailers(*trailers).await?;
                    true
                }
                HttpTask::Trailer(None) | HttpTask::Done => true,
                HttpTask::Failed(error) => return Err(error),
            };
        }
        if is_end {
            self.finish().await?;
        }
        Ok(is_end)
    }

    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    /// For logs, where a target may not stand.
    fn request_summary(&self) -> String {
        self.request.method.to_string()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_ref()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        if !self.is_ended() {
            self.sending.reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Pingora passes on what it reads and what was kept; what is neither would stay here.
    fn is_body_done(&mut self) -> bool {
        if self.shape != Shape::Exchange {
            return self.shape == Shape::Asking || self.is_read;
        }
        let is_kept = !self.retry_buffer_truncated();
        let has_ended = self.is_read || (self.upload.is_end_stream() && is_kept);
        self.last.is_none() && (has_ended || self.is_body_empty())
    }

    async fn finish(&mut self) -> Result<()> {
        match self.sending.progress() {
            Progress::Head { .. } => self.write_body(Bytes::new(), true).await,
            Progress::Nothing | Progress::Whole => Ok(()),
        }
    }

    fn is_body_empty(&mut self) -> bool {
        // Trailers alone are no body, and no end of the stream before they are read.
        let is_over = self.is_read || self.upload.is_end_stream();
        self.shape == Shape::Asking || self.arrived == 0 && (is_over || self.announced == Some(0))
    }

    /// Reads on; after the end, waits until the client leaves.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.is_body_done() {
            return self.read_body_bytes().await;
        }
        let left = self.sending.is_reset().await;
        let left = left.or_err(ErrorType::H2Error, "while waiting for the upstream")?;
        Error::e_explain(ErrorType::H2Error, format!("the client has left: {left}"))
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent
    }

    fn body_bytes_read(&self) -> usize {
        self.read
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    /// For requests that Pingora makes out of this one; it never does here.
    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn enable_retry_buffering(&mut self) {
        if self.shape == Shape::Exchange {
            self.kept.get_or_insert_with(|| FixedBuffer::new(KEPT));
        }
    }

    fn is_upgrade_req(&self) -> bool {
        self.shape != Shape::Exchange
    }

    fn was_upgraded(&self) -> bool {
        self.shape == Shape::Tunnel
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.kept.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.kept.as_ref().filter(|kept| !kept.is_truncated()).and_then(FixedBuffer::get_buffer)
    }

    // There are no messages beside the body.

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync>;

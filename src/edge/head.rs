//! The head of an HTTP/1.1 request, read and looked at before Pingora parses it.
//!
//! Pingora is lenient: it repairs request lines, drops a Content-Length beside
//! a Transfer-Encoding, and takes any number of bytes at any pace. Here the
//! whole head must arrive within its limits and its time, and must have one
//! reading (RFC 9112); what is left is handed on untouched.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use memchr::{memchr, memchr_iter, memchr3};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::extent::Extent;
use super::grammar::{has_control, is_authority, is_target, is_tchar, is_token, length_of};
use super::seat::Seat;
use crate::policy::{Denial, Reason, Target};

/// How large a head may be and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Request line and fields, in bytes.
    pub(crate) header_bytes: usize,
    /// The request target, in bytes.
    pub(crate) target_bytes: usize,
    /// From the first byte to the last.
    pub(crate) header_timeout: Duration,
    /// From the last response to the first byte.
    pub(crate) idle_timeout: Duration,
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum HeadEnd {
    /// The client closed, or stayed silent: nobody waits for an answer.
    Gone,
    /// It is to be told no, and the connection closed.
    Refused(Denial),
    /// It took too long to send its head.
    TooSlow,
}

/// What a connection begins with.
#[derive(Debug)]
pub(crate) enum Head {
    /// A head that was checked, what was read beyond it, and where its body ends.
    Http1 { head: BytesMut, beyond: BytesMut, extent: Extent },
    /// The HTTP/2 preface, and what was read beyond it.
    Http2(BytesMut),
}

/// More fields than this are refused: Pingora's parser takes 256.
pub(super) const MAX_FIELDS: usize = 250;

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads a head, and perhaps some of what comes after it. A connection that is idle when its `seat` is to be given back is gone. Where it
/// `may_be_http2`, the preface of HTTP/2 is taken for a head.
pub(crate) async fn read_head<R: AsyncRead + Unpin>(
    stream: &mut R,
    limits: &HeadLimits,
    may_be_http2: bool,
    seat: &Seat,
    alarm: &mut Alarm,
) -> Result<Head, HeadEnd> {
    let mut buffer = BytesMut::new();
    let mut deadline = Instant::now() + limits.idle_timeout;
    let (mut scanned, mut reads, mut may_be_http2) = (0, 0_usize, may_be_http2);
    loop {
        // Nearly all heads come in one piece and need no other clock.
        if reads == 1 {
            deadline = Instant::now() + limits.header_timeout;
        }
        let is_idle = buffer.is_empty();
        let read = tokio::select! {
            biased;
            read = read_some(stream, &mut buffer) => Some(read),
            () = alarm.wait(deadline) => None,
            () = seat.is_closing(), if is_idle => return Err(HeadEnd::Gone),
        };
        match read {
            None if is_idle => return Err(HeadEnd::Gone),
            None => return Err(HeadEnd::TooSlow),
            Some(Err(_) | Ok(0)) => return Err(HeadEnd::Gone),
            Some(Ok(_)) => reads += 1,
        }
        if may_be_http2 && buffer.starts_with(PREFACE) {
            return Ok(Head::Http2(buffer));
        }
        may_be_http2 &= PREFACE.starts_with(&buffer);
        if may_be_http2 {
            continue;
        }
        if scanned == 0 {
            skip_empty_lines(&mut buffer);
        }
        match find_end(&buffer, scanned) {
            End::At(end) => {
                // Copied: to share the buffer costs more, and mostly there is nothing.
                let beyond = BytesMut::from(buffer.get(end..).unwrap_or_default());
                buffer.truncate(end);
                let extent = check(&buffer, limits).map_err(HeadEnd::Refused)?;
                return Ok(Head::Http1 { head: buffer, beyond, extent });
            }
            End::Bad(what) => return Err(HeadEnd::Refused(Denial::malformed(what))),
            End::NotYet => {
                let first_line = memchr(b'\n', &buffer).unwrap_or(buffer.len());
                // Method, two spaces and version take the rest.
                if first_line > limits.target_bytes + 64 {
                    return Err(HeadEnd::Refused(Denial::new(Reason::TargetTooLong)));
                }
                if buffer.len() > limits.header_bytes {
                    return Err(HeadEnd::Refused(Denial::new(Reason::HeadersTooLarge)));
                }
                scanned = buffer.len();
            }
        }
    }
}

/// Reads what there is. While there is nothing, no buffer waits for it: most
/// connections are idle most of the time.
async fn read_some<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    poll_fn(|context| {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

/// Whether a head, up to its empty line, has one reading (RFC 9112) and is
/// within its limits in bytes. What comes after it is not looked at.
///
/// # Errors
/// What is wrong with it.
pub fn examine_head(head: &[u8], header_bytes: usize, target_bytes: usize) -> Result<(), Denial> {
    let End::At(end) = find_end(head, 0) else {
        return Err(Denial::malformed("the head has no end, or a stray control character"));
    };
    let limits = HeadLimits {
        header_bytes,
        target_bytes,
        header_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
    };
    check(head.get(..end).unwrap_or_default(), &limits).map(drop)
}

/// Empty lines before a request line are skipped (RFC 9112 section 2.2).
fn skip_empty_lines(buffer: &mut BytesMut) {
    while buffer.starts_with(b"\r\n") {
        let _ = buffer.split_to(2);
    }
}

enum End {
    At(usize),
    NotYet,
    Bad(&'static str),
}

/// Finds the empty line. Bytes before `scanned` were looked at before. Only CR,
/// LF and NUL are of interest, so the rest is skipped many bytes at a time.
fn find_end(buffer: &[u8], scanned: usize) -> End {
    let mut at = scanned.saturating_sub(3);
    // Where the line begins, if its beginning was seen here.
    let mut line = None;
    while let Some(found) = buffer.get(at..).and_then(|rest| memchr3(b'\r', b'\n', 0, rest)) {
        let place = at + found;
        let before = place.checked_sub(1).and_then(|at| buffer.get(at));
        let ends = match (buffer.get(place), buffer.get(place + 1)) {
            (Some(b'\r'), None) => return End::NotYet,
            (Some(b'\r'), Some(b'\n')) => place + 1,
            (Some(b'\r'), Some(_)) => return End::Bad("a CR stands without LF"),
            // Its CR was looked at before.
            (Some(b'\n'), _) if before == Some(&b'\r') => place,
            (Some(b'\n'), _) => return End::Bad("a line ends in LF without CR"),
            _ => return End::Bad("the head holds a NUL"),
        };
        if line == Some(place) && ends >= 3 {
            return End::At(ends + 1);
        }
        at = ends + 1;
        line = Some(at);
    }
    End::NotYet
}

/// Whether a whole head has one reading; and where that says that the body ends.
fn check(head: &[u8], limits: &HeadLimits) -> Result<Extent, Denial> {
    if head.len() > limits.header_bytes {
        return Err(Denial::new(Reason::HeadersTooLarge));
    }
    let (line, mut rest) = first_line(head);
    let (target, version) = check_request_line(line, limits)?;
    let mut seen = Seen::default();
    loop {
        let (line, more) = first_line(rest);
        if line.is_empty() {
            break;
        }
        seen.field(line)?;
        rest = more;
    }
    let extent = seen.finish(version)?;
    if !target.starts_with(b"/") {
        // Pingora would answer this one by itself, in its own words.
        let host = seen.host.and_then(|host| std::str::from_utf8(host).ok());
        Target::parse(target, host).map_err(|fault| Denial::malformed(fault.to_string()))?;
    }
    Ok(extent)
}

/// The first line, without its end, and what comes after it.
fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', text).unwrap_or(text.len());
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HttpVersion {
    V10,
    V11,
}

fn check_request_line<'h>(
    line: &'h [u8],
    limits: &HeadLimits,
) -> Result<(&'h [u8], HttpVersion), Denial> {
    let Some((method, target, version)) = three_words(line) else {
        return Err(Denial::malformed("the request line is not method, target and version"));
    };
    if method.is_empty() || method.len() > 32 || !is_token(method) {
        return Err(Denial::malformed("the method is not a token"));
    }
    if method == b"CONNECT" {
        // Pingora would answer this one by itself, unlogged.
        return Err(Denial::malformed("CONNECT is not served here"));
    }
    if target.len() > limits.target_bytes {
        return Err(Denial::new(Reason::TargetTooLong));
    }
    if !is_target(target) {
        return Err(Denial::malformed(
            "the request target holds a character that must be percent-encoded",
        ));
    }
    match version {
        b"HTTP/1.1" => Ok((target, HttpVersion::V11)),
        b"HTTP/1.0" => Ok((target, HttpVersion::V10)),
        _ => Err(Denial::malformed("the version is neither HTTP/1.1 nor HTTP/1.0")),
    }
}

/// What one space and another stand between.
fn three_words(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut spaces = memchr_iter(b' ', line);
    let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next()) else {
        return None;
    };
    Some((line.get(..first)?, line.get(first + 1..second)?, line.get(second + 1..)?))
}

#[derive(Default)]
struct Seen<'h> {
    fields: usize,
    hosts: usize,
    host: Option<&'h [u8]>,
    lengths: usize,
    length: u64,
    codings: usize,
}

/// The lengths of the names that matter here.
const HOST: usize = "host".len();
const CONTENT_LENGTH: usize = "content-length".len();
const TRANSFER_ENCODING: usize = "transfer-encoding".len();

impl<'h> Seen<'h> {
    fn field(&mut self, line: &'h [u8]) -> Result<(), Denial> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(Denial::new(Reason::HeadersTooLarge));
        }
        // A name ends where its letters do.
        let length = line.iter().take_while(|b| is_tchar(**b)).count();
        let (name, rest) = line.split_at_checked(length).unwrap_or_default();
        let value = match rest {
            [b':', value @ ..] if !name.is_empty() => value,
            _ if !line.contains(&b':') => {
                return Err(Denial::malformed("a header line has no colon"));
            }
            _ => {
                let fault = "a header name is not a token, or a line is folded";
                return Err(Denial::malformed(fault));
            }
        };
        if has_control(value) {
            return Err(Denial::malformed("a header value holds a control character"));
        }
        if !matches!(name.len(), HOST | CONTENT_LENGTH | TRANSFER_ENCODING) {
            return Ok(());
        }
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            self.host = Some(value);
            if !is_authority(value) {
                return Err(Denial::malformed("Host is not a host with an optional port"));
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            self.length = length_of(value)
                .ok_or_else(|| Denial::malformed("Content-Length is not one whole number"))?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Denial::malformed("Transfer-Encoding is not \"chunked\""));
            }
        }
        Ok(())
    }

    fn finish(&self, version: HttpVersion) -> Result<Extent, Denial> {
        let fault = match (self.hosts, self.lengths, self.codings) {
            (0, ..) => "there is no Host",
            (2.., ..) => "there is more than one Host",
            (_, 2.., _) => "there is more than one Content-Length",
            (.., 2..) => "there is more than one Transfer-Encoding",
            (_, 1, 1) => "there are both Content-Length and Transfer-Encoding",
            (.., 1) if version == HttpVersion::V10 => "HTTP/1.0 has no Transfer-Encoding",
            (.., 1) => return Ok(Extent::CHUNKED),
            _ => return Ok(Extent::Length(self.length)),
        };
        Err(Denial::malformed(fault))
    }
}

#[cfg(test)]
mod tests;

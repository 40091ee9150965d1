//! What an HTTP/1.1 answer says otherwise than Pingora writes it.
//!
//! Pingora puts its own date in place of the upstream's and writes no trailers. Both are
//! made good in what it writes: a head is one piece, and so is the end of the chunks.

use bytes::Bytes;
use http::HeaderValue;

/// What ends chunks (RFC 9112 section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What is to be changed in one answer.
#[derive(Debug, Default)]
pub(super) struct Amends {
    /// The date that its head is to have.
    pub(super) date: Option<HeaderValue>,
    /// The lines of its trailer section.
    pub(super) trailers: Vec<u8>,
}

impl Amends {
    /// What is written in place of a piece that is written by itself, if anything.
    pub(super) fn amended(&mut self, piece: &[u8]) -> Option<Bytes> {
        if piece == LAST_CHUNK && !self.trailers.is_empty() {
            let trailers = std::mem::take(&mut self.trailers);
            return Some([b"0\r\n", &*trailers, b"\r\n"].concat().into());
        }
        if self.date.is_some() && piece.starts_with(b"HTTP/1.") {
            return dated(piece, &self.date.take()?);
        }
        None
    }
}

/// The head with another date.
fn dated(head: &[u8], date: &HeaderValue) -> Option<Bytes> {
    let mut line_at = 0;
    loop {
        line_at += memchr::memchr(b'\n', head.get(line_at..)?)? + 1;
        let line = head.get(line_at..)?;
        if let Some(name) = line.get(..5).filter(|name| name.eq_ignore_ascii_case(b"date:")) {
            let end = line_at + memchr::memchr(b'\r', line)?;
            let (before, after) = (head.get(..line_at)?, head.get(end..)?);
            return Some([before, name, b" ", date.as_bytes(), after].concat().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gets_its_date_once() {
        let date = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");
        let mut amends = Amends { date: Some(date), ..Amends::default() };
        assert_eq!(amends.amended(b"1\r\n"), None);
        let head = b"HTTP/1.1 200 OK\r\nX-Date: 1\r\ndate: now\r\nConnection: close\r\n\r\n";
        let wanted = b"HTTP/1.1 200 OK\r\nX-Date: 1\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
            Connection: close\r\n\r\n";
        assert_eq!(amends.amended(head).as_deref(), Some(&wanted[..]));
        assert_eq!(amends.amended(head), None);
    }

    #[test]
    fn a_head_without_a_date_stays_as_it_is() {
        let mut amends = Amends { date: Some(HeaderValue::from_static("x")), ..Amends::default() };
        assert_eq!(amends.amended(b"HTTP/1.1 200 OK\r\nX: date: 1\r\n\r\n"), None);
    }

    #[test]
    fn trailers_stand_before_the_end_of_the_chunks() {
        let mut amends = Amends { trailers: b"X-Sum: 1\r\n".to_vec(), ..Amends::default() };
        for piece in [&b"0\r\n"[..], b"\r\n", b"00\r\n\r\n", b"a\r\n0\r\n\r\n"] {
            assert_eq!(amends.amended(piece), None, "{piece:?}");
        }
        assert_eq!(amends.amended(LAST_CHUNK).as_deref(), Some(&b"0\r\nX-Sum: 1\r\n\r\n"[..]));
        assert_eq!(amends.amended(LAST_CHUNK), None);
    }
}

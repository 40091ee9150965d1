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
    /// True until its head is written. What looks like one later is its body.
    pub(super) head_is_due: bool,
    /// The date that its head is to have.
    pub(super) date: Option<HeaderValue>,
    /// Whether its body has chunks. What looks like the last one elsewhere is its body.
    pub(super) has_chunks: bool,
    /// The lines of its trailer section.
    pub(super) trailers: Vec<u8>,
}

impl Amends {
    /// What is written in place of a piece that is written by itself, if anything.
    pub(super) fn amended(&mut self, piece: &[u8]) -> Option<Bytes> {
        if self.head_is_due {
            if piece.starts_with(b"HTTP/1.1 1") {
                return None;
            }
            self.head_is_due = false;
            self.has_chunks = has_chunks(piece);
            return dated(piece, &self.date.take()?);
        }
        if self.has_chunks && piece == LAST_CHUNK && !self.trailers.is_empty() {
            let trailers = std::mem::take(&mut self.trailers);
            return Some([b"0\r\n", &*trailers, b"\r\n"].concat().into());
        }
        None
    }
}

/// The lines of a head, each with the place where it begins; not the first one.
fn lines(head: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let ends = memchr::memchr_iter(b'\n', head);
    ends.map_while(|end| {
        let line = head.get(end + 1..)?;
        let line = line.get(..memchr::memchr(b'\r', line)?)?;
        (!line.is_empty()).then_some((end + 1, line))
    })
}

/// What follows a name and its colon, if a line has it.
fn value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (said, value) = line.split_at_checked(name.len())?;
    value.strip_prefix(b":").filter(|_| said.eq_ignore_ascii_case(name.as_bytes()))
}

fn has_chunks(head: &[u8]) -> bool {
    let mut codings = lines(head).filter_map(|(_, line)| value(line, "transfer-encoding"));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The head with another date.
fn dated(head: &[u8], date: &HeaderValue) -> Option<Bytes> {
    let (begin, old) = lines(head).find_map(|(at, line)| {
        let old = value(line, "date")?;
        Some((at + line.len() - old.len(), old))
    })?;
    let (before, after) = (head.get(..begin)?, head.get(begin + old.len()..)?);
    Some([before, b" ", date.as_bytes(), after].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    fn due(trailers: &str) -> Amends {
        let date = Some(HeaderValue::from_static(DATE));
        let trailers = trailers.as_bytes().to_vec();
        Amends { head_is_due: true, date, trailers, ..Amends::default() }
    }

    fn head(fields: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
    }

    #[test]
    fn a_head_gets_its_date_and_nothing_else_does() {
        let mut amends = due("");
        let early = b"HTTP/1.1 103 Early Hints\r\nDate: now\r\n\r\n";
        assert_eq!(amends.amended(early), None);
        let text = head("X-Date: 1\r\ndate: now\r\nConnection: close\r\n");
        let wanted = head(&format!("X-Date: 1\r\ndate: {DATE}\r\nConnection: close\r\n"));
        assert_eq!(amends.amended(text.as_bytes()).unwrap(), wanted);
        assert_eq!(amends.amended(text.as_bytes()), None, "that is the body");
        let mut amends = due("");
        let text = head("X: date: 1\r\n") + "Date: 1\r\n\r\n";
        assert_eq!(amends.amended(text.as_bytes()), None, "it has none");
        let mut amends = due("");
        assert_eq!(amends.amended(b"x"), None);
        assert_eq!(amends.amended(head("Date: now\r\n").as_bytes()), None, "that is the body");
    }

    #[test]
    fn trailers_stand_before_the_end_of_chunks() {
        let chunked = head("transfer-encoding: Chunked\r\n");
        for begun in [true, false] {
            let mut amends = due("X-Sum: 1\r\n");
            if begun {
                amends = Amends { head_is_due: false, has_chunks: true, ..amends };
            } else {
                assert_eq!(amends.amended(chunked.as_bytes()), None);
            }
            for piece in [&b"0\r\n"[..], b"\r\n", b"00\r\n\r\n", b"a\r\n0\r\n\r\n"] {
                assert_eq!(amends.amended(piece), None, "{piece:?}");
            }
            let last = amends.amended(LAST_CHUNK);
            assert_eq!(last.as_deref(), Some(&b"0\r\nX-Sum: 1\r\n\r\n"[..]));
            assert_eq!(amends.amended(LAST_CHUNK), None);
        }
    }

    #[test]
    fn a_body_without_chunks_stays_as_it_is() {
        for fields in ["Content-Length: 5\r\n", "", "X: transfer-encoding: chunked\r\n"] {
            let mut amends = due("X-Sum: 1\r\n");
            amends.amended(head(fields).as_bytes());
            // What the body says of itself counts for nothing.
            assert_eq!(amends.amended(head("Transfer-Encoding: chunked\r\n").as_bytes()), None);
            assert_eq!(amends.amended(LAST_CHUNK), None, "{fields}");
        }
    }
}

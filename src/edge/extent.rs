//! Where the body of an HTTP/1.1 request ends (RFC 9112 sections 6 and 7).
//!
//! Pingora decodes bodies; this only walks along what it reads, so that it gets
//! nothing beyond the request that was judged, and no chunk that another server
//! could take for something else. What it lets through, Pingora reads alike.

use super::grammar::{has_control, is_tchar};

/// Bytes that a chunk's extensions may have, and all of the trailers.
const EXTENSION_BYTES: u16 = 1024;
const TRAILER_BYTES: u16 = 16 * 1024;
/// Digits of a chunk's size.
const SIZE_DIGITS: u8 = 15;

/// A body that is framed wrongly: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of the body are malformed")]
pub struct Malformed;

/// What is still to come of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// This many bytes.
    Length(u64),
    /// Chunks, and where among them.
    Chunked(Place),
}

/// A place in a chunked body. LF comes next where a name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Size { digits: u8, size: u64 },
    Extension { left: u16, size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer { left: u16, part: Part },
    End,
}

/// A place in a trailer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    Name,
    Value,
    Lf,
    LastLf,
}

impl Extent {
    /// A chunked body, from its beginning.
    pub(crate) const CHUNKED: Extent = Extent::Chunked(Place::Size { digits: 0, size: 0 });

    /// Whether all of it has come.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Extent::Length(0) | Extent::Chunked(Place::End))
    }

    /// Takes note of bytes that have come, and says how many of them belong to the body:
    /// all, unless it ends among them. The lines of its trailer section, as far as they are
    /// there, are added to `trailers`.
    ///
    /// # Errors
    /// They are no chunks.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        trailers: &mut Vec<u8>,
    ) -> Result<usize, Malformed> {
        match self {
            Extent::Length(left) => {
                let own = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= own as u64;
                Ok(own)
            }
            Extent::Chunked(place) => {
                let mut rest = bytes;
                while *place != Place::End && !rest.is_empty() {
                    let (before, first) = (*place, rest.first());
                    (*place, rest) = place.step(rest)?;
                    if let (Place::Trailer { .. }, Some(byte)) = (before, first)
                        && !matches!(*place, Place::Trailer { part: Part::LastLf, .. } | Place::End)
                    {
                        trailers.push(*byte);
                    }
                }
                Ok(bytes.len() - rest.len())
            }
        }
    }

    /// How many of the bytes that come next stand before the trailer section: all, if it
    /// does not begin among them.
    pub(crate) fn before_trailers(&self, bytes: &[u8]) -> usize {
        let Extent::Chunked(mut place) = *self else { return bytes.len() };
        let mut rest = bytes;
        loop {
            if let Place::Trailer { left: TRAILER_BYTES, part: Part::Start } = place {
                return bytes.len() - rest.len();
            }
            match place.step(rest) {
                Ok((next, after)) if after.len() < rest.len() => (place, rest) = (next, after),
                _ => return bytes.len(),
            }
        }
    }
}

/// Where a chunked body (RFC 9112 section 7.1) ends, if it ends among these bytes.
///
/// # Errors
/// They are no chunks, or some that could be read in two ways.
pub fn end_of_chunks(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut extent = Extent::CHUNKED;
    let own = extent.take(bytes, &mut Vec::new())?;
    Ok(extent.is_over().then_some(own))
}

impl Place {
    /// Past the next byte, or past all data of a chunk that has come.
    fn step(self, bytes: &[u8]) -> Result<(Place, &[u8]), Malformed> {
        let Some((byte, rest)) = bytes.split_first() else { return Ok((self, bytes)) };
        let next = match (self, byte) {
            (Place::Size { digits, size }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(*byte).to_digit(16).unwrap_or_default();
                if digits == SIZE_DIGITS {
                    return Err(Malformed);
                }
                Place::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (Place::Size { digits: 1.., size }, b'\r') => Place::SizeLf { size },
            (Place::Size { digits: 1.., size }, b';') => {
                Place::Extension { left: EXTENSION_BYTES, size }
            }
            (Place::Extension { size, .. }, b'\r') => Place::SizeLf { size },
            (Place::Extension { left: left @ 1.., size }, byte) if !has_control(&[*byte]) => {
                Place::Extension { left: left - 1, size }
            }
            (Place::SizeLf { size: 0 }, b'\n') => {
                Place::Trailer { left: TRAILER_BYTES, part: Part::Start }
            }
            (Place::SizeLf { size }, b'\n') => Place::Data { left: size },
            (Place::Data { left }, _) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - here as u64;
                let next = if left == 0 { Place::DataCr } else { Place::Data { left } };
                return Ok((next, bytes.get(here..).unwrap_or_default()));
            }
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Size { digits: 0, size: 0 },
            (Place::Trailer { part: Part::LastLf, .. }, b'\n') => Place::End,
            (Place::Trailer { left: left @ 1.., part }, byte) => {
                Place::Trailer { left: left - 1, part: part.step(*byte)? }
            }
            _ => return Err(Malformed),
        };
        Ok((next, rest))
    }
}

impl Part {
    fn step(self, byte: u8) -> Result<Part, Malformed> {
        match (self, byte) {
            (Part::Start, b'\r') => Ok(Part::LastLf),
            (Part::Start | Part::Name, byte) if is_tchar(byte) => Ok(Part::Name),
            (Part::Name, b':') => Ok(Part::Value),
            (Part::Value, b'\r') => Ok(Part::Lf),
            (Part::Value, byte) if !has_control(&[byte]) => Ok(Part::Value),
            (Part::Lf, b'\n') => Ok(Part::Start),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_ends_where_it_ends() {
        for body in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "2\r\nab\r\n0\r\n\r\n",
            "2;x=y\r\nab\r\nA;q=\"a;b\"\r\n0123456789\r\n0\r\n\r\n",
            "1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n",
            "0\r\nX-Sum: 1\r\nEmpty:\r\n\r\n",
        ] {
            assert_eq!(end_of_chunks(body.as_bytes()), Ok(Some(body.len())), "{body:?}");
            let more = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(end_of_chunks(more.as_bytes()), Ok(Some(body.len())), "{more:?}");
            for end in 0..body.len() {
                assert_eq!(end_of_chunks(&body.as_bytes()[..end]), Ok(None), "{:?}", &body[..end]);
            }
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        let flood = format!("0;{}\r\n\r\n", "x".repeat(2000));
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(3000));
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+2\r\nab\r\n",
            "0x2\r\nab\r\n",
            " 2\r\nab\r\n",
            "2 \r\nab\r\n",
            "2 ;x\r\nab\r\n",
            "2\nab\r\n",
            "2\rab\r\n",
            "2;x\ny\r\nab\r\n",
            "2;x\0\r\nab\r\n",
            ";x\r\n",
            "2\r\nabc\r\n",
            "2\r\nab\n0\r\n\r\n",
            "2\r\nab0\r\n\r\n",
            "0\r\n\n",
            "0\r\nab\r\n",
            "0\r\n a: b\r\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
            "0\r\na : b\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\na: \x01\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "1000000000000000\r\n",
            "0000000000000002\r\nab\r\n",
            &flood,
            &trailers,
        ] {
            assert_eq!(end_of_chunks(body.as_bytes()), Err(Malformed), "{body:?}");
        }
    }

    #[test]
    fn a_length_counts() {
        let (mut extent, mut none) = (Extent::Length(5), Vec::new());
        assert_eq!(extent.take(b"abc", &mut none), Ok(3));
        assert!(!extent.is_over());
        assert_eq!(extent.take(b"deGET /", &mut none), Ok(2));
        assert!(extent.is_over() && Extent::Length(0).is_over());
        assert_eq!(extent.take(b"x", &mut none), Ok(0));
        assert_eq!((none.len(), extent.before_trailers(b"0\r\n\r\n")), (0, 5));
    }

    #[test]
    fn trailers_are_found_wherever_the_bytes_are_cut() {
        for (body, wanted) in [
            ("2\r\nab\r\n0\r\nX-Sum: 1\r\nEmpty:\r\n\r\n", "X-Sum: 1\r\nEmpty:\r\n"),
            ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", ""),
            ("0\r\na:b\r\n\r\n", "a:b\r\n"),
        ] {
            let place = body.rfind("0\r\n").unwrap() + 3;
            for cut in 0..=body.len() {
                let (mut extent, mut trailers) = (Extent::CHUNKED, Vec::new());
                let (one, two) = body.as_bytes().split_at(cut);
                assert_eq!(extent.before_trailers(one), place.min(cut), "{cut} of {body:?}");
                assert_eq!(extent.take(one, &mut trailers), Ok(one.len()));
                if cut <= place {
                    assert_eq!(extent.before_trailers(two), place - cut, "{cut} of {body:?}");
                }
                assert_eq!(extent.take(two, &mut trailers), Ok(two.len()));
                assert!(extent.is_over());
                assert_eq!(trailers, wanted.as_bytes(), "{cut} of {body:?}");
            }
        }
    }
}

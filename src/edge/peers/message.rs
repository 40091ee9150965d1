//! Where the messages on a connection to an upstream end (RFC 9112 section 6.3).
//!
//! Only looked at, beside Pingora, which frames them: what is odd here is lost, and ends
//! with its connection.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};

use crate::edge::extent::Extent;

/// As many fields as Pingora takes, and bytes of a head.
const MOST_FIELDS: usize = 256;
const MOST_HEAD: usize = 1 << 20;

/// One message, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// So much of its head.
    Head(Vec<u8>),
    /// Its body.
    Body(Extent),
    /// All of it.
    Over,
    /// It can't be followed.
    Lost,
}

impl Default for Course {
    fn default() -> Self {
        Course::Head(Vec::new())
    }
}

impl Course {
    pub(super) fn is_over(&self) -> bool {
        *self == Course::Over
    }

    /// How many of the bytes that come next stand before the head's end, or else before the
    /// trailer section.
    pub(super) fn before_trailers(&self, bytes: &[u8]) -> usize {
        match self {
            Course::Head(head) => {
                let rest = || bytes.get(rest_of_head(head, bytes)?..).map(<[u8]>::len);
                bytes.len() - rest().unwrap_or_default()
            }
            Course::Body(extent) => extent.before_trailers(bytes),
            Course::Over | Course::Lost => bytes.len(),
        }
    }

    /// Takes note of bytes that have come. What follows a head is for `after` to say; the
    /// lines behind a body are added to `trailers`.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        trailers: &mut Vec<u8>,
        mut after: impl FnMut(&[u8]) -> Course,
    ) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (next, own) = match self {
                Course::Head(head) => {
                    let own = rest_of_head(head, rest);
                    head.extend_from_slice(rest.get(..own.unwrap_or(rest.len())).unwrap_or(rest));
                    match own {
                        Some(own) => (after(head), own),
                        None if head.len() <= MOST_HEAD => return,
                        None => (Course::Lost, 0),
                    }
                }
                Course::Body(extent) => match extent.take(rest, trailers) {
                    Ok(own) if extent.is_over() => (Course::Over, own),
                    Ok(_) => return,
                    Err(_) => (Course::Lost, 0),
                },
                // Nobody asked for more.
                Course::Over | Course::Lost => (Course::Lost, rest.len()),
            };
            *self = next;
            rest = rest.get(own..).unwrap_or_default();
            if *self == Course::Lost {
                return;
            }
        }
    }
}

/// How many of `bytes` belong to a head of which `head` has come, if it ends among them.
fn rest_of_head(head: &[u8], bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let seam = head.get(head.len().saturating_sub(END.len() - 1)..).unwrap_or_default();
    let both = [seam, bytes.get(..END.len()).unwrap_or(bytes)].concat();
    if let Some(at) = memchr::memmem::find(&both, END) {
        return Some(at + END.len() - seam.len());
    }
    memchr::memmem::find(bytes, END).map(|at| at + END.len())
}

/// What follows the head of a request, as Pingora writes it.
pub(super) fn after_request(head: &[u8]) -> Course {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(end)) if end == head.len() => {
            framed(request.headers).unwrap_or(Course::Over)
        }
        _ => Course::Lost,
    }
}

/// What follows the head of an answer, and whether its connection lasts.
pub(super) fn after_answer(head: &[u8], to_head: bool) -> (Course, bool) {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut answer = Response::new(&mut fields);
    let (Ok(Status::Complete(end)), Some(code)) = (answer.parse(head), answer.code) else {
        return (Course::Lost, false);
    };
    if end < head.len() {
        // Pingora takes empty lines of a bare LF, too: what was taken for more of the head is
        // the body to it.
        return (Course::Lost, false);
    }
    let says_close = words(answer.headers, CONNECTION.as_str()).any(|word| is(word, "close"));
    let lasts = answer.version == Some(1) && !says_close;
    let course = match code {
        101 => Course::Lost,
        100..=199 => Course::default(),
        204 | 304 => Course::Over,
        _ if to_head => Course::Over,
        // It ends with its connection.
        _ => framed(answer.headers).unwrap_or(Course::Lost),
    };
    (course, lasts)
}

/// What the fields say of the body, if anything.
fn framed(fields: &[Header<'_>]) -> Option<Course> {
    let mut codings = words(fields, TRANSFER_ENCODING.as_str());
    if let Some(coding) = codings.next() {
        let is_chunked = is(coding, "chunked") && codings.next().is_none();
        return Some(if is_chunked { Course::Body(Extent::CHUNKED) } else { Course::Lost });
    }
    let mut lengths = words(fields, CONTENT_LENGTH.as_str());
    let digits = lengths.next()?;
    let length = digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok());
    let length: Option<u64> = length.flatten().and_then(|digits| digits.parse().ok());
    Some(match length {
        _ if lengths.next().is_some() => Course::Lost,
        Some(0) => Course::Over,
        Some(length) => Course::Body(Extent::Length(length)),
        None => Course::Lost,
    })
}

fn words<'a>(fields: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let fields = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    fields.flat_map(|field| field.value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn is(word: &[u8], wanted: &str) -> bool {
    word.eq_ignore_ascii_case(wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(text: &str, cut: usize, to_head: bool) -> (Course, bool, String) {
        let (mut course, mut lasts, mut trailers) = (Course::default(), true, Vec::new());
        let (one, two) = text.as_bytes().split_at(cut);
        for piece in [one, two] {
            course.take(piece, &mut trailers, |head| {
                let (next, still) = after_answer(head, to_head);
                lasts &= still;
                next
            });
        }
        (course, lasts, String::from_utf8(trailers).unwrap())
    }

    #[test]
    fn answers_are_over_when_all_has_come_and_not_before() {
        for (text, to_head, lasts, trailers) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, true, ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, true, ""),
            ("HTTP/1.1 204 No\r\n\r\n", false, true, ""),
            ("HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n", false, true, ""),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, true, ""),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
                 1\r\na\r\n0\r\nX: 1\r\n\r\n",
                false,
                true,
                "X: 1\r\n",
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", false, false, ""),
            (
                "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na",
                false,
                false,
                "",
            ),
        ] {
            for cut in 0..=text.len() {
                let wanted = (Course::Over, lasts, trailers.to_owned());
                assert_eq!(answer(text, cut, to_head), wanted, "{cut} of {text:?}");
                if cut < text.len() {
                    assert!(!answer(&text[..cut], 0, to_head).0.is_over(), "{:?}", &text[..cut]);
                }
            }
            assert_eq!(
                answer(&format!("{text}x"), 0, to_head).0,
                Course::Lost,
                "{text:?}, and more"
            );
        }
    }

    #[test]
    fn what_is_odd_or_ends_with_its_connection_is_lost() {
        for text in [
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\n9\r\nabc\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\n\r\nabc\r\n\r\nde",
        ] {
            assert_eq!(answer(text, 0, false).0, Course::Lost, "{text:?}");
        }
    }

    /// Pieces of answers, in any order.
    fn text() -> impl Strategy<Value = String> {
        let pieces = [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n",
            "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "\r\n",
            "abc",
            "3\r\nabc\r\n",
            "0\r\n",
            "X-Sum: 1\r\n",
            "\r",
            "\n",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// However it comes, it is the same.
        #[test]
        fn pieces_make_no_difference(text in text(), cut in any::<prop::sample::Index>(), head in any::<bool>()) {
            let (whole, lasts, trailers) = answer(&text, 0, head);
            let (course, still, behind) = answer(&text, cut.index(text.len() + 1), head);
            prop_assert_eq!(&course, &whole, "{:?}", text);
            if course != Course::Lost {
                prop_assert_eq!((still, behind), (lasts, trailers), "{:?}", text);
            }
        }
    }

    #[test]
    fn the_place_of_a_requests_trailers_is_found() {
        let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut course = Course::default();
        let all = format!("{head}1\r\na\r\n0\r\n\r\n");
        assert_eq!(course.before_trailers(all.as_bytes()), head.len());
        course.take(head.as_bytes(), &mut Vec::new(), after_request);
        let body = &all.as_bytes()[head.len()..];
        assert_eq!(course.before_trailers(body), body.len() - 2);
        course.take(&body[..body.len() - 2], &mut Vec::new(), after_request);
        assert_eq!(course.before_trailers(b"\r\n"), 0);
        assert!(!course.is_over());
        course.take(b"\r\n", &mut Vec::new(), after_request);
        assert!(course.is_over());
        for (head, over) in [
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", false),
        ] {
            let mut course = Course::default();
            course.take(head.as_bytes(), &mut Vec::new(), after_request);
            assert_eq!(course.is_over(), over, "{head:?}");
        }
    }
}

//! How an answer says where it ends, and for whom it says so: the gateway writes messages of
//! its own (RFC 9112 section 2.3), so that what an upstream says of its own connection goes
//! no further. What could be read in two ways is no answer.

use http::Version;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType};

use super::grammar::length_of;

/// Makes an answer one of ours, to that request.
///
/// # Errors
/// When its framing is faulty, which is the upstream's fault.
pub(super) fn settle(request: &RequestHeader, answer: &mut ResponseHeader) -> pingora::Result<()> {
    if answer.version < Version::HTTP_11 {
        // RFC 9112 section 6.1: who passed it on may have read it otherwise.
        if answer.headers.contains_key(TRANSFER_ENCODING) {
            return fault("it is HTTP/1.0 and has a Transfer-Encoding");
        }
        if answer.status == 101 {
            return fault("it is HTTP/1.0 and switches to another protocol");
        }
        answer.set_version(Version::HTTP_11);
    }
    if request.version == Version::HTTP_10 {
        // It knows no chunks: the end of the connection is the end.
        answer.remove_header(&TRANSFER_ENCODING);
    }
    settle_length(answer)
}

/// Leaves one of equal lengths (RFC 9110 section 8.6).
fn settle_length(answer: &mut ResponseHeader) -> pingora::Result<()> {
    let mut fields = answer.headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (fields.next(), fields.next());
    let is_plain = first.is_none_or(|length| length_of(length.as_bytes()).is_some());
    if is_plain && second.is_none() {
        return Ok(());
    }
    let said = answer.headers.get_all(CONTENT_LENGTH);
    let parts = said.iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let mut lengths = parts.map(|part| length_of(part.trim_ascii()));
    match lengths.next() {
        Some(Some(length)) if lengths.all(|other| other == Some(length)) => {
            answer.insert_header(CONTENT_LENGTH, length.to_string())
        }
        _ => fault("its Content-Length is not one whole number"),
    }
}

fn fault(what: &'static str) -> pingora::Result<()> {
    Err(Error::explain(ErrorType::InvalidHTTPHeader, what).into_up())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::headers::tests::request;

    fn settled(version: Version, status: u16, fields: &[(&'static str, &str)]) -> Option<String> {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        answer.set_version(version);
        for (name, value) in fields {
            answer.append_header(*name, *value).unwrap();
        }
        settle(&request(&[]), &mut answer).ok()?;
        let fields = answer.headers.iter().map(|(name, value)| format!(" {name}: {value:?}"));
        Some(format!("{:?}{}", answer.version, fields.collect::<String>()))
    }

    #[test]
    fn what_an_answer_says_of_its_end_has_one_reading() {
        let length = "content-length";
        for (version, status, fields, wanted) in [
            (Version::HTTP_11, 200, vec![], Some("HTTP/1.1")),
            (Version::HTTP_10, 200, vec![], Some("HTTP/1.1")),
            (Version::HTTP_2, 200, vec![], Some("HTTP/2.0")),
            (Version::HTTP_11, 200, vec![(length, "5")], Some("HTTP/1.1 content-length: \"5\"")),
            (Version::HTTP_10, 200, vec![(length, "5")], Some("HTTP/1.1 content-length: \"5\"")),
            (
                Version::HTTP_11,
                200,
                vec![(length, "5"), (length, "5")],
                Some("HTTP/1.1 content-length: \"5\""),
            ),
            (
                Version::HTTP_2,
                200,
                vec![(length, "5, 5"), (length, "5")],
                Some("HTTP/2.0 content-length: \"5\""),
            ),
            (Version::HTTP_2, 200, vec![(length, "5"), (length, "6")], None),
            (Version::HTTP_11, 200, vec![(length, "5, 6")], None),
            (Version::HTTP_11, 200, vec![(length, "5,")], None),
            (Version::HTTP_11, 200, vec![(length, "")], None),
            (Version::HTTP_11, 200, vec![(length, "+5")], None),
            (
                Version::HTTP_11,
                200,
                vec![("transfer-encoding", "chunked")],
                Some("HTTP/1.1 transfer-encoding: \"chunked\""),
            ),
            (Version::HTTP_10, 200, vec![("transfer-encoding", "chunked")], None),
            (Version::HTTP_10, 101, vec![], None),
            (Version::HTTP_10, 103, vec![], Some("HTTP/1.1")),
        ] {
            let got = settled(version, status, &fields);
            assert_eq!(got.as_deref(), wanted, "{version:?} {status} {fields:?}");
        }
    }

    #[test]
    fn who_knows_no_chunks_is_told_of_none() {
        let mut asked = request(&[]);
        asked.set_version(Version::HTTP_10);
        let mut answer = ResponseHeader::build(200, None).unwrap();
        answer.insert_header(TRANSFER_ENCODING, "chunked").unwrap();
        settle(&asked, &mut answer).unwrap();
        assert!(answer.headers.is_empty());
    }
}

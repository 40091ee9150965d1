//! Which fields that few requests have are in a head, seen in one walk over its names:
//! to search for one that is not there costs as much as to look at ten.

use pingora::http::RequestHeader;

use super::headers::undoes;

/// What is there, and worth a search. It says nothing of how often, or of any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) request_id: bool,
    pub(crate) trace: bool,
    pub(crate) te: bool,
    pub(crate) trailer: bool,
    /// Transfer-Encoding, which is chunked or was refused.
    pub(crate) chunked: bool,
    pub(crate) cookie: bool,
    pub(crate) length: bool,
    /// A field that would undo what was judged.
    pub(crate) undoes: bool,
}

impl Noted {
    pub(crate) fn of(request: &RequestHeader) -> Self {
        let mut noted = Noted::default();
        for name in request.headers.keys() {
            match name.as_str() {
                "x-request-id" => noted.request_id = true,
                "traceparent" => noted.trace = true,
                "te" => noted.te = true,
                "trailer" => noted.trailer = true,
                "transfer-encoding" => noted.chunked = true,
                "cookie" => noted.cookie = true,
                "content-length" => noted.length = true,
                other => noted.undoes |= undoes(other),
            }
        }
        noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::headers::tests::request;

    #[test]
    fn what_is_there_is_noted_and_nothing_else() {
        let all = Noted {
            request_id: true,
            trace: true,
            te: true,
            trailer: true,
            chunked: true,
            cookie: true,
            length: true,
            undoes: true,
        };
        let names = [
            "X-Request-ID",
            "TraceParent",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "cookie",
            "Content-Length",
            "X_HTTP~Method_Override",
        ];
        let fields: Vec<_> = names.iter().map(|name| (*name, "1")).collect();
        assert_eq!(Noted::of(&request(&fields)), all);
        for left_out in names {
            let fewer: Vec<_> = fields.iter().filter(|(n, _)| *n != left_out).copied().collect();
            let noted = Noted::of(&request(&fewer));
            let said = [
                noted.request_id,
                noted.trace,
                noted.te,
                noted.trailer,
                noted.chunked,
                noted.cookie,
                noted.length,
                noted.undoes,
            ];
            let there = names.map(|name| name != left_out);
            assert_eq!(said, there, "without {left_out}");
        }
        let usual = [("Host", "h"), ("Authorization", "x"), ("X-Request", "x"), ("X-Method", "x")];
        assert_eq!(Noted::of(&request(&usual)), Noted::default());
    }
}

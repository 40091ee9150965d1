//! When the way up fails: what the client hears, and what the log says.

use pingora::{Error, ErrorSource, ErrorType};

use super::loan;
use super::patience::Turn;
use super::stage::CLIENT_GONE;

/// What a client hears of a way that failed.
pub(super) struct Failure {
    /// 0 if nobody is there to hear it.
    pub(super) status: u16,
    pub(super) error: &'static str,
    pub(super) description: &'static str,
    /// For the log.
    pub(super) word: &'static str,
}

impl Failure {
    /// The upstream took too long.
    pub(super) const SILENCE: Failure = Failure {
        status: 504,
        error: "upstream_timeout",
        description: "The service behind the gateway took too long to answer.",
        word: "upstream_timeout",
    };

    /// The client took too long to send its request.
    pub(super) const STALLED: Failure = Failure {
        status: 408,
        error: "request_timeout",
        description: "The request took too long to arrive.",
        word: "client_timeout",
    };

    /// The exchange ended in the middle of the answer.
    pub(super) const BROKEN: Failure = Failure {
        status: 502,
        error: "bad_gateway",
        description: "The exchange with the service behind the gateway broke off.",
        word: "bad_gateway",
    };

    /// Nobody said anything in time.
    pub(super) fn of_silence(turn: Turn) -> Failure {
        match turn {
            Turn::Client => Failure::STALLED,
            Turn::Upstream => Failure::SILENCE,
        }
    }

    pub(super) fn of(error: &Error) -> Failure {
        let upstream = matches!(error.esource(), ErrorSource::Upstream);
        let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout)
            || (!upstream && loan::has_stalled(error));
        match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(413), _) => Failure {
                status: 413,
                error: "content_too_large",
                description: "",
                word: "too_large",
            },
            // Connection fields that Pingora does not take; chunks that are none.
            (etype, _) if !upstream && (is_malformed(etype) || loan::is_malformed(error)) => {
                Failure {
                    status: 400,
                    error: "invalid_request",
                    description: "The request's Connection field or the framing of its body is malformed.",
                    word: "malformed_request",
                }
            }
            (etype, _) if !upstream && !timed_out && has_left(etype) => {
                Failure { status: 0, error: "", description: "", word: CLIENT_GONE }
            }
            (_, _) if timed_out && !upstream => Failure::STALLED,
            (ErrorType::HTTPStatus(_), _) | (_, ErrorSource::Internal | ErrorSource::Unset) => {
                Failure {
                    status: 500,
                    error: "server_error",
                    description: "The gateway failed to handle the request.",
                    word: "internal_error",
                }
            }
            (_, ErrorSource::Upstream) if timed_out => Failure::SILENCE,
            (_, ErrorSource::Upstream) => Failure {
                status: 502,
                error: "bad_gateway",
                description: "The service behind the gateway could not be reached or broke off.",
                word: "bad_gateway",
            },
            (_, ErrorSource::Downstream) => {
                Failure { status: 0, error: "", description: "", word: CLIENT_GONE }
            }
        }
    }
}

/// The upstream chose not to speak HTTP/2, which it must.
pub(super) const NO_HTTP2: ErrorType = ErrorType::new("UpstreamSpeaksNoHttp2");

/// True if the connection broke off: another one may do better. Not so where
/// the upstream was too slow, or where what it sent makes no sense.
pub(super) fn broke_off(error: &ErrorType) -> bool {
    matches!(
        error,
        ErrorType::ConnectionClosed
            | ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::H2Error
    )
}

/// What an attempt to connect came to, fit for the log: nothing of a request is
/// in it, but an upstream's certificate may be, whatever that says.
pub(super) fn cause(error: &Error) -> String {
    error.to_string().chars().take(300).flat_map(char::escape_debug).collect()
}

/// What Pingora calls a client that closed in the middle of its request, or did
/// not wait for the answer: of what can't be written to it, it names no side.
fn has_left(error: &ErrorType) -> bool {
    matches!(error, ErrorType::ConnectionClosed | ErrorType::WriteError)
        || error.as_str() == "PrematureBodyEnd"
}

/// What Pingora calls a request that is framed wrongly.
fn is_malformed(error: &ErrorType) -> bool {
    let framing = ["InvalidChunk", "InvalidTrailerEnd"];
    matches!(error, ErrorType::InvalidHTTPHeader) || framing.contains(&error.as_str())
}

//! A line of the access log, as serde would write it, but copied at once where it
//! can be: nearly every text stands in JSON as it is, which can be seen of eight
//! bytes at a time, and the numbers are whole. One is written for every request.

use std::cell::Cell;

use serde::Serialize;

use super::access_log::AccessRecord;
use crate::domain::UnixTime;

/// Adds the line of a request, with its end.
pub(super) fn write(line: &mut Vec<u8>, record: &AccessRecord<'_>) {
    line.extend_from_slice(b"{\"ts\":\"");
    time(line, record.ts);
    text(line, "\",\"request_id\":", record.request_id);
    text(line, ",\"route\":", record.route);
    text(line, ",\"method\":", record.method);
    text(line, ",\"path\":", record.path);
    number(line, ",\"status\":", u64::from(record.status));
    text(line, ",\"decision\":", record.decision);
    text(line, ",\"reason\":", record.reason);
    optional(line, ",\"client_id\":", record.client_id);
    optional(line, ",\"account\":", record.account);
    optional(line, ",\"upstream\":", record.upstream);
    let micros = record.duration.saturating_add(HALF_A_MICRO).as_micros();
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    number(line, ",\"duration_ms\":", micros / 1000);
    thousandths(line, micros % 1000);
    number(line, ",\"bytes_in\":", record.bytes_in);
    number(line, ",\"bytes_out\":", record.bytes_out);
    line.extend_from_slice(b"}\n");
}

const HALF_A_MICRO: std::time::Duration = std::time::Duration::from_nanos(500);

/// As [`UnixTime::to_millis_text`]. Most lines are of the second of the line
/// before, and differ in the milliseconds only.
fn time(line: &mut Vec<u8>, at: UnixTime) {
    /// "2026-11-22T03:00:00."
    const SECOND: usize = 20;
    thread_local! {
        static LAST: Cell<(i64, [u8; SECOND])> = const { Cell::new((-1, [0; SECOND])) };
    }
    let (secs, millis) = (at.as_secs(), at.as_millis().rem_euclid(1000));
    let known = LAST.try_with(Cell::get).ok().filter(|(known, _)| *known == secs);
    let second = known.map(|(_, second)| second).or_else(|| {
        let text = at.to_millis_text();
        let second = *text.as_bytes().first_chunk::<SECOND>()?;
        let _ = LAST.try_with(|last| last.set((secs, second)));
        Some(second)
    });
    let Some(second) = second else {
        // Can't be: it has just been written with as many bytes.
        return line.extend_from_slice(at.to_millis_text().as_bytes());
    };
    line.extend_from_slice(&second);
    let millis = u64::try_from(millis).unwrap_or_default();
    line.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
}

fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// What stands behind the point, as a floating-point number is written.
fn thousandths(line: &mut Vec<u8>, rest: u64) {
    let digits = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
    let length = match rest {
        _ if rest.is_multiple_of(100) => 2,
        _ if rest.is_multiple_of(10) => 3,
        _ => 4,
    };
    line.extend_from_slice(digits.get(..length).unwrap_or(&digits));
}

fn text(line: &mut Vec<u8>, key: &str, text: &str) {
    line.extend_from_slice(key.as_bytes());
    if !stands_as_it_is(text.as_bytes()) {
        return value(line, text);
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
}

fn optional(line: &mut Vec<u8>, key: &str, given: Option<&str>) {
    match given {
        Some(given) => text(line, key, given),
        None => {
            line.extend_from_slice(key.as_bytes());
            line.extend_from_slice(b"null");
        }
    }
}

fn number(line: &mut Vec<u8>, key: &str, number: u64) {
    line.extend_from_slice(key.as_bytes());
    match number {
        0..10 => line.push(digit(number)),
        _ => value(line, &number),
    }
}

fn value(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Neither memory nor a number or text fails to take it.
    let _ = serde_json::to_writer(line, value);
}

/// Whether no byte is a control, `"` or `\`: eight bytes at a time, and the last
/// eight once more rather than one by one.
fn stands_as_it_is(text: &[u8]) -> bool {
    match text.last_chunk::<8>() {
        Some(last) => {
            let (eights, _) = text.as_chunks::<8>();
            let odd = eights.iter().fold(0, |odd, eight| odd | odd_bytes(*eight));
            odd | odd_bytes(*last) == 0
        }
        None => !text.iter().any(|b| *b < 0x20 || *b == b'"' || *b == b'\\'),
    }
}

/// The high bit of each byte that is below 0x20, `"` or `\`, and perhaps of others
/// beside one; 0 if there is none.
fn odd_bytes(eight: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_ne_bytes(eight);
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & (ONES << 7)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::metrics) fn record(path: &str) -> AccessRecord<'_> {
        AccessRecord {
            ts: UnixTime::from_millis(1),
            request_id: "r",
            route: "none",
            method: "GET",
            path,
            status: 404,
            decision: "deny",
            reason: "no_route",
            client_id: None,
            account: None,
            upstream: None,
            duration: Duration::from_micros(100),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    fn line_of(record: &AccessRecord<'_>) -> String {
        let mut line = Vec::new();
        write(&mut line, record);
        String::from_utf8(line).unwrap()
    }

    /// The same, member by member, in the order of the line.
    fn by_serde(record: &AccessRecord<'_>) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            ts: String,
            request_id: &'a str,
            route: &'a str,
            method: &'a str,
            path: &'a str,
            status: u16,
            decision: &'a str,
            reason: &'a str,
            client_id: Option<&'a str>,
            account: Option<&'a str>,
            upstream: Option<&'a str>,
            duration_ms: f64,
            bytes_in: u64,
            bytes_out: u64,
        }
        let AccessRecord { ts, request_id, route, method, path, status, .. } = *record;
        let AccessRecord { decision, reason, client_id, account, upstream, .. } = *record;
        let AccessRecord { duration, bytes_in, bytes_out, .. } = *record;
        let ts = ts.to_millis_text();
        let duration_ms = (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let line = Line {
            ts,
            request_id,
            route,
            method,
            path,
            status,
            decision,
            reason,
            client_id,
            account,
            upstream,
            duration_ms,
            bytes_in,
            bytes_out,
        };
        serde_json::to_string(&line).unwrap() + "\n"
    }

    #[test]
    fn a_line_is_what_serde_makes_of_it() {
        let texts =
            ["", "a", "\"", "\\", "\n\t\u{1}", "é\u{7f}\u{2028}/", "long enough for a vector \""];
        let micros = [0, 1, 10, 100, 120, 999, 1000, 12_000, 1_234_567, 98_765_432_101, 1 << 42];
        for (at, odd) in texts.into_iter().enumerate() {
            for (turn, micros) in micros.into_iter().enumerate() {
                let path = format!("/{}{odd}", "a".repeat(at * 7));
                let record = AccessRecord {
                    ts: UnixTime::from_millis(1_700_000_000_000 + turn as i64 * 499),
                    request_id: odd,
                    route: odd,
                    method: odd,
                    reason: odd,
                    client_id: (at % 2 == 0).then_some(odd),
                    account: (at % 3 == 0).then_some(odd),
                    upstream: Some(odd),
                    duration: Duration::from_micros(micros) + Duration::from_nanos(at as u64 * 71),
                    bytes_in: u64::MAX,
                    bytes_out: at as u64 * 5,
                    ..record(&path)
                };
                assert_eq!(line_of(&record), by_serde(&record));
            }
        }
        for end in [UnixTime::from_millis(0), UnixTime::MAX] {
            let record = AccessRecord { ts: end, ..record("/") };
            assert_eq!(line_of(&record), by_serde(&record));
        }
    }

    #[test]
    fn every_byte_at_every_place_is_seen() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'!'; length];
                    text[place] = byte;
                    let odd = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(stands_as_it_is(&text), !odd, "{byte} at {place} of {length}");
                }
            }
        }
    }
}

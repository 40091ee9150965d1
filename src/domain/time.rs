//! Points in time, and the one place that reads the wall clock.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The last instant RFC 3339 can write (year 9999); also "never".
    pub const MAX: UnixTime = UnixTime(253_402_300_799_000);

    /// From whole seconds since the epoch, as JWT claims carry them (RFC 7519 section 2).
    /// What lies outside RFC 3339's years is brought to the nearest one inside.
    pub fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// From milliseconds since the epoch, brought inside RFC 3339's years.
    pub fn from_millis(millis: i64) -> Self {
        UnixTime(millis.clamp(0, Self::MAX.0))
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This much later; stops at [`UnixTime::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// This much earlier; stops at the epoch.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: UnixTime) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC, always with milliseconds.
    pub fn to_millis_text(self) -> String {
        // One for every request: digit by digit, which formatting is far from.
        let Ok(at) = OffsetDateTime::from_unix_timestamp(self.as_secs()) else {
            return "9999-12-31T23:59:59.000Z".to_owned();
        };
        let (year, month, day) = at.to_calendar_date();
        let year = u32::try_from(year).unwrap_or_default();
        let mut text = String::with_capacity(24);
        for (number, digits, before) in [
            (year, 4, ""),
            (u32::from(u8::from(month)), 2, "-"),
            (u32::from(day), 2, "-"),
            (u32::from(at.hour()), 2, "T"),
            (u32::from(at.minute()), 2, ":"),
            (u32::from(at.second()), 2, ":"),
            (u32::try_from(self.0.rem_euclid(1000)).unwrap_or_default(), 3, "."),
        ] {
            text.push_str(before);
            for place in (0..digits).rev() {
                text.push(char::from_digit(number / 10_u32.pow(place) % 10, 10).unwrap_or('0'));
            }
        }
        text.push('Z');
        text
    }

    /// Reads an RFC 3339 date-time with any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()?;
        (0..=Self::MAX.0).contains(&millis).then_some(UnixTime(millis))
    }
}

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Writes a duration as [`parse_duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, scale): &&(&str, u64)| millis >= *scale && millis.is_multiple_of(*scale);
    match DURATION_UNITS.iter().find(fits) {
        Some((unit, scale)) => format!("{}{unit}", millis / scale),
        None => "0s".to_owned(),
    }
}

/// Reads a duration as people write it: `90s`, `12h`, `500ms`, `15m`, `2d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, scale) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    count.parse::<u64>().ok()?.checked_mul(*scale).map(Duration::from_millis)
}

/// RFC 3339 in UTC, in whole seconds, rounded down: times that people compare
/// all look alike. [`UnixTime::to_millis_text`] is for logs.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp(self.as_secs()).ok();
        let text = at.and_then(|at| at.format(&Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("9999-12-31T23:59:59Z"))
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where "now" comes from. Every time check takes a [`UnixTime`]; only the
/// edges hold a clock.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> UnixTime;
}

/// The machine's wall clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> UnixTime {
        let since =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved: exact expiry tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: UnixTime) -> Self {
        ManualClock(AtomicI64::new(now.0))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        self.0.store(self.now().plus(by).0, Ordering::SeqCst);
    }

    /// Jumps to `now`, backwards if need be.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc3339() {
        let at = UnixTime::from_secs(1_795_316_400);
        assert_eq!(at.to_string(), "2026-11-22T03:00:00Z");
        assert_eq!(at.plus(Duration::from_millis(1999)).to_string(), "2026-11-22T03:00:01Z");
        let late = at.plus(Duration::from_millis(7));
        assert_eq!(late.to_millis_text(), "2026-11-22T03:00:00.007Z");
        assert_eq!(UnixTime::parse_rfc3339(&late.to_millis_text()), Some(late));
        assert_eq!(UnixTime::parse_rfc3339("2026-11-22T04:00:00+01:00"), Some(at));
        assert_eq!(UnixTime::parse_rfc3339("2026-11-22"), None);
        assert_eq!(UnixTime::parse_rfc3339("1969-12-31T00:00:00Z"), None);
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("15m"), Some(Duration::from_secs(900)));
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        for text in ["0s", "1ms", "90s", "15m", "36h", "30d"] {
            assert_eq!(parse_duration(text).map(show_duration).as_deref(), Some(text));
        }
        for bad in ["", "15", "m", "-1s", "+1s", "1.5h", "1 h", "1w", "99999999999999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(UnixTime::MAX.plus(Duration::MAX), UnixTime::MAX);
        assert_eq!(UnixTime::from_secs(5).minus(Duration::from_secs(9)), UnixTime::from_secs(0));
        assert_eq!(UnixTime::from_secs(i64::MAX), UnixTime::MAX);
        assert_eq!(UnixTime::from_secs(1).since(UnixTime::from_secs(2)), Duration::ZERO);
    }
}

//! Exact rates per credential: the generic cell rate algorithm.

use std::time::Duration;

use crate::domain::{ClientId, Rate, UnixTime};
use crate::revocation::ById;

/// For each credential, when its next request would be due if it came at an
/// even pace, in nanoseconds since the epoch.
#[derive(Default)]
pub struct Rates(ById<ClientId, i128>);

impl Rates {
    /// Takes one request from what `rate` allows. All that is allowed in one
    /// period may come at once.
    ///
    /// # Errors
    /// How long to wait, when there is nothing left.
    pub fn take(&self, client: ClientId, rate: Rate, now: UnixTime) -> Result<(), Duration> {
        let now = i128::from(now.as_millis()) * 1_000_000;
        let period = i128::try_from(rate.per.as_nanos()).unwrap_or(i128::MAX);
        let interval = period / i128::from(rate.count.get());
        let mut due = self.0.entry(client).or_insert(now);
        // A clock that was set back, or a rate that was made stricter, must
        // not shut anybody out for longer than a period.
        let from = (*due).clamp(now, now.saturating_add(period));
        let wait = from + interval - period - now;
        if wait > 0 {
            return Err(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)));
        }
        *due = from + interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_an_even_pace() {
        let (rates, client) = (Rates::default(), ClientId::from_random([1; 16]));
        let rate: Rate = "10/s".parse().unwrap();
        let at = |millis: i64| UnixTime::from_millis(1_000_000 + millis);
        let taken = |now| rates.take(client, rate, now).is_ok();
        assert_eq!((0..20).filter(|_| taken(at(0))).count(), 10);
        assert_eq!(rates.take(client, rate, at(0)), Err(Duration::from_millis(100)));
        assert!(!taken(at(99)) && taken(at(100)) && !taken(at(100)));
        assert_eq!((0..20).filter(|_| taken(at(5000))).count(), 10, "never more than a period's");
        assert!(
            rates.take(ClientId::from_random([2; 16]), rate, at(5000)).is_ok(),
            "others are free"
        );
        assert!(
            rates.take(client, rate, at(0)).unwrap_err() <= Duration::from_secs(1),
            "the clock went back"
        );
    }
}

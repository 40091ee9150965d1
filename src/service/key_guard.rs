//! Slows down whoever tries wrong keys, by address.
//!
//! A right key is never asked to wait: keys are too long to be guessed, and whoever
//! revokes in an emergency may share an address with a script that has an old one. It
//! holds a bounded number of addresses; whoever has more of them than that evicts his own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::UnixTime;

/// So many wrong keys cost nothing: people mistype, and programs try again.
const FREE: u32 = 100;
/// After this long without a wrong key all is forgiven.
const FORGIVEN: Duration = Duration::from_secs(60);
/// The first wait; each further wrong key doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait on this machine itself: its operator, and whatever stands
/// in front of the admin port here, share one address.
const LONGEST_HERE: Duration = Duration::from_secs(5);
/// How many addresses are remembered.
const KEPT: usize = 4096;

/// What is held against one address.
#[derive(Clone, Copy)]
struct Record {
    wrong: u32,
    last: UnixTime,
    until: UnixTime,
}

/// Wrong keys, by address.
#[derive(Default)]
pub struct KeyGuard(Mutex<HashMap<IpAddr, Record>>);

impl KeyGuard {
    /// Whether a wrong key from this address is told so now.
    ///
    /// # Errors
    /// How long to wait, if it is not.
    pub fn check(&self, source: IpAddr, now: UnixTime) -> Result<(), Duration> {
        let records = self.0.lock();
        let Some(record) = records.get(&place(source)) else { return Ok(()) };
        // A clock that was set back must not shut anybody out for long.
        let until = record.until.min(now.plus(LONGEST));
        match u64::try_from(until.as_millis() - now.as_millis()) {
            Ok(wait) if wait > 0 => Err(Duration::from_millis(wait)),
            _ => Ok(()),
        }
    }

    /// Notes a wrong key.
    pub fn failed(&self, source: IpAddr, now: UnixTime) {
        let place = place(source);
        let mut records = self.0.lock();
        if records.len() >= KEPT && !records.contains_key(&place) {
            let oldest = records.iter().min_by_key(|(_, record)| record.last);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                records.remove(&oldest);
            }
        }
        let fresh = Record { wrong: 0, last: now, until: now };
        let record = records.entry(place).or_insert(fresh);
        if now > record.until.max(record.last).plus(FORGIVEN) {
            *record = fresh;
        }
        record.wrong = record.wrong.saturating_add(1);
        record.last = now;
        if let Some(doublings) = record.wrong.checked_sub(FREE) {
            let longest = if source.to_canonical().is_loopback() { LONGEST_HERE } else { LONGEST };
            let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(longest);
            record.until = now.plus(wait);
        }
    }
}

/// One IPv6 site has 2^64 addresses of its own: they count as one.
fn place(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let site = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(site))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> UnixTime {
        UnixTime::from_secs(1_000_000 + secs)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn waits_double_up_to_a_minute_and_end() {
        let (guard, source) = (KeyGuard::default(), address("192.0.2.1"));
        for _ in 1..FREE {
            guard.failed(source, at(0));
            assert_eq!(guard.check(source, at(0)), Ok(()));
        }
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            guard.failed(source, at(now));
            assert_eq!(guard.check(source, at(now)), Err(Duration::from_secs(wait)));
            now += i64::try_from(wait).unwrap();
            assert_eq!(guard.check(source, at(now)), Ok(()));
        }
        assert_eq!(guard.check(address("192.0.2.2"), at(0)), Ok(()), "others are free");
        guard.failed(source, at(now + 61));
        assert_eq!(guard.check(source, at(now + 61)), Ok(()), "forgiven");
        guard.failed(source, at(-5000));
        assert!(guard.check(source, at(-9000)).map_or_else(|w| w <= LONGEST, |()| true));
    }

    #[test]
    fn this_machine_is_never_shut_out_for_long() {
        for text in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let (guard, source) = (KeyGuard::default(), address(text));
            (0..FREE + 100).for_each(|_| guard.failed(source, at(0)));
            assert_eq!(guard.check(source, at(0)), Err(LONGEST_HERE), "{text}");
        }
    }

    #[test]
    fn memory_is_bounded_and_a_site_is_one() {
        let guard = KeyGuard::default();
        for n in 0..10_000_u32 {
            guard.failed(IpAddr::V4(n.into()), at(i64::from(n)));
        }
        assert_eq!(guard.0.lock().len(), KEPT);
        let guard = KeyGuard::default();
        for n in 0..FREE {
            guard.failed(address(&format!("2001:db8::{n}")), at(0));
        }
        assert!(guard.check(address("2001:db8::abcd:1"), at(0)).is_err());
        assert!(guard.check(address("2001:db8:0:1::1"), at(0)).is_ok());
    }
}

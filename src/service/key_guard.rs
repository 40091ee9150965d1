//! Slows down whoever tries wrong keys or secrets, by address.
//!
//! A right one is never asked to wait: they are too long to be guessed, and whoever
//! revokes in an emergency, or mints, may share an address with a script that has an old
//! one. It holds a bounded number of addresses; whoever has more of them than that evicts
//! his own.

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
    /// Notes a wrong key from this address, unless it has to wait: then nothing is held
    /// against it.
    ///
    /// # Errors
    /// How long to wait until a wrong key is told so again.
    pub fn wrong(&self, source: IpAddr, now: UnixTime) -> Result<(), Duration> {
        let place = place(source);
        let mut records = self.0.lock();
        if records.len() >= KEPT && !records.contains_key(&place) {
            forget_oldest(&mut records);
        }
        let fresh = Record { wrong: 0, last: now, until: now };
        let record = records.entry(place).or_insert(fresh);
        // A clock that was set back must not shut anybody out for long.
        let until = record.until.min(now.plus(LONGEST));
        if record.wrong >= FREE
            && let Ok(wait @ 1..) = u64::try_from(until.as_millis() - now.as_millis())
        {
            return Err(Duration::from_millis(wait));
        }
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
        Ok(())
    }
}

/// Makes room for a quarter at once: looking at all of them must not be the price of
/// each wrong key from somewhere else.
fn forget_oldest(records: &mut HashMap<IpAddr, Record>) {
    let mut times: Vec<UnixTime> = records.values().map(|record| record.last).collect();
    let (_, oldest, _) = times.select_nth_unstable(KEPT / 4);
    let oldest = *oldest;
    records.retain(|_, record| record.last > oldest);
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
            assert_eq!(guard.wrong(source, at(0)), Ok(()));
        }
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(guard.wrong(source, at(now)), Ok(()));
            assert_eq!(guard.wrong(source, at(now)), Err(Duration::from_secs(wait)));
            now += i64::try_from(wait).unwrap();
        }
        assert_eq!(guard.wrong(address("192.0.2.2"), at(0)), Ok(()), "others are free");
        assert!(guard.wrong(source, at(-9000)).is_err_and(|wait| wait <= LONGEST));
        for _ in 0..FREE {
            assert_eq!(guard.wrong(source, at(now + 61)), Ok(()), "forgiven");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let (guard, source) = (KeyGuard::default(), address("192.0.2.1"));
        for n in 1..FREE {
            assert_eq!(guard.wrong(source, at(-3600 * i64::from(n))), Ok(()));
        }
    }

    #[test]
    fn this_machine_is_never_shut_out_for_long() {
        for text in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let (guard, source) = (KeyGuard::default(), address(text));
            let (mut now, mut waits) = (at(0), Vec::new());
            for _ in 0..FREE + 100 {
                if let Err(wait) = guard.wrong(source, now) {
                    now = now.plus(wait);
                    waits.push(wait);
                }
            }
            assert_eq!(waits.iter().max(), Some(&LONGEST_HERE), "{text}");
        }
    }

    #[test]
    fn memory_is_bounded_and_a_site_is_one() {
        let guard = KeyGuard::default();
        for n in 0..10_000_u32 {
            assert_eq!(guard.wrong(IpAddr::V4(n.into()), at(i64::from(n))), Ok(()));
            let records = guard.0.lock();
            assert!(records.len() <= KEPT, "{}", records.len());
            let latest = IpAddr::V4(n.saturating_sub(1000).into());
            assert!(records.contains_key(&latest), "those of long ago go first");
        }
        // All in the same moment: room is made all the same.
        let guard = KeyGuard::default();
        for n in 0..10_000_u32 {
            assert_eq!(guard.wrong(IpAddr::V4(n.into()), at(0)), Ok(()));
            assert!(guard.0.lock().len() <= KEPT);
        }
        let guard = KeyGuard::default();
        for n in 0..FREE {
            assert_eq!(guard.wrong(address(&format!("2001:db8::{n}")), at(0)), Ok(()));
        }
        assert!(guard.wrong(address("2001:db8::abcd:1"), at(0)).is_err());
        assert!(guard.wrong(address("2001:db8:0:1::1"), at(0)).is_ok());
    }
}

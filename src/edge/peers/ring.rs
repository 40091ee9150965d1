//! The addresses of an upstream, and whose turn it is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::condition::{Checked, Outlier};
use super::settings::{EjectionRule, HealthRule};

/// What is known of an address. What a request asks for is in atomics.
pub(super) struct Condition {
    since: Instant,
    checked_up: AtomicBool,
    /// Milliseconds after `since`; 0 if it was never taken out.
    out_until: AtomicU64,
    /// True if the last request failed.
    failing: AtomicBool,
    checked: Mutex<Checked>,
    outlier: Mutex<Outlier>,
}

impl Condition {
    fn new() -> Self {
        Condition {
            since: Instant::now(),
            checked_up: AtomicBool::new(true),
            out_until: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            checked: Mutex::new(Checked::new()),
            outlier: Mutex::default(),
        }
    }

    fn is_up(&self) -> bool {
        let until = self.out_until.load(Ordering::Acquire);
        let out = until > 0 && self.since.elapsed().as_millis() < u128::from(until);
        !out && self.checked_up.load(Ordering::Acquire)
    }
}

/// One address.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) socket: SocketAddr,
    condition: Arc<Condition>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl Address {
    fn new(socket: SocketAddr) -> Self {
        Address { socket, condition: Arc::new(Condition::new()) }
    }

    /// True unless the checks or the requests say otherwise.
    pub(super) fn is_up(&self) -> bool {
        self.condition.is_up()
    }

    /// Takes in a check; what it is now, if that has changed.
    pub(super) fn checked(&self, good: bool, rule: &HealthRule) -> Option<bool> {
        let mut checked = self.condition.checked.lock();
        let changed = checked.note(good, rule);
        self.condition.checked_up.store(checked.is_up(), Ordering::Release);
        changed.then(|| checked.is_up())
    }

    /// A request to it failed; for how long it is out, if that takes it out.
    pub(super) fn failed(&self, rule: &EjectionRule) -> Option<std::time::Duration> {
        let mut outlier = self.condition.outlier.lock();
        self.condition.failing.store(true, Ordering::Release);
        let out = outlier.failed(self.condition.since.elapsed(), rule);
        let until = u64::try_from(outlier.until().as_millis()).unwrap_or(u64::MAX);
        self.condition.out_until.store(until, Ordering::Release);
        out
    }

    /// A request to it was answered.
    pub(super) fn succeeded(&self) {
        // Nearly always there is nothing to forget, and no lock to take.
        if self.condition.failing.load(Ordering::Acquire) {
            self.condition.failing.store(false, Ordering::Release);
            self.condition.outlier.lock().succeeded();
        }
    }
}

/// All of them.
pub(super) struct Ring {
    addresses: ArcSwap<Vec<Address>>,
    turn: AtomicUsize,
    /// True while none is known to be up.
    panics: AtomicBool,
}

/// Who is next.
pub(super) struct Choice {
    pub(super) address: Address,
    /// True if since now none is known to be up.
    pub(super) panics: bool,
}

impl Ring {
    pub(super) fn new(sockets: &[SocketAddr]) -> Self {
        let addresses = sockets.iter().copied().map(Address::new).collect();
        Ring {
            addresses: ArcSwap::from_pointee(addresses),
            turn: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
        }
    }

    pub(super) fn all(&self) -> Arc<Vec<Address>> {
        self.addresses.load_full()
    }

    /// Takes these in place of the ones before. What is known of an address
    /// stays known. The new and the gone ones.
    pub(super) fn replace(&self, sockets: &[SocketAddr]) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let old = self.addresses.load_full();
        let known = |socket: &SocketAddr| old.iter().find(|a| a.socket == *socket).cloned();
        let new: Vec<_> =
            sockets.iter().map(|s| known(s).unwrap_or_else(|| Address::new(*s))).collect();
        let come = sockets.iter().filter(|s| known(s).is_none()).copied().collect();
        let gone = old.iter().map(|a| a.socket).filter(|s| !sockets.contains(s)).collect();
        self.addresses.store(Arc::new(new));
        (come, gone)
    }

    /// Takes over what another ring knows of the same addresses.
    pub(super) fn take_over(&self, other: &Ring) {
        let known = other.addresses.load();
        let addresses = self.addresses.load();
        let all = addresses.iter().map(|address| {
            known.iter().find(|k| k.socket == address.socket).unwrap_or(address).clone()
        });
        self.addresses.store(Arc::new(all.collect()));
    }

    /// The next one in turn that is up and not among those that were `tried`.
    /// Where none at all is up, any that wasn't tried: to be wrong about all of
    /// them is likelier than that all of them are gone.
    pub(super) fn next(&self, tried: &[SocketAddr]) -> Option<Choice> {
        let addresses = self.addresses.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let pick = |fits: &dyn Fn(&Address) -> bool| {
            let count = addresses.iter().filter(|a| fits(a)).count();
            let place = turn.checked_rem(count)?;
            // An address may go down between counting and picking.
            let fitting = || addresses.iter().filter(|a| fits(a));
            fitting().nth(place).or_else(|| fitting().next()).cloned()
        };
        let untried = |a: &Address| !tried.contains(&a.socket);
        if let [only] = addresses.as_slice() {
            return untried(only).then(|| Choice { address: only.clone(), panics: false });
        }
        if let Some(address) = pick(&|a| untried(a) && a.is_up()) {
            if self.panics.load(Ordering::Relaxed) {
                self.panics.store(false, Ordering::Relaxed);
            }
            return Some(Choice { address, panics: false });
        }
        if addresses.iter().any(Address::is_up) {
            return None;
        }
        let address = pick(&untried)?;
        Some(Choice { address, panics: !self.panics.swap(true, Ordering::Relaxed) })
    }

    /// True if [`Ring::next`] would find one.
    pub(super) fn has_another(&self, tried: &[SocketAddr]) -> bool {
        let addresses = self.addresses.load();
        let none_up = addresses.len() == 1 || !addresses.iter().any(Address::is_up);
        addresses.iter().any(|a| !tried.contains(&a.socket) && (none_up || a.is_up()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RULE: EjectionRule = EjectionRule {
        after: 1,
        base_time: Duration::from_secs(10),
        max_time: Duration::from_secs(20),
    };

    fn sockets(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
    }

    fn ports(ring: &Ring, times: usize) -> Vec<u16> {
        let mut ports: Vec<u16> =
            (0..times).map(|_| ring.next(&[]).unwrap().address.socket.port()).collect();
        ports.sort_unstable();
        ports
    }

    fn at(ring: &Ring, port: u16) -> Address {
        ring.all().iter().find(|a| a.socket.port() == port).unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn each_in_turn_but_those_that_are_out() {
        let ring = Ring::new(&sockets(&[1, 2, 3]));
        assert_eq!(ports(&ring, 6), [1, 1, 2, 2, 3, 3]);
        assert_eq!(at(&ring, 2).failed(&RULE), Some(Duration::from_secs(10)));
        assert_eq!(ports(&ring, 6), [1, 1, 1, 3, 3, 3], "shared out evenly among the others");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(ports(&ring, 6), [1, 1, 2, 2, 3, 3], "and back");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_out_all_serve_and_it_is_said_once() {
        let ring = Ring::new(&sockets(&[1, 2]));
        for port in [1, 2] {
            at(&ring, port).failed(&RULE);
        }
        assert!(ring.next(&[]).unwrap().panics, "said");
        assert!(!ring.next(&[]).unwrap().panics, "once");
        assert_eq!(ports(&ring, 4), [1, 1, 2, 2]);
        assert!(!at(&ring, 1).is_up(), "it is still told as it is");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!ring.next(&[]).unwrap().panics);
        at(&ring, 1).failed(&RULE);
        at(&ring, 2).checked(false, &HealthRule::default());
        assert!(ring.next(&[]).unwrap().panics, "and again the next time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_tried_is_not_tried_again() {
        let ring = Ring::new(&sockets(&[1, 2, 3]));
        assert!(ring.has_another(&sockets(&[1, 3])));
        for _ in 0..4 {
            assert_eq!(ring.next(&sockets(&[1, 3])).unwrap().address.socket.port(), 2);
        }
        at(&ring, 2).failed(&RULE);
        assert!(ring.next(&sockets(&[1, 3])).is_none(), "the one that is left is down");
        assert!(!ring.has_another(&sockets(&[1, 3])) && ring.has_another(&sockets(&[1])));
        assert!(ring.next(&sockets(&[1, 2, 3])).is_none());
        let only = Ring::new(&sockets(&[1]));
        at(&only, 1).failed(&RULE);
        assert!(!only.next(&[]).unwrap().panics, "the only one is always next");
        assert!(only.next(&sockets(&[1])).is_none() && !only.has_another(&sockets(&[1])));
        assert!(Ring::new(&[]).next(&[]).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn new_addresses_get_requests_gone_ones_none_known_ones_stay_known() {
        let ring = Ring::new(&sockets(&[1, 2]));
        at(&ring, 2).failed(&RULE);
        let (come, gone) = ring.replace(&sockets(&[2, 3]));
        assert_eq!((come, gone), (sockets(&[3]), sockets(&[1])));
        assert_eq!(ports(&ring, 3), [3, 3, 3], "2 is still out");
        let other = Ring::new(&sockets(&[2, 4]));
        other.take_over(&ring);
        assert_eq!(ports(&other, 3), [4, 4, 4]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(ports(&other, 4), [2, 2, 4, 4]);
    }
}

//! What is under way is counted, found and cut, and no race lets any escape.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::*;

fn streams() -> Arc<Streams> {
    Arc::new(Streams::default())
}

fn open(streams: &Arc<Streams>, said: &Said) -> (Arc<CutSlot>, StreamGuard) {
    let slot = Arc::new(CutSlot::default());
    let guard = streams.register(&said.token(), at(NOW + 3630), Arc::clone(&slot));
    (slot, guard)
}

#[test]
fn the_first_reason_stands() {
    let slot = CutSlot::default();
    assert_eq!(slot.reason(), None);
    assert!(slot.cut(CutReason::Suspended));
    assert!(!slot.cut(CutReason::Revoked));
    assert_eq!(slot.reason(), Some(CutReason::Suspended));
    for reason in CutReason::ALL {
        let slot = CutSlot::default();
        assert!(slot.cut(reason));
        assert_eq!(slot.reason(), Some(reason), "{}", reason.as_str());
    }
}

/// What is handed over is beyond recall and counts no more; what is taken back does both.
#[test]
fn a_last_write_counts_by_what_it_leaves() {
    let streams = streams();
    let (slot, _guard) = open(&streams, &said());
    let revoke = || streams.cut_client(client(1), CutReason::Revoked, |_| true);
    let counts = || (streams.count(), streams.count_of(client(1)), streams.is_beyond(client(1), 0));
    assert!(slot.hands_over(), "more is to come");
    assert_eq!(counts(), (1, 1, true));
    slot.ends();
    assert_eq!(counts(), (1, 1, true));
    assert!(slot.hands_over() && slot.hands_over());
    assert_eq!(counts(), (0, 0, false));
    slot.takes_back();
    assert_eq!(counts(), (1, 1, true));
    assert!(slot.hands_over());
    assert_eq!((revoke(), slot.reason()), (0, None), "too late");
    assert!(slot.hands_over(), "all of it goes out");
    // It did not: it is cut, and whoever waits for that is told.
    let mut wait = Box::pin(slot.wait());
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    slot.takes_back();
    assert_eq!(slot.reason(), Some(CutReason::Revoked));
    assert_eq!(futures::executor::block_on(wait), CutReason::Revoked);
    assert!(!slot.hands_over(), "nothing more goes out");

    let (slot, _guard) = open(&streams, &Said { client: 2, ..said() });
    slot.ends();
    assert!(slot.cut(CutReason::Expired) && !slot.hands_over());
    slot.takes_back();
    assert_eq!(slot.reason(), Some(CutReason::Expired));
}

#[test]
fn cut_before_wait_and_wait_before_cut() {
    let slot = CutSlot::default();
    slot.cut(CutReason::Expired);
    assert_eq!(futures::executor::block_on(slot.wait()), CutReason::Expired);
    assert_eq!(futures::executor::block_on(slot.wait()), CutReason::Expired, "and again");

    for _ in 0..200 {
        let slot = Arc::new(CutSlot::default());
        let waiter = Arc::clone(&slot);
        let waiter = thread::spawn(move || futures::executor::block_on(waiter.wait()));
        assert!(slot.cut(CutReason::Revoked));
        assert_eq!(waiter.join().unwrap(), CutReason::Revoked);
    }
}

#[test]
fn a_wait_wakes_the_task_that_asked_last() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let slot = CutSlot::default();
    let (first, last) = (Arc::new(Count(0.into())), Arc::new(Count(0.into())));
    for count in [&first, &last] {
        let waker = Waker::from(Arc::clone(count));
        let mut wait = Box::pin(slot.wait());
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    slot.cut(CutReason::Revoked);
    assert_eq!((first.0.load(Ordering::SeqCst), last.0.load(Ordering::SeqCst)), (0, 1));
    let mut wait = Box::pin(slot.wait());
    let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(CutReason::Revoked));
}

#[test]
fn counts_and_forgets() {
    let streams = streams();
    let (_, one) = open(&streams, &said());
    let (_, two) = open(&streams, &said());
    let (_, other) = open(&streams, &Said { client: 2, ..said() });
    let count = || (streams.count(), streams.count_of(client(1)), streams.count_of(client(2)));
    assert_eq!(count(), (3, 2, 1));
    drop(one);
    assert_eq!(count(), (2, 1, 1));
    drop(two);
    assert_eq!(count(), (1, 0, 1));
    drop(other);
    assert_eq!(count(), (0, 0, 0));
    assert_eq!(streams.cut_client(client(1), CutReason::Revoked, |_| true), 0);
    assert_eq!(streams.count_of(client(9)), 0);
}

#[test]
fn cuts_exactly_what_is_picked() {
    let streams = streams();
    let all = [
        said(),
        Said { jti: 2, generation: 2, ..said() },
        Said { jti: 3, issued_at: NOW - 50, ..said() },
        Said { jti: 1, client: 2, ..said() },
        Said { jti: 5, client: 3, account: "other", issued_at: NOW - 50, ..said() },
    ];
    let open: Vec<_> = all.iter().map(|said| open(&streams, said)).collect();
    let cut = || -> Vec<usize> {
        let is_cut = |(n, it): (usize, &(Arc<CutSlot>, _))| it.0.reason().map(|_| n);
        open.iter().enumerate().filter_map(is_cut).collect()
    };
    let revoked = CutReason::Revoked;
    assert_eq!(streams.cut_client(client(1), revoked, |_| false), 0);
    assert_eq!(cut(), [0; 0]);
    assert_eq!(streams.cut_client(client(1), revoked, |live| live.jti == jti(1)), 1);
    assert_eq!(cut(), [0]);
    assert_eq!(streams.cut_client(client(1), revoked, |live| live.generation == 2), 1);
    assert_eq!(cut(), [0, 1]);
    let old =
        |_: ClientId, live: &Live| live.account == account("acme") && live.issued_at < at(NOW);
    assert_eq!(streams.cut_any(revoked, old), 1);
    assert_eq!(cut(), [0, 1, 2]);
    assert_eq!(streams.cut_any(CutReason::Suspended, |id, _| id == client(3)), 1);
    assert_eq!(cut(), [0, 1, 2, 4]);
    assert_eq!(open[4].0.reason(), Some(CutReason::Suspended));
    // What was cut before is not counted again.
    assert_eq!(streams.cut_client(client(1), revoked, |_| true), 0);
    assert_eq!(streams.cut_any(CutReason::Expired, |_, live| live.ends_at < at(NOW + 3631)), 1);
    assert_eq!(cut(), [0, 1, 2, 3, 4]);
    assert_eq!(streams.count(), 5, "cut is not gone: its task still has to end");
}

/// Waking may run whatever the runtime likes, the end of the request included.
#[test]
fn a_cut_that_ends_the_request_at_once_does_not_hang() {
    struct Ends(Mutex<Option<StreamGuard>>);
    impl Wake for Ends {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().take();
        }
    }
    for any in [false, true] {
        let streams = streams();
        let (slot, guard) = open(&streams, &said());
        let waker = Waker::from(Arc::new(Ends(Mutex::new(Some(guard)))));
        let mut wait = Box::pin(slot.wait());
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let (done, ended) = mpsc::channel();
        let cutter = Arc::clone(&streams);
        thread::spawn(move || {
            let count = if any {
                cutter.cut_any(CutReason::Revoked, |_, _| true)
            } else {
                cutter.cut_client(client(1), CutReason::Revoked, |_| true)
            };
            done.send(count)
        });
        let count = ended.recv_timeout(Duration::from_secs(5));
        assert_eq!(count, Ok(1), "it waits for a lock that it holds itself");
        assert_eq!(streams.count(), 0);
    }
}

/// Who registers first and checks after is either refused or cut.
#[test]
fn no_registration_slips_past_a_revocation() {
    type Revoke = fn(&RevocationSet, &Streams);
    let ways: [Revoke; 4] = [
        |set, streams| {
            set.revoke_token(jti(1), at(NOW + 9999));
            streams.cut_client(client(1), CutReason::Revoked, |live| live.jti == jti(1));
        },
        |set, streams| {
            let dead = Standing { revision: 2, state: StandingState::Revoked, ..standing() };
            set.set_standing(client(1), dead);
            streams.cut_client(client(1), CutReason::Revoked, |_| true);
        },
        |set, streams| {
            set.cut_off_client(client(1), at(NOW + 1));
            streams.cut_client(client(1), CutReason::Revoked, |live| live.issued_at < at(NOW + 1));
        },
        |set, streams| {
            set.cut_off_account(account("acme"), at(NOW + 1));
            streams.cut_any(CutReason::Revoked, |_, live| live.account == account("acme"));
        },
    ];
    let token = said().token();
    let (mut refused, mut cut) = (0, 0);
    for round in 0..2000 {
        let set = RevocationSet::default();
        set.set_standing(client(1), standing());
        let streams = streams();
        let start = Barrier::new(3);
        thread::scope(|scope| {
            let request = || {
                let slot = Arc::new(CutSlot::default());
                start.wait();
                let guard = streams.register(&token, at(NOW + 3630), Arc::clone(&slot));
                let passed = set.check(&token, at(NOW)).is_ok();
                (passed, slot, guard)
            };
            let requests = [scope.spawn(request), scope.spawn(request)];
            start.wait();
            if round % 3 == 0 {
                thread::yield_now();
            }
            ways[round % 4](&set, &streams);
            for request in requests {
                let (passed, slot, guard) = request.join().unwrap();
                match (passed, slot.reason()) {
                    (true, None) => panic!("round {round}: neither refused nor cut"),
                    (true, Some(_)) => cut += 1,
                    (false, _) => refused += 1,
                }
                drop(guard);
            }
        });
        assert_eq!(streams.count(), 0);
    }
    assert_eq!(refused + cut, 4000);
}

/// Guards come and go while others cut and count: nothing is lost or left.
#[test]
fn a_busy_registry_ends_empty() {
    let streams = streams();
    let tokens: Vec<_> = (1..4).map(|n| Said { client: n, ..said() }.token()).collect();
    let cut = AtomicUsize::new(0);
    thread::scope(|scope| {
        for token in tokens.iter().chain(&tokens) {
            let streams = &streams;
            scope.spawn(move || {
                for _ in 0..2000 {
                    let slot = Arc::new(CutSlot::default());
                    let guard = streams.register(token, at(NOW), Arc::clone(&slot));
                    assert!(streams.count_of(token.client_id()) > 0, "its own is there");
                    drop(guard);
                }
            });
        }
        for _ in 0..500 {
            let all = streams.cut_any(CutReason::Revoked, |_, _| true);
            let one = streams.cut_client(client(1), CutReason::Revoked, |_| true);
            cut.fetch_add(all + one, Ordering::Relaxed);
        }
    });
    assert_eq!((streams.count(), streams.count_of(client(1))), (0, 0));
}

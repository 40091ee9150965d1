//! The disk fails under a running gateway: changes are refused, judging goes on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::store::{SledOptions, SledStore, Step, Store};
use serde_json::json;

use crate::harness::Harness;
use crate::wait::until;

async fn failed(h: &Harness) -> bool {
    let metrics = h.metrics().await;
    let line = metrics.lines().find(|line| line.starts_with("portcullis_store_failed "));
    line.unwrap().ends_with(" 1")
}

/// An I/O error at each step of a commit. After it nothing is acknowledged before the
/// store was opened again, whatever the disk says meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_io_error_changes_are_503_and_judging_goes_on() {
    for step in [Step::Apply, Step::Flush, Step::Sync, Step::Witness] {
        let folder = tempfile::tempdir().unwrap();
        let broken = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let asked = Arc::clone(&broken);
        let mut options = SledOptions::new(folder.path().join("store"));
        options.retry_after = Duration::from_millis(1);
        let options = options.with_faults(move |at| {
            let [commit, open] = &*asked;
            let fails = (at == step && commit.load(Ordering::SeqCst))
                || (at == Step::Open && open.load(Ordering::SeqCst));
            // EIO.
            if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        });
        let store = SledStore::open(options).unwrap();
        let h = Harness::builder().store(Arc::new(store) as Arc<dyn Store>).start().await;
        let minted = h.mint(&["reader"]).await;
        let token = h.trade(&minted).await;
        let revoke = format!("/v1/credentials/{}/revoke", minted.client_id);
        assert!(!failed(&h).await);
        broken.iter().for_each(|it| it.store(true, Ordering::SeqCst));
        let body = json!({ "reason": "r" });
        let (status, said) = h.admin("POST", &revoke, body.clone()).await;
        assert_eq!(status, 503, "{step:?}: {said}");
        // The step itself would go well again: that alone makes nothing durable.
        broken[0].store(false, Ordering::SeqCst);
        assert_eq!(h.admin("POST", &revoke, body.clone()).await.0, 503, "{step:?}");
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200, "{step:?}");
        assert!(failed(&h).await && !h.running().readiness.reasons().is_empty(), "{step:?}");
        broken[1].store(false, Ordering::SeqCst);
        until("it is mended", async || !failed(&h).await).await;
        // Done now, or found done: either way it holds.
        assert_eq!(h.admin("POST", &revoke, body).await.0, 200, "{step:?}");
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 401, "{step:?}");
    }
}

/// A disk that takes its time: the change waits for it, and nothing else does. It is in
/// force with its receipt, not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_slows_changes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Arc::new(AtomicBool::new(false));
    let held = Arc::new(AtomicBool::new(false));
    let (asked, holds) = (Arc::clone(&slow), Arc::clone(&held));
    let options = SledOptions::new(folder.path().join("store")).with_faults(move |_| {
        while asked.load(Ordering::SeqCst) {
            holds.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let store = SledStore::open(options).unwrap();
    let h = Harness::builder().store(Arc::new(store) as Arc<dyn Store>).start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    slow.store(true, Ordering::SeqCst);
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    let revoking = async {
        let answer = h.admin("POST", &path, json!({ "reason": "r" })).await;
        assert!(!slow.load(Ordering::SeqCst), "no receipt before the disk has it: {answer:?}");
        assert_eq!(answer.0, 200);
    };
    let meanwhile = async {
        until("the disk is asked", async || held.load(Ordering::SeqCst)).await;
        for _ in 0..20 {
            assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
            assert_eq!(h.try_trade(&minted).await.0, 200);
            assert_eq!(h.admin("GET", "/v1/me", json!(null)).await.0, 200);
        }
        slow.store(false, Ordering::SeqCst);
    };
    tokio::join!(revoking, meanwhile);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 401);
    let metrics = h.metrics().await;
    assert!(metrics.contains("portcullis_store_commit_seconds_count"), "{metrics}");
}

//! `kill -9` of the new process at any moment of an upgrade: nothing that was acknowledged
//! is lost, and either the old process goes on as before, or nobody does until the next
//! start. `ROUNDS` says how often.

use std::process::Command;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Dice, legacy, number};
use crate::gateway::Gateway;
use crate::upstream::Upstream;
use crate::wait::{PATIENCE, STEP};

/// A child of a process, once there is one.
async fn child(of: u32) -> u32 {
    let parent = of.to_string();
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // Behind the name, which may hold anything: state and parent.
            let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            if rest.split(' ').nth(1) == Some(&parent) && !rest.starts_with('Z') {
                return stat.split(' ').next().unwrap().parse().unwrap();
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_is_killed_at_any_moment_loses_nothing() {
    let rounds = number("ROUNDS").unwrap_or(8);
    let mut dice = Dice::new("handover");
    let api = legacy::start(|_| ()).await;
    let server = "drain_timeout = \"500ms\"";
    let mut gateway = Gateway::over(api, Upstream::start().await, server).await;
    let (_, lives) = gateway.mint().await;
    let (mut dead, mut went_on, mut ended) = (Vec::new(), 0, 0);
    // Of the process that runs.
    let mut failures = 0;
    for round in 0..rounds {
        let (made, token) = gateway.mint().await;
        gateway.revoke(&token).await;
        dead.push(token);
        let old = gateway.pid;
        gateway.signal("-USR2", old);
        let new = timeout(PATIENCE, child(old)).await.expect("a new process");
        sleep(dice.millis(0, 400)).await;
        // It may have come to an end by itself, if it could not do otherwise.
        let _ = Command::new("kill").args(["-KILL", &new.to_string()]).output();
        assert!(gateway.is_gone(new).await);
        // Who drains alone ends; who did not hand over takes changes again.
        let comes_to = async {
            loop {
                let status = std::fs::read_to_string(format!("/proc/{old}/status"));
                if !status.is_ok_and(|status| !status.contains("State:\tZ")) {
                    return false;
                }
                let failed = format!("upgrades_total{{outcome=\"failed\"}} {}\n", failures + 1);
                if gateway.metrics().await.is_some_and(|page| page.contains(&failed)) {
                    return true;
                }
                sleep(STEP).await;
            }
        };
        let goes_on = timeout(PATIENCE, comes_to).await;
        let goes_on = goes_on.unwrap_or_else(|_| panic!("stuck: {}", gateway.process.stderr()));
        if goes_on {
            went_on += 1;
            failures += 1;
        } else {
            ended += 1;
            failures = 0;
            gateway.process.ended().await;
            gateway.process.launch().await;
            gateway.pid = gateway.process.child.as_ref().unwrap().id();
        }
        assert_eq!(gateway.try_change().await.0, 201, "round {round}");
        for token in &dead {
            assert_eq!(gateway.process.ask(token).await, 401, "round {round}");
        }
        assert_eq!(gateway.process.ask(&lives).await, 200, "round {round}");
        assert_eq!(gateway.process.trade(&made).await.0, 200, "round {round}");
    }
    println!(
        "{rounds} upgrades cut off: {went_on} times the old process went on, {ended} times both ended"
    );
}

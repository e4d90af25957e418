//! Planted faults: the rules that the other tests rely on are broken one by one, and each break is seen.

mod common;

use common::*;
use fail::FailScenario;
use gnomon_partition::{Fence, Isolation, Role};
use std::sync::Mutex;

/// Fail points are the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn planted(name: &str, test: impl AsyncFnOnce()) {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let scenario = FailScenario::setup();
    fail::cfg(name, "return").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test());
    scenario.teardown();
}

#[test]
fn ack_before_flush_loses_what_was_seen() {
    planted("ack_before_flush", async || {
        let lost = (0..50).any(|seed| {
            let disk = disk();
            let handle = open(&disk, Role::leader(1), settings());
            append(&handle, plain(10, 0));
            let seen = handle.offsets().high_watermark;
            assert_eq!(seen, 10);
            drop(handle);
            disk.power_loss(seed);
            open_after_power_loss(&disk, Role::leader(2), settings()).offsets().end < seen
        });
        assert!(lost);
    });
}

#[test]
fn visible_before_flush_shows_what_is_lost() {
    planted("visible_before_flush", async || {
        let lost = (0..50).any(|seed| {
            let disk = disk();
            let handle = open(&disk, Role::leader(1), settings());
            append(&handle, plain(10, 0));
            let seen = batches(&handle, 0, Isolation::ReadUncommitted);
            assert_eq!(seen.len(), 1);
            drop(handle);
            disk.power_loss(seed);
            batches(&open_after_power_loss(&disk, Role::leader(2), settings()), 0, Isolation::ReadUncommitted) != seen
        });
        assert!(lost);
    });
}

#[test]
fn fence_ignored_lets_a_late_response_in() {
    planted("fence_ignored", async || {
        let disk = disk();
        let handle = open(&disk, shadow(2), settings());
        assert!(handle.append_at(Fence(1), vec![copied(0, 1, plain(1, 0))], bounds(0, 1)).is_ok());
    });
}

#[test]
fn forget_producer_state_appends_a_repeat() {
    planted("forget_producer_state", async || {
        let disk = disk();
        let handle = open(&disk, Role::leader(1), settings());
        append(&handle, idempotent(5, 0, 0, 3));
        drop(handle);
        let handle = open(&disk, Role::leader(2), settings());
        assert!(!append(&handle, idempotent(5, 0, 0, 3)).duplicate);
    });
}

#[test]
fn accept_gap_leaves_a_hole() {
    planted("accept_gap", async || {
        let disk = disk();
        let handle = open(&disk, shadow(1), settings());
        assert!(handle.append_at(Fence(1), vec![copied(5, 1, plain(1, 0))], bounds(0, 6)).is_ok());
    });
}

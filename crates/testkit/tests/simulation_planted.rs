//! Planted faults: the broker is broken in one place, and simulations of few seeds must see it, by
//! the invariant that is meant for it.
//!
//! Fail points are the process's: these tests take turns, and no other test of this kind lives in
//! this process.

use gnomon_testkit::sim::{Plan, RunReport, simulate_many};
use std::time::Duration;

/// A fault must be seen within so much simulated time; most are within a minute.
const WITHIN: Duration = Duration::from_secs(2 * 3_600);

/// Both cores of a small machine.
const THREADS: usize = 2;

/// Other invariants may be broken first, as a consequence: then the next seeds are looked at.
fn planted(fault: &str, invariants: &[&str]) {
    let scenario = fail::FailScenario::setup();
    fail::cfg(fault, "return").expect("a failpoint");
    let plan = Plan {
        rounds: 2,
        ..Plan::default()
    };
    let (mut next, mut simulated, mut broken) = (1, Duration::ZERO, Vec::<RunReport>::new());
    let meant = |outcome: &RunReport| {
        outcome
            .broken
            .as_ref()
            .is_some_and(|violation| invariants.contains(&violation.invariant))
    };
    while simulated < WITHIN && !broken.iter().any(meant) {
        simulated += simulate_many(next, WITHIN - simulated, THREADS, &plan, |outcome| {
            next = next.max(outcome.seed + 1);
            if outcome.broken.is_some() {
                broken.push(outcome.clone());
            }
        });
    }
    scenario.teardown();
    broken
        .iter()
        .for_each(|outcome| println!("{fault}: {outcome}"));
    assert!(
        broken.iter().any(meant),
        "{fault} was not seen by {invariants:?} within {simulated:?}, but by {} others",
        broken.len()
    );
}

#[test]
fn a_skipped_fsync() {
    planted("skip_fsync", &["L1", "L2", "L6", "L7"]);
}

#[test]
fn an_ack_before_the_flush() {
    planted("ack_before_flush", &["L1", "L2", "L6", "L7"]);
}

#[test]
fn a_machine_that_answers_before_it_is_durable() {
    planted("reply_before_durable", &["L7", "L1", "R5", "R11", "R13"]);
}

#[test]
fn an_epoch_used_again() {
    planted("same_epoch_after_restart", &["L2"]);
}

#[test]
fn a_producer_forgotten() {
    planted("forget_producer_state", &["L1", "L6"]);
}

#[test]
fn a_copy_that_is_not_verbatim() {
    planted("copy_rewrites", &["R1"]);
}

#[test]
fn a_trim_too_far() {
    planted("trim_too_far", &["R3", "R13", "L6"]);
}

#[test]
fn a_shadow_that_clients_write() {
    planted("shadow_writable", &["R4"]);
}

#[test]
fn an_epoch_that_the_old_owner_reaches() {
    planted("failover_epoch_plus_one", &["R5"]);
}

#[test]
fn a_cut_that_misses_a_record() {
    planted("cut_short", &["R7", "R5", "L2"]);
}

#[test]
fn a_name_that_nobody_guards() {
    planted("create_unowned", &["R8"]);
}

#[test]
fn positions_that_outrun_their_data() {
    planted("offsets_outrun_data", &["R9", "R12"]);
}

#[test]
fn a_link_that_gives_up() {
    planted("link_gives_up", &["R13"]);
}

#[test]
fn an_abort_that_nobody_hears_of() {
    planted("forget_aborted", &["L6"]);
}

#[test]
fn an_open_transaction_that_is_shown() {
    planted("open_is_stable", &["L6"]);
}

#[test]
fn a_failover_that_leaves_transactions_open() {
    planted("leave_open", &["L6"]);
}

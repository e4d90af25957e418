//! Planted faults: the broker is broken in one place, and simulations of few seeds must see it, by the invariant that is meant for it.
//!
//! Fail points are the process's: these tests take turns, and no other test of this kind lives in this process.

use gnomon_testkit::sim::{Plan, simulate};

/// A fault must be seen within these seeds.
const SEEDS: u64 = 40;

fn planted(fault: &str, invariants: &[&str]) {
    let scenario = fail::FailScenario::setup();
    fail::cfg(fault, "return").expect("a failpoint");
    let plan = Plan { rounds: 3, ..Plan::default() };
    let found = (1..=SEEDS).find_map(|seed| simulate(seed, &plan).broken.map(|violation| (seed, violation)));
    scenario.teardown();
    let (seed, violation) = found.unwrap_or_else(|| panic!("{fault} was not seen within {SEEDS} seeds"));
    println!("{fault}, seed {seed}: {violation}");
    assert!(invariants.contains(&violation.invariant), "{fault}, seed {seed}: expected {invariants:?}, not {violation}");
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
    planted("reply_before_durable", &["L7", "L1", "R5", "R13"]);
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
    planted("trim_too_far", &["R3", "R13"]);
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

//! Simulations of two sites by seed: the share of an ordinary run. More: `cargo xtask simulate`.

use gnomon_testkit::sim::{Plan, RunReport, simulate, simulate_many};
use std::time::Duration;

/// Time simulated in an ordinary run, at least.
const HOUR: Duration = Duration::from_secs(3_600);

/// Both cores of a small machine; planted faults are another process's.
const THREADS: usize = 2;

#[test]
fn an_hour_of_trouble_breaks_nothing() {
    // Planted faults come from the environment (`cargo xtask planted`).
    let _faults = fail::FailScenario::setup();
    let mut broken: Option<RunReport> = None;
    let simulated = simulate_many(1, HOUR, THREADS, &Plan::default(), |outcome| {
        println!("{outcome}");
        if outcome.broken.is_some() {
            broken = Some(outcome.clone());
        }
    });
    if let Some(outcome) = broken {
        panic!(
            "{}\n{outcome}\nreplay: cargo xtask simulate --seed {}",
            outcome.last.join("\n"),
            outcome.seed
        );
    }
    assert!(simulated >= HOUR, "only {simulated:?} were simulated");
}

/// One seed decides everything: two runs tell everybody the same, line by line.
#[test]
fn a_seed_replays() {
    let plan = Plan {
        rounds: 2,
        ..Plan::default()
    };
    for seed in [3, 7] {
        let (one, two) = (simulate(seed, &plan), simulate(seed, &plan));
        assert_eq!(
            (one.sum, one.lines, one.simulated),
            (two.sum, two.lines, two.simulated),
            "seed {seed}"
        );
        assert!(one.lines > 1_000, "seed {seed}: only {} lines", one.lines);
    }
    assert_ne!(simulate(3, &plan).sum, simulate(7, &plan).sum);
}

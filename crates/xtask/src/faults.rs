//! `cargo xtask faults`: every fault that the tests know, in full. The same tests run a bounded
//! part of their cases in `cargo test`; here `GNOMON_FAULTS=full` asks for all of them.
//!
//! A test says what it did, and how often, by a line `faults: WHAT`. Single rows: `cargo xtask
//! faults NAME...`.

use crate::tests_of::{Test, TestResult, build};
use std::time::{Duration, Instant};

/// A fault, and the test that goes through it.
struct FaultTest {
    name: &'static str,
    test: Test,
    /// After this it hangs.
    deadline: Duration,
}

const fn fault(
    name: &'static str,
    package: &'static str,
    program: &'static str,
    filter: &'static str,
    minutes: u64,
) -> FaultTest {
    FaultTest {
        name,
        test: Test {
            package,
            program,
            filter,
        },
        deadline: Duration::from_secs(60 * minutes),
    }
}

/// Every fault; the quick ones first.
const FAULTS: &[FaultTest] = &[
    fault("flips-log", "gnomon-storage", "damage", "", 30),
    fault("flips-check", "gnomon-storage", "check", "", 30),
    fault("flips-partition", "gnomon-partition", "damage", "", 30),
    fault("flips-site", "gnomon-testkit", "flipped_bits", "", 60),
    fault("torn-tails", "gnomon-storage", "torn", "", 60),
    fault("power-log", "gnomon-storage", "model", "", 60),
    fault("power-partition", "gnomon-partition", "model", "", 60),
    fault("power-loss", "gnomon-testkit", "power_loss", "", 120),
    fault("clock-jumps", "gnomon-testkit", "clock_jumps", "", 60),
    fault("clock-partition", "gnomon-partition", "clock", "", 60),
    fault("disk-log", "gnomon-storage", "faults", "", 60),
    fault("disk-partition", "gnomon-partition", "faults", "", 60),
    fault("disk-site", "gnomon-testkit", "disk_errors", "", 180),
    fault("disk-process", "proto-tests", "story_disk", "", 180),
    fault(
        "file-handles",
        "proto-tests",
        "starved",
        "starved_of_file_handles",
        30,
    ),
    fault(
        "pauses",
        "proto-tests",
        "starved",
        "starved_of_time_by_pauses",
        180,
    ),
    fault("kill-9", "proto-tests", "story_kill", "", 120),
    fault(
        "hostile-frames",
        "proto-tests",
        "hostile",
        "hostile_frames_do_not_end_it",
        240,
    ),
];

/// Whether every chosen fault was survived.
pub fn run(chosen: &[String]) -> Result<bool, String> {
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !FAULTS.iter().any(|fault| fault.name == name.as_str()))
    {
        return Err(format!(
            "no fault is called {unknown}; there are {}",
            FAULTS
                .iter()
                .map(|fault| fault.name)
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    let faults: Vec<&FaultTest> = FAULTS
        .iter()
        .filter(|fault| chosen.is_empty() || chosen.iter().any(|name| name == fault.name))
        .collect();
    let tests: Vec<Test> = faults.iter().map(|fault| fault.test).collect();
    let programs = build(&tests, None)?;
    println!(
        "{:16} {:>8}  {:10} what was done",
        "fault", "seconds", "result"
    );
    let mut all_survived = true;
    for fault in faults {
        let began = Instant::now();
        let outcome = programs.run(&fault.test, &[("GNOMON_FAULTS", "full")], fault.deadline)?;
        let (survived, result, printed) = match outcome {
            TestResult::Passed(printed) => (true, "survived", printed),
            TestResult::Failed(printed) => (false, "FAILED", printed),
            TestResult::Hung => (false, "HANGS", String::new()),
            TestResult::NotFound => (false, "NOT FOUND", String::new()),
        };
        println!(
            "{:16} {:>8}  {result:10} {}",
            fault.name,
            began.elapsed().as_secs(),
            done(&printed)
        );
        if !survived {
            eprintln!("{printed}");
        }
        all_survived &= survived;
    }
    Ok(all_survived)
}

/// The tests' own account of their cases.
fn done(printed: &str) -> String {
    // With --nocapture the harness's own words may stand in front.
    let lines = printed
        .lines()
        .filter_map(|line| line.split_once("faults: ").map(|(_, what)| what.trim()));
    lines.collect::<Vec<_>>().join("; ")
}

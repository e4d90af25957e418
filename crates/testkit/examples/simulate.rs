//! Runs simulations by seed.

use gnomon_testkit::sim::{Plan, simulate};

fn main() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("GNOMON_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).init();
    }
    let from: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1);
    let n: u64 = std::env::args().nth(2).and_then(|a| a.parse().ok()).unwrap_or(1);
    let aloud = std::env::args().nth(3).is_some();
    for seed in from..from + n {
        let began = std::time::Instant::now();
        let outcome = simulate(seed, &Plan { aloud, ..Plan::default() });
        println!(
            "seed {seed}: {:?} simulated in {:?}, {} lines, sum {:016x}, {:?}",
            outcome.simulated,
            began.elapsed(),
            outcome.lines,
            outcome.sum,
            outcome.broken.as_ref().map(|b| b.to_string())
        );
        if outcome.broken.is_some() && !aloud {
            for line in &outcome.last[outcome.last.len().saturating_sub(25)..] {
                println!("    {line}");
            }
            break;
        }
    }
}

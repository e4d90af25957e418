//! The program that `cargo xtask simulate` runs: simulations by seed, for so many simulated hours,
//! or one seed again.
//!
//! `GNOMON_LOG=info` shows what the sites log beside the story of a single seed.
#![expect(clippy::disallowed_methods, reason = "it reports how long a run took")]

use gnomon_testkit::sim::{Plan, RunReport, simulate, simulate_many};
use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tracing_subscriber::EnvFilter;

const USAGE: &str =
    "usage: simulate [--hours N] [--from SEED] [--seed SEED [--aloud]] [--rounds N] [--threads N]";

/// The arguments.
#[derive(Default)]
struct Arguments {
    hours: Option<f64>,
    from: Option<u64>,
    seed: Option<u64>,
    aloud: bool,
    rounds: Option<u32>,
    threads: Option<usize>,
}

fn read(args: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut asked = Arguments::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        if arg == "--aloud" {
            asked.aloud = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        let wrong = |_| format!("{arg} {value}: not a number that it takes");
        match arg.as_str() {
            "--hours" => {
                asked.hours = Some(
                    value
                        .parse()
                        .map_err(|_| format!("{arg} {value}: not a number of hours"))?,
                )
            }
            "--from" => asked.from = Some(value.parse().map_err(wrong)?),
            "--seed" => asked.seed = Some(value.parse().map_err(wrong)?),
            "--rounds" => asked.rounds = Some(value.parse().map_err(wrong)?),
            "--threads" => asked.threads = Some(value.parse().map_err(wrong)?),
            _ => return Err(format!("{arg} is not known")),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let asked = match read(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let plan = Plan {
        rounds: asked.rounds.unwrap_or(Plan::default().rounds),
        aloud: asked.aloud,
    };
    match asked.seed {
        Some(seed) => one(seed, &plan),
        None => many(&asked, &plan),
    }
}

fn one(seed: u64, plan: &Plan) -> ExitCode {
    if let Ok(filter) = EnvFilter::try_from_env("GNOMON_LOG") {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .with_ansi(false)
            .init();
    }
    let outcome = simulate(seed, plan);
    if outcome.broken.is_some() && !plan.aloud {
        outcome.last.iter().for_each(|line| println!("{line}"));
    }
    println!("{outcome}");
    if outcome.broken.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn many(asked: &Arguments, plan: &Plan) -> ExitCode {
    let hours = asked.hours.unwrap_or(1.0);
    // New seeds each time, unless some are asked for.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let from = asked.from.unwrap_or(now);
    let threads = asked
        .threads
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    println!("{hours} simulated hours from seed {from} on, on {threads} threads");
    let (began, mut total, mut broken) = (Instant::now(), Duration::ZERO, None);
    let simulated = simulate_many(
        from,
        Duration::from_secs_f64(hours * 3_600.0),
        threads,
        plan,
        |outcome: &RunReport| {
            total += outcome.simulated;
            println!(
                "{outcome}; {:.2} of {hours} hours in {:.0} s",
                total.as_secs_f64() / 3_600.0,
                began.elapsed().as_secs_f64()
            );
            if outcome.broken.is_some() {
                broken = Some(outcome.clone());
            }
        },
    );
    match broken {
        Some(outcome) => {
            outcome.last.iter().for_each(|line| println!("{line}"));
            println!(
                "{outcome}\nreplay: cargo xtask simulate --seed {} --rounds {}",
                outcome.seed, plan.rounds
            );
            ExitCode::FAILURE
        }
        None => {
            println!(
                "nothing broken in {:.2} simulated hours",
                simulated.as_secs_f64() / 3_600.0
            );
            ExitCode::SUCCESS
        }
    }
}

//! How fast Gnomon is: scenarios that start brokers fresh, put load on them over the wire, and print a table.
//!
//! Invariant: no crate of Gnomon is linked here. The binary under test is built and started as a user would, and every figure
//! is taken from outside: by clients, and from /proc.
//!
//! Not here: whether Gnomon is *right* (that is `proto-tests`), and goals that fail a build: a bench prints figures beside the
//! conditions they were taken under, and people judge them.

mod args;
mod canary;
mod client;
mod latency;
mod load;
mod outcome;
mod peers;
mod perf_tool;
mod place;
mod process;
mod report;
mod scenarios;
mod timeline;
mod usage;
mod warm;

use args::{Args, Scenario};
use clap::Parser;
use std::process::ExitCode;

/// Whatever ended a scenario, said as one sentence.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match Args::parse().scenario {
        Scenario::PairLag(args) => scenarios::pair_lag::run(&args),
        Scenario::Produce(args) => scenarios::produce::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("gnomon-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

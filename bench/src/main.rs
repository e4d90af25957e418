//! How fast Gnomon is: scenarios that start brokers fresh, put load on them over the wire, and
//! leave tables and plots.
//!
//! Invariant: no crate of Gnomon is linked here. The binary under test is built and started as a
//! user would, and every figure is taken from outside: by clients, and from /proc.
//!
//! Not here: whether Gnomon is *right* (that is `proto-tests`), and goals that fail a build: a
//! bench prints figures and goals beside the conditions they were taken under, and people judge
//! them.
#![deny(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

mod args;
mod birds;
mod canary;
mod case;
mod failure;
mod figure;
mod goal;
mod interrupt;
mod latency;
mod links;
mod open_loop;
mod peers;
mod place;
mod process;
mod progress;
mod report;
mod run;
mod scenarios;
mod settings;
mod stage;
mod stats;
mod tools;
mod usage;
mod warm;
mod watch;
mod wire;

use args::{Args, Run};
use clap::Parser;
use failure::Failure;
use peers::Given;
use report::{Conditions, Report};
use scenarios::Scenario;
use settings::Settings;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Runs of each peer that a median is taken of.
const ROUNDS: u32 = 3;

fn main() -> ExitCode {
    let args = Args::parse().command.into_run();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("gnomon-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Run) -> Result<(), Failure> {
    if args.list {
        print!("{}", scenarios::list());
        return Ok(());
    }
    interrupt::watch()?;
    process::raise_file_limit()?;
    let settings = Settings {
        quick: args.quick,
        rounds: args.rounds.unwrap_or(if args.quick { 1 } else { ROUNDS }),
        keep_moved: args.keep_moved,
        load: args.load.clone(),
    };
    let conditions = Conditions::now(settings.rounds);
    let given = args.bootstrap.as_ref().map(|address| Given {
        bootstrap: address.clone(),
        pid: args.pid,
        client_options: Vec::new(),
    });
    let reservation = settings.reservation();
    let bench = run::Bench::build(&args.peers(), given.as_ref(), settings);
    let scenarios = chosen(&args.scenarios);
    let folder = report_folder(args.out.as_deref())?;
    let (absent, not_asked) = (bench.absent.clone(), bench.not_asked(&scenarios));
    let mut report = Report {
        conditions,
        reservation,
        absent,
        not_asked,
        sections: Vec::new(),
    };
    report::save(&report, &folder)?;
    bench.run(&scenarios, |section| {
        report.sections.push(section);
        report::save(&report, &folder)
    })?;
    print!("{}", report::text(&report));
    println!(
        "\nalso in {}: report.txt, report.md with plots, report.json",
        folder.display()
    );
    report
        .trouble()
        .map_or(Ok(()), |trouble| Err(trouble.into()))
}

/// The one that was asked for, or our own, emptied.
fn report_folder(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = asked {
        return Ok(folder.to_path_buf());
    }
    let folder = place::bench()?.join("report");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;
    }
    Ok(folder)
}

/// Those that were named, in that order, or all.
fn chosen(names: &[String]) -> Vec<&'static Scenario> {
    if names.is_empty() {
        return scenarios::ALL.iter().collect();
    }
    names
        .iter()
        .filter_map(|name| scenarios::ALL.iter().find(|scenario| scenario.name == name))
        .collect()
}

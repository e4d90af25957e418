//! `cargo xtask`: what a developer runs beside `cargo test`.
//!
//! - `faults`: every fault the tests know, in full (`faults.rs`).
//! - `ratchets`: figures of the code that may only get better (`ratchets.rs`).
//! - `planted`: every planted bug, and the test that catches it (`planted.rs`).
//! - `simulate`: two sites by seed, for hours (`simulate.rs`).
//!
//! Names after `faults` and `planted` choose rows of their tables.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "it reports how long a run took")]

mod faults;
mod planted;
mod simulate;
mod tests_of;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let chosen: Vec<String> = arguments.collect();
    let done = match command.as_deref() {
        Some("faults") => faults::run(&chosen),
        Some("planted") => planted::run(&chosen),
        Some("ratchets") => xtask::ratchets::run(&chosen),
        Some("simulate") => simulate::run(&chosen),
        Some(_) | None => {
            Err("usage: cargo xtask faults [NAME...] | planted [NAME...] | ratchets [--write] | simulate [--hours N] [--from SEED] [--seed SEED [--aloud]]"
                .to_owned())
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::from(2)
        }
    }
}

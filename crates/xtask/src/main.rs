//! `cargo xtask`: what a developer runs beside `cargo test`.
//!
//! - `faults`: every fault the tests know, in full (`faults.rs`).
//! - `planted`: every planted bug, and the test that catches it (`planted.rs`).
//!
//! Names behind the command choose rows.

mod faults;
mod planted;
mod tests_of;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let chosen: Vec<String> = arguments.collect();
    let done = match command.as_deref() {
        Some("faults") => faults::run(&chosen),
        Some("planted") => planted::run(&chosen),
        Some(_) | None => Err("usage: cargo xtask faults [NAME...] | planted [NAME...]".to_owned()),
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

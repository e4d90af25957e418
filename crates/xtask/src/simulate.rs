//! `cargo xtask simulate`: simulations of two sites by seed, in a release build. What is simulated
//! is `gnomon-testkit`'s; its example says what the arguments mean.

use std::process::Command;

/// Builds and runs it; true if nothing was broken.
pub fn run(arguments: &[String]) -> Result<bool, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let simulate = [
        "run",
        "--release",
        "--quiet",
        "--package",
        "gnomon-testkit",
        "--example",
        "simulate",
        "--",
    ];
    let status = Command::new(cargo).args(simulate).args(arguments).status();
    Ok(status
        .map_err(|error| format!("cannot run cargo: {error}"))?
        .success())
}

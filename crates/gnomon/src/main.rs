//! The `gnomon` command: a Kafka broker with shadow links, a pair of them on this machine, and the
//! tools to operate them.
#![allow(clippy::disallowed_methods, reason = "a command runs in real time")]
#![deny(unsafe_code)]

mod admin_client;
#[cfg(test)]
mod advice_tests;
mod args;
mod cmd;
mod failure;
mod kafka;
mod output;
mod pair;
mod serve;

use args::{Args, Command};
use clap::Parser;
use failure::Failure;
use output::{Output, OutputError, complain};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut out = Output::standard();
    let done = run(&mut out);
    // What was printed comes before the error.
    match (done, out.flush()) {
        (Ok(code), Ok(())) => code,
        // It has said what is wrong.
        (Ok(code), Err(_)) if code != ExitCode::SUCCESS => code,
        (Ok(_), Err(error)) => failed(&error.into()),
        (Err(failure), _) => failed(&failure),
    }
}

fn run(out: &mut Output) -> Result<ExitCode, Failure> {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(told) => {
            // Help goes to standard output, a wrong flag to standard error.
            told.print().map_err(OutputError::from)?;
            return Ok(ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(1)));
        }
    };
    match args.command {
        Command::Serve(serve) => serve::run(serve, out)?,
        Command::Pair(pair) => pair::run(pair, out)?,
        Command::Link(link) => cmd::link::run(link, out)?,
        Command::Topic(topic) => cmd::topic::run(topic, out)?,
        Command::Produce(produce) => cmd::produce::run(produce, out)?,
        Command::Consume(consume) => cmd::consume::run(consume, out)?,
        Command::Log(log) => return cmd::log::run(log, out),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says why a command ended. Nobody needs to be told that the reader of the output has gone.
fn failed(failure: &Failure) -> ExitCode {
    if let Some(OutputError::Closed) = failure.downcast_ref() {
        return ExitCode::SUCCESS;
    }
    complain(format_args!("gnomon: {failure}"));
    ExitCode::FAILURE
}

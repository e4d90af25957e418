//! The `gnomon` command: a Kafka broker with shadow links, a pair of them on this machine, and the
//! tools to operate them.

mod admin_client;
mod args;
mod cmd;
mod kafka;
mod output;
mod pair;
mod serve;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Whatever ended a command, said as one sentence.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Serve(serve) => serve::run(serve),
        Command::Pair(pair) => pair::run(pair),
        Command::Link(link) => cmd::link::run(link),
        Command::Topic(topic) => cmd::topic::run(topic),
        Command::Produce(produce) => cmd::produce::run(produce),
        Command::Consume(consume) => cmd::consume::run(consume),
        Command::Log(log) => return cmd::log::run(log),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

/// Says what ended a command.
fn failed(failure: &Failure) -> ExitCode {
    eprintln!("gnomon: {failure}");
    ExitCode::FAILURE
}

//! The command line of `gnomon-bench`.

use crate::{peers::PeerName, scenarios, settings::LoadChanges};
use clap::{Parser, Subcommand, builder::PossibleValuesParser};
use std::path::PathBuf;

/// Measures Gnomon over the wire, beside other brokers, or any broker at an address.
#[derive(Parser)]
#[command(name = "gnomon-bench", version, about, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run scenarios and write tables, JSON and plots.
    Run(Box<Run>),
    /// How far a shadow is behind its source, between two Gnomon sites at fixed rates: `run
    /// link-lag-open --peers gnomon`.
    PairLag(Box<Run>),
}

impl Command {
    /// The run that the command asks for.
    pub fn into_run(self) -> Run {
        match self {
            Command::Run(run) => *run,
            Command::PairLag(mut run) => {
                run.scenarios = vec!["link-lag-open".to_owned()];
                if run.peers.is_empty() {
                    run.peers = vec![PeerName::Gnomon];
                }
                *run
            }
        }
    }
}

/// Each run of a peer has a fresh broker on an empty folder of the same file system and memory that
/// was just touched; peers take turns within a round and rounds differ in who is first; figures are
/// medians over rounds. The machine's own speed is read before and after each round of a case, and
/// a round in which it moved is thrown away.
#[derive(clap::Args)]
pub struct Run {
    /// Scenarios; without any: all of them, which takes hours.
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(scenarios::ALL.iter().map(|scenario| scenario.name)))]
    pub scenarios: Vec<String>,
    /// Say which scenarios there are, and stop.
    #[arg(long)]
    pub list: bool,
    /// Seconds instead of trustworthy lengths: to see that a scenario works. Settles no goal.
    #[arg(long)]
    pub quick: bool,
    /// Runs of each peer [default: 3, with --quick 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// Who is measured [default: gnomon,kafka,kfake,mock; with --bootstrap what is there, and
    /// mock].
    #[arg(
        long,
        value_name = "PEER,...",
        value_delimiter = ',',
        num_args = 1,
        value_enum
    )]
    pub peers: Vec<PeerName>,
    /// Measure the broker at this address as it is. Topics named gnomon-bench-* are made there and
    /// deleted again.
    #[arg(long, value_name = "ADDR")]
    pub bootstrap: Option<String>,
    /// Its process, when it runs on this machine: for CPU and memory.
    #[arg(long, value_name = "PID", requires = "bootstrap")]
    pub pid: Option<u32>,
    /// Folder for the report [default: target/bench/report].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Count rounds during which the machine moved too; for machines that are never quiet. Settles
    /// no goal.
    #[arg(long)]
    pub keep_moved: bool,
    /// The load.
    #[command(flatten)]
    pub load: LoadChanges,
}

impl Run {
    /// Each once, in the order given.
    pub fn peers(&self) -> Vec<PeerName> {
        let given = self.bootstrap.as_ref().map(|_| PeerName::Given);
        let asked = match (&self.peers[..], given) {
            ([], None) => vec![
                PeerName::Gnomon,
                PeerName::Kafka,
                PeerName::Kfake,
                PeerName::Mock,
            ],
            ([], Some(_)) => vec![PeerName::Mock],
            (asked, _) => asked.to_vec(),
        };
        let mut peers = Vec::new();
        for peer in given.into_iter().chain(asked) {
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> Run {
        Args::try_parse_from([&["gnomon-bench", "run"], arguments].concat())
            .expect("it parses")
            .command
            .into_run()
    }

    #[test]
    fn the_commands_are_well_formed() {
        Args::command().debug_assert();
        let asked = run(&[
            "produce",
            "--rates",
            "10,20",
            "--quick",
            "-X",
            "linger.ms=0",
            "-X",
            "acks=1",
        ]);
        assert_eq!(
            (asked.scenarios, asked.load.rates, asked.load.options.len()),
            (vec!["produce".to_owned()], vec![10, 20], 2)
        );
        assert!(Args::try_parse_from(["gnomon-bench", "run", "prodcue"]).is_err());
        let lag = Args::try_parse_from(["gnomon-bench", "pair-lag"])
            .expect("it parses")
            .command
            .into_run();
        assert_eq!(
            (lag.scenarios, lag.peers.len()),
            (vec!["link-lag-open".to_owned()], 1)
        );
        assert!(Args::try_parse_from(["gnomon-bench", "run", "--pid", "1"]).is_err());
    }

    #[test]
    fn a_given_broker_is_measured_alone_beside_the_ceiling() {
        use PeerName::{Given, Gnomon, Kafka, Kfake, Mock};
        assert_eq!(run(&[]).peers(), [Gnomon, Kafka, Kfake, Mock]);
        assert_eq!(run(&["--bootstrap", "h:1"]).peers(), [Given, Mock]);
        assert_eq!(
            run(&["--bootstrap", "h:1", "--peers", "kafka,kafka"]).peers(),
            [Given, Kafka]
        );
    }
}

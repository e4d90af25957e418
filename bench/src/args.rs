//! What can be typed behind `gnomon-bench`: every scenario, its flags and their help.

use crate::peers::Durability;
use clap::{Parser, Subcommand, ValueEnum};

/// Measures Gnomon over the wire, beside other brokers. Tables go to standard output and, with JSON, to target/bench/.
#[derive(Parser)]
#[command(name = "gnomon-bench", version, about, max_term_width = 100)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// The scenarios.
#[derive(Subcommand)]
pub enum Scenario {
    /// Latency from producing on site a to consuming the shadow on site b, and of the direct path, at fixed rates.
    PairLag(PairLag),
    /// Produce throughput by librdkafka's own rdkafka_performance, beside kfake.
    Produce(Produce),
}

/// Starts a reciprocal pair and produces to site a at a fixed rate, open loop: a record is due at its time, whether or not the
/// ones before it have been answered, and its latency counts from that time.
#[derive(clap::Args)]
pub struct PairLag {
    /// Records a second, one run after another.
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', num_args = 1, default_value = "10,1000,10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rates: Vec<u32>,
    /// Measured seconds of each rate.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Seconds at the same rate before them that do not count.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=600))]
    pub warm_up: u32,
    /// Bytes of a record's value; there is no key.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub size: u32,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Both sites show and acknowledge records before they are fsynced. Without it: the default, after.
    #[arg(long)]
    pub write_caching: bool,
}

/// A broker to measure, or what stands in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerName {
    /// The release build of this workspace.
    Gnomon,
    /// franz-go's Kafka in one Go process, with a data directory; needs Go.
    Kfake,
    /// librdkafka's broker inside the client's own process, which keeps nothing: the client's ceiling.
    Mock,
}

/// Starts each peer fresh on the same file system, interleaved over rounds, each run on warmed memory; prints medians.
#[derive(clap::Args)]
pub struct Produce {
    /// Records of one run.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    pub records: u32,
    /// Bytes of a record's value; there is no key.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=900_000))]
    pub size: u32,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Runs of each peer.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Acknowledgements that the producer waits for: all, 1 or 0.
    #[arg(long, value_name = "ACKS", default_value = "all", value_parser = ["all", "1", "0"])]
    pub acks: String,
    /// Who is measured.
    #[arg(long, value_name = "PEER,...", value_delimiter = ',', num_args = 1, value_enum, default_value = "gnomon,kfake,mock")]
    pub peers: Vec<PeerName>,
    /// What an acknowledgement means, fsync against fsync and page cache against page cache.
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', num_args = 1, value_enum, default_value = "fsync,page-cache")]
    pub durability: Vec<Durability>,
    /// A librdkafka option for rdkafka_performance, such as batch.num.messages=1; may be given several times.
    #[arg(short = 'X', value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed_and_their_defaults_parse() {
        Args::command().debug_assert();
        let Scenario::PairLag(lag) = Args::parse_from(["gnomon-bench", "pair-lag", "--rates", "10,20"]).scenario else {
            panic!("pair-lag")
        };
        assert_eq!(lag.rates, [10, 20]);
        let Scenario::Produce(produce) = Args::parse_from(["gnomon-bench", "produce"]).scenario else { panic!("produce") };
        assert_eq!(produce.peers, [PeerName::Gnomon, PeerName::Kfake, PeerName::Mock]);
        assert_eq!(produce.durability, [Durability::Fsync, Durability::PageCache]);
    }
}

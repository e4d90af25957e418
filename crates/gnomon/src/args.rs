//! Every command that follows `gnomon`, its flags and their help.

use clap::{Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf, str::FromStr};

/// A Kafka broker with shadow links built in.
#[derive(Parser)]
#[command(name = "gnomon", version, about, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run one site.
    Serve(Serve),
    /// Run two sites on this machine that shadow each other.
    Pair(Pair),
    /// Create, look at and fail over shadow links.
    Link(Link),
    /// Create, list, describe and delete topics.
    Topic(Topic),
    /// Write lines of standard input to a topic, a record a line.
    Produce(Produce),
    /// Print a topic's records, a line a record.
    Consume(Consume),
    /// Look into the log files of a data directory, also while a site is using it.
    Log(Log),
}

/// Runs one site until SIGTERM or Ctrl-C; a second signal ends it at once.
///
/// Logs go to standard error: start, stop and warnings. GNOMON_LOG=info, debug or a filter such as
/// gnomon_replication=debug shows more, GNOMON_LOG=warn less.
#[derive(clap::Args)]
pub struct Serve {
    /// Configuration file (TOML); flags win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory, new or a site's own [default: gnomon-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for Kafka clients [default: 127.0.0.1:9092].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Address that clients are told to use [default: the one listened on; of 0.0.0.0 the one that a
    /// client connected to].
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<String>,
    /// Address for operators: HTTP, metrics [default: 127.0.0.1:9644].
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// Allow an admin address that other machines reach. It has no authentication: everybody who
    /// reaches it can read all metadata, make links and fail topics over.
    #[arg(long)]
    pub admin_allow_remote: bool,
    /// Name of this site that requests to the admin address may use, besides its addresses and
    /// localhost; may be given several times.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub admin_host: Vec<String>,
    /// Short name of this site [default: gnomon].
    #[arg(long, value_name = "NAME")]
    pub site_name: Option<String>,
    /// Prefix of topics that this site owns; may be given several times.
    #[arg(long, value_name = "PREFIX", num_args = 1..)]
    pub owns: Vec<String>,
    /// Link file (YAML); the link is made at the first start. May be given several times.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub link: Vec<PathBuf>,
    /// Marks this site's producer ids: 1 to 4095, another one at each site [default: drawn at the
    /// first start, and kept].
    #[arg(long, value_name = "N")]
    pub producer_tag: Option<u16>,
    /// Show and acknowledge records before they are fsynced: power loss may then take them.
    #[arg(long)]
    pub write_caching: bool,
    /// Look at every record before it is taken (full), or trust producers and sources (header)
    /// [default: full].
    #[arg(long, value_name = "full|header")]
    pub record_validation: Option<String>,
    /// Give up the records of partitions whose files are gone: they are empty from now on and take
    /// writes. For one start; without it such partitions are neither read nor written, and
    /// `gnomon log check` names them.
    #[arg(long)]
    pub accept_loss: bool,
}

/// Runs two sites, a and b, each shadowing the other's topics, until Ctrl-C or until both have
/// died.
///
/// The first start writes gnomon.toml and a link file into each site's directory; later starts use
/// them as they are.
#[derive(clap::Args)]
pub struct Pair {
    /// Directory for both sites' data.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "gnomon-data",
        conflicts_with = "ephemeral"
    )]
    pub data: PathBuf,
    /// Use a temporary directory and remove it at the end.
    #[arg(long)]
    pub ephemeral: bool,
    /// Kafka addresses of a and b [default: 127.0.0.1:9092,127.0.0.1:9192].
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1)]
    pub kafka: Vec<SocketAddr>,
    /// Admin addresses of a and b [default: 127.0.0.1:9644,127.0.0.1:9744].
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1)]
    pub admin: Vec<SocketAddr>,
}

/// How a command prints what it found.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where a site's admin address is.
#[derive(clap::Args)]
pub struct AdminAddress {
    /// Admin address of the site.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9644",
        env = "GNOMON_ADMIN"
    )]
    pub admin: String,
}

/// Shadow links live on the site that shadows: point --admin there.
#[derive(clap::Args)]
pub struct Link {
    /// What to do with links.
    #[command(subcommand)]
    pub command: LinkCommand,
}

/// `gnomon link ...`
#[derive(Subcommand)]
pub enum LinkCommand {
    /// Make a link from a link file.
    ///
    /// Secrets that the file refers to as ${env:NAME} or ${file:PATH} are read by this command, and
    /// sent to the site.
    Create {
        /// The link file (YAML).
        #[arg(value_name = "FILE", required_unless_present = "file_flag")]
        file: Option<PathBuf>,
        /// The same.
        #[arg(
            id = "file_flag",
            short = 'f',
            long = "file",
            value_name = "FILE",
            conflicts_with = "file"
        )]
        file_flag: Option<PathBuf>,
        /// The site.
        #[command(flatten)]
        at: AdminAddress,
    },
    /// One line for each link.
    List {
        /// The site.
        #[command(flatten)]
        at: AdminAddress,
        /// Output.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// State, tasks and, for each partition, both high watermarks and the lag in records and
    /// seconds.
    Status {
        /// The link's name [default: every link of the site].
        name: Option<String>,
        /// The site.
        #[command(flatten)]
        at: AdminAddress,
        /// Output; as JSON a link is an object, and without a name there is an array of them.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Make shadow topics writable here, for good: for when their source is lost.
    ///
    /// Says first what would be lost as far as is known, and asks. A failover does not need the
    /// source; if the source answers, the command refuses without --source-alive.
    Failover {
        /// The link's name.
        name: String,
        /// A topic to fail over; may be given several times.
        #[arg(
            long,
            value_name = "TOPIC",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        topic: Vec<String>,
        /// Fail over every topic of the link, and the link itself.
        #[arg(long)]
        all: bool,
        /// Do not ask.
        #[arg(long, alias = "no-confirm")]
        yes: bool,
        /// Fail over although the source answers: clients can then write to the topic at both sites,
        /// and the two copies differ from there on.
        #[arg(long)]
        source_alive: bool,
        /// Only say what would be lost.
        #[arg(long)]
        dry_run: bool,
        /// The site.
        #[command(flatten)]
        at: AdminAddress,
    },
}

/// Where Kafka clients connect.
#[derive(Clone, clap::Args)]
pub struct Bootstrap {
    /// Kafka address of the site.
    #[arg(
        short,
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9092",
        env = "GNOMON_BOOTSTRAP"
    )]
    pub bootstrap: String,
}

/// Topics, over the Kafka protocol.
#[derive(clap::Args)]
pub struct Topic {
    /// What to do with topics.
    #[command(subcommand)]
    pub command: TopicCommand,
}

/// `gnomon topic ...`
#[derive(Subcommand)]
pub enum TopicCommand {
    /// Every topic with its partitions.
    List {
        /// The site.
        #[command(flatten)]
        at: Bootstrap,
    },
    /// Make a topic.
    Create {
        /// Its name.
        name: String,
        /// Its partitions.
        #[arg(short, long, default_value_t = 1)]
        partitions: i32,
        /// A topic setting, such as retention.ms=60000; may be given several times.
        #[arg(short, long, value_name = "KEY=VALUE")]
        config: Vec<String>,
        /// The site.
        #[command(flatten)]
        at: Bootstrap,
    },
    /// Partitions with their offsets, and the settings that are not defaults.
    Describe {
        /// Its name.
        name: String,
        /// The site.
        #[command(flatten)]
        at: Bootstrap,
    },
    /// Delete a topic and its records.
    Delete {
        /// Its name.
        name: String,
        /// The site.
        #[command(flatten)]
        at: Bootstrap,
    },
}

/// Writes lines of standard input, a record a line, as they come; ends when all are acknowledged by
/// acks=all.
///
/// A line's bytes become the record as they are, without the line feed. A failure ends the command
/// with an error that says how many records are safe.
#[derive(clap::Args)]
pub struct Produce {
    /// The topic.
    pub topic: String,
    /// The partition [default: by the hash of the key as other Kafka clients choose it; without a
    /// key one at random, changed every 16 KiB].
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// What separates a key from its value; without it lines are values.
    #[arg(short, long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key_separator: Option<String>,
    /// The site.
    #[command(flatten)]
    pub at: Bootstrap,
}

/// Prints offset, timestamp, key and value of each record, separated by tabs, up to the present
/// end.
///
/// Keys and values are printed as the bytes that they are.
#[derive(clap::Args)]
pub struct Consume {
    /// The topic.
    pub topic: String,
    /// The partition [default: 0].
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Where to begin: beginning, end, an offset, or -N for the last N offsets.
    #[arg(short, long, default_value = "beginning", allow_hyphen_values = true)]
    pub offset: Start,
    /// Stay, and print what comes.
    #[arg(short, long)]
    pub follow: bool,
    /// The site.
    #[command(flatten)]
    pub at: Bootstrap,
}

/// Where `gnomon consume` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The log's start.
    Beginning,
    /// After the last record.
    End,
    /// This offset.
    Offset(i64),
    /// So many offsets before the end.
    BeforeEnd(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        match (text, text.parse::<i64>()) {
            ("beginning" | "earliest", _) => Ok(Start::Beginning),
            ("end" | "latest", _) => Ok(Start::End),
            (_, Ok(offset @ 0..)) => Ok(Start::Offset(offset)),
            (_, Ok(before)) if before > i64::MIN => Ok(Start::BeforeEnd(-before)),
            _ => Err("must be beginning, end, an offset, or -N for the last N offsets".into()),
        }
    }
}

/// Log files, read without the lock.
#[derive(clap::Args)]
pub struct Log {
    /// What to do with them.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// `gnomon log ...`
#[derive(Subcommand)]
pub enum LogCommand {
    /// Print the sha256 of all whole batches of a partition, and the offsets they cover: equal on
    /// two sites means equal bytes.
    Hash {
        /// A site's data directory.
        dir: PathBuf,
        /// Such as orders-0.
        #[arg(value_name = "TOPIC-PARTITION")]
        partition: String,
        /// Only batches before this offset.
        #[arg(long, value_name = "OFFSET")]
        to: Option<i64>,
    },
    /// Read every batch and say what is damaged, and what the next start would do about it. Changes
    /// nothing.
    ///
    /// Ends with 0 when everything is what was written, an unfinished write at the end of a log
    /// included; with 1 when something is damaged or has to be rebuilt; with 2 when it cannot be
    /// looked at.
    Check {
        /// A site's data directory.
        dir: PathBuf,
        /// Such as orders-0; without one, all partitions.
        #[arg(value_name = "TOPIC-PARTITION")]
        partitions: Vec<String>,
        /// Output.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print one file of a partition's folder: batches as kafka-dump-log prints them, index
    /// entries, a checkpoint, a producer snapshot.
    Dump {
        /// A .log, .index, .timeindex or .snapshot file, or a checkpoint.
        file: PathBuf,
        /// Each batch's records too, with key and value.
        #[arg(long)]
        records: bool,
    },
}

//! The names of peers, and what an acknowledgement of theirs means.

use clap::ValueEnum;
use serde::Serialize;

/// A broker to measure, or what stands in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PeerName {
    /// The release build of this workspace; for links two of them.
    Gnomon,
    /// Apache Kafka 4.3.1, one KRaft node; for links two of them and MirrorMaker 2. Needs Java and
    /// Maven.
    Kafka,
    /// franz-go's Kafka in one Go process, with a data directory. Needs Go.
    Kfake,
    /// Formerly Tansu, with its SQLite storage. Its build takes half an hour, so it is measured on
    /// request only.
    Nisshi,
    /// librdkafka's broker inside the client's own process, which keeps nothing: the client's
    /// ceiling.
    Mock,
    /// The broker at --bootstrap.
    #[value(skip)]
    Given,
}

impl PeerName {
    pub fn name(self) -> &'static str {
        match self {
            PeerName::Gnomon => "gnomon",
            PeerName::Kafka => "kafka",
            PeerName::Kfake => "kfake",
            PeerName::Nisshi => "nisshi",
            PeerName::Mock => "mock",
            PeerName::Given => "given",
        }
    }
}

/// The state of a record when a broker acknowledges it. Like is compared with like only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// It is on the disk.
    Fsync,
    /// The kernel has it: power loss may take it.
    PageCache,
    /// Nothing: it is thrown away.
    Nothing,
    /// The setting of a broker that is not ours.
    ItsOwn,
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync",
            Durability::PageCache => "page cache",
            Durability::Nothing => "none",
            Durability::ItsOwn => "its own",
        }
    }
}

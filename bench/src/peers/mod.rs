//! The brokers that are measured: how each is built, set up on an empty folder, started and asked
//! whether it is there, and what its acknowledgement means.
//!
//! Where is what: `gnomon` (this workspace), `kafka` (Apache Kafka), `kfake` (franz-go), `nisshi`
//! (formerly Tansu), `mock` (inside librdkafka, the client's ceiling), `given` (whatever is at an
//! address).

mod given;
mod gnomon;
pub mod kafka;
mod kfake;
mod mock;
mod nisshi;
mod running;

pub use given::Given;
pub use gnomon::{Gnomon, Site};
pub use running::{Installed, Program, Running};

use crate::{Failure, links::Linker};
use clap::ValueEnum;
use serde::Serialize;
use std::path::Path;

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
    /// What is at --bootstrap.
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

/// What a broker has done with a record when it acknowledges it. Like is compared with like only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// It is on the disk.
    Fsync,
    /// The kernel has it: power loss may take it.
    PageCache,
    /// Nothing: it is thrown away.
    Nothing,
    /// Whatever a broker that is not ours was configured to.
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

/// A broker that can be set up.
pub trait Peer {
    /// What it does where a case asks for this durability; `None`: it does not offer it.
    fn offers(&self, asked: Durability) -> Option<Durability>;

    /// Sets it up on an empty folder, without starting it.
    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure>;

    /// How it links two sites; `None`: it has no links.
    fn linker(&self) -> Option<Box<dyn Linker>> {
        None
    }
}

/// Both, for those that offer what is asked and nothing else.
fn fsync_or_page_cache(asked: Durability) -> Option<Durability> {
    matches!(asked, Durability::Fsync | Durability::PageCache).then_some(asked)
}

/// Builds a peer, or finds it built.
pub fn build(name: PeerName, given: Option<&Given>) -> Result<Box<dyn Peer>, Failure> {
    Ok(match name {
        PeerName::Gnomon => Box::new(gnomon::Gnomon::build()?),
        PeerName::Kafka => Box::new(kafka::Kafka::build()?),
        PeerName::Kfake => Box::new(kfake::Kfake::build()?),
        PeerName::Nisshi => Box::new(nisshi::Nisshi::build()?),
        PeerName::Mock => Box::new(mock::Mock),
        PeerName::Given => Box::new(given.cloned().ok_or("no address was given")?),
    })
}

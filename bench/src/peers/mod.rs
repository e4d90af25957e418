//! The brokers that are measured: how each is built and started fresh on a folder, and what its acknowledgement means there.
//!
//! Where is what: `gnomon` (this workspace), `kfake` (franz-go), `mock` (inside librdkafka, the client's ceiling).

pub mod gnomon;
mod kfake;
mod mock;

use crate::{Failure, args::PeerName, process::Process};
use clap::ValueEnum;
use serde::Serialize;
use std::path::Path;

/// What a broker has done with a record when it acknowledges it. Like is compared with like only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// It is on the disk.
    Fsync,
    /// The kernel has it: power loss may take it.
    PageCache,
    /// Nothing: it is thrown away.
    #[value(skip)]
    Nothing,
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Durability::Fsync => "fsync",
            Durability::PageCache => "page cache",
            Durability::Nothing => "none",
        }
    }
}

/// A broker that can be started.
pub trait Peer {
    /// As the tables call it.
    fn name(&self) -> &'static str;
    /// The durabilities it can offer.
    fn offers(&self) -> &'static [Durability];
    /// Starts it on an empty folder and returns when it answers.
    fn start(&self, folder: &Path, durability: Durability) -> Result<Running, Failure>;
}

/// A started broker.
pub struct Running {
    /// `None`: it lives inside the client, and nothing is to be created or measured.
    pub process: Option<Process>,
    pub bootstrap: String,
    /// What librdkafka is to be told in addition.
    pub client_options: Vec<String>,
}

/// Builds a peer, or finds it built.
pub fn build(name: PeerName) -> Result<Box<dyn Peer>, Failure> {
    Ok(match name {
        PeerName::Gnomon => Box::new(gnomon::Gnomon::build()?),
        PeerName::Kfake => Box::new(kfake::Kfake::build()?),
        PeerName::Mock => Box::new(mock::Mock),
    })
}

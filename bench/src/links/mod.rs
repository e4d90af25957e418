//! Two sites and a link from one to the other, as the peers that have such a thing do it.
//!
//! Where is what: `shadow` (Gnomon's shadow links), `mirror` (MirrorMaker 2 between two Apache Kafkas).

mod mirror;
mod shadow;

use crate::{
    Failure,
    peers::{Durability, PeerName, Running, gnomon::Gnomon, kafka::Kafka},
};
use std::path::Path;

/// Who can link two sites.
pub trait Linker {
    /// Sets both sites up on an empty folder. Topics that the link is to carry begin with `a_`.
    fn install(&self, folder: &Path, durability: Durability) -> Result<Box<dyn Linked>, Failure>;
}

/// Two sites that were set up, to be linked from a to b under the same topic names.
pub trait Linked {
    /// Starts the source.
    fn start_source(&self) -> Result<Running, Failure>;

    /// Starts the target and what carries records to it. They may be one process.
    fn start_link(&self) -> Result<Carrier, Failure>;
}

/// The target, and what carries records to it.
pub struct Carrier {
    pub target: Running,
    /// Where that is a process of its own.
    pub link: Option<Running>,
}

impl Carrier {
    /// Of all its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.target.pids().into_iter().chain(self.link.iter().flat_map(Running::pids)).collect()
    }

    /// Stops what runs.
    pub fn stop(self) -> Result<(), Failure> {
        self.link.map_or(Ok(()), Running::stop)?;
        self.target.stop()
    }
}

/// Builds what links a peer's sites, or finds it built; `None`: it has no links.
pub fn build(name: PeerName) -> Result<Option<Box<dyn Linker>>, Failure> {
    Ok(match name {
        PeerName::Gnomon => Some(Box::new(shadow::Shadow(Gnomon::build()?))),
        PeerName::Kafka => Some(Box::new(mirror::Mirror(Kafka::build()?))),
        PeerName::Kfake | PeerName::Nisshi | PeerName::Mock | PeerName::Given => None,
    })
}

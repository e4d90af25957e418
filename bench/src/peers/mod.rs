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
mod name;
mod nisshi;
mod peer;
mod running;

pub use given::Given;
pub use gnomon::{Gnomon, Site};
pub use name::{Durability, PeerName};
pub use peer::Peer;
pub use running::{Installed, Running};

use crate::{
    failure::Failure,
    links::{Linker, Mirror, Shadow},
};

/// A peer that is ready to be set up.
pub struct BuiltPeer {
    pub peer: Box<dyn Peer>,
    /// How it links two sites; `None`: it has no links.
    pub linker: Option<Box<dyn Linker>>,
}

/// Builds a peer, or finds it built.
pub fn build(name: PeerName, given: Option<&Given>) -> Result<BuiltPeer, Failure> {
    let alone = |peer| BuiltPeer { peer, linker: None };
    Ok(match name {
        PeerName::Gnomon => {
            let gnomon = Gnomon::build()?;
            BuiltPeer {
                peer: Box::new(gnomon.clone()),
                linker: Some(Box::new(Shadow(gnomon))),
            }
        }
        PeerName::Kafka => {
            let kafka = kafka::Kafka::build()?;
            BuiltPeer {
                peer: Box::new(kafka.clone()),
                linker: Some(Box::new(Mirror(kafka))),
            }
        }
        PeerName::Kfake => alone(Box::new(kfake::Kfake::build()?)),
        PeerName::Nisshi => alone(Box::new(nisshi::Nisshi::build()?)),
        PeerName::Mock => alone(Box::new(mock::Mock)),
        PeerName::Given => alone(Box::new(given.cloned().ok_or("no address was given")?)),
    })
}

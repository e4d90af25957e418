//! librdkafka's own mock broker: in the client's process, over loopback, and it keeps nothing. What
//! the client can do at most.

use super::{
    name::{Durability, PeerName},
    peer::Peer,
    running::Installed,
};
use crate::failure::Failure;
use std::path::Path;

pub struct Mock;

impl Peer for Mock {
    /// A ceiling stands beside everything.
    fn offers(&self, _: Durability) -> Option<Durability> {
        Some(Durability::Nothing)
    }

    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure> {
        Ok(Installed {
            peer: PeerName::Mock,
            durability,
            program: None,
            // The address is replaced by the mock's.
            bootstrap: "127.0.0.1:1".to_owned(),
            client_options: vec!["test.mock.num.brokers=1".to_owned()],
            folder: folder.to_path_buf(),
            foreign_pid: None,
        })
    }
}

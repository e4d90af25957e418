//! The broker at an address that was given: measured as it is, never started or stopped.

use super::{
    name::{Durability, PeerName},
    peer::Peer,
    running::Installed,
};
use crate::failure::Failure;
use std::path::Path;

#[derive(Clone, Debug)]
pub struct Given {
    pub bootstrap: String,
    /// The id of its process, when it runs on this machine.
    pub pid: Option<u32>,
    /// Options of librdkafka that let it in.
    pub client_options: Vec<String>,
}

impl Peer for Given {
    fn offers(&self, _: Durability) -> Option<Durability> {
        Some(Durability::ItsOwn)
    }

    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure> {
        Ok(Installed {
            peer: PeerName::Given,
            durability,
            program: None,
            bootstrap: self.bootstrap.clone(),
            client_options: self.client_options.clone(),
            folder: folder.to_path_buf(),
            foreign_pid: self.pid,
        })
    }
}

//! A peer, as scenarios see it.

use super::{name::Durability, running::Installed};
use crate::failure::Failure;
use std::path::Path;

/// A broker that can be set up.
pub trait Peer {
    /// The durability that it offers where a case asks for this one; `None`: it does not offer it.
    fn offers(&self, asked: Durability) -> Option<Durability>;

    /// Sets it up on an empty folder, without starting it.
    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure>;
}

/// Both, for those that offer what is asked and nothing else.
pub fn fsync_or_page_cache(asked: Durability) -> Option<Durability> {
    matches!(asked, Durability::Fsync | Durability::PageCache).then_some(asked)
}

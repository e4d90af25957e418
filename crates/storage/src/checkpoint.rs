//! The small file beside the segments that says what recovery may rely on.

use crate::{disk::Disk, error::LogError};
use gnomon_protocol::ids::{BatchEpoch, Offset};
use std::path::Path;

/// What the partition keeps in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointExtra {
    /// Leader epochs with their start offsets, oldest first.
    pub epochs: Vec<(BatchEpoch, Offset)>,
    /// Offset up to which the producer snapshot beside it covers the log; -1 for none.
    pub producer_snapshot_at: Offset,
}

/// A checkpoint's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// First offset that may be read.
    pub start: Offset,
    /// Everything below was synced.
    pub flushed: Offset,
    /// The partition's part.
    pub extra: CheckpointExtra,
}

/// A checkpoint ready to be written. Writes that come in another order than they were prepared are harmless: an older one does nothing.
pub struct CheckpointWrite {}

impl CheckpointWrite {
    /// Writes it: temporary file, sync, rename, sync of the directory.
    pub fn write(&self) -> Result<(), LogError> {
        unimplemented!()
    }
}

/// The checkpoint in a log's directory; `None` when there is none, or none that can be trusted.
pub fn read_checkpoint(disk: &dyn Disk, dir: &Path) -> Result<Option<Checkpoint>, LogError> {
    let _ = (disk, dir);
    unimplemented!()
}

//! Writing a checkpoint, without the log's lock.

use crate::{
    checkpoint::{Checkpoint, FILE},
    error::LogError,
    shared::Shared,
};
use std::{path::PathBuf, sync::Arc};

/// A checkpoint ready to be written. Writes that come in another order than they were prepared are
/// harmless: an older one does nothing.
pub struct CheckpointWrite {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sequence: u64,
    pub(crate) content: Checkpoint,
}

impl CheckpointWrite {
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.content
    }

    /// Writes it: temporary file, sync, rename, sync of the directory.
    pub fn write(&self) -> Result<(), LogError> {
        let mut written = self.shared.checkpoint_written.lock();
        if *written > self.sequence {
            return Ok(());
        }
        let path = self.path();
        self.shared
            .disk
            .write_atomic(&path, &self.content.encode())
            .map_err(LogError::io("write checkpoint", path))?;
        *written = self.sequence;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.shared.dir.join(FILE)
    }
}

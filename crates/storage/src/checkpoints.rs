//! When a checkpoint of a log is due, and what it says.

use crate::{
    checkpoint::CheckpointExtra, checkpoint_write::CheckpointWrite, error::LogError, log::Log,
};

impl Log {
    /// Whether a segment was sealed, or [`LogOptions::checkpoint_bytes`] or that many batches were
    /// written, since the last checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        self.durability.checkpoint_due(&self.options)
    }

    /// Whether index files that were missing or wrong have been written again, which only a
    /// checkpoint makes known to the next start.
    pub fn has_rebuilt(&self) -> bool {
        self.segments.iter().any(|segment| segment.is_rewritten())
    }

    /// Writes the checkpoint.
    pub fn checkpoint(&mut self, extra: CheckpointExtra) -> Result<(), LogError> {
        self.prepare_checkpoint(extra).write()
    }

    /// The checkpoint as of now, to be written without the log's lock. Writes the active segment's
    /// index files, unsynced.
    pub fn prepare_checkpoint(&mut self, extra: CheckpointExtra) -> CheckpointWrite {
        self.durability.set_extra(extra);
        let active = self.active().clone();
        let has_index = active
            .indexes(&*self.shared.disk)
            .is_ok_and(|loaded| !loaded.offsets.is_empty());
        let covered = if has_index {
            self.write_indexes(&active, false)
        } else {
            None
        };
        let rewritten = self.segments.iter().map(|segment| segment.take_rewritten());
        self.durability.indexed(rewritten, covered);
        self.checkpoint_write()
    }

    pub(crate) fn checkpoint_write(&mut self) -> CheckpointWrite {
        let (sequence, content) = self.durability.checkpoint(self.start());
        CheckpointWrite {
            shared: self.shared.clone(),
            sequence,
            content,
        }
    }

    /// Sets the partition's part of the next checkpoint, also of one that a trim writes.
    pub fn note_extra(&mut self, extra: CheckpointExtra) {
        self.durability.set_extra(extra);
    }
}

//! The way back after a disk error: a partition that was closed by one is succeeded by another,
//! opened from what the disk has, as a restart would.
//!
//! What was durable is there again; what was only written is there as far as it can be proven and
//! was written again; the rest is gone, and those who waited for it were told so. Invariants: a
//! successor that hands out offsets does so under an epoch that its predecessor never used, since
//! some of them may have been handed out before (a source's own offsets come again with the same
//! bytes, under the same epoch); the predecessor never changes the disk again. Not here: who tries
//! when, and who raises the epoch (the broker).

use crate::{
    error::ReopenError,
    handle::{Handle, PartitionControl},
    presence,
    producer::Remembered,
    rebuild::LogFrom,
    refused::Earliest,
    role::Role,
    settings::Settings,
};
use gnomon_protocol::ids::Offset;
use gnomon_storage::Log;
use std::sync::Arc;
use tracing::{info, warn};

impl PartitionControl<'_> {
    /// Why a disk error closed the partition, if one did: [`PartitionControl::reopen`] is the way back.
    pub fn failed(&self) -> Option<Arc<str>> {
        self.0.disk_error()
    }

    /// Whether the disk takes anything: leaves a note in the partition's folder that its log is not
    /// to be believed. Before more is done about it, and other logs are written to for its sake.
    /// Blocking.
    pub fn try_disk(&self) -> Result<(), ReopenError> {
        presence::check(&*self.0.env.disk, &self.0.dir)?;
        let reopening = self.0.writer.lock().log.as_ref().map(Log::reopening);
        reopening
            .map_or(Ok(()), |reopening| reopening.mark())
            .map_err(|error| ReopenError::Open(error.into()))
    }

    /// Opens the successor of a partition that a disk error closed. Until it is put in this one's
    /// place ([`PartitionControl::succeeded_by`]) this one goes on answering readers. Blocking.
    ///
    /// # Errors
    /// [`ReopenError::EpochUsed`] until the role's epoch was raised above every epoch of ours in
    /// the log. [`ReopenError::Open`] while the disk does not work: nothing has changed then.
    pub fn reopen(&self, role: Role, settings: Settings) -> Result<Handle, ReopenError> {
        // Nothing of ours is half way through a checkpoint, and no other attempt is under way.
        let _alone = self.0.checkpointing.lock();
        let reopening = {
            let writer = self.0.writer.lock();
            if self.0.disk_error().is_none() {
                return Err(ReopenError::NotFailed);
            }
            writer.log.as_ref().map(Log::reopening)
        };
        let used = self.0.view.read().log_state.epochs.latest();
        if let Some(own) = role.own_batch_epoch().filter(|own| *own <= used) {
            return Err(ReopenError::EpochUsed { own, used });
        }
        let from = reopening.as_ref().map_or(LogFrom::Disk, LogFrom::Failed);
        let successor = Handle::open_from(
            &self.0.env,
            self.0.dir.clone(),
            self.0.id,
            role,
            settings,
            from,
            self.0.refused.clone(),
        )?;
        self.remember_lost(successor.offsets().end);
        let (before, now) = (self.0.offsets(), successor.offsets());
        info!(topic = %self.0.name.topic, partition = self.0.name.index, ended = before.end, ends = now.end, "opened again");
        if now.end < before.high_watermark {
            // With `write.caching` only.
            warn!(topic = %self.0.name.topic, partition = self.0.name.index, from = now.end, to = before.high_watermark, "records that consumers may have seen are lost");
        }
        Ok(successor)
    }

    /// Batches that the successor, whose log ends at `end`, does not have, and whose clients were
    /// told to send them again, are like batches that were refused: none that was sent after them
    /// may come before them.
    fn remember_lost(&self, end: Offset) {
        let view = self.0.view.read();
        let acknowledged = view.offsets().high_watermark;
        let mut refused = self.0.refused.lock();
        for (id, producer) in view.log_state.producers.iter() {
            let lost =
                |batch: &&Remembered| batch.base_offset >= end && batch.last_offset >= acknowledged;
            if let Some(first) = producer.batches.iter().find(lost) {
                let lost = Earliest {
                    epoch: producer.epoch,
                    sequence: first.first_sequence,
                    refused_ms: producer.seen_ms.unwrap_or(first.timestamp_ms),
                };
                refused.remember(id, lost);
            }
        }
    }

    /// The successor is in this one's place: readers and fetches that still hold this one are sent
    /// there.
    pub fn succeeded_by(&self, successor: &Handle) {
        self.0.end("it was opened again");
        self.0.waiters.move_to(&successor.0.waiters);
        successor.0.waiters.wake();
    }
}

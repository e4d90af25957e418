//! Waiting for the disk, one flush pass, checkpoints, and the end of a partition.
//!
//! Invariants: no lock is held while the disk works; a failed sync is never tried again (the kernel
//! has dropped the pages): the partition is closed to writing and everyone who waits is told
//! (`reopen.rs` is the way back). A checkpoint names a snapshot only after everything below the
//! snapshot, and the snapshot itself, are durable.

use crate::{
    acks::{Acks, Lost},
    error::CloseError,
    flushable::{Flushable, Pass, Turn},
    handle::{Handle, PartitionAppender, PartitionControl},
    offsets::Offsets,
    presence, producer_snapshot,
    state::{Cause, Closed, Inner, Writer},
};
use bytes::Bytes;
use gnomon_protocol::ids::Offset;
use gnomon_storage::{CheckpointExtra, FlushPoint, Log, LogError};
use std::sync::Arc;

/// The state of producers at a moment, and what has to be synced before it may be relied on.
struct SnapshotDraft {
    /// Generation of the log.
    generation: u64,
    point: FlushPoint,
    bytes: Bytes,
    /// The log's end at that moment.
    at: Offset,
}

impl PartitionAppender<'_> {
    /// Resolves once everything below `offset` is as durable as this topic promises: the high
    /// watermark has reached it. At once if it has. [`Lost`] if the partition is closed or deleted,
    /// or others write it now. Cancel safe.
    pub async fn durable(&self, offset: Offset) -> Result<(), Lost> {
        self.0
            .reach(&self.0.acks, offset, |offsets| offsets.high_watermark)
            .await
    }
}

impl PartitionControl<'_> {
    /// Makes everything up to the present end durable, whatever `write.caching` says; returns that
    /// end. Costs nothing if nothing is dirty. [`Lost`] if the partition is closed, also with
    /// nothing dirty: whole batches of a write that failed may stand after the end that is known,
    /// and its successor will have them. Cancel safe.
    pub async fn flush(&self) -> Result<Offset, Lost> {
        let end = {
            let view = self.0.view.read();
            if let Some(Closed { why, .. }) = &view.closed {
                return Err(Lost::Closed { why: why.clone() });
            }
            view.offsets().end
        };
        self.0
            .reach(&self.0.flushes, end, |offsets| offsets.flushed)
            .await?;
        Ok(end)
    }

    /// Writes a checkpoint and the producer snapshot it names, if anything changed since the last
    /// one, or index files had to be rebuilt. Blocking.
    pub fn checkpoint(&self) -> Result<(), CloseError> {
        self.0.checkpoint()
    }

    /// The clean end: takes no more writes, flushes, writes the checkpoint; then reads end too, and
    /// everyone who still waits is told.
    ///
    /// # Errors
    /// If the partition was closed by a disk error, or the flush or the checkpoint fails. It is
    /// closed all the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        const WHY: &str = "the site stops";
        let earlier = {
            let _writer = self.0.writer.lock();
            let stop = Closed {
                why: WHY.into(),
                readable: true,
                cause: Cause::End,
            };
            self.0.update(|view| view.closed.replace(stop))
        };
        let finished = match earlier {
            Some(Closed { why, .. }) => Err(CloseError::AlreadyClosed { why }),
            None => match Handle(self.0.clone())
                .blocking(|handle| handle.0.finish())
                .await
            {
                Some(finished) => finished,
                None => Err(CloseError::NoRuntime),
            },
        };
        self.0.end(WHY);
        finished
    }

    /// Ends the partition and removes its files. Blocking.
    pub fn delete(&self) -> Result<(), CloseError> {
        self.0.close(
            Closed {
                why: "deleted".into(),
                readable: false,
                cause: Cause::End,
            },
            &Lost::Deleted,
        );
        let mut writer = self.0.writer.lock();
        self.0.update(|view| view.reader = None);
        writer.generation += 1;
        if let Some(log) = writer.log.take() {
            log.remove()?;
        }
        Ok(presence::remove(&*self.0.env.disk, &self.0.dir)?)
    }
}

impl Inner {
    async fn reach(
        self: &Arc<Self>,
        parked: &Acks,
        offset: Offset,
        mark: impl Fn(Offsets) -> Offset,
    ) -> Result<(), Lost> {
        let Some(released) = parked.park(offset, || mark(self.offsets()) >= offset)? else {
            return Ok(());
        };
        self.ask_flush(true);
        match released.await {
            Ok(outcome) => outcome,
            // The sender is dropped unsent only with the partition itself.
            Err(_) => Err(Lost::Closed {
                why: "dropped".into(),
            }),
        }
    }

    /// Whether a checkpoint is due: a segment was sealed, or much was written.
    pub(crate) fn checkpoint_due(&self) -> bool {
        self.writer
            .lock()
            .log
            .as_ref()
            .is_some_and(Log::checkpoint_due)
    }
}

impl Flushable for Inner {
    fn begin_pass(&self) -> Option<Pass> {
        let writer = self.writer.lock();
        match &writer.log {
            Some(log) if log.closed().is_none() && log.flushed() < log.end() => Some(Pass {
                generation: writer.generation,
                point: log.flush_point(),
            }),
            Some(_) | None => None,
        }
    }

    fn end_pass(&self, pass: Pass, synced: Result<(), LogError>) {
        // Failures are logged and told to everyone who waits where they are found.
        if self.synced(pass.generation, &pass.point, synced).is_err() {
            return;
        }
        let due = self
            .writer
            .lock()
            .log
            .as_ref()
            .is_some_and(Log::checkpoint_due);
        if due && let Err(failure) = self.checkpoint() {
            tracing::warn!(topic = %self.name.topic, partition = self.name.index, %failure, "no checkpoint: the next start reads more of the log");
        }
    }

    fn turn(&self) -> &Turn {
        &self.turn
    }
}

impl Inner {
    /// Makes everything appended so far durable.
    fn flush_now(&self) -> Result<(), LogError> {
        match self.begin_pass() {
            Some(Pass { generation, point }) => self.sync(generation, &point),
            None => Ok(()),
        }
    }

    fn sync(&self, generation: u64, point: &FlushPoint) -> Result<(), LogError> {
        self.synced(generation, point, point.sync())
    }

    /// Takes note of what became of a point, and tells it to everyone who waits.
    fn synced(
        &self,
        generation: u64,
        point: &FlushPoint,
        synced: Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        if writer.generation != generation {
            return Ok(());
        }
        match synced {
            Ok(()) => {
                if let Some(log) = &mut writer.log {
                    let flushed = log.flushed_to(point);
                    // A log that was closed meanwhile promises nothing more, until it is opened
                    // again.
                    if log.closed().is_none() {
                        self.update(|view| view.watermarks.flushed(flushed));
                    }
                }
                Ok(())
            }
            Err(failure) => {
                self.failed(&mut writer, &failure);
                Err(failure)
            }
        }
    }

    pub(crate) fn checkpoint(&self) -> Result<(), CloseError> {
        let _alone = self.checkpointing.lock();
        let draft = {
            let mut writer = self.writer.lock();
            let changed = |log: &Log| writer.changed || log.has_rebuilt();
            if !writer.log.as_ref().is_some_and(changed) {
                return Ok(());
            }
            let Some(draft) = self.draft_snapshot(&writer) else {
                return Ok(());
            };
            writer.changed = false;
            draft
        };
        let done = self.write_checkpoint(&draft);
        if done.is_err() {
            self.writer.lock().changed = true;
        }
        done
    }

    fn write_checkpoint(&self, draft: &SnapshotDraft) -> Result<(), CloseError> {
        self.write_draft(draft)?;
        let write = {
            let mut writer = self.writer.lock();
            if writer.generation != draft.generation {
                return Ok(());
            }
            let Some(log) = &mut writer.log else {
                return Ok(());
            };
            let epochs = self.view.read().log_state.epochs.entries().to_vec();
            log.prepare_checkpoint(CheckpointExtra {
                epochs,
                producer_snapshot_at: draft.at,
            })
        };
        write.write()?;
        let former = std::mem::replace(&mut self.writer.lock().snapshot_at, draft.at);
        self.remove_former_snapshot(former, draft.at);
        Ok(())
    }

    /// Writes a producer snapshot for a checkpoint that comes later, under
    /// [`Inner::checkpointing`]; returns the log's generation and the snapshot's offset. `None` if
    /// there is no log, or a disk error closed it.
    pub(crate) fn write_snapshot(&self) -> Result<Option<(u64, Offset)>, CloseError> {
        let draft = self.draft_snapshot(&self.writer.lock());
        let Some(draft) = draft else {
            return Ok(None);
        };
        self.write_draft(&draft)?;
        Ok(Some((draft.generation, draft.at)))
    }

    fn draft_snapshot(&self, writer: &Writer) -> Option<SnapshotDraft> {
        let view = self.view.read();
        let by_disk = |closed: &Closed| closed.cause == Cause::Disk;
        if view.closed.as_ref().is_some_and(by_disk) {
            return None;
        }
        let log = writer.log.as_ref().filter(|log| log.closed().is_none())?;
        let at = log.end();
        Some(SnapshotDraft {
            generation: writer.generation,
            point: log.flush_point(),
            bytes: producer_snapshot::encode(&view.log_state, at),
            at,
        })
    }

    /// The log first, then the snapshot: a checkpoint names neither before it is durable.
    fn write_draft(&self, draft: &SnapshotDraft) -> Result<(), CloseError> {
        self.sync(draft.generation, &draft.point)?;
        let file = self.dir.join(producer_snapshot::file_name(draft.at));
        self.env.disk.write_atomic(&file, &draft.bytes)?;
        Ok(())
    }

    pub(crate) fn remove_former_snapshot(&self, former: Offset, present: Offset) {
        if former >= 0 && former != present {
            // Left over if it stays: the next open removes it.
            let file = self.dir.join(producer_snapshot::file_name(former));
            let _ = self.env.disk.remove_file(&file);
        }
    }

    fn finish(&self) -> Result<(), CloseError> {
        self.flush_now()?;
        self.checkpoint()?;
        if let Some(log) = &mut self.writer.lock().log {
            log.release_reserved();
        }
        Ok(())
    }
}

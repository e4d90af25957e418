//! The log start moves up: DeleteRecords and retention on our own topics, and what follows from it
//! in memory. Blocking.
//!
//! Invariants: nothing at or above the high watermark goes; a shadow and a follower delete nothing
//! of their own, their start follows the source's or the leader's (`follow.rs`); DeleteRecords' start is on the disk when the call
//! returns.

use crate::{
    error::{CloseError, TrimError},
    handle::PartitionControl,
    log_state::LogState,
    offsets::Offsets,
    role::Origin,
    state::{Closed, Inner, Writer},
};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{CheckpointExtra, Log, LogError, RetentionLimits};
use parking_lot::MutexGuard;
use tracing::warn;

impl PartitionControl<'_> {
    /// DeleteRecords (KIP-107): records below `offset` are gone; -1 means up to the high watermark.
    /// Returns the log start.
    pub fn trim_to(&self, offset: Offset) -> Result<Offset, TrimError> {
        self.trim_as(Origin::Client { zstd_allowed: true }, offset)
    }

    /// The same for a log of the site's own, whose machine wrote a snapshot.
    pub fn trim_own_to(&self, offset: Offset) -> Result<Offset, TrimError> {
        self.trim_as(Origin::Site, offset)
    }

    fn trim_as(&self, origin: Origin, offset: Offset) -> Result<Offset, TrimError> {
        let asked = self.check_trim(origin, offset)?;
        let snapshot = asked.and_then(|start| self.0.snapshot_for_trim(start));
        let mut writer = self.0.writer.lock();
        // Both may have moved meanwhile.
        let Some(start) = self.check_trim(origin, offset)? else {
            return Ok(self.0.offsets().log_start);
        };
        self.0
            .trim_log(&mut writer, start, snapshot.as_ref())
            .map_err(TrimError::Storage)?;
        Ok(start)
    }

    /// The start that is asked for; `None` if the log starts there already.
    fn check_trim(&self, origin: Origin, offset: Offset) -> Result<Option<Offset>, TrimError> {
        let view = self.0.view.read();
        view.role.admit(origin)?;
        if let Some(Closed { why, .. }) = &view.closed {
            return Err(TrimError::Closed { why: why.clone() });
        }
        let Offsets {
            log_start,
            high_watermark,
            ..
        } = view.offsets();
        let start = if offset == -1 { high_watermark } else { offset };
        if start < 0 || start > high_watermark {
            return Err(TrimError::OutOfRange {
                offset,
                log_start,
                high_watermark,
            });
        }
        Ok((start > log_start).then_some(start))
    }

    /// Takes away what the retention settings give up, and forgets producers that were idle for too
    /// long. Returns the new log start if it moved. A shadow keeps all. `now_ms`: wall time in
    /// milliseconds.
    pub fn apply_retention(&self, now_ms: i64) -> Result<Option<Offset>, TrimError> {
        let (settings, keeps_all) = {
            let view = self.0.view.read();
            if view.closed.is_some() {
                return Ok(None);
            }
            (view.settings.clone(), view.role.is_copied())
        };
        self.0.update(|view| {
            let LogState {
                producers, txns, ..
            } = &mut view.log_state;
            producers.expire(now_ms, settings.producer_expiration_ms, |id| {
                txns.open_since(id).is_some()
            });
        });
        self.0
            .refused
            .lock()
            .expire(now_ms, settings.producer_expiration_ms);
        if keeps_all {
            return Ok(None);
        }
        let limits = RetentionLimits {
            bytes: settings
                .retention_bytes
                .and_then(|bytes| u64::try_from(bytes).ok()),
            before_timestamp: settings
                .retention_ms
                .filter(|ms| *ms >= 0)
                .map(|ms| now_ms.saturating_sub(ms)),
        };
        if limits == RetentionLimits::default() {
            return Ok(None);
        }
        let Some(start) = self.retention_start(limits, now_ms)? else {
            return Ok(None);
        };
        let snapshot = self.0.snapshot_for_trim(start);
        let mut writer = self.0.writer.lock();
        if self.0.view.read().closed.is_some() {
            return Ok(None);
        }
        let generation = writer.generation;
        let snapshot = snapshot.filter(|snapshot| snapshot.generation == generation);
        let Some(log) = &mut writer.log else {
            return Ok(None);
        };
        let emptied = start == self.0.offsets().end;
        self.0.note_trim(log, emptied, snapshot.as_ref());
        // No more than was decided: the snapshot may cover no more.
        match log.retain(limits, start) {
            Ok(start) => {
                if start.is_some() {
                    self.0.follow_log_start(&mut writer);
                    self.0.replace_snapshot(&mut writer, snapshot.as_ref());
                }
                Ok(start)
            }
            Err(failure) => {
                self.0.failed(&mut writer, &failure);
                Err(TrimError::Storage(failure))
            }
        }
    }

    /// Where retention would move the log start to; `None` if it stays.
    fn retention_start(
        &self,
        limits: RetentionLimits,
        now_ms: i64,
    ) -> Result<Option<Offset>, TrimError> {
        let mut writer = self.0.writer.lock();
        let Some(log) = &mut writer.log else {
            return Ok(None);
        };
        match log.roll_if_timeless(now_ms) {
            // Tried again the next time.
            Err(full) if full.is_disk_full() => {}
            Err(failure) => {
                self.0.failed(&mut writer, &failure);
                return Err(TrimError::Storage(failure));
            }
            Ok(()) => {}
        }
        let log = writer.log.as_ref();
        Ok(log.and_then(|log| log.retention_start(limits, self.0.offsets().high_watermark)))
    }
}

/// A producer snapshot on the disk that the checkpoint of a trim is to name. No other checkpoint is
/// written while it is there.
pub(crate) struct TrimSnapshot<'a> {
    _alone: MutexGuard<'a, ()>,
    /// Generation of the log that it is about.
    generation: u64,
    at: Offset,
}

impl Inner {
    /// Writes a producer snapshot, unless the present one will do: the batches below `start` are
    /// about to go, and with them all that they said of their producers. A failure costs that
    /// knowledge at the next start, no more.
    pub(crate) fn snapshot_for_trim(&self, start: Offset) -> Option<TrimSnapshot<'_>> {
        if start <= self.writer.lock().snapshot_at {
            return None;
        }
        let written = self.env.flusher.run_here(|| {
            let alone = self.checkpointing.lock();
            let Some((generation, at)) = self.write_snapshot()? else {
                return Ok(None);
            };
            Ok(Some(TrimSnapshot {
                _alone: alone,
                generation,
                at,
            }))
        });
        written.unwrap_or_else(|failure: CloseError| {
            warn!(topic = %self.name.topic, partition = self.name.index, %failure, "no producer snapshot before the log start moves");
            None
        })
    }

    /// Moves the log's start, and everything in memory with it. One checkpoint says all of it: the
    /// start, the snapshot, and, of a log that is emptied, the epochs that there were.
    pub(crate) fn trim_log(
        &self,
        writer: &mut Writer,
        start: Offset,
        snapshot: Option<&TrimSnapshot<'_>>,
    ) -> Result<(), LogError> {
        let snapshot = snapshot.filter(|snapshot| snapshot.generation == writer.generation);
        let emptied = start == self.offsets().end;
        // A checkpoint is synced and segments removed: where this is an async worker, its other
        // tasks go on elsewhere.
        let moved = match &mut writer.log {
            Some(log) => self.env.flusher.run_here(|| {
                self.note_trim(log, emptied, snapshot);
                log.trim_to(start)
            }),
            None => Ok(()),
        };
        if let Err(failure) = moved {
            self.failed(writer, &failure);
            return Err(failure);
        }
        writer.changed = true;
        self.trimmed(start);
        self.replace_snapshot(writer, snapshot);
        Ok(())
    }

    /// Sets what the checkpoint of a trim says of producers and epochs. An emptied log has no batch
    /// that says which epoch it had, so the checkpoint does. Without a snapshot of its own it names
    /// the one of the checkpoint that was prepared last: that checkpoint may not be written yet,
    /// and will then not replace this one, but remove the snapshot that came before it
    /// (`durable.rs`).
    fn note_trim(&self, log: &mut Log, emptied: bool, snapshot: Option<&TrimSnapshot<'_>>) {
        if !emptied && snapshot.is_none() {
            return;
        }
        let producer_snapshot_at = match snapshot {
            _ if emptied && forget_snapshot() => -1,
            Some(snapshot) => snapshot.at,
            None => log.checkpoint_extra().producer_snapshot_at,
        };
        let epochs = self.view.read().log_state.epochs.entries().to_vec();
        log.note_extra(CheckpointExtra {
            epochs,
            producer_snapshot_at,
        });
    }

    /// The trim's checkpoint is on the disk: the snapshot before it is not needed any more.
    fn replace_snapshot(&self, writer: &mut Writer, snapshot: Option<&TrimSnapshot<'_>>) {
        if let Some(snapshot) = snapshot {
            let former = std::mem::replace(&mut writer.snapshot_at, snapshot.at);
            self.remove_former_snapshot(former, snapshot.at);
        }
    }
}

/// Planted fault for tests of checkpoints: an emptied log forgets its snapshot.
fn forget_snapshot() -> bool {
    gnomon_failpoints::fail_point!("forget_snapshot", |_| true);
    false
}

//! The log start moves up: DeleteRecords and retention on our own topics, and what follows from it
//! in memory. Blocking.
//!
//! Invariants: nothing at or above the high watermark goes; a shadow deletes nothing of its own,
//! its start follows the source (`follow.rs`); DeleteRecords' start is on the disk when the call
//! returns.

use crate::{
    error::TrimError,
    handle::PartitionControl,
    log_state::LogState,
    offsets::Offsets,
    role::Origin,
    state::{Closed, Inner, Writer},
};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{CheckpointExtra, Log, LogError, RetentionLimits};
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
        if let Some(start) = self.check_trim(origin, offset)? {
            self.0.keep_producers(start);
        }
        let mut writer = self.0.writer.lock();
        // Both may have moved meanwhile.
        let Some(start) = self.check_trim(origin, offset)? else {
            return Ok(self.0.offsets().log_start);
        };
        self.0
            .trim_log(&mut writer, start)
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
        let mut writer = self.0.writer.lock();
        let (offsets, settings, keeps_all) = {
            let view = self.0.view.read();
            if view.closed.is_some() {
                return Ok(None);
            }
            (
                view.offsets(),
                view.settings.clone(),
                view.role.awaits_source(),
            )
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
        let Some(log) = &mut writer.log else {
            return Ok(None);
        };
        match self.retain(log, limits, offsets, now_ms) {
            Ok(start) => {
                if let Some(start) = start {
                    self.0.follow_log_start(&mut writer);
                    drop(writer);
                    self.0.keep_producers(start);
                }
                Ok(start)
            }
            Err(failure) => {
                self.0.failed(&mut writer, &failure);
                Err(TrimError::Storage(failure))
            }
        }
    }

    /// Retention on the log. One that takes everything away notes first which epochs there were; on
    /// a full disk, afterwards, when there is room.
    fn retain(
        &self,
        log: &mut Log,
        limits: RetentionLimits,
        offsets: Offsets,
        now_ms: i64,
    ) -> Result<Option<Offset>, LogError> {
        let Offsets {
            high_watermark,
            end,
            ..
        } = offsets;
        match log.roll_if_timeless(now_ms) {
            // Tried again the next time.
            Err(full) if full.is_disk_full() => {}
            rolled => rolled?,
        }
        let noted = match log.retention_start(limits, high_watermark) {
            Some(start) if start == end => match self.0.keep_epochs(log) {
                Err(full) if full.is_disk_full() => false,
                noted => noted.map(|()| true)?,
            },
            Some(_) | None => false,
        };
        let start = log.retain(limits, high_watermark)?;
        if start == Some(end) && !noted {
            self.0.keep_epochs(log)?;
        }
        Ok(start)
    }
}

impl Inner {
    /// Moves the log's start, and everything in memory with it.
    pub(crate) fn trim_log(&self, writer: &mut Writer, start: Offset) -> Result<(), LogError> {
        let end = self.offsets().end;
        // Checkpoints are synced and segments removed: where this is an async worker, its other
        // tasks go on elsewhere.
        let moved = match &mut writer.log {
            Some(log) => self.env.flusher.run_here(|| match start == end {
                true => self.keep_epochs(log).and_then(|()| log.trim_to(start)),
                false => log.trim_to(start),
            }),
            None => Ok(()),
        };
        if let Err(failure) = moved {
            self.failed(writer, &failure);
            return Err(failure);
        }
        writer.changed = true;
        self.trimmed(start);
        Ok(())
    }

    /// What the batches below `start` said of their producers must be in a snapshot when they are
    /// gone. A failure costs that knowledge at the next start, no more.
    pub(crate) fn keep_producers(&self, start: Offset) {
        let snapshot_at = self.writer.lock().snapshot_at;
        if start > snapshot_at
            && let Err(failure) = self.env.flusher.run_here(|| self.checkpoint())
        {
            warn!(topic = %self.name.topic, partition = self.name.index, %failure, "no producer snapshot before the log start moves");
        }
    }

    /// An emptied log has no batch that says which epoch it had: the checkpoint does. It names the
    /// snapshot that the checkpoint prepared last names: that one may not be written yet, and will
    /// then not replace this one, but remove the snapshot that came before it (`durable.rs`).
    fn keep_epochs(&self, log: &mut Log) -> Result<(), LogError> {
        let producer_snapshot_at = match forget_snapshot() {
            true => -1,
            false => log.checkpoint_extra().producer_snapshot_at,
        };
        let epochs = self.view.read().log_state.epochs.entries().to_vec();
        log.checkpoint(CheckpointExtra {
            epochs,
            producer_snapshot_at,
        })
    }
}

/// Planted fault for tests of checkpoints: an emptied log forgets its snapshot.
fn forget_snapshot() -> bool {
    gnomon_failpoints::fail_point!("forget_snapshot", |_| true);
    false
}

//! The log start moves up: DeleteRecords and retention on our own topics, and what follows from it in memory. Blocking.
//!
//! Invariants: nothing at or above the high watermark goes; a shadow deletes nothing of its own, its start follows the source (`follow.rs`);
//! DeleteRecords' start is on the disk when the call returns.

use crate::{
    error::TrimError,
    handle::Handle,
    ledger::Ledger,
    role::Origin,
    state::{Closed, Writer},
};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{LogError, RetentionLimits};

impl Handle {
    /// DeleteRecords (KIP-107): records below `offset` are gone; -1 means up to the high watermark. Returns the log start.
    pub fn trim_to(&self, offset: Offset) -> Result<Offset, TrimError> {
        self.trim_as(Origin::Client { zstd_allowed: true }, offset)
    }

    /// The same for a log of the site's own, whose machine wrote a snapshot.
    pub fn trim_own_to(&self, offset: Offset) -> Result<Offset, TrimError> {
        self.trim_as(Origin::Site, offset)
    }

    fn trim_as(&self, origin: Origin, offset: Offset) -> Result<Offset, TrimError> {
        let mut writer = self.0.writer.lock();
        let offsets = {
            let view = self.0.view.read();
            view.role.admit(origin)?;
            if let Some(Closed { why, .. }) = &view.closed {
                return Err(TrimError::Closed { why: why.clone() });
            }
            view.offsets()
        };
        let (log_start, high_watermark) = (offsets.log_start, offsets.high_watermark);
        let start = if offset == -1 { high_watermark } else { offset };
        if start < 0 || start > high_watermark {
            return Err(TrimError::OutOfRange { offset, log_start, high_watermark });
        }
        if start <= log_start {
            return Ok(log_start);
        }
        self.trim_log(&mut writer, start).map_err(TrimError::Storage)?;
        Ok(start)
    }

    /// Takes away what the retention settings give up, and forgets producers that were idle for too long. Returns the new log start if it
    /// moved. A shadow keeps all. `now_ms`: wall time in milliseconds.
    pub fn apply_retention(&self, now_ms: i64) -> Result<Option<Offset>, TrimError> {
        let mut writer = self.0.writer.lock();
        let (high_watermark, settings) = {
            let view = self.0.view.read();
            if view.is_shadow() || view.role.awaits_source() || view.closed.is_some() {
                return Ok(None);
            }
            (view.offsets().high_watermark, view.settings.clone())
        };
        self.0.update(|view| {
            let Ledger { producers, txns, .. } = &mut view.ledger;
            producers.expire(now_ms, settings.producer_expiration_ms, |id| txns.open_since(id).is_some());
        });
        let limits = RetentionLimits {
            bytes: settings.retention_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            before_timestamp: settings.retention_ms.filter(|ms| *ms >= 0).map(|ms| now_ms.saturating_sub(ms)),
        };
        if limits == RetentionLimits::default() {
            return Ok(None);
        }
        let Some(log) = &mut writer.log else { return Ok(None) };
        match log.retain(limits, high_watermark) {
            Ok(Some(start)) => {
                writer.changed = true;
                self.trimmed(start);
                Ok(Some(start))
            }
            Ok(None) => Ok(None),
            Err(failure) => {
                self.0.fail_writing(&mut writer, &failure);
                Err(TrimError::Storage(failure))
            }
        }
    }

    /// Moves the log's start, and everything in memory with it.
    pub(crate) fn trim_log(&self, writer: &mut Writer, start: Offset) -> Result<(), LogError> {
        if let Some(log) = &mut writer.log
            && let Err(failure) = log.trim_to(start)
        {
            self.0.fail_writing(writer, &failure);
            return Err(failure);
        }
        writer.changed = true;
        self.trimmed(start);
        Ok(())
    }

    fn trimmed(&self, start: Offset) {
        self.0.update(|view| {
            view.ledger.trim_to(start);
            view.line.trimmed(start);
        });
    }
}

//! Retention on a log: removing the segments that `retention.rs` gives up.

use crate::{error::LogError, log::Log, options::RetentionLimits, retention};
use gnomon_protocol::ids::Offset;

impl Log {
    /// Where the log would start if [`Log::retain`] ran now; `None` if it would stay.
    pub fn retention_start(&self, limits: RetentionLimits, not_above: Offset) -> Option<Offset> {
        match retention::removable(&self.candidates(limits), limits, not_above) {
            0 => None,
            count => Some(
                self.segments
                    .get(count)
                    .map_or(self.end(), |segment| segment.base),
            ),
        }
    }

    /// Removes segments that the limits give up and that end at or below `not_above`; returns the
    /// new start if it moved. When the active segment is too old as well, another one is begun
    /// first. A full disk does not keep it from making room: then the segments are gone for good
    /// before a checkpoint says so, and one that cannot be written is no failure of this call.
    pub fn retain(
        &mut self,
        limits: RetentionLimits,
        not_above: Offset,
    ) -> Result<Option<Offset>, LogError> {
        let mut count = retention::removable(&self.candidates(limits), limits, not_above);
        if count == self.segments.len() {
            self.check_writable()?;
            match self.begin_segment(self.active().end()) {
                Ok(()) => {}
                Err(full) if full.is_disk_full() => count -= 1,
                Err(error) => return Err(error),
            }
        }
        if count == 0 {
            return Ok(None);
        }
        let start = self
            .segments
            .get(count)
            .map_or(self.end(), |segment| segment.base);
        let before = self.start();
        match self.trim_to(start) {
            // The checkpoint's start may lag: what is gone is gone, and then there is room for it,
            // mostly.
            Err(full) if full.is_disk_full() => {
                self.trim_unnoted(start, count);
                if let Err(error) = self.checkpoint_write().write() {
                    tracing::warn!(%error, start, "where the log starts now is noted by the next checkpoint");
                    self.durability.start_not_noted();
                }
            }
            trimmed => trimmed?,
        }
        Ok((start > before).then_some(start))
    }
}

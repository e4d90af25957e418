//! Appending at given offsets: the batches that a link copies from a source, unchanged.
//!
//! Invariant: a copied append and a change of role decide under one lock (`state.rs`): after
//! [`crate::PartitionControl::set_role`] returned its cut, no batch of the former link is appended.

use crate::{
    admit_at::{CopiedEnd, SourceBounds},
    error::AppendAtError,
    handle::PartitionCopier,
    role::Fence,
    state::{Closed, Writer},
};
use gnomon_protocol::{batch::BatchView, ids::Offset};
use gnomon_storage::LogError;

/// The end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedTo {
    /// Our log end.
    pub end: Offset,
}

impl PartitionCopier<'_> {
    /// Appends batches of a link at the offsets they have at their source: all of them, or none if
    /// one is not admitted. After a disk error the first of them may be in: our end tells. `known`:
    /// the source's bounds as the same response named them.
    pub fn append_at(
        &self,
        fence: Fence,
        batches: Vec<BatchView>,
        known: SourceBounds,
    ) -> Result<CopiedTo, AppendAtError> {
        let mut writer = self.0.writer.lock();
        let (mut place, log_start) = {
            let view = self.0.view.read();
            view.role.admit_copy(fence)?;
            if let Some(Closed { why, .. }) = &view.closed {
                return Err(AppendAtError::Closed { why: why.clone() });
            }
            let offsets = view.offsets();
            let empty = view.never_written(&writer);
            // On a log that never held anything, the source's start is ours.
            let log_start = if empty {
                offsets.log_start.max(known.log_start)
            } else {
                offsets.log_start
            };
            let end = offsets.end.max(log_start);
            (
                CopiedEnd::of(
                    log_start,
                    end,
                    empty,
                    &view.log_state,
                    view.settings.compacted,
                ),
                log_start,
            )
        };
        let first_write = place.empty;
        let mut placed = Vec::with_capacity(batches.len());
        let mut changes = Vec::with_capacity(batches.len());
        for view in batches {
            let header = *view.header();
            let (batch, marker) = place.admit(view)?;
            placed.push(batch);
            changes.push((header, marker));
        }
        let Some(first) = changes.first().map(|(header, _)| header.base_offset) else {
            return Ok(CopiedTo {
                end: self.0.offsets().end,
            });
        };
        if first_write {
            self.begin_copy(&mut writer, first, log_start)
                .map_err(AppendAtError::Storage)?;
        }
        let written = self
            .0
            .write(&mut writer, &placed, &changes, None)
            .and_then(|()| match first < log_start {
                true => self.0.trim_log(&mut writer, log_start, None),
                false => Ok(()),
            });
        drop(writer);
        // Also after an error: the first of the batches may be in, and readers wait for them.
        self.0.wrote();
        written.map_err(AppendAtError::Storage)?;
        Ok(CopiedTo { end: place.end })
    }

    /// The first batch of a copy may begin anywhere: an empty log that was made for another offset
    /// makes room.
    fn begin_copy(
        &self,
        writer: &mut Writer,
        first: Offset,
        log_start: Offset,
    ) -> Result<(), LogError> {
        if writer
            .log
            .as_ref()
            .is_some_and(|log| log.end() != first.min(log_start))
        {
            self.0.forget_log(writer)?;
        }
        self.0.update(|view| view.watermarks.trimmed(log_start));
        Ok(())
    }
}

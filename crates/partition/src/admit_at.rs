//! Admission of copied batches, at the offsets they have at their source. Pure.
//!
//! The rules (shadow links, Copying 1, 2, 10): append only at the exact next offset; on an empty
//! log the first batch may begin below the start (a start by timestamp, a trim inside a batch), and
//! the log start stays; a batch below our end is divergence; a jump forward is a compaction gap on
//! a topic known to be compacted, and a gap event elsewhere; the epoch in the header never goes
//! back. No limit that applies to clients applies here. Not here: the fence (`role.rs`), the CRC (a
//! `BatchView` has passed it).

use crate::{
    error::AppendAtError,
    log_state::{LogState, marker_of},
};
use gnomon_protocol::{
    batch::{BatchView, Marker, PlacedBatch},
    ids::{BatchEpoch, Offset},
};

/// The source's log as the fetch response named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceBounds {
    pub log_start: Offset,
    pub high_watermark: Offset,
}

/// Where a copied log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedEnd {
    /// First readable offset.
    pub log_start: Offset,
    /// Next offset.
    pub end: Offset,
    /// No batch stands in the log.
    pub empty: bool,
    /// Epoch of the last batch.
    pub newest: BatchEpoch,
    /// Offsets may be missing.
    pub compacted: bool,
}

impl CopiedEnd {
    /// Judges the next batch, and moves on after it.
    pub fn admit(
        &mut self,
        view: BatchView,
    ) -> Result<(PlacedBatch, Option<Marker>), AppendAtError> {
        let header = *view.header();
        let (base, next) = (header.base_offset, header.next_offset());
        if self.empty && next <= self.log_start {
            return Err(AppendAtError::BelowStart {
                next,
                start: self.log_start,
            });
        }
        let begins_the_log = self.empty && self.end == self.log_start;
        if base < self.end && !begins_the_log {
            return Err(AppendAtError::Overlap {
                base,
                end: self.end,
            });
        }
        if base > self.end && !self.compacted && !accept_gap() {
            return Err(AppendAtError::Gap {
                expected: self.end,
                found: base,
            });
        }
        if header.leader_epoch < self.newest {
            return Err(AppendAtError::EpochBack {
                base,
                newest: self.newest,
                found: header.leader_epoch,
            });
        }
        let marker = marker_of(&view)?;
        *self = CopiedEnd {
            end: next,
            empty: false,
            newest: header.leader_epoch,
            ..*self
        };
        Ok((verbatim(view), marker))
    }

    /// Where `log_state`'s log stands.
    pub fn of(
        log_start: Offset,
        end: Offset,
        empty: bool,
        log_state: &LogState,
        compacted: bool,
    ) -> CopiedEnd {
        CopiedEnd {
            log_start,
            end,
            empty,
            newest: log_state.epochs.latest(),
            compacted,
        }
    }
}

/// Planted fault for tests of copying: missing offsets pass unseen.
fn accept_gap() -> bool {
    gnomon_failpoints::fail_point!("accept_gap", |_| true);
    false
}

fn verbatim(view: BatchView) -> PlacedBatch {
    if copy_rewrites() {
        let header = *view.header();
        return view.place(header.base_offset, BatchEpoch(header.leader_epoch.0 + 1));
    }
    view.place_verbatim()
}

/// Planted fault for tests of copying: the header gets an epoch of our own.
fn copy_rewrites() -> bool {
    gnomon_failpoints::fail_point!("copy_rewrites", |_| true);
    false
}

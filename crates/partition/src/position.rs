//! The state of a reader's position: in the log, diverged from it, out of range, or not here yet.
//! Pure.
//!
//! Our own log decides it, except where it says *not here yet*: only then is the source's answer
//! asked for (`ahead/`). So readers of an ordinary topic, where nothing is not here yet, never come
//! there.

use crate::{epochs::EpochEnd, offsets::Offsets};
use gnomon_protocol::ids::{BatchEpoch, Offset};

/// The position that a reader wants to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The offset of the next record.
    pub offset: Offset,
    /// Epoch of the last batch that it has (KIP-595); [`BatchEpoch::NONE`] if it does not say.
    pub last_epoch: BatchEpoch,
}

impl Position {
    /// Whether the reader says which epoch its last batch has.
    pub(crate) fn names_epoch(&self) -> bool {
        self.last_epoch >= BatchEpoch(0)
    }

    /// The state in a log with these offsets. `epoch_end`: where the epoch that the reader names
    /// ends. `may_come`: whether a record at an offset beyond our end may still come from a source.
    pub(crate) fn state(
        &self,
        offsets: Offsets,
        epoch_end: Option<EpochEnd>,
        may_come: bool,
    ) -> PositionState {
        let (offset, end) = (self.offset, offsets.end);
        match epoch_end {
            Some(EpochEnd::Known { epoch, end }) if epoch < self.last_epoch || end < offset => {
                return PositionState::Diverging { epoch, end };
            }
            // The end is the source's and beyond ours: the source has this position.
            Some(EpochEnd::Known { .. } | EpochEnd::Open { .. }) if offset > end => {
                return PositionState::NotYet;
            }
            Some(EpochEnd::NotYet) => return PositionState::NotYet,
            Some(EpochEnd::Unknown) => return PositionState::OutOfRange,
            Some(EpochEnd::Known { .. } | EpochEnd::Open { .. }) | None => {}
        }
        if (offsets.log_start..=end).contains(&offset) {
            PositionState::Here
        } else if offset > end && may_come {
            PositionState::NotYet
        } else {
            PositionState::OutOfRange
        }
    }
}

/// The state of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionState {
    /// In the log, or at its end.
    Here,
    /// The reader's log diverged from this one: the largest epoch here at or below the reader's,
    /// and its end (KIP-595).
    Diverging {
        epoch: BatchEpoch,
        /// The first offset after it.
        end: Offset,
    },
    /// Below the start, or beyond every end that the log has or will have.
    OutOfRange,
    /// Not in our copy; the source may have it.
    NotYet,
}

//! The decisions of recovery about what a scan found: a table, and nothing else.
//!
//! The question is always the same: may this be the trace of a write that never completed (then the
//! log ends there), or was it durable and is now damaged (then it is kept and answered with an
//! error, and what is behind it stays readable)?

use crate::disk::Boot;
use gnomon_protocol::ids::Offset;
use std::ops::Range;

/// The findings of an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// As given to [`crate::Log::open`], or [`Boot::Other`] when a sync had failed before.
    pub boot: Boot,
    /// The end that was cut off.
    pub cut: Option<Cut>,
    /// Damage below the flushed offset that was seen while scanning: kept, and answered with
    /// [`crate::ReadError::Damaged`]. Damage in what did not have to be scanned is found when it is
    /// read.
    pub damaged: Vec<Range<Offset>>,
    /// Batches looked at.
    pub scanned_batches: u64,
}

/// The end of a log that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The log's end now.
    pub at: Offset,
    /// Whole batches after the first bad place that went with it.
    pub batches: u64,
    /// Bytes cut off, over all segments.
    pub bytes: u64,
    /// Description of the first bad place.
    pub why: String,
}

/// The finding of a scan at one place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundAt {
    /// The segment ends with a whole batch, and the next one, if any, begins there.
    Whole,
    /// The segment ends with a whole batch, but the log goes on only later: bytes are missing in
    /// between.
    Missing,
    /// Something that is not a batch, and valid batches after it.
    BadInside,
    /// Something that is not a batch, and nothing valid after it.
    BadTail,
}

/// The checkpoint's knowledge of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushedState {
    /// It was synced.
    BelowFlushed,
    /// It may never have reached the disk.
    AboveFlushed,
    /// There is a checkpoint, but it is damaged.
    Unknown,
}

/// The consequence of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Keep,
    /// The log ends here; everything after goes, counted and logged.
    Cut,
    /// It stays as it is, is answered with an error, and the log goes on after it.
    Damage,
}

/// A row of the table; `None` matches both.
#[derive(Debug)]
pub struct Row {
    /// The kind of event that leaves this behind.
    pub story: &'static str,
    pub found: FoundAt,
    pub boot: Option<Boot>,
    pub place: &'static [FlushedState],
    pub action: Action,
}

const ANY: &[FlushedState] = &[
    FlushedState::BelowFlushed,
    FlushedState::AboveFlushed,
    FlushedState::Unknown,
];

/// Every situation, each in exactly one row.
pub const TABLE: &[Row] = &[
    Row {
        story: "an orderly end",
        found: FoundAt::Whole,
        boot: None,
        place: ANY,
        action: Action::Keep,
    },
    Row {
        story: "a jump of offsets; a dying process loses no bytes",
        found: FoundAt::Missing,
        boot: Some(Boot::Same),
        place: &[FlushedState::AboveFlushed],
        action: Action::Keep,
    },
    Row {
        story: "the end of a segment was lost with the power, the next segment was not",
        found: FoundAt::Missing,
        boot: Some(Boot::Other),
        place: &[FlushedState::AboveFlushed],
        action: Action::Cut,
    },
    Row {
        story: "somebody or something shortened the file",
        found: FoundAt::Missing,
        boot: None,
        place: &[FlushedState::BelowFlushed, FlushedState::Unknown],
        action: Action::Damage,
    },
    Row {
        story: "the last write was not completed",
        found: FoundAt::BadTail,
        boot: None,
        place: &[FlushedState::AboveFlushed, FlushedState::Unknown],
        action: Action::Cut,
    },
    Row {
        story: "the disk damaged what it had taken, at the end",
        found: FoundAt::BadTail,
        boot: None,
        place: &[FlushedState::BelowFlushed],
        action: Action::Damage,
    },
    Row {
        story: "pages came back in another order than they were written",
        found: FoundAt::BadInside,
        boot: Some(Boot::Other),
        place: &[FlushedState::AboveFlushed],
        action: Action::Cut,
    },
    Row {
        story: "no death of a process does that: the disk or memory did, and what is behind was acknowledged",
        found: FoundAt::BadInside,
        boot: Some(Boot::Same),
        place: &[FlushedState::AboveFlushed],
        action: Action::Damage,
    },
    Row {
        story: "the disk damaged what it had taken",
        found: FoundAt::BadInside,
        boot: None,
        place: &[FlushedState::BelowFlushed, FlushedState::Unknown],
        action: Action::Damage,
    },
];

/// The action for a finding, by the table.
pub fn action(found: FoundAt, boot: Boot, place: FlushedState) -> Action {
    let row = TABLE.iter().find(|row| row.matches(found, boot, place));
    row.map(|row| row.action)
        .expect("the table has a row for every situation, as its test proves")
}

impl Row {
    fn matches(&self, found: FoundAt, boot: Boot, place: FlushedState) -> bool {
        self.found == found && self.boot.is_none_or(|b| b == boot) && self.place.contains(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_situation_matches_exactly_one_row() {
        for found in [
            FoundAt::Whole,
            FoundAt::Missing,
            FoundAt::BadInside,
            FoundAt::BadTail,
        ] {
            for boot in [Boot::Same, Boot::Other] {
                for place in [
                    FlushedState::BelowFlushed,
                    FlushedState::AboveFlushed,
                    FlushedState::Unknown,
                ] {
                    let rows: Vec<_> = TABLE
                        .iter()
                        .filter(|row| row.matches(found, boot, place))
                        .collect();
                    assert_eq!(rows.len(), 1, "{found:?} {boot:?} {place:?}: {rows:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_durable_is_ever_cut() {
        for row in TABLE.iter().filter(|row| row.action == Action::Cut) {
            assert!(!row.place.contains(&FlushedState::BelowFlushed), "{row:?}");
        }
    }
}

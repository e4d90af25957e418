//! Opening a log and what was found.

use crate::{disk::Boot, log::Log};
use gnomon_protocol::ids::Offset;
use std::ops::Range;

/// An open log and what opening it did.
pub struct Opened {
    /// Ready to append at [`Log::end`].
    pub log: Log,
    /// What was found and repaired.
    pub recovered: Recovery,
}

/// What opening a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// As given to [`Log::open`].
    pub boot: Boot,
    /// What was cut off the end.
    pub cut: Option<Cut>,
    /// Damage below the flushed offset that was seen while scanning: kept, and answered with [`crate::ReadError::Damaged`]. Damage in what
    /// did not have to be scanned is found when it is read.
    pub damaged: Vec<Range<Offset>>,
    /// Batches looked at.
    pub scanned_batches: u64,
}

/// What was cut off the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The log's end now.
    pub at: Offset,
    /// Whole, valid batches behind the first bad one that went with it.
    pub batches: u64,
    /// Bytes cut off, over all segments.
    pub bytes: u64,
    /// What the first bad place was.
    pub why: String,
}

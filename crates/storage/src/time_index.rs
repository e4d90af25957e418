//! The time index's entry: 12 bytes, a timestamp and the offset (less the segment's base) of the
//! batch that first reached it.
//!
//! Invariant: batches before that one have smaller timestamps only. So whoever looks for the first
//! record at or after a timestamp starts at the entry with the largest timestamp not above it.

use crate::index::{Entry, u32_at};

/// The largest timestamp so far, and the last offset of the batch that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub last: u32,
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn decode(bytes: &[u8]) -> TimeEntry {
        TimeEntry {
            timestamp: bytes.first_chunk().map_or(-1, |b| i64::from_be_bytes(*b)),
            last: u32_at(bytes, 8),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.last.to_be_bytes());
    }
}

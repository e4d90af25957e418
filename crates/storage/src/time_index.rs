//! The time index's entry: 12 bytes, a timestamp and the offset (less the segment's base) of the
//! batch that first reached it.
//!
//! Invariant: batches before that one have smaller timestamps only. So a search for the first
//! record at or after a timestamp starts at the entry with the largest timestamp not above it.

use crate::{
    disk::DiskFile,
    index::{Entry, u32_at},
};
use gnomon_protocol::batch::{self, BatchHeader, BatchView};
use std::io;

/// The largest timestamp of the batch at `position`, as it was when the batch was appended: the
/// header's, unless that cannot be right. Then its records are looked at, if they can be read.
pub(crate) fn max_timestamp(
    file: &dyn DiskFile,
    header: &BatchHeader,
    position: u64,
) -> io::Result<i64> {
    if header.max_timestamp_is_plausible() || believe_headers() {
        return Ok(header.max_timestamp);
    }
    let mut bytes = vec![0; header.total_bytes()];
    file.read_exact_at(&mut bytes, position)?;
    Ok(BatchView::parse_only(bytes.into())
        .map_or(header.max_timestamp, |view| batch::max_timestamp(&view)))
}

/// Planted fault for tests of recovery: indexes that are made again believe every header.
fn believe_headers() -> bool {
    gnomon_failpoints::fail_point!("index_believes_headers", |_| true);
    false
}

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

//! From the bytes of a fetch answer to batches that may be appended: whole, checked, and not below
//! where we read on. Pure.
//!
//! Nothing is decompressed: `gnomon_partition` looks at records, where that holds nobody up. A
//! cut-off batch at the end is no error: it comes whole with the next answer. What offsets and
//! epochs mean is for `gnomon_partition`'s admission to judge.

use bytes::Bytes;
use gnomon_protocol::{
    batch::{BatchError, BatchHeader, BatchView},
    ids::{BatchEpoch, Offset},
};

/// The content of a response for one partition, from the headers alone: enough to ask for more
/// before the rest is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSummary {
    /// Behind the last whole batch.
    pub next_offset: Offset,
    /// Epoch of the last whole batch.
    pub last_epoch: BatchEpoch,
    /// Bytes of whole batches.
    pub whole_bytes: usize,
}

/// Walks the headers. `None` when there is no whole batch, or the first header makes no sense:
/// [`verify`] then says what it is.
pub(crate) fn summarize(records: &Bytes) -> Option<BatchSummary> {
    let (mut at, mut found) = (0usize, None);
    while let Some(Ok(header)) = records
        .get(at..)
        .filter(|rest| !rest.is_empty())
        .map(BatchHeader::parse)
    {
        let end = at + header.total_bytes();
        if end > records.len() {
            break;
        }
        at = end;
        found = Some(BatchSummary {
            next_offset: header.next_offset(),
            last_epoch: header.leader_epoch,
            whole_bytes: at,
        });
    }
    found
}

/// Checked batches of one partition.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub batches: Vec<BatchView>,
    /// Highest leader epoch in a header; [`BatchEpoch::NONE`] without a batch.
    pub highest_epoch: BatchEpochOrNone,
    pub bytes: u64,
    pub records: u64,
}

/// [`BatchEpoch`] with a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchEpochOrNone(pub BatchEpoch);

impl Default for BatchEpochOrNone {
    fn default() -> Self {
        BatchEpochOrNone(BatchEpoch::NONE)
    }
}

impl Verified {
    /// The facts about these batches.
    pub fn of(batches: Vec<BatchView>) -> Verified {
        let headers = || batches.iter().map(BatchView::header);
        let records = headers().map(|header| u64::from(header.record_count.unsigned_abs()));
        Verified {
            highest_epoch: headers()
                .map(|header| BatchEpochOrNone(header.leader_epoch))
                .max()
                .unwrap_or_default(),
            bytes: batches.iter().map(|batch| batch.bytes().len() as u64).sum(),
            records: records.sum(),
            batches,
        }
    }
}

/// Checks every whole batch, and drops those that lie wholly below `position`: a source may begin
/// with the batch that holds it, never with more.
pub(crate) fn verify(mut records: Bytes, position: Offset) -> Result<Verified, BatchError> {
    let mut batches = Vec::new();
    while let Some(batch) = BatchView::parse_first(&mut records)? {
        if batch.header().next_offset() > position {
            batches.push(batch);
        }
    }
    Ok(Verified::of(batches))
}

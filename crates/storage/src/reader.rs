//! Reading beside the writer.

use crate::{error::ReadError, range::FileRange};
use gnomon_protocol::{
    batch::{BatchHeader, BatchView},
    ids::Offset,
};

/// Reads a log without the writer's lock. Cheap to clone.
#[derive(Clone)]
pub struct LogReader {}

impl LogReader {
    /// First offset that may be read.
    pub fn start(&self) -> Offset {
        unimplemented!()
    }

    /// Offset behind the last batch written.
    pub fn end(&self) -> Offset {
        unimplemented!()
    }

    /// Whole batches below `upper` (a batch that reaches beyond `upper` is not in it), at most `bytes_max` bytes; with `at_least_one` the
    /// first batch is in it whatever its size. The first batch is the one that holds `from`, or the next one after a gap. All come from
    /// one segment. `from == end` gives an empty range.
    pub fn read(&self, from: Offset, upper: Offset, bytes_max: usize, at_least_one: bool) -> Result<FileRange, ReadError> {
        let _ = (from, upper, bytes_max, at_least_one);
        unimplemented!()
    }

    /// The headers of all batches from the one that holds `from` on, each with its place. Damage is an item, and what is behind it follows.
    pub fn headers(&self, from: Offset) -> Headers {
        let _ = from;
        unimplemented!()
    }

    /// The batch that holds `offset`, or the next one after a gap, with its checksum verified; `None` at the end.
    pub fn batch_at(&self, offset: Offset) -> Result<Option<BatchView>, ReadError> {
        let _ = offset;
        unimplemented!()
    }

    /// An offset at or before the batch with the first record of a timestamp of at least `timestamp`: where to scan from. The log's end
    /// when no segment has such a timestamp.
    pub fn offset_for_timestamp_from_index(&self, timestamp: i64) -> Result<Offset, ReadError> {
        let _ = timestamp;
        unimplemented!()
    }
}

/// Walks over batch headers; see [`LogReader::headers`].
pub struct Headers {}

impl Iterator for Headers {
    type Item = Result<(BatchHeader, FileRange), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}

//! The content of a batch: its records one by one, decompressed within a bound.
//!
//! Strict where a lie could hurt: every length is checked against the bytes left before anything is
//! reserved, a record's fields fill its length exactly, its offset lies inside the batch, and the
//! last record ends where the batch does. Header keys may repeat and keep their order; null and
//! empty are different things (KIP-82). Keys and values are slices of the (decompressed) batch.

use super::{BatchError, BatchHeader, BatchView, Codec, RecordFault, compress::decompress, varint};
use crate::ids::Offset;
use bytes::Bytes;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition, as far as the batch has its own.
    pub offset: Offset,
    /// Milliseconds since the Unix epoch: the producer's, or the append's under LogAppendTime.
    pub timestamp: i64,
    /// `None` is null.
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    /// In order, keys may repeat and need not be UTF-8.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// The records of a batch, of which at most `decompressed_max` bytes are decompressed.
pub fn records(view: &BatchView, decompressed_max: usize) -> Result<RecordIter, BatchError> {
    let bytes = match view.header().codec()? {
        Codec::None => view.payload(),
        // Compaction took them all out: there is nothing to unpack.
        _ if view.header().record_count == 0 => Bytes::new(),
        codec => Bytes::from(decompress(codec, &view.payload(), decompressed_max)?),
    };
    Ok(RecordIter {
        header: *view.header(),
        bytes,
        index: 0,
        ended: false,
    })
}

/// Ends after the last record or after the first error.
#[derive(Clone, Debug)]
pub struct RecordIter {
    header: BatchHeader,
    bytes: Bytes,
    index: i32,
    ended: bool,
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index == self.header.record_count {
            self.ended = true;
            let bytes = self.bytes.len();
            return (bytes > 0).then_some(Err(BatchError::RecordsTrailing {
                count: self.index,
                bytes,
            }));
        }
        let index = self.index;
        self.index += 1;
        let record = self
            .record()
            .map_err(|why| BatchError::Record { index, why });
        self.ended = record.is_err();
        Some(record)
    }
}

impl RecordIter {
    fn record(&mut self) -> Result<Record, RecordFault> {
        let mut front: &[u8] = &self.bytes;
        let length = varint::read_i32(&mut front)?;
        let start = self.bytes.len() - front.len();
        if length < 0 {
            return Err(RecordFault::Length(i64::from(length)));
        }
        if length as usize > front.len() {
            return Err(RecordFault::Truncated);
        }
        let whole = self.bytes.slice(start..start + length as usize);
        let record = read_record(&self.header, &whole)?;
        self.bytes = self.bytes.slice(start + length as usize..);
        Ok(record)
    }
}

fn read_record(header: &BatchHeader, whole: &Bytes) -> Result<Record, RecordFault> {
    let mut rest: &[u8] = whole;
    // Record attributes: no bit has a meaning.
    rest = rest.get(1..).ok_or(RecordFault::Truncated)?;
    let timestamp_delta = varint::read_i64(&mut rest)?;
    let offset_delta = varint::read_i32(&mut rest)?;
    if offset_delta < 0 || offset_delta > header.last_offset_delta {
        return Err(RecordFault::OffsetDelta(offset_delta));
    }
    let timestamp = match header.log_append_time() {
        true => header.max_timestamp,
        false => header
            .base_timestamp
            .checked_add(timestamp_delta)
            .ok_or(RecordFault::TimestampDelta(timestamp_delta))?,
    };
    let key = read_nullable(whole, &mut rest)?;
    let value = read_nullable(whole, &mut rest)?;
    let headers = read_headers(whole, &mut rest)?;
    if !rest.is_empty() {
        return Err(RecordFault::Trailing(rest.len()));
    }
    Ok(Record {
        offset: header.base_offset + i64::from(offset_delta),
        timestamp,
        key,
        value,
        headers,
    })
}

fn read_headers(
    whole: &Bytes,
    rest: &mut &[u8],
) -> Result<Vec<(Bytes, Option<Bytes>)>, RecordFault> {
    let count = varint::read_i32(rest)?;
    // A header takes at least its two lengths.
    if count < 0 || count as usize > rest.len() / 2 {
        return Err(RecordFault::Length(i64::from(count)));
    }
    let mut headers = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let key = read_nullable(whole, rest)?.ok_or(RecordFault::Length(-1))?;
        headers.push((key, read_nullable(whole, rest)?));
    }
    Ok(headers)
}

/// Bytes with a length in front, -1 for null, as a slice of the record.
fn read_nullable(whole: &Bytes, rest: &mut &[u8]) -> Result<Option<Bytes>, RecordFault> {
    let length = varint::read_i32(rest)?;
    if length == -1 {
        return Ok(None);
    }
    if length < 0 {
        return Err(RecordFault::Length(i64::from(length)));
    }
    if length as usize > rest.len() {
        return Err(RecordFault::Truncated);
    }
    let start = whole.len() - rest.len();
    *rest = &rest[length as usize..];
    Ok(Some(whole.slice(start..start + length as usize)))
}

//! Makes record batches of our own: coordinators' records, abort markers, the tools' producer, and
//! tests.
//!
//! Offsets of records are deltas from the batch's base and may leave gaps; sequences are the
//! producer's to give. What comes out parses as a [`super::BatchView`]. Batches of clients never
//! come here: they are stored as they were sent.

use super::{
    Attributes, BatchError, BatchHeader, Codec, HEADER_BYTES, LENGTH_OVERHEAD,
    compress::compress,
    crc::crc32c,
    header::{ATTRIBUTES_AT, CRC_AT},
    varint,
};
use crate::ids::{BatchEpoch, Offset, ProducerId};
use bytes::Bytes;

/// Why a batch cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Beyond what the length field can say, or a record beyond its own.
    #[error("a batch of {bytes} bytes is beyond what its length can say")]
    TooLarge { bytes: usize },
    /// A record below or at the one before it, or beyond the largest delta.
    #[error("record {index} has offset delta {delta}, which must rise from 0 to 2^31-1")]
    OffsetDelta { index: usize, delta: i64 },
    /// A timestamp too far from the base timestamp.
    #[error("timestamp {timestamp} of record {index} is too far from the base timestamp")]
    Timestamp { index: usize, timestamp: i64 },
    /// The codec failed.
    #[error(transparent)]
    Codec(#[from] BatchError),
    /// Base offset or last offset is not one.
    #[error("the batch has no place at offset {base_offset} with {offsets} offsets")]
    BaseOffset { base_offset: Offset, offsets: i64 },
}

/// A batch in the making. A fault in a record is kept and told by [`BatchBuilder::build`].
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    records: Vec<u8>,
    count: usize,
    /// Offset delta of the next record.
    next_delta: i64,
    /// The last offset delta, when it is beyond the last record's.
    last_delta_min: i64,
    fault: Option<BuildError>,
}

impl BatchBuilder {
    /// A batch without producer, uncompressed, at offset 0 with no epoch. Record timestamps are
    /// written relative to `base_timestamp` (milliseconds since the Unix epoch; usually the first
    /// record's).
    pub fn new(base_timestamp: i64) -> BatchBuilder {
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: BatchEpoch::NONE,
            magic: 2,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp,
            max_timestamp: base_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        BatchBuilder {
            header,
            codec: Codec::None,
            records: Vec::new(),
            count: 0,
            next_delta: 0,
            last_delta_min: 0,
            fault: None,
        }
    }

    /// Compresses the records.
    pub fn codec(mut self, codec: Codec) -> BatchBuilder {
        self.codec = codec;
        self
    }

    /// Written by a producer with an id; `base_sequence` is the first record's (-1 for markers).
    pub fn producer(mut self, id: ProducerId, epoch: i16, base_sequence: i32) -> BatchBuilder {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_transactional();
        self
    }

    /// Markers.
    pub fn control(mut self) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_control();
        self
    }

    /// All records carry `time_ms`, the time of their append.
    pub fn log_append_time(mut self, time_ms: i64) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_log_append_time();
        self.header.max_timestamp = time_ms;
        self
    }

    /// The leader epoch; none by default.
    pub fn leader_epoch(mut self, epoch: BatchEpoch) -> BatchBuilder {
        self.header.leader_epoch = epoch;
        self
    }

    /// The base offset; 0 by default, as producers send it.
    pub fn base_offset(mut self, offset: Offset) -> BatchBuilder {
        self.header.base_offset = offset;
        self
    }

    /// The batch ends at least at this offset delta, records or not: what compaction leaves.
    pub fn last_offset_delta(mut self, delta: i32) -> BatchBuilder {
        self.last_delta_min = i64::from(delta);
        self
    }

    /// Adds a record at the next offset.
    pub fn record(
        mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Bytes, Option<Bytes>)],
    ) -> BatchBuilder {
        self.push(timestamp, key, value, headers);
        self
    }

    /// As [`BatchBuilder::record`], in a loop.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Bytes, Option<Bytes>)],
    ) {
        self.push_at(self.next_delta, timestamp, key, value, headers);
    }

    /// Adds a record at an offset delta beyond those before it.
    pub fn push_at(
        &mut self,
        offset_delta: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Bytes, Option<Bytes>)],
    ) {
        let index = self.count;
        if offset_delta < self.next_delta || offset_delta > i64::from(i32::MAX) {
            self.fault.get_or_insert(BuildError::OffsetDelta {
                index,
                delta: offset_delta,
            });
            return;
        }
        let Some(timestamp_delta) = timestamp.checked_sub(self.header.base_timestamp) else {
            self.fault
                .get_or_insert(BuildError::Timestamp { index, timestamp });
            return;
        };
        let length = 1
            + varint::bytes(timestamp_delta)
            + varint::bytes(offset_delta)
            + nullable_bytes(key)
            + nullable_bytes(value)
            + varint::bytes(headers.len() as i64)
            + headers
                .iter()
                .map(|(key, value)| nullable_bytes(Some(key)) + nullable_bytes(value.as_deref()))
                .sum::<usize>();
        if length > i32::MAX as usize {
            self.fault
                .get_or_insert(BuildError::TooLarge { bytes: length });
            return;
        }
        let out = &mut self.records;
        varint::write(out, length as i64);
        out.push(0);
        varint::write(out, timestamp_delta);
        varint::write(out, offset_delta);
        write_nullable(out, key);
        write_nullable(out, value);
        varint::write(out, headers.len() as i64);
        for (key, value) in headers {
            write_nullable(out, Some(key));
            write_nullable(out, value.as_deref());
        }
        self.count += 1;
        self.next_delta = offset_delta + 1;
        if !self.header.log_append_time() {
            self.header.max_timestamp = match index {
                0 => timestamp,
                _ => self.header.max_timestamp.max(timestamp),
            };
        }
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the batch takes uncompressed.
    pub fn uncompressed_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The batch. Without records it is one that compaction emptied: it still covers its offsets.
    pub fn build(self) -> Result<Bytes, BuildError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut header = self.header;
        let last_delta = (self.next_delta - 1).max(self.last_delta_min);
        header.last_offset_delta =
            i32::try_from(last_delta).map_err(|_| BuildError::OffsetDelta {
                index: 0,
                delta: last_delta,
            })?;
        header.record_count = i32::try_from(self.count).map_err(|_| BuildError::TooLarge {
            bytes: self.records.len(),
        })?;
        header.attributes = header.attributes.with_codec(self.codec);
        if header.base_offset < 0
            || header.base_offset.checked_add(last_delta + 1).is_none()
            || last_delta < 0
        {
            return Err(BuildError::BaseOffset {
                base_offset: header.base_offset,
                offsets: last_delta + 1,
            });
        }
        let mut batch = Vec::with_capacity(HEADER_BYTES + self.records.len());
        batch.resize(HEADER_BYTES, 0);
        match self.codec {
            Codec::None => batch.extend_from_slice(&self.records),
            codec => batch.extend_from_slice(&compress(codec, &self.records)?),
        }
        header.batch_length = i32::try_from(batch.len() - LENGTH_OVERHEAD)
            .map_err(|_| BuildError::TooLarge { bytes: batch.len() })?;
        batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        let crc = crc32c(&batch[ATTRIBUTES_AT..]);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        Ok(Bytes::from(batch))
    }
}

fn nullable_bytes(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => varint::bytes(bytes.len() as i64) + bytes.len(),
        None => varint::bytes(-1),
    }
}

fn write_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::write(out, -1),
    }
}

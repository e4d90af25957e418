//! The 61 bytes in front of every record batch of magic 2 (KIP-98), read and written in place.
//!
//! | at | bytes | field | under the CRC |
//! |---|---|---|---|
//! | 0 | 8 | base offset (the broker assigns it) | no |
//! | 8 | 4 | length of what follows this field: the whole batch less 12 | no |
//! | 12 | 4 | partition leader epoch (the broker assigns it) | no |
//! | 16 | 1 | magic, always 2 | no |
//! | 17 | 4 | CRC-32C of byte 21 to the end | |
//! | 21 | 2 | attributes | yes |
//! | 23 | 4 | last offset delta | yes |
//! | 27 | 8 | base timestamp | yes |
//! | 35 | 8 | maximum timestamp | yes |
//! | 43 | 8 | producer id | yes |
//! | 51 | 2 | producer epoch | yes |
//! | 53 | 4 | base sequence | yes |
//! | 57 | 4 | record count | yes |
//!
//! A parsed header is plausible in itself: its length covers the header, no delta is negative, no
//! offset overflows. Not here: the checksum ([`super::BatchView`] has it verified), and what a
//! partition asks of a client's batch.

use crate::{
    batch::BatchError,
    ids::{BatchEpoch, Offset, ProducerId},
};

pub const HEADER_BYTES: usize = 61;
/// Bytes that change when a batch gets its place in a log; everything after them stays as the
/// producer made it.
pub const PREFIX_BYTES: usize = 16;
/// Bytes in front of what the length field counts.
pub const LENGTH_OVERHEAD: usize = 12;

pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
/// The length field of a batch without records.
const LENGTH_MIN: i32 = (HEADER_BYTES - LENGTH_OVERHEAD) as i32;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    /// KIP-110: only for clients of Produce 7 and Fetch 10 or newer.
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their ids.
    pub const ALL: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];

    /// The number in the attributes.
    pub fn id(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The name in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec of that `compression.type`; `uncompressed` is Kafka's name for none on topics.
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Bits 0 to 2.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let id = self.0 & Self::CODEC;
        Codec::ALL
            .into_iter()
            .find(|codec| codec.id() == id)
            .ok_or(BatchError::UnknownCodec { id })
    }

    /// Bit 3: all records carry the batch's maximum timestamp, set by the broker.
    pub fn log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Bit 4: part of a transaction (markers too).
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Bit 5: markers, not for applications.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Bit 6: the base timestamp is the time from which tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// With this codec instead.
    pub fn with_codec(self, codec: Codec) -> Attributes {
        Attributes((self.0 & !Self::CODEC) | codec.id())
    }

    /// With bit 3.
    pub fn with_log_append_time(self) -> Attributes {
        Attributes(self.0 | Self::LOG_APPEND_TIME)
    }

    /// With bit 4.
    pub fn with_transactional(self) -> Attributes {
        Attributes(self.0 | Self::TRANSACTIONAL)
    }

    /// With bit 5.
    pub fn with_control(self) -> Attributes {
        Attributes(self.0 | Self::CONTROL)
    }
}

/// A batch's header as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (of the first place, once compaction took records out). Producers
    /// send 0.
    pub base_offset: Offset,
    /// Bytes after this field, at least 49.
    pub batch_length: i32,
    /// Epoch of the leader that took the batch; the order of a log's history.
    pub leader_epoch: BatchEpoch,
    /// Always 2.
    pub magic: i8,
    /// CRC-32C as written.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Last offset less base offset; kept when compaction takes the last record out.
    pub last_offset_delta: i32,
    /// Milliseconds since the Unix epoch that record timestamps are relative to; -1 for none.
    pub base_timestamp: i64,
    /// Largest timestamp of a record, or the time of the append.
    pub max_timestamp: i64,
    /// -1 for a producer without one.
    pub producer_id: ProducerId,
    /// -1 without a producer id.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without one (markers, plain producers).
    pub base_sequence: i32,
    /// Records in the batch; 0 in one that compaction emptied.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the first 61 bytes of `bytes`. The rest of the batch need not be there, and the
    /// checksum is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // Old message sets have their magic at the same place and may be shorter than our header:
        // name them as what they are.
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic != 2
        {
            return Err(BatchError::Magic { magic: magic as i8 });
        }
        let Some(b) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated {
                have: bytes.len(),
                need: HEADER_BYTES,
            });
        };
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(b, 0)),
            batch_length: i32::from_be_bytes(field(b, 8)),
            leader_epoch: BatchEpoch(i32::from_be_bytes(field(b, 12))),
            magic: b[MAGIC_AT] as i8,
            crc: u32::from_be_bytes(field(b, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(b, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(b, 23)),
            base_timestamp: i64::from_be_bytes(field(b, 27)),
            max_timestamp: i64::from_be_bytes(field(b, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(b, 43)),
            producer_epoch: i16::from_be_bytes(field(b, 51)),
            base_sequence: i32::from_be_bytes(field(b, 53)),
            record_count: i32::from_be_bytes(field(b, 57)),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.batch_length < LENGTH_MIN {
            return Err(BatchError::Length {
                length: self.batch_length,
            });
        }
        if self.base_offset < 0 {
            return Err(BatchError::BaseOffset {
                base_offset: self.base_offset,
            });
        }
        if self.last_offset_delta < 0 {
            return Err(BatchError::LastOffsetDelta {
                delta: self.last_offset_delta,
            });
        }
        if self.record_count < 0 {
            return Err(BatchError::RecordCount {
                count: self.record_count,
            });
        }
        if self
            .base_offset
            .checked_add(i64::from(self.last_offset_delta) + 1)
            .is_none()
        {
            return Err(BatchError::OffsetOverflow {
                base_offset: self.base_offset,
                delta: self.last_offset_delta,
            });
        }
        Ok(())
    }

    /// The header as the 61 bytes it is read from.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut b = [0; HEADER_BYTES];
        b[..PREFIX_BYTES].copy_from_slice(&self.prefix());
        b[MAGIC_AT] = self.magic as u8;
        b[CRC_AT..21].copy_from_slice(&self.crc.to_be_bytes());
        b[ATTRIBUTES_AT..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        b[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        b[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        b[MAX_TIMESTAMP_AT..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        b[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        b[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        b[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        b[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        b
    }

    /// The first 16 bytes: base offset, length, leader epoch.
    pub fn prefix(&self) -> [u8; PREFIX_BYTES] {
        let mut b = [0; PREFIX_BYTES];
        b[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        b[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        b[12..].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        b
    }

    /// Bytes of the whole batch.
    pub fn total_bytes(&self) -> usize {
        self.batch_length as usize + LENGTH_OVERHEAD
    }

    /// Offset of the last place in the batch.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Offset after the batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// How the records are compressed.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        self.attributes.codec()
    }

    /// Part of a transaction (markers too).
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Markers, not for applications.
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// All records carry [`BatchHeader::max_timestamp`].
    pub fn log_append_time(&self) -> bool {
        self.attributes.log_append_time()
    }

    /// Written by a producer with an id (KIP-98).
    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Sequence of the last record: sequences wrap from 2^31-1 to 0. -1 without a sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) & i64::from(i32::MAX))
            as i32
    }
}

/// The `N` bytes at a place inside the header: always there, the places are constants.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

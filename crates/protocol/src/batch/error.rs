//! The errors of a record batch, with the numbers found.

use super::header::Codec;

/// Why bytes are not a record batch that we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header, or than the header says.
    #[error("a batch of {need} bytes has only {have}")]
    Truncated { have: usize, need: usize },
    /// Message sets of magic 0 and 1 (before KIP-98) are not read; others do not exist.
    #[error("record batch of magic {magic}, only 2 is supported")]
    Magic { magic: i8 },
    /// The length cannot hold the rest of the header.
    #[error("batch length {length} is below the 49 bytes of the header")]
    Length { length: i32 },
    /// A base offset below zero.
    #[error("base offset {base_offset} is negative")]
    BaseOffset { base_offset: i64 },
    /// A last offset delta below zero.
    #[error("last offset delta {delta} is negative")]
    LastOffsetDelta { delta: i32 },
    /// A record count below zero.
    #[error("record count {count} is negative")]
    RecordCount { count: i32 },
    /// The batch would end beyond the largest offset.
    #[error("base offset {base_offset} plus delta {delta} is beyond the largest offset")]
    OffsetOverflow { base_offset: i64, delta: i32 },
    /// The checksum of the bytes is not the one in the header.
    #[error("checksum {computed:#010x} of the batch is not its {stored:#010x}")]
    Crc { stored: u32, computed: u32 },
    /// There is more than the one batch that was expected.
    #[error("{bytes} bytes behind the only batch")]
    Trailing { bytes: usize },
    /// Bits 0 to 2 of the attributes name no codec.
    #[error("unknown compression codec {id}")]
    UnknownCodec { id: i16 },
    /// The compressed records are damaged.
    #[error("{codec:?} data cannot be decompressed: {why}")]
    Decompress { codec: Codec, why: String },
    /// Decompressing stopped at the limit.
    #[error("{codec:?} data decompresses to more than {max} bytes")]
    DecompressedTooLarge { codec: Codec, max: usize },
    /// The `index`-th record (from 0) is malformed.
    #[error("record {index}: {why}")]
    Record { index: i32, why: RecordFault },
    /// Bytes are left after the last record that the header counts.
    #[error("{bytes} bytes or more follow the last of {count} records")]
    RecordsTrailing { count: i32, bytes: usize },
}

/// The fault of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The bytes end inside it.
    #[error("the bytes end inside it")]
    Truncated,
    /// A varint with more bits than its type.
    #[error("a varint is longer than its type")]
    Varint,
    /// A length or count that is negative where it must not be, or beyond the bytes left.
    #[error("length {0} is not possible here")]
    Length(i64),
    /// Its fields do not fill its length.
    #[error("{0} bytes are left in it after its last field")]
    Trailing(usize),
    /// Its offset is outside of the batch.
    #[error("offset delta {0} is outside of the batch")]
    OffsetDelta(i32),
    /// A producer numbers its records from 0, without gaps.
    #[error("offset delta {found} in the place of {expected}")]
    OffsetOrder { found: i32, expected: i32 },
    /// Its timestamp does not fit 64 bits.
    #[error("timestamp delta {0} overflows")]
    TimestampDelta(i64),
}

//! Record batches of magic 2 (KIP-98): the unit that is sent, stored, copied and fetched.
//!
//! The stages are types: bytes -> [`BatchView`] (one whole batch, checksum right) ->
//! [`PlacedBatch`] (offset and epoch assigned). Producers' records are never decompressed on that
//! way. [`records()`] looks inside, bounded; [`BatchBuilder`] makes batches of our own.

mod builder;
pub mod compress;
mod control;
pub mod crc;
mod error;
mod header;
mod placed;
mod records;
mod varint;
mod view;

pub use self::{
    builder::{BatchBuilder, BuildError},
    control::{Marker, marker_batch, parse_marker},
    crc::{crc32c, verify_crc},
    error::{BatchError, RecordFault},
    header::{Attributes, BatchHeader, Codec, HEADER_BYTES, LENGTH_OVERHEAD, PREFIX_BYTES},
    placed::PlacedBatch,
    records::{Record, RecordIter, records},
    view::BatchView,
};

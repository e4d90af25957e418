//! Record batches of magic 2 (KIP-98): the unit that is sent, stored, copied and fetched.
//!
//! The stages are types: bytes -> [`BatchView`] (one whole batch, checksum right) ->
//! [`PlacedBatch`] (offset and epoch assigned). Three ways lead inside: [`check_records`] judges all
//! records of a batch, [`walk_records`] looks for one, both piece by piece through a small window;
//! [`records()`] gives keys and values, and holds the unpacked batch. [`BatchBuilder`] makes batches
//! of our own.

mod builder;
mod check;
pub mod compress;
mod control;
pub mod crc;
mod error;
mod header;
mod lz4_frame;
mod placed;
mod records;
mod timestamp;
mod varint;
mod view;

pub use self::{
    builder::{BatchBuilder, BuildError},
    check::{Brief, Effort, Facts, Offsets, check_records, walk_records},
    control::{Marker, marker_batch, parse_marker},
    crc::{crc32c, verify_crc},
    error::{BatchError, RecordFault},
    header::{Attributes, BatchHeader, Codec, HEADER_BYTES, LENGTH_OVERHEAD, PREFIX_BYTES},
    placed::PlacedBatch,
    records::{Record, RecordIter, records},
    timestamp::max_timestamp,
    view::BatchView,
};

//! A batch that has its offset and epoch, ready to be written: 16 new bytes in front of the shared
//! rest.
//!
//! Only a [`super::BatchView`] becomes one, so what a log is given was checked. Written as two
//! slices in one vectored write, since the buffer it came in is shared and is not changed.

use super::{BatchHeader, PREFIX_BYTES};
use crate::ids::Offset;
use bytes::{Bytes, BytesMut};

/// A batch with its place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedBatch {
    header: BatchHeader,
    prefix: [u8; PREFIX_BYTES],
    body: Bytes,
    max_timestamp: i64,
}

impl PlacedBatch {
    /// `whole` is the batch with any prefix.
    pub(super) fn new(header: BatchHeader, whole: Bytes) -> PlacedBatch {
        assert!(
            header.base_offset >= 0
                && header
                    .base_offset
                    .checked_add(i64::from(header.last_offset_delta) + 1)
                    .is_some(),
            "a batch of {} offsets has no place at {}",
            i64::from(header.last_offset_delta) + 1,
            header.base_offset
        );
        assert_eq!(
            whole.len(),
            header.total_bytes(),
            "a batch is as long as its header says"
        );
        PlacedBatch {
            header,
            prefix: header.prefix(),
            body: whole.slice(PREFIX_BYTES..),
            max_timestamp: header.max_timestamp,
        }
    }

    /// With this maximum timestamp beside its bytes.
    pub(super) fn with_max_timestamp(self, max_timestamp: i64) -> PlacedBatch {
        PlacedBatch {
            max_timestamp,
            ..self
        }
    }

    /// The largest timestamp of its records, in milliseconds, -1 for none: what indexes and
    /// retention go by. The header of a copied batch may say another one ([`super::max_timestamp`]).
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The header with the assigned offset and epoch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Offset after the batch.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// The first 16 bytes as they are to be written.
    pub fn prefix(&self) -> &[u8; PREFIX_BYTES] {
        &self.prefix
    }

    /// Everything from byte 16.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Prefix and body.
    pub fn total_bytes(&self) -> usize {
        PREFIX_BYTES + self.body.len()
    }

    /// The batch in one piece, copied.
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.total_bytes());
        whole.extend_from_slice(&self.prefix);
        whole.extend_from_slice(&self.body);
        whole.freeze()
    }
}

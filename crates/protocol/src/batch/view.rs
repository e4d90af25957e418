//! One whole record batch inside a receive buffer: header plausible, checksum right, records
//! untouched and still compressed.
//!
//! A view shares the buffer it was cut from; a batch is copied only if it must be changed under its
//! checksum. The only way from bytes to something that a log takes leads through here:
//! `BatchView` -> [`PlacedBatch`].

use super::{
    BatchError, BatchHeader, Facts, HEADER_BYTES, PlacedBatch, crc, timestamp::max_timestamp_of,
};
use crate::ids::{BatchEpoch, Offset};
use bytes::Bytes;

/// Exactly one whole batch whose checksum was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    header: BatchHeader,
    bytes: Bytes,
    /// The result of [`super::max_timestamp`], once it is known.
    max_timestamp: Option<i64>,
}

impl BatchView {
    /// Takes one whole batch off the front of `bytes`. `None`, with `bytes` as it was, when nothing
    /// or only a part of a batch is left: a fetch response may end so; a caller that expects whole
    /// batches checks that nothing remains. On an error `bytes` is as it was too.
    pub fn parse_first(bytes: &mut Bytes) -> Result<Option<BatchView>, BatchError> {
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(BatchError::Truncated { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if bytes.len() < header.total_bytes() {
            return Ok(None);
        }
        let computed = crc::crc32c(&bytes[super::header::ATTRIBUTES_AT..header.total_bytes()]);
        if computed != header.crc {
            return Err(BatchError::Crc {
                stored: header.crc,
                computed,
            });
        }
        Ok(Some(BatchView {
            header,
            bytes: bytes.split_to(header.total_bytes()),
            max_timestamp: None,
        }))
    }

    /// The one batch that `bytes` is, no less and no more.
    pub fn parse_only(mut bytes: Bytes) -> Result<BatchView, BatchError> {
        match BatchView::parse_first(&mut bytes)? {
            Some(view) if bytes.is_empty() => Ok(view),
            Some(_) => Err(BatchError::Trailing { bytes: bytes.len() }),
            None => {
                let need =
                    BatchHeader::parse(&bytes).map_or(HEADER_BYTES, |header| header.total_bytes());
                Err(BatchError::Truncated {
                    have: bytes.len(),
                    need,
                })
            }
        }
    }

    /// The header as it came.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records as they are in the batch, still compressed.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// The batch at its place in a log we lead: base offset and epoch are set, the rest stays as it
    /// came.
    ///
    /// # Panics
    /// When the batch would end beyond the largest offset: our own log end is wrong then.
    pub fn place(self, base_offset: Offset, epoch: BatchEpoch) -> PlacedBatch {
        let header = BatchHeader {
            base_offset,
            leader_epoch: epoch,
            ..self.header
        };
        PlacedBatch::new(header, self.bytes)
    }

    /// Like [`BatchView::place`] for a topic with `message.timestamp.type=LogAppendTime`: the batch
    /// is copied, since the time is under its checksum. Base timestamp and records stay as they
    /// came; readers take `now_ms` for every record.
    ///
    /// # Panics
    /// As [`BatchView::place`].
    pub fn place_log_append_time(
        self,
        base_offset: Offset,
        epoch: BatchEpoch,
        now_ms: i64,
    ) -> PlacedBatch {
        let (header, bytes) = self.rewritten(BatchHeader {
            base_offset,
            leader_epoch: epoch,
            attributes: self.header.attributes.with_log_append_time(),
            max_timestamp: now_ms,
            ..self.header
        });
        PlacedBatch::new(header, bytes)
    }

    /// The batch with the maximum timestamp that its records have. Copied if the header says
    /// another one.
    pub fn with_max_timestamp(self, max_timestamp: i64) -> BatchView {
        if self.header.max_timestamp == max_timestamp {
            return self;
        }
        let (header, bytes) = self.rewritten(BatchHeader {
            max_timestamp,
            ..self.header
        });
        BatchView {
            header,
            bytes,
            max_timestamp: None,
        }
    }

    /// The same batch, with what its records were found to say: nobody needs to look again for the
    /// maximum timestamp.
    pub fn knowing(self, facts: &Facts) -> BatchView {
        BatchView {
            max_timestamp: Some(max_timestamp_of(&self.header, facts)),
            ..self
        }
    }

    /// The same batch, whose header's maximum timestamp stands: its records cannot be looked at.
    pub fn believed(self) -> BatchView {
        BatchView {
            max_timestamp: Some(self.header.max_timestamp),
            ..self
        }
    }

    /// The maximum timestamp, if it is known without a look at the records.
    pub(super) fn known_max_timestamp(&self) -> Option<i64> {
        let plausible = self.header.max_timestamp_is_plausible();
        self.max_timestamp
            .or(plausible.then_some(self.header.max_timestamp))
    }

    /// Whether [`BatchView::place_verbatim`] would have to look at the records.
    pub fn needs_a_look(&self) -> bool {
        self.known_max_timestamp().is_none()
    }

    /// The records under another header of the same length, with the checksum of both.
    fn rewritten(&self, mut header: BatchHeader) -> (BatchHeader, Bytes) {
        let mut copy = Vec::with_capacity(self.bytes.len());
        copy.extend_from_slice(&header.to_bytes());
        copy.extend_from_slice(&self.bytes[HEADER_BYTES..]);
        header.crc = crc::crc32c(&copy[super::header::ATTRIBUTES_AT..]);
        copy[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        (header, Bytes::from(copy))
    }

    /// The batch at the offset and epoch it came with: a copy of another log. Looks at its records
    /// if its maximum timestamp cannot be right; then that of the records goes beside the bytes.
    pub fn place_verbatim(self) -> PlacedBatch {
        let max_timestamp = super::max_timestamp(&self);
        PlacedBatch::new(self.header, self.bytes).with_max_timestamp(max_timestamp)
    }
}

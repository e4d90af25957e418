//! From one batch header to the next: the cheapest way through a segment, without looking at
//! records or checksums.
//!
//! Invariant: [`Walk::next`] gives a batch only when all its bytes lie below the end it was given.
//! Whether offsets make sense is the caller's to judge. Not here: what to do at bytes that are no
//! batch (`verify.rs` for readers, `scan.rs` for recovery).

use crate::disk::{DiskFile, ReadWait};
use gnomon_protocol::batch::{BatchError, BatchHeader, HEADER_BYTES};
use std::{io, sync::Arc};

/// Bytes read at once when batches are small.
const WINDOW: usize = 4096;
/// From this size on batches are read header by header.
const LARGE_BATCH: usize = WINDOW / 2;

/// The content at a position.
#[derive(Debug)]
pub(crate) enum Step {
    /// A batch, all of it below the end.
    Batch(BatchHeader),
    End,
    /// No batch.
    Bad(Bad),
}

/// Why bytes are no batch of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    #[error("the file ends {missing} bytes before the batch does")]
    Partial { missing: u64 },
    #[error("{0}")]
    Header(BatchError),
    #[error("the checksum is wrong")]
    Crc,
    #[error("offsets {base} to {last} are not within {lowest} to {end} (exclusive)")]
    Offsets {
        base: i64,
        last: i64,
        lowest: i64,
        end: i64,
    },
    #[error("its leader epoch is {found}, and was {was}")]
    Epoch { found: i32, was: i32 },
}

/// Goes over `[position, end)` of a file.
pub(crate) struct Walk {
    file: Arc<dyn DiskFile>,
    pub position: u64,
    pub end: u64,
    window: [u8; WINDOW],
    window_at: u64,
    window_len: usize,
    large: bool,
    wait: ReadWait,
}

impl Walk {
    pub fn new(file: Arc<dyn DiskFile>, position: u64, end: u64) -> Walk {
        Walk {
            file,
            position,
            end,
            window: [0; WINDOW],
            window_at: 0,
            window_len: 0,
            large: false,
            wait: ReadWait::Waits,
        }
    }

    /// The same with that much patience.
    pub fn with(self, wait: ReadWait) -> Walk {
        Walk { wait, ..self }
    }

    /// The content at the position, without moving.
    pub fn peek(&mut self) -> io::Result<Step> {
        let left = self.end.saturating_sub(self.position);
        if left == 0 {
            return Ok(Step::End);
        }
        if left < HEADER_BYTES as u64 {
            return Ok(Step::Bad(Bad::Partial {
                missing: HEADER_BYTES as u64 - left,
            }));
        }
        let bytes = self.header_bytes(left)?;
        Ok(match BatchHeader::parse(bytes) {
            Ok(header) if header.total_bytes() as u64 > left => Step::Bad(Bad::Partial {
                missing: header.total_bytes() as u64 - left,
            }),
            Ok(header) => Step::Batch(header),
            Err(error) => Step::Bad(Bad::Header(error)),
        })
    }

    /// The content at the position; moves after it when it is a batch.
    pub fn next(&mut self) -> io::Result<Step> {
        let step = self.peek()?;
        if let Step::Batch(header) = &step {
            self.position += header.total_bytes() as u64;
            self.large = header.total_bytes() >= LARGE_BATCH;
        }
        Ok(step)
    }

    fn header_bytes(&mut self, left: u64) -> io::Result<&[u8]> {
        let inside = self
            .position
            .checked_sub(self.window_at)
            .map_or(usize::MAX, |at| usize::try_from(at).unwrap_or(usize::MAX));
        if inside
            .checked_add(HEADER_BYTES)
            .is_some_and(|end| end <= self.window_len)
        {
            return Ok(&self.window[inside..inside + HEADER_BYTES]);
        }
        let want = if self.large { HEADER_BYTES } else { WINDOW }
            .min(usize::try_from(left).unwrap_or(WINDOW));
        self.window_len = 0;
        self.file
            .read_exact(&mut self.window[..want], self.position, self.wait)?;
        (self.window_at, self.window_len) = (self.position, want);
        Ok(&self.window[..HEADER_BYTES])
    }
}

/// Whether the checksum of the batch at `position` is right. `buffer` is reused between calls.
pub(crate) fn crc_holds(
    file: &dyn DiskFile,
    position: u64,
    header: &BatchHeader,
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    buffer.resize(header.total_bytes(), 0);
    file.read_exact_at(buffer, position)?;
    Ok(gnomon_protocol::batch::verify_crc(buffer))
}

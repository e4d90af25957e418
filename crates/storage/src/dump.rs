//! The files of a log taken apart for people, each by itself and without judging it: batches with
//! their positions, index entries.
//!
//! Invariant: every byte of a segment is in exactly one [`Piece`]. Not here: what is printed, and
//! what the checkpoint says of the files (`check.rs`).

use crate::{
    disk::{Disk, DiskFile, OpenMode},
    index::{Entry, OffsetEntry},
    resync::{Search, resync},
    time_index::TimeEntry,
    walk::{Step, Walk},
};
use bytes::{Bytes, BytesMut};
use gnomon_protocol::{batch::BatchHeader, ids::Offset};
use std::{io, path::Path, sync::Arc};

/// The content at a position of a segment.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Something with a batch's header and length; its checksum may be wrong.
    Batch {
        /// Where it begins.
        position: u64,
        /// As it stands there.
        header: BatchHeader,
        /// All of it.
        bytes: Bytes,
    },
    /// No batch.
    Invalid {
        /// Where that begins.
        position: u64,
        /// Up to the next batch, or the end.
        bytes: u64,
    },
}

/// A segment piece by piece; the file's end is where it was at the beginning.
pub struct Pieces {
    file: Arc<dyn DiskFile>,
    walk: Walk,
}

impl Pieces {
    /// The pieces of the file at `path`.
    pub fn of(disk: &dyn Disk, path: &Path) -> io::Result<Pieces> {
        let file = disk.open(path, OpenMode::Read)?;
        let len = file.len()?;
        Ok(Pieces {
            walk: Walk::new(file.clone(), 0, len),
            file,
        })
    }

    fn step(&mut self) -> io::Result<Option<Piece>> {
        let position = self.walk.position;
        match self.walk.next()? {
            Step::End => Ok(None),
            Step::Batch(header) => {
                let mut bytes = BytesMut::zeroed(header.total_bytes());
                self.file.read_exact_at(&mut bytes, position)?;
                Ok(Some(Piece::Batch {
                    position,
                    header,
                    bytes: bytes.freeze(),
                }))
            }
            Step::Bad(_) => {
                let anywhere = Search {
                    from: position + 1,
                    end: self.walk.end,
                    lowest: Offset::MIN,
                    below: Offset::MAX,
                    target: None,
                };
                let next = resync(&self.file, &anywhere)?.map_or(self.walk.end, |(next, _)| next);
                self.walk.position = next;
                Ok(Some(Piece::Invalid {
                    position,
                    bytes: next - position,
                }))
            }
        }
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<io::Result<Piece>> {
        self.step().transpose()
    }
}

/// Entries of an `.index` file: last offset of a batch, and where it begins. `base` is the
/// segment's.
pub fn offset_entries(bytes: &[u8], base: Offset) -> impl Iterator<Item = (Offset, u32)> {
    bytes
        .chunks_exact(OffsetEntry::BYTES)
        .map(OffsetEntry::decode)
        .map(move |entry| (base + i64::from(entry.last), entry.position))
}

/// Entries of a `.timeindex` file: largest timestamp so far, and the last offset of the batch that
/// has it. `base` is the segment's.
pub fn time_entries(bytes: &[u8], base: Offset) -> impl Iterator<Item = (i64, Offset)> {
    bytes
        .chunks_exact(TimeEntry::BYTES)
        .map(TimeEntry::decode)
        .map(move |entry| (entry.timestamp, base + i64::from(entry.last)))
}

//! The small file beside the segments that says what recovery may rely on: log start, flushed
//! offset, the partition's epochs and snapshot position, and for every segment its length and the
//! checksums of its indexes.
//!
//! Invariants: replaced atomically; every number in it was true when it was prepared and stays true
//! (`flushed` is synced, and what lowers it, a truncation, writes the checkpoint first); an older
//! one never replaces a newer one. Not here: what a checkpoint's absence or damage means
//! (`open.rs`, `recover.rs`).
//!
//! Format, big endian: `GNOM`, version (u16), length of the rest without the checksum (u32), the
//! fields, crc32 of everything before it.

use crate::{disk::Disk, error::LogError};
use gnomon_protocol::{
    batch::BatchHeader,
    ids::{BatchEpoch, Offset},
};
use std::{fmt, io, path::Path};

pub(crate) const FILE: &str = "checkpoint";
const MAGIC: &[u8; 4] = b"GNOM";
const VERSION: u16 = 1;
const PREFIX: usize = 10;

/// The partition's part of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointExtra {
    /// Leader epochs with their start offsets, oldest first: below `producer_snapshot_at` exactly
    /// those of the batches, which are verified by it when the log is opened again. (The epoch is
    /// the one field of a batch that no checksum covers.)
    pub epochs: Vec<(BatchEpoch, Offset)>,
    /// Offset up to which the producer snapshot beside it covers the log; -1 for none.
    pub producer_snapshot_at: Offset,
}

impl Default for CheckpointExtra {
    fn default() -> CheckpointExtra {
        CheckpointExtra {
            epochs: Vec::new(),
            producer_snapshot_at: -1,
        }
    }
}

impl CheckpointExtra {
    /// The epoch that a batch must have; `None` where nothing is known of it.
    pub(crate) fn epoch_of(&self, header: &BatchHeader) -> Option<BatchEpoch> {
        let known = header.next_offset() <= self.producer_snapshot_at;
        let began_before = |(_, start): &&(BatchEpoch, Offset)| *start <= header.last_offset();
        self.epochs
            .iter()
            .rev()
            .find(began_before)
            .filter(|_| known)
            .map(|(epoch, _)| *epoch)
    }

    /// Without what lies at or beyond `end`.
    pub(crate) fn truncate(&mut self, end: Offset) {
        self.epochs.retain(|(_, start)| *start < end);
        if self.producer_snapshot_at > end {
            self.producer_snapshot_at = -1;
        }
    }
}

/// A checkpoint's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// First offset that may be read.
    pub start: Offset,
    /// Everything below was synced.
    pub flushed: Offset,
    /// The partition's part.
    pub extra: CheckpointExtra,
    /// Batches are there up to here: `flushed`, or less when the end had been moved without a
    /// batch.
    pub(crate) flushed_data: Offset,
    /// The end was moved without a batch.
    pub(crate) gap: Option<Gap>,
    pub(crate) segments: Vec<Summary>,
}

/// The log's end was moved from `after`, where its batches end, to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub after: Offset,
    pub to: Offset,
}

/// One segment, or the part of the active one that its index files cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub base: Offset,
    /// Offset after the last batch.
    pub end: Offset,
    /// Bytes of batches.
    pub len: u64,
    pub first_timestamp: i64,
    pub max_timestamp: i64,
    pub offset_entries: u32,
    pub time_entries: u32,
    pub offset_crc: u32,
    pub time_crc: u32,
    /// Nothing was to come after `len`: the next segment begins where the log went on.
    pub sealed: bool,
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(128 + self.extra.epochs.len() * 12 + self.segments.len() * 60);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        let gap = self.gap.unwrap_or(Gap { after: -1, to: -1 });
        for number in [
            self.start,
            self.flushed,
            self.flushed_data,
            gap.after,
            gap.to,
            self.extra.producer_snapshot_at,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&(self.extra.epochs.len() as u32).to_be_bytes());
        for (epoch, start) in &self.extra.epochs {
            out.extend_from_slice(&epoch.0.to_be_bytes());
            out.extend_from_slice(&start.to_be_bytes());
        }
        out.extend_from_slice(&(self.segments.len() as u32).to_be_bytes());
        for s in &self.segments {
            for number in [
                s.base,
                s.end,
                s.len as i64,
                s.first_timestamp,
                s.max_timestamp,
            ] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            for number in [
                s.offset_entries,
                s.time_entries,
                s.offset_crc,
                s.time_crc,
                u32::from(s.sealed),
            ] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        let length = (out.len() - PREFIX) as u32;
        out[6..PREFIX].copy_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out
    }

    /// `None` for whatever is not exactly one checkpoint.
    pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let mut fields = Fields(body);
        if fields.take::<4>()? != *MAGIC
            || u16::from_be_bytes(fields.take()?) != VERSION
            || fields.u32()? as usize != body.len() - PREFIX
        {
            return None;
        }
        let (start, flushed, flushed_data) = (fields.i64()?, fields.i64()?, fields.i64()?);
        let gap = Gap {
            after: fields.i64()?,
            to: fields.i64()?,
        };
        let mut extra = CheckpointExtra {
            epochs: Vec::new(),
            producer_snapshot_at: fields.i64()?,
        };
        for _ in 0..fields.u32()? {
            extra
                .epochs
                .push((BatchEpoch(fields.u32()? as i32), fields.i64()?));
        }
        let mut segments = Vec::new();
        for _ in 0..fields.u32()? {
            segments.push(Summary {
                base: fields.i64()?,
                end: fields.i64()?,
                len: fields.i64()? as u64,
                first_timestamp: fields.i64()?,
                max_timestamp: fields.i64()?,
                offset_entries: fields.u32()?,
                time_entries: fields.u32()?,
                offset_crc: fields.u32()?,
                time_crc: fields.u32()?,
                sealed: fields.u32()? != 0,
            });
        }
        let gap = (gap.to >= 0).then_some(gap);
        fields.0.is_empty().then_some(Checkpoint {
            start,
            flushed,
            flushed_data,
            extra,
            gap,
            segments,
        })
    }
}

/// A line for each fact, as `kafka-dump-log` would print them.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "logStartOffset: {} flushedOffset: {} producerSnapshotOffset: {}",
            self.start, self.flushed, self.extra.producer_snapshot_at
        )?;
        if let Some(Gap { after, to }) = self.gap {
            writeln!(f, "emptyFrom: {after} emptyTo: {to}")?;
        }
        for (epoch, start) in &self.extra.epochs {
            writeln!(f, "leaderEpoch: {} startOffset: {start}", epoch.0)?;
        }
        for s in &self.segments {
            writeln!(
                f,
                "segment: {} endOffset: {} size: {} sealed: {} firstTimestamp: {} maxTimestamp: {} indexEntries: {} indexCrc: {} timeIndexEntries: {} timeIndexCrc: {}",
                s.base,
                s.end,
                s.len,
                s.sealed,
                s.first_timestamp,
                s.max_timestamp,
                s.offset_entries,
                s.offset_crc,
                s.time_entries,
                s.time_crc
            )?;
        }
        Ok(())
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

/// The file at the checkpoint's place.
pub(crate) enum OnDisk {
    Absent,
    Damaged,
    Valid(Box<Checkpoint>),
}

pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<OnDisk, LogError> {
    let path = dir.join(FILE);
    match disk.read(&path) {
        Ok(bytes) => Ok(
            Checkpoint::decode(&bytes).map_or(OnDisk::Damaged, |checkpoint| {
                OnDisk::Valid(Box::new(checkpoint))
            }),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(OnDisk::Absent),
        Err(source) => Err(LogError::Io {
            what: "read checkpoint",
            path,
            source,
        }),
    }
}

/// The checkpoint in a log's directory; `None` when there is none, or none that can be trusted.
pub fn read_checkpoint(disk: &dyn Disk, dir: &Path) -> Result<Option<Checkpoint>, LogError> {
    match load(disk, dir)? {
        OnDisk::Valid(checkpoint) => Ok(Some(*checkpoint)),
        OnDisk::Absent | OnDisk::Damaged => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_flipped_bit_is() {
        let segment = Summary {
            base: 5,
            end: 90,
            len: 4321,
            first_timestamp: 17,
            max_timestamp: 18,
            offset_entries: 3,
            time_entries: 2,
            offset_crc: 7,
            time_crc: 8,
            sealed: true,
        };
        let checkpoint = Checkpoint {
            start: 7,
            flushed: 99,
            flushed_data: 90,
            gap: Some(Gap { after: 90, to: 99 }),
            extra: CheckpointExtra {
                epochs: vec![(BatchEpoch(3), 5), (BatchEpoch(65_536), 40)],
                producer_snapshot_at: 88,
            },
            segments: vec![segment],
        };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&flipped), None);
        }
        for short in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..short]), None);
        }
    }
}

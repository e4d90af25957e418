//! The writer's side of one log: a list of segments, the last one growing.

use crate::{
    checkpoint::{CheckpointExtra, CheckpointWrite},
    disk::{Boot, Disk},
    error::LogError,
    flush::FlushPoint,
    open::Opened,
    options::{LogOptions, RetentionLimits},
    reader::LogReader,
};
use gnomon_protocol::{batch::PlacedBatch, ids::Offset};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One segment, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// What its files are named after.
    pub base: Offset,
    /// Offset behind its last batch.
    pub end: Offset,
    /// Bytes of batches.
    pub bytes: u64,
    /// Largest timestamp in it, -1 for none.
    pub max_timestamp: i64,
}

/// One log, open for writing. Whoever has `&mut` is the only writer; [`LogReader`]s and [`FlushPoint`]s work beside it.
pub struct Log {}

impl Log {
    /// Whether there is a log in `dir`.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
        let _ = (disk, dir);
        unimplemented!()
    }

    /// Makes the directory and the first segment, both with durable names. `start` is where the first offset will be.
    pub fn create(disk: Arc<dyn Disk>, dir: PathBuf, options: LogOptions, start: Offset) -> Result<Log, LogError> {
        let _ = (disk, dir, options, start);
        unimplemented!()
    }

    /// Opens what is in `dir`, and repairs it as `recover.rs` says.
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf, options: LogOptions, boot: Boot) -> Result<Opened, LogError> {
        let _ = (disk, dir, options, boot);
        unimplemented!()
    }

    /// Appends whole batches, in one write per segment touched. Base offsets MUST NOT lie below [`Log::end`]; they may jump forward.
    /// After an error nothing of it is in the log, and the log is closed to writing.
    pub fn append(&mut self, batches: &[PlacedBatch]) -> Result<(), LogError> {
        let _ = batches;
        unimplemented!()
    }

    /// Moves the end forward without a batch (a copied log whose tail was compacted away); durable when this returns.
    pub fn advance_end(&mut self, to: Offset) -> Result<(), LogError> {
        let _ = to;
        unimplemented!()
    }

    /// First offset that may be read.
    pub fn start(&self) -> Offset {
        unimplemented!()
    }

    /// Offset of the next batch.
    pub fn end(&self) -> Offset {
        unimplemented!()
    }

    /// Everything below survives a power loss.
    pub fn flushed(&self) -> Offset {
        unimplemented!()
    }

    /// What is to be synced so that everything up to the present end is durable.
    pub fn flush_point(&self) -> FlushPoint {
        unimplemented!()
    }

    /// Takes note of a synced point; returns [`Log::flushed`] after it.
    pub fn flushed_to(&mut self, point: &FlushPoint) -> Offset {
        let _ = point;
        unimplemented!()
    }

    /// Nothing can be written from now on; reading goes on.
    pub fn close_writing(&mut self, why: impl Into<Arc<str>>) {
        let _ = why.into();
        unimplemented!()
    }

    /// Why the log is closed to writing, if it is.
    pub fn closed(&self) -> Option<Arc<str>> {
        unimplemented!()
    }

    /// Cuts off every batch that reaches to or beyond `end`; returns the new end, which is lower when `end` is inside a batch. Durable.
    pub fn truncate_to(&mut self, end: Offset) -> Result<Offset, LogError> {
        let _ = end;
        unimplemented!()
    }

    /// Moves the log's start, inside a batch too, and removes segments wholly below it. Durable. A start beyond the end moves the end as well.
    pub fn trim_to(&mut self, start: Offset) -> Result<(), LogError> {
        let _ = start;
        unimplemented!()
    }

    /// Removes segments that the limits give up and that end at or below `not_above`; returns the new start if it moved.
    pub fn retain(&mut self, limits: RetentionLimits, not_above: Offset) -> Result<Option<Offset>, LogError> {
        let _ = (limits, not_above);
        unimplemented!()
    }

    /// A reader beside the writer.
    pub fn reader(&self) -> LogReader {
        unimplemented!()
    }

    /// Whether a segment was sealed, or `checkpoint_bytes` were written, since the last checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        unimplemented!()
    }

    /// Writes the checkpoint.
    pub fn checkpoint(&mut self, extra: CheckpointExtra) -> Result<(), LogError> {
        self.prepare_checkpoint(extra).write()
    }

    /// The checkpoint as of now, to be written without the log's lock.
    pub fn prepare_checkpoint(&mut self, extra: CheckpointExtra) -> CheckpointWrite {
        let _ = extra;
        unimplemented!()
    }

    /// What the checkpoint last said beyond this crate's own: after opening, what was read.
    pub fn checkpoint_extra(&self) -> &CheckpointExtra {
        unimplemented!()
    }

    /// Gives back space that was reserved ahead. For a clean stop, after the last flush and checkpoint.
    pub fn close(&mut self) -> Result<(), LogError> {
        unimplemented!()
    }

    /// Other settings from now on.
    pub fn set_options(&mut self, options: LogOptions) {
        let _ = options;
        unimplemented!()
    }

    /// The settings.
    pub fn options(&self) -> &LogOptions {
        unimplemented!()
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        unimplemented!()
    }

    /// Bytes of batches.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        unimplemented!()
    }

    /// Deletes the directory.
    pub fn remove(self) -> io::Result<()> {
        unimplemented!()
    }
}

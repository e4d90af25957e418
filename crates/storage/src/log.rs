//! The writer's side of one log: a list of segments, the last one growing.
//!
//! Invariants: offsets ascend over the whole log; only the last segment is written; what a reader
//! can see was written before. A call that fails leaves the log as it was, or closed to writing
//! until it is opened again ([`Log::reopening`]): a failed sync always closes it, a failed write
//! unless the disk was full and what got there could be cut off. Not here: opening (`open.rs`),
//! taking back (`truncate.rs`), which batches are admitted (the partition), space ahead of the end
//! (`reserve.rs`).

use crate::{
    checkpoint::{CheckpointExtra, FILE},
    disk::Disk,
    durability::Durability,
    error::LogError,
    options::LogOptions,
    reader::LogReader,
    reserve::Reserve,
    roll::Timeless,
    segment::{Indexer, Segment, base_of},
    shared::Shared,
};
use gnomon_protocol::ids::Offset;
use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

/// One segment, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The offset that its files are named after.
    pub base: Offset,
    /// Offset after its last batch.
    pub end: Offset,
    /// Bytes of batches.
    pub bytes: u64,
    /// Largest timestamp in it, -1 for none.
    pub max_timestamp: i64,
}

/// One log, open for writing. The holder of `&mut` is the only writer; [`LogReader`]s and
/// [`FlushPoint`]s work beside it.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: LogOptions,
    /// As in `shared`: oldest first, the active one last.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) durability: Durability,
    pub(crate) indexer: Indexer,
    pub(crate) reserve: Reserve,
    pub(crate) closed: Option<Arc<str>>,
    /// The active segment, while its first batch has no timestamp.
    pub(crate) timeless: Option<Timeless>,
}

impl Log {
    pub(crate) fn new(
        shared: Shared,
        options: LogOptions,
        indexer: Indexer,
        durability: Durability,
    ) -> Log {
        Log {
            segments: shared.segments.load().to_vec(),
            shared: Arc::new(shared),
            options,
            durability,
            indexer,
            reserve: Reserve::default(),
            closed: None,
            timeless: None,
        }
    }

    /// Whether there is a log in `dir`, be it one whose segments are lost.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
        match disk.list(dir) {
            Ok(names) => Ok(names
                .iter()
                .any(|name| name == FILE || base_of(name).is_some())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a file of this name holds batches.
    pub fn is_segment(file_name: &str) -> bool {
        base_of(file_name).is_some()
    }

    /// First offset that may be read.
    pub fn start(&self) -> Offset {
        self.shared.start()
    }

    /// Offset of the next batch.
    pub fn end(&self) -> Offset {
        self.shared.end()
    }

    /// Everything below survives a power loss.
    pub fn flushed(&self) -> Offset {
        self.durability.durable().flushed
    }

    /// Nothing can be written from now on; reading goes on. The first reason stays.
    pub fn close_writing(&mut self, why: impl Into<Arc<str>>) {
        self.closed.get_or_insert_with(|| why.into());
    }

    /// Why the log is closed to writing, if it is.
    pub fn closed(&self) -> Option<Arc<str>> {
        let failed = self.shared.sync_failed.load(Ordering::Acquire);
        self.closed
            .clone()
            .or_else(|| failed.then(|| "a sync failed".into()))
    }

    pub(crate) fn check_writable(&self) -> Result<(), LogError> {
        if self.closed.is_none() && !self.shared.sync_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(LogError::Closed {
            why: self.closed().unwrap_or_else(|| "a sync failed".into()),
        })
    }

    /// A reader beside the writer.
    pub fn reader(&self) -> LogReader {
        LogReader {
            shared: self.shared.clone(),
        }
    }

    /// The partition's part of the last checkpoint: after opening, what was read.
    pub fn checkpoint_extra(&self) -> &CheckpointExtra {
        self.durability.extra()
    }

    /// Other settings from now on.
    pub fn set_options(&mut self, options: LogOptions) {
        self.indexer.interval = options.index_interval_bytes;
        self.options = options;
    }

    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Bytes of batches.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len()).sum()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let info = |segment: &Arc<Segment>| {
            let (bytes, end) = segment.extent();
            SegmentInfo {
                base: segment.base,
                end,
                bytes,
                max_timestamp: segment.max_timestamp(),
            }
        };
        self.segments.iter().map(info).collect()
    }

    /// Deletes the directory; its checkpoint first, so that one that is left never speaks of
    /// segments that were to go.
    pub fn remove(self) -> io::Result<()> {
        let Shared { disk, dir, .. } = &*self.shared;
        match disk.remove_file(&dir.join(FILE)) {
            Ok(()) => disk.sync_dir(dir)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        disk.remove_dir_all(dir)
    }

    /// The segment that is written.
    pub(crate) fn active(&self) -> &Arc<Segment> {
        self.segments
            .last()
            .expect("a log has at least one segment: nothing removes the last")
    }

    pub(crate) fn publish_segments(&self) {
        self.shared.segments.store(Arc::new(self.segments.clone()));
    }

    /// Whether space is reserved only because the log grows.
    pub fn has_reserved(&self) -> bool {
        self.options.reserve_bytes == 0 && self.reserve.until > self.active().len()
    }

    /// Gives back space that was reserved ahead: for a log that is not written any more, or for the
    /// present. Appending goes on working.
    pub fn release_reserved(&mut self) {
        let active = self.active().clone();
        self.reserve.give_back(&active);
    }
}

//! The writer's side of one log: a list of segments, the last one growing.
//!
//! Invariants: offsets ascend over the whole log; only the last segment is written; what a reader
//! can see was written before. A call that fails leaves the log as it was, or closed to writing
//! until it is opened again ([`Log::reopening`]): a failed sync always closes it, a failed write
//! unless the disk was full and what got there could be cut off. Not here: opening (`open.rs`),
//! taking back (`truncate.rs`), which batches are admitted (the partition), space ahead of the end
//! (`reserve.rs`).

use crate::{
    age::Timeless,
    checkpoint::{CheckpointExtra, CheckpointWrite, FILE, Gap, Summary},
    create,
    disk::{Boot, Disk},
    durability::{Durability, Durable},
    error::LogError,
    flush::FlushPoint,
    open::{self, Opened, Reopening},
    options::{LogOptions, RetentionLimits},
    reader::LogReader,
    reserve::Reserve,
    retention,
    roll::{Active, Incoming, Why, must_roll},
    segment::{Indexer, Segment, base_of},
    shared::Shared,
};
use gnomon_protocol::{batch::PlacedBatch, ids::Offset};
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Batches written without memory for their slices.
const SMALL_APPEND: usize = 16;

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

    /// Makes the directory and the first segment, both with durable names. `start` is where the
    /// first offset will be.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        start: Offset,
    ) -> Result<Log, LogError> {
        create::create(disk, dir, options, start)
    }

    /// Opens what is in `dir`, and repairs it as [`crate::recover`] says. What was cut off or is
    /// damaged is logged.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        boot: Boot,
    ) -> Result<Opened, LogError> {
        open::open(disk, dir, options, boot, None)
    }

    /// The way back from [`Log::closed`]: to be carried out without the log's lock, when no
    /// [`FlushPoint`] of this log is at work and nobody writes to it any more.
    pub fn reopening(&self) -> Reopening {
        Reopening {
            disk: self.shared.disk.clone(),
            dir: self.shared.dir.clone(),
            options: self.options.clone(),
            durable: self.durability.durable(),
        }
    }

    /// Appends whole batches, in one write per segment touched. Base offsets MUST NOT lie below
    /// [`Log::end`] (asserted); they may jump forward.
    ///
    /// # Errors
    /// Batches below [`Log::end`] are in, the others are not. [`LogError::is_disk_full`] and not
    /// [`Log::closed`]: the next append may do. Opening a log that was closed by this may find some
    /// of the others.
    pub fn append(&mut self, batches: &[PlacedBatch]) -> Result<(), LogError> {
        self.check_writable()?;
        let mut end = self.end();
        for batch in batches {
            assert!(
                batch.base_offset() >= end,
                "batch at {} in a log that ends at {end}",
                batch.base_offset()
            );
            end = batch.next_offset();
        }
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let mut active = self.active_facts();
            if let Some(why) = must_roll(&active, &incoming(first), &self.options) {
                self.roll(first.base_offset(), why)?;
                active = self.active_facts();
            }
            let mut count = 0;
            for batch in rest {
                let incoming = incoming(batch);
                if count > 0 && must_roll(&active, &incoming, &self.options).is_some() {
                    break;
                }
                active.bytes += incoming.bytes;
                active.first_timestamp = active.first_timestamp.or(Some(incoming.max_timestamp));
                count += 1;
            }
            let (run, behind) = rest.split_at(count);
            self.write_run(run)?;
            self.shared.set_end(self.active().end());
            rest = behind;
        }
        Ok(())
    }

    /// Writes batches to the active segment, all in one go.
    fn write_run(&mut self, run: &[PlacedBatch]) -> Result<(), LogError> {
        let segment = self.active().clone();
        let (len, _) = segment.extent();
        let bytes: u64 = run.iter().map(|batch| batch.total_bytes() as u64).sum();
        self.reserve.ahead_of(&segment, len + bytes, &self.options);
        let write = |slices: &mut [IoSlice<'_>]| {
            gnomon_failpoints::fail_point!("storage_append", |_| Err(io::Error::other(
                "fail point storage_append"
            )));
            gnomon_failpoints::fail_point!("ack_before_append", |_| Ok(()));
            gnomon_failpoints::fail_point!("swap_batches", |_| {
                slices.rotate_left(2);
                segment.file.write_all_at(slices, len)
            });
            segment.file.write_all_at(slices, len)
        };
        let written = if run.len() <= SMALL_APPEND {
            let mut slices = [IoSlice::new(&[]); 2 * SMALL_APPEND];
            for (pair, batch) in slices.chunks_exact_mut(2).zip(run) {
                pair[0] = IoSlice::new(batch.prefix());
                pair[1] = IoSlice::new(batch.body());
            }
            write(&mut slices[..2 * run.len()])
        } else {
            let mut slices: Vec<_> = run
                .iter()
                .flat_map(|batch| [IoSlice::new(batch.prefix()), IoSlice::new(batch.body())])
                .collect();
            write(&mut slices)
        };
        if let Err(source) = written {
            let error = LogError::Io {
                what: "write to",
                path: segment.path.clone(),
                source,
            };
            // What got there is not ours; if it cannot be taken away, recovery does it. Cutting
            // needs no space.
            let cut = segment.file.set_len(len);
            self.reserve.cut_off();
            if cut.is_err() || !error.is_disk_full() {
                self.close_writing(error.to_string());
            }
            return Err(error);
        }
        let mut position = len;
        let mut next_offset = segment.end();
        for batch in run {
            if let Some(entries) =
                self.indexer
                    .note(batch.header(), batch.max_timestamp(), position)
            {
                segment.grow(|loaded| entries.push_to(loaded));
            }
            position += batch.total_bytes() as u64;
            next_offset = batch.next_offset();
        }
        segment
            .max_timestamp
            .store(self.indexer.max_timestamp, Ordering::Release);
        segment.set_extent(position, next_offset);
        self.durability.written(bytes, run.len() as u64);
        Ok(())
    }

    /// Seals the active segment and begins another one where its batches end; at `base` when that
    /// is too far away to begin earlier.
    fn roll(&mut self, base: Offset, why: Why) -> Result<(), LogError> {
        let end = self.active().end();
        match why {
            Why::Bytes | Why::Age | Why::Index => self.begin_segment(end),
            Why::Offset => {
                // The only place where segments do not adjoin. The checkpoint must vouch for the
                // end of this one before the next one comes, or a start after a power loss would
                // take the jump for something missing.
                let point = self.flush_point();
                point
                    .sync()
                    .inspect_err(|error| self.close_writing(error.to_string()))?;
                self.flushed_to(&point);
                self.seal();
                // Sealed, and nothing behind it: there is no segment to write to if this fails.
                let next = self
                    .checkpoint_write()
                    .write()
                    .and_then(|()| self.create_segment(base));
                let segment = next.inspect_err(|error| self.close_writing(error.to_string()))?;
                self.push_segment(segment);
                Ok(())
            }
        }
    }

    /// The active segment is sealed once the next one is there: when that cannot be made, nothing
    /// has happened.
    pub(crate) fn begin_segment(&mut self, base: Offset) -> Result<(), LogError> {
        let segment = self.create_segment(base)?;
        self.seal();
        self.push_segment(segment);
        Ok(())
    }

    fn create_segment(&self, base: Offset) -> Result<Segment, LogError> {
        let created = Segment::create(
            &*self.shared.disk,
            &self.shared.dir,
            base,
            self.shared.generation(),
        );
        created.map_err(LogError::io("create segment in", &self.shared.dir))
    }

    fn push_segment(&mut self, segment: Segment) {
        self.indexer = Indexer::new(segment.base, self.options.index_interval_bytes);
        self.segments.push(Arc::new(segment));
        self.publish_segments();
    }

    /// Writes the active segment's indexes and gives back what was reserved. That the indexes could
    /// not be written is not fatal: they are rebuilt.
    fn seal(&mut self) {
        self.release_reserved();
        let segment = self.active().clone();
        segment.grow(|loaded| self.indexer.finish(&mut loaded.times));
        let summary = self.write_indexes(&segment, true);
        if let Some(summary) = summary {
            segment.unload(summary);
        }
        self.durability.sealed(summary);
    }

    /// The indexes of the active segment as they are now, in their files.
    fn write_indexes(&self, segment: &Segment, sealed: bool) -> Option<Summary> {
        let (len, end) = segment.extent();
        let mut summary = Summary {
            base: segment.base,
            end,
            len,
            first_timestamp: self.indexer.first_timestamp,
            max_timestamp: self.indexer.max_timestamp,
            offset_entries: 0,
            time_entries: 0,
            offset_crc: 0,
            time_crc: 0,
            sealed,
        };
        let written = segment
            .indexes(&*self.shared.disk)
            .and_then(|l| l.write(&*self.shared.disk, &segment.path, &mut summary));
        match written {
            Ok(()) => Some(summary),
            Err(error) => {
                tracing::warn!(segment = %segment.path.display(), %error, "index not written, it will be rebuilt");
                None
            }
        }
    }

    /// Moves the end forward without a batch (a copied log whose tail was compacted away); durable
    /// when this returns.
    pub fn advance_end(&mut self, to: Offset) -> Result<(), LogError> {
        self.check_writable()?;
        assert!(
            to >= self.end(),
            "the end moves from {} to {to}",
            self.end()
        );
        if to == self.end() {
            return Ok(());
        }
        self.settle_gap()?;
        let gap = Some(Gap {
            after: self.active().end(),
            to,
        });
        let before = self.durability.move_end(gap);
        if let Err(error) = self.checkpoint(self.durability.extra().clone()) {
            self.durability.move_end(before);
            return Err(error);
        }
        self.shared.set_end(to);
        Ok(())
    }

    /// Makes what is written behind the last move of the end durable: another move takes its place
    /// in the checkpoint.
    pub(crate) fn settle_gap(&mut self) -> Result<(), LogError> {
        if self
            .durability
            .unsettled_gap()
            .is_some_and(|gap| gap.after < self.active().end())
        {
            let point = self.flush_point();
            point.sync()?;
            self.flushed_to(&point);
        }
        Ok(())
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

    /// What is to be synced so that everything up to the present end is durable.
    pub fn flush_point(&self) -> FlushPoint {
        let generation = self.shared.generation();
        let mut point = FlushPoint {
            shared: self.shared.clone(),
            end: self.end(),
            data_end: self.active().end(),
            generation,
            last: None,
            older: Vec::new(),
            done: AtomicBool::new(false),
        };
        for segment in self.segments.iter().rev() {
            let (len, end) = segment.extent();
            let named = segment.name_synced.load(Ordering::Acquire);
            if named && end <= self.flushed() {
                break;
            }
            if named && segment.is_synced(generation, len) {
                continue;
            }
            match point.last {
                None => point.last = Some((segment.clone(), len)),
                Some(_) => point.older.push((segment.clone(), len)),
            }
        }
        point.older.reverse();
        point
    }

    /// Takes note of a synced point; returns [`Log::flushed`] after it, which does not move when
    /// the log was truncated since.
    pub fn flushed_to(&mut self, point: &FlushPoint) -> Offset {
        assert!(
            point.is_done(),
            "a flush point counts only once its sync has succeeded"
        );
        if point.generation == self.shared.generation() {
            self.durability.synced(Durable {
                flushed: point.end,
                flushed_data: point.data_end,
            });
        }
        self.flushed()
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

    /// Where the log would start if [`Log::retain`] ran now; `None` if it would stay.
    pub fn retention_start(&self, limits: RetentionLimits, not_above: Offset) -> Option<Offset> {
        match retention::removable(&self.candidates(limits), limits, not_above) {
            0 => None,
            count => Some(
                self.segments
                    .get(count)
                    .map_or(self.end(), |segment| segment.base),
            ),
        }
    }

    /// Removes segments that the limits give up and that end at or below `not_above`; returns the
    /// new start if it moved. When the active segment is too old as well, another one is begun
    /// first. A full disk does not keep it from making room: then the segments are gone for good
    /// before a checkpoint says so, and one that cannot be written is no failure of this call.
    pub fn retain(
        &mut self,
        limits: RetentionLimits,
        not_above: Offset,
    ) -> Result<Option<Offset>, LogError> {
        let mut count = retention::removable(&self.candidates(limits), limits, not_above);
        if count == self.segments.len() {
            self.check_writable()?;
            match self.begin_segment(self.active().end()) {
                Ok(()) => {}
                Err(full) if full.is_disk_full() => count -= 1,
                Err(error) => return Err(error),
            }
        }
        if count == 0 {
            return Ok(None);
        }
        let start = self
            .segments
            .get(count)
            .map_or(self.end(), |segment| segment.base);
        let before = self.start();
        match self.trim_to(start) {
            // The checkpoint's start may lag: what is gone is gone, and then there is room for it,
            // mostly.
            Err(full) if full.is_disk_full() => {
                self.trim_unnoted(start, count);
                if let Err(error) = self.checkpoint_write().write() {
                    tracing::warn!(%error, start, "where the log starts now is noted by the next checkpoint");
                    self.durability.start_not_noted();
                }
            }
            trimmed => trimmed?,
        }
        Ok((start > before).then_some(start))
    }

    /// A reader beside the writer.
    pub fn reader(&self) -> LogReader {
        LogReader {
            shared: self.shared.clone(),
        }
    }

    /// Whether a segment was sealed, or [`LogOptions::checkpoint_bytes`] or that many batches were
    /// written, since the last checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        self.durability.checkpoint_due(&self.options)
    }

    /// Whether index files that were missing or wrong have been written again, which only a
    /// checkpoint makes known to the next start.
    pub fn has_rebuilt(&self) -> bool {
        self.segments.iter().any(|segment| segment.is_rewritten())
    }

    /// Writes the checkpoint.
    pub fn checkpoint(&mut self, extra: CheckpointExtra) -> Result<(), LogError> {
        self.prepare_checkpoint(extra).write()
    }

    /// The checkpoint as of now, to be written without the log's lock. Writes the active segment's
    /// index files, unsynced.
    pub fn prepare_checkpoint(&mut self, extra: CheckpointExtra) -> CheckpointWrite {
        self.durability.set_extra(extra);
        let active = self.active().clone();
        let has_index = active
            .indexes(&*self.shared.disk)
            .is_ok_and(|loaded| !loaded.offsets.is_empty());
        let covered = if has_index {
            self.write_indexes(&active, false)
        } else {
            None
        };
        let rewritten = self.segments.iter().map(|segment| segment.take_rewritten());
        self.durability.indexed(rewritten, covered);
        self.checkpoint_write()
    }

    pub(crate) fn checkpoint_write(&mut self) -> CheckpointWrite {
        let (sequence, content) = self.durability.checkpoint(self.start());
        CheckpointWrite {
            shared: self.shared.clone(),
            sequence,
            content,
        }
    }

    /// What the checkpoint last said beyond this crate's own: after opening, what was read.
    pub fn checkpoint_extra(&self) -> &CheckpointExtra {
        self.durability.extra()
    }

    /// Other settings from now on.
    pub fn set_options(&mut self, options: LogOptions) {
        self.indexer.interval = options.index_interval_bytes;
        self.options = options;
    }

    /// The settings.
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Where it lies.
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

    pub(crate) fn active_facts(&self) -> Active {
        let segment = self.active();
        let index_entries = segment
            .indexes(&*self.shared.disk)
            .map_or(0, |loaded| loaded.offsets.len());
        Active {
            base: segment.base,
            bytes: segment.len(),
            first_timestamp: (self.indexer.first_timestamp >= 0)
                .then_some(self.indexer.first_timestamp),
            index_bytes: index_entries as u64 * 8,
        }
    }
}

fn incoming(batch: &PlacedBatch) -> Incoming {
    let header = batch.header();
    Incoming {
        bytes: batch.total_bytes() as u64,
        last_offset: header.last_offset(),
        max_timestamp: batch.max_timestamp(),
    }
}

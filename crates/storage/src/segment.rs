//! One segment: a file of whole batches one after another, and its two indexes.
//!
//! Invariants: `len` and `end` change together (one atomic), so a reader that sees a length knows
//! exactly which batches are in it; bytes below `len` never change, except by a truncation, which
//! raises the log's generation first. The active segment's indexes grow in memory; a sealed one's
//! are mapped when first used, after their checksum was compared with the checkpoint's, and rebuilt
//! from the segment when they are missing or wrong. Not here: the order of segments (`log.rs`),
//! reading ranges (`reader.rs`).

use crate::{
    checkpoint::Summary,
    disk::{Disk, DiskFile, OpenMode, ReadWait},
    index::{Entry, OffsetEntry, Table},
    looked::Looked,
    resync::{Search, resync},
    time_index::{TimeEntry, max_timestamp},
    verified::Verified,
    walk::{Step, Walk},
};
use gnomon_protocol::{batch::BatchHeader, ids::Offset};
use parking_lot::{MappedRwLockReadGuard, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

pub(crate) struct Segment {
    pub base: Offset,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    /// End offset less base in the upper half, bytes in the lower.
    extent: AtomicU64,
    pub max_timestamp: AtomicI64,
    indexes: RwLock<Indexes>,
    /// Summary of index files that were missing or wrong and have been written again: for the next
    /// checkpoint.
    rewritten: Mutex<Option<Summary>>,
    rebuilt: AtomicBool,
    /// Bytes below this position come from another process, and are verified before they are
    /// served.
    unverified_below: AtomicU64,
    pub verified: Mutex<Verified>,
    pub synced: Mutex<Synced>,
    pub name_synced: AtomicBool,
    /// Its newest batch, as far as somebody has asked for it.
    pub looked: Mutex<Looked>,
}

/// How much of the file is durable, for one generation of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Synced {
    pub generation: u64,
    pub len: u64,
}

/// Both indexes, usable.
pub(crate) struct Loaded {
    pub offsets: Table<OffsetEntry>,
    pub times: Table<TimeEntry>,
}

/// Where to begin a walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    pub position: u64,
    /// The first batch there does not begin below.
    pub lowest: Offset,
}

enum Indexes {
    Loaded(Loaded),
    /// On disk, with these checksums.
    Unread(Summary),
}

/// The state of a segment when it is opened.
pub(crate) struct Content {
    pub len: u64,
    pub end: Offset,
    pub max_timestamp: i64,
    pub synced: Synced,
    pub name_synced: bool,
    pub verified: Verified,
}

fn in_memory(indexes: RwLockReadGuard<'_, Indexes>) -> Option<MappedRwLockReadGuard<'_, Loaded>> {
    RwLockReadGuard::try_map(indexes, |indexes| match indexes {
        Indexes::Loaded(loaded) => Some(loaded),
        Indexes::Unread(_) => None,
    })
    .ok()
}

impl Segment {
    /// A segment whose indexes are in memory.
    pub fn new(
        base: Offset,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        content: Content,
        indexes: Loaded,
    ) -> Segment {
        Segment::with(base, path, file, content, Indexes::Loaded(indexes))
    }

    /// A sealed segment whose indexes are read when first used.
    pub fn sealed(
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        content: Content,
        summary: Summary,
    ) -> Segment {
        Segment::with(summary.base, path, file, content, Indexes::Unread(summary))
    }

    fn with(
        base: Offset,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        content: Content,
        indexes: Indexes,
    ) -> Segment {
        let segment = Segment {
            base,
            path,
            file,
            extent: AtomicU64::new(0),
            max_timestamp: AtomicI64::new(content.max_timestamp),
            indexes: RwLock::new(indexes),
            rewritten: Mutex::new(None),
            rebuilt: AtomicBool::new(false),
            unverified_below: AtomicU64::new(content.len),
            verified: Mutex::new(content.verified),
            synced: Mutex::new(content.synced),
            name_synced: AtomicBool::new(content.name_synced),
            looked: Mutex::new(Looked::nothing(content.synced.generation, base)),
        };
        segment.set_extent(content.len, content.end);
        segment
    }

    /// An empty segment in a new file, whose name is not durable yet.
    pub fn create(
        disk: &dyn Disk,
        dir: &Path,
        base: Offset,
        generation: u64,
    ) -> io::Result<Segment> {
        let path = log_path(dir, base);
        let file = disk.open(&path, OpenMode::Create)?;
        let synced = Synced { generation, len: 0 };
        let content = Content {
            len: 0,
            end: base,
            max_timestamp: -1,
            synced,
            name_synced: false,
            verified: Verified::default(),
        };
        Ok(Segment::new(base, path, file, content, Loaded::empty()))
    }

    /// Bytes of whole batches, and the offset after the last of them.
    pub fn extent(&self) -> (u64, Offset) {
        let packed = self.extent.load(Ordering::Acquire);
        (
            packed & u64::from(u32::MAX),
            self.base + (packed >> 32) as i64,
        )
    }

    pub fn len(&self) -> u64 {
        self.extent().0
    }

    pub fn end(&self) -> Offset {
        self.extent().1
    }

    /// Publishes a new extent. An end too far off to be expressed (only a damaged log's can be) is
    /// brought near.
    pub fn set_extent(&self, len: u64, end: Offset) {
        let relative = u64::try_from(end - self.base)
            .unwrap_or(0)
            .min(u64::from(u32::MAX));
        assert!(len <= u64::from(u32::MAX), "a segment of {len} bytes");
        self.extent.store(relative << 32 | len, Ordering::Release);
    }

    pub fn unverified_below(&self) -> u64 {
        self.unverified_below.load(Ordering::Acquire)
    }

    /// The file was cut at `len`: what comes behind is ours.
    pub fn cut_verification(&self, len: u64) {
        self.unverified_below.fetch_min(len, Ordering::AcqRel);
        self.verified.lock().truncate(len);
    }

    /// Whether the bytes may be served as they are; without patience as far as that can be said
    /// without waiting for a verification.
    pub fn is_clean(&self, start: u64, stop: u64, wait: ReadWait) -> bool {
        let unverified_below = self.unverified_below();
        let verified = || {
            self.verified(wait)
                .is_ok_and(|verified| verified.is_clean(start, stop.min(unverified_below)))
        };
        start >= unverified_below || verified()
    }

    /// The ranges that were verified so far. Held while more is.
    pub fn verified(&self, wait: ReadWait) -> io::Result<MutexGuard<'_, Verified>> {
        match wait {
            ReadWait::Waits => Ok(self.verified.lock()),
            ReadWait::Never => self
                .verified
                .try_lock()
                .ok_or_else(|| io::ErrorKind::WouldBlock.into()),
        }
    }

    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp.load(Ordering::Acquire)
    }

    /// Whether the first `len` bytes, of that generation, are durable.
    pub fn is_synced(&self, generation: u64, len: u64) -> bool {
        let synced = *self.synced.lock();
        synced.generation == generation && synced.len >= len
    }

    /// Nothing happens when the file was cut meanwhile.
    pub fn note_synced(&self, now: Synced) {
        let mut synced = self.synced.lock();
        if synced.generation == now.generation {
            synced.len = synced.len.max(now.len);
        }
    }

    /// The indexes; loads, or rebuilds, them first if need be.
    pub fn indexes(&self, disk: &dyn Disk) -> io::Result<MappedRwLockReadGuard<'_, Loaded>> {
        if let Some(loaded) = self.loaded() {
            return Ok(loaded);
        }
        let mut indexes = self.indexes.write();
        if let Indexes::Unread(summary) = &*indexes {
            let loaded = match Loaded::read(disk, &self.path, summary)? {
                Some(loaded) => loaded,
                None => self.rebuild_indexes(disk, *summary)?,
            };
            *indexes = Indexes::Loaded(loaded);
        }
        drop(indexes);
        self.loaded()
            .ok_or_else(|| io::Error::other("index was sealed while it was loaded"))
    }

    fn rebuild_indexes(&self, disk: &dyn Disk, mut summary: Summary) -> io::Result<Loaded> {
        tracing::warn!(segment = %self.path.display(), "index is missing or wrong, rebuilt from the segment");
        let loaded = Loaded::rebuild(&self.file, self.base, self.len())?;
        self.rebuilt.store(true, Ordering::Release);
        match loaded.write(disk, &self.path, &mut summary) {
            Ok(()) => *self.rewritten.lock() = Some(summary),
            Err(error) => {
                tracing::warn!(segment = %self.path.display(), %error, "rebuilt index not written, it is kept in memory")
            }
        }
        Ok(loaded)
    }

    /// Whether the index files had to be rebuilt since the log was opened.
    pub fn was_rebuilt(&self) -> bool {
        self.rebuilt.load(Ordering::Acquire)
    }

    /// Whether a checkpoint would say something new of the index files.
    pub fn is_rewritten(&self) -> bool {
        self.rewritten.lock().is_some()
    }

    /// The summary of index files that were written again, for the next checkpoint; once.
    pub fn take_rewritten(&self) -> Option<Summary> {
        self.rewritten.lock().take()
    }

    fn loaded(&self) -> Option<MappedRwLockReadGuard<'_, Loaded>> {
        in_memory(self.indexes.read())
    }

    /// The indexes; without patience if they are in memory, and nobody loads or changes them at
    /// this moment.
    fn indexes_with(
        &self,
        disk: &dyn Disk,
        wait: ReadWait,
    ) -> io::Result<MappedRwLockReadGuard<'_, Loaded>> {
        match wait {
            ReadWait::Waits => self.indexes(disk),
            ReadWait::Never => self
                .indexes
                .try_read()
                .and_then(in_memory)
                .ok_or_else(|| io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The entry of the last indexed batch that ends at or below `offset`, and the end of the one
    /// indexed before it: no batch from the entry's on begins below that.
    pub fn anchor(&self, disk: &dyn Disk, offset: Offset, wait: ReadWait) -> io::Result<Anchor> {
        let loaded = self.indexes_with(disk, wait)?;
        let count = loaded
            .offsets
            .partition_point(|entry| self.base + i64::from(entry.last) <= offset);
        let before = count.checked_sub(2).and_then(|at| loaded.offsets.get(at));
        let lowest = before.map_or(self.base, |entry| self.base + i64::from(entry.last) + 1);
        let at = count.checked_sub(1).and_then(|at| loaded.offsets.get(at));
        Ok(Anchor {
            position: at.map_or(0, |entry| u64::from(entry.position)),
            lowest,
        })
    }

    /// Position of the last indexed batch that ends below `upper` and begins at or before
    /// `position`.
    pub fn jump(
        &self,
        disk: &dyn Disk,
        position: u64,
        upper: Offset,
        wait: ReadWait,
    ) -> io::Result<Option<u64>> {
        let loaded = self.indexes_with(disk, wait)?;
        let floor = loaded
            .offsets
            .floor(|e| self.base + i64::from(e.last) < upper && u64::from(e.position) <= position);
        Ok(floor.map(|entry| u64::from(entry.position)))
    }

    /// The indexed batches from `start` up to the first one at or after `stop`, that one included.
    pub fn anchors(&self, disk: &dyn Disk, start: u64, stop: u64) -> io::Result<Vec<OffsetEntry>> {
        let loaded = self.indexes(disk)?;
        let first = loaded
            .offsets
            .partition_point(|entry| u64::from(entry.position) < start);
        let last = loaded
            .offsets
            .partition_point(|entry| u64::from(entry.position) < stop);
        Ok((first..=last)
            .map_while(|at| loaded.offsets.get(at))
            .collect())
    }

    /// Last offset of a batch from which on to look for the first record of at least that
    /// timestamp.
    pub fn time_floor(&self, disk: &dyn Disk, timestamp: i64) -> io::Result<Offset> {
        let floor = self
            .indexes(disk)?
            .times
            .floor(|entry| entry.timestamp <= timestamp);
        Ok(floor.map_or(self.base, |entry| self.base + i64::from(entry.last)))
    }

    /// Changes the indexes of the active segment.
    pub fn grow(&self, change: impl FnOnce(&mut Loaded)) {
        match &mut *self.indexes.write() {
            Indexes::Loaded(loaded) => change(loaded),
            Indexes::Unread(_) => {
                debug_assert!(false, "the active segment's indexes are in memory")
            }
        }
    }

    /// Replaces the indexes.
    pub fn set_indexes(&self, loaded: Loaded) {
        *self.indexes.write() = Indexes::Loaded(loaded);
    }

    /// From now on the indexes are read from their files when they are used.
    pub fn unload(&self, summary: Summary) {
        *self.indexes.write() = Indexes::Unread(summary);
    }
}

impl Loaded {
    pub fn empty() -> Loaded {
        Loaded::growing(Vec::new(), Vec::new())
    }

    pub fn growing(offsets: Vec<OffsetEntry>, times: Vec<TimeEntry>) -> Loaded {
        Loaded {
            offsets: Table::Growing(offsets),
            times: Table::Growing(times),
        }
    }

    /// The index files beside the segment at `path`; `None` unless they are exactly those that were
    /// written.
    pub fn read(disk: &dyn Disk, path: &Path, summary: &Summary) -> io::Result<Option<Loaded>> {
        let offsets = read_table(
            disk,
            &path.with_extension("index"),
            summary.offset_entries,
            summary.offset_crc,
        )?;
        let times = read_table(
            disk,
            &path.with_extension("timeindex"),
            summary.time_entries,
            summary.time_crc,
        )?;
        Ok(offsets
            .zip(times)
            .map(|(offsets, times)| Loaded { offsets, times }))
    }

    /// The indexes of the batches in `[0, len)`, as far as they can be walked over.
    fn rebuild(file: &Arc<dyn DiskFile>, base: Offset, len: u64) -> io::Result<Loaded> {
        let mut loaded = Loaded::empty();
        let mut indexer = Indexer::new(base, crate::LogOptions::default().index_interval_bytes);
        let below = base + i64::from(i32::MAX) + 1;
        let mut walk = Walk::new(file.clone(), 0, len);
        let mut lowest = base;
        loop {
            let position = walk.position;
            match walk.next()? {
                Step::Batch(header)
                    if header.base_offset >= lowest && header.next_offset() <= below =>
                {
                    lowest = header.next_offset();
                    let timestamp = max_timestamp(&**file, &header, position)?;
                    if let Some(entries) = indexer.note(&header, timestamp, position) {
                        entries.push_to(&mut loaded);
                    }
                }
                Step::Batch(_) | Step::Bad(_) => {
                    let search = Search {
                        from: position + 1,
                        end: len,
                        lowest,
                        below,
                        target: None,
                    };
                    match resync(file, &search)? {
                        Some((found, _)) => walk.position = found,
                        None => break,
                    }
                }
                Step::End => break,
            }
        }
        Ok(loaded)
    }

    /// Writes both files beside the segment at `path`; not synced, the checksums in the summary
    /// tell whether they came through.
    pub fn write(&self, disk: &dyn Disk, path: &Path, summary: &mut Summary) -> io::Result<()> {
        let (offsets, times) = (self.offsets.encode(), self.times.encode());
        for (extension, bytes) in [("index", &offsets), ("timeindex", &times)] {
            let path = path.with_extension(extension);
            // A new file, not the old one changed: the old one may be mapped.
            match disk.remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            disk.open(&path, OpenMode::Create)?
                .write_all_at(&mut [IoSlice::new(bytes)], 0)?;
        }
        summary.offset_entries = self.offsets.len() as u32;
        summary.time_entries = self.times.len() as u32;
        summary.offset_crc = crc32fast::hash(&offsets);
        summary.time_crc = crc32fast::hash(&times);
        Ok(())
    }
}

/// An index file; `None` unless it is exactly the one that was written.
pub(crate) fn read_table<E: Entry>(
    disk: &dyn Disk,
    path: &Path,
    entries: u32,
    crc: u32,
) -> io::Result<Option<Table<E>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = entries as usize * E::BYTES;
    if file.len()? != bytes as u64 {
        return Ok(None);
    }
    let mapped = file.map(bytes)?;
    Ok((crc32fast::hash(&mapped) == crc).then_some(Table::Sealed(mapped)))
}

/// Decides which batches get index entries, as Kafka does: the first one after every `interval`
/// bytes.
#[derive(Clone, Debug)]
pub(crate) struct Indexer {
    base: Offset,
    pub interval: u32,
    since: u64,
    pub first_timestamp: i64,
    pub max_timestamp: i64,
    max_timestamp_last: u32,
}

/// Entries for one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries {
    offset: OffsetEntry,
    time: TimeEntry,
}

impl Entries {
    pub fn push_to(self, loaded: &mut Loaded) {
        loaded.offsets.push(self.offset);
        push_time(&mut loaded.times, self.time);
    }
}

fn push_time(times: &mut Table<TimeEntry>, entry: TimeEntry) {
    if entry.timestamp >= 0
        && times
            .last()
            .is_none_or(|last| last.timestamp < entry.timestamp)
    {
        times.push(entry);
    }
}

impl Indexer {
    pub fn new(base: Offset, interval: u32) -> Indexer {
        Indexer {
            base,
            interval,
            since: 0,
            first_timestamp: -1,
            max_timestamp: -1,
            max_timestamp_last: 0,
        }
    }

    /// Takes note of the batch at `position`, whose largest timestamp is `max_timestamp`: the
    /// header's may be wrong.
    pub fn note(
        &mut self,
        header: &BatchHeader,
        max_timestamp: i64,
        position: u64,
    ) -> Option<Entries> {
        let last = u32::try_from(header.last_offset() - self.base).unwrap_or(u32::MAX);
        if self.first_timestamp < 0 {
            self.first_timestamp = max_timestamp;
        }
        if max_timestamp > self.max_timestamp {
            (self.max_timestamp, self.max_timestamp_last) = (max_timestamp, last);
        }
        let due = self.since > u64::from(self.interval);
        if due {
            self.since = 0;
        }
        self.since += header.total_bytes() as u64;
        due.then(|| Entries {
            offset: OffsetEntry {
                last,
                position: position as u32,
            },
            time: self.time_entry(),
        })
    }

    /// The entry that a time index ends with.
    pub fn finish(&self, times: &mut Table<TimeEntry>) {
        push_time(times, self.time_entry());
    }

    fn time_entry(&self) -> TimeEntry {
        TimeEntry {
            timestamp: self.max_timestamp,
            last: self.max_timestamp_last,
        }
    }

    /// The state after a prefix of a segment, so that going on at the returned position gives the
    /// same entries as having come all the way: keeps the entries of batches that end at or below
    /// `below` and lie before `position_below`, less the last one, which comes again.
    pub fn resume(
        base: Offset,
        interval: u32,
        first_timestamp: i64,
        loaded: &Loaded,
        below: Offset,
        position_below: u64,
    ) -> (Indexer, Loaded, u64) {
        let keeps = loaded.offsets.partition_point(|e| {
            base + i64::from(e.last) < below && u64::from(e.position) < position_below
        });
        let Some(kept) = keeps.checked_sub(1) else {
            return (Indexer::new(base, interval), Loaded::empty(), 0);
        };
        let position = loaded
            .offsets
            .get(kept)
            .map_or(0, |entry| u64::from(entry.position));
        let offsets = loaded.offsets.head(kept);
        // Largest timestamps of batches up to that one: when it comes again, it adds none twice.
        let again = loaded.offsets.get(kept).map_or(0, |entry| entry.last);
        let times = loaded
            .times
            .head(loaded.times.partition_point(|e| e.last <= again));
        let top = times.last().copied().unwrap_or(TimeEntry {
            timestamp: -1,
            last: 0,
        });
        let indexer = Indexer {
            base,
            interval,
            since: u64::from(interval) + 1,
            first_timestamp,
            max_timestamp: top.timestamp,
            max_timestamp_last: top.last,
        };
        (indexer, Loaded::growing(offsets, times), position)
    }
}

/// The name of a segment's file.
pub(crate) fn log_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// The base offset in the name of a segment's file.
pub(crate) fn base_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

//! Looks whether a log is what was written, and what opening it would do; changes nothing, and may
//! be asked while a process writes the log.
//!
//! It opens the log on a disk that forgets ([`DryDisk`]) and reads all of it, so that it finds
//! exactly what a start and the readers after it would. Limit: of a log that is written meanwhile
//! it sees a moment that never was, if a segment goes or the checkpoint is replaced between two
//! looks; who finds something looks again.

use crate::{
    checkpoint::{self, Checkpoint, FILE, OnDisk},
    disk::{Boot, Disk, DryDisk},
    error::{LogError, ReadError},
    flush::SYNC_FAILED_FILE,
    health::FoundDamage,
    index::OffsetEntry,
    log::Log,
    options::LogOptions,
    reader::LogReader,
    recover::Cut,
    segment::{base_of, log_path, read_table},
    time_index::TimeEntry,
};
use gnomon_protocol::ids::Offset;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The state of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// First offset that can be read.
    pub start: Offset,
    /// The offset after the last that can be read.
    pub end: Offset,
    /// The flushed offset of the checkpoint; `None` without a checkpoint.
    pub flushed: Option<Offset>,
    /// Files of batches.
    pub segments: usize,
    /// Whole batches from `start` on, with right checksums.
    pub batches: u64,
    /// Bytes of batches, damage included.
    pub bytes: u64,
    /// Records that are lost; by offset.
    pub damage: Vec<FoundDamage>,
    /// The end that the next start cuts off: a write that was not completed, or is under way.
    pub unfinished: Option<Cut>,
    /// Files that hold no records and are not what was written: rebuilt when they are needed.
    pub wrong: Vec<WrongFile>,
    /// Why there is nothing left of it, for callers who know that there was something: [`check`]
    /// does not.
    pub lost: Option<String>,
}

/// A file that can be rebuilt and has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongFile {
    pub file: PathBuf,
    /// The fault, and its consequence: half a sentence.
    pub why: String,
}

impl Checked {
    /// Whether everything is what was written. An unfinished write at the end is.
    pub fn is_clean(&self) -> bool {
        self.lost.is_none() && self.damage.is_empty() && self.wrong.is_empty()
    }
}

/// Checks the log in `dir`. `boot`: as for [`Log::open`].
pub fn check(disk: &Arc<dyn Disk>, dir: &Path, boot: Boot) -> Result<Checked, LogError> {
    let mut checked = Checked::default();
    let checkpoint = match checkpoint::load(&**disk, dir)? {
        OnDisk::Valid(checkpoint) => Some(*checkpoint),
        OnDisk::Absent => None,
        OnDisk::Damaged => {
            let why = "is not what was written: everything is scanned, and the log's start may be an earlier one".into();
            checked.wrong.push(WrongFile {
                file: dir.join(FILE),
                why,
            });
            None
        }
    };
    let names = disk.list(dir).map_err(LogError::io("list", dir))?;
    if !names.iter().any(|name| base_of(name).is_some()) {
        if let Some(Checkpoint { start, flushed, .. }) = checkpoint {
            (checked.start, checked.end, checked.flushed) = (start, flushed, Some(flushed));
            let gone = FoundDamage {
                file: dir.to_owned(),
                position: 0,
                bytes: 0,
                from: start,
                to: flushed,
            };
            checked.damage.extend((start < flushed).then_some(gone));
        }
        return Ok(checked);
    }
    let dry: Arc<dyn Disk> = Arc::new(DryDisk::new(disk.clone()));
    let opened = Log::open(dry, dir.to_owned(), LogOptions::default(), boot)?;
    let log = opened.log;
    (checked.start, checked.end, checked.bytes) = (log.start(), log.end(), log.size_bytes());
    checked.unfinished = opened.recovered.cut;
    checked.segments = log
        .segments()
        .iter()
        .filter(|segment| segment.bytes > 0 || segment.end > segment.base)
        .count();
    if let Some(checkpoint) = &checkpoint {
        checked.flushed = Some(checkpoint.flushed);
        checked
            .damage
            .extend(gone_at_the_start(dir, checkpoint, &log));
        indexes(&**disk, dir, checkpoint, &mut checked)?;
    }
    if disk
        .exists(&dir.join(SYNC_FAILED_FILE))
        .map_err(LogError::io("look into", dir))?
    {
        let why = "a sync failed: the next start writes again what it did not cover".into();
        checked.wrong.push(WrongFile {
            file: dir.join(SYNC_FAILED_FILE),
            why,
        });
    }
    read(&log.reader(), dir, &mut checked)?;
    Ok(checked)
}

/// The first segments are not there any more, but the checkpoint does not say that they were to go.
fn gone_at_the_start(dir: &Path, checkpoint: &Checkpoint, log: &Log) -> Option<FoundDamage> {
    let first = log
        .segments()
        .first()
        .map_or(checkpoint.start, |segment| segment.base);
    (checkpoint.start < first && checkpoint.start < checkpoint.flushed).then(|| FoundDamage {
        file: log_path(dir, checkpoint.start),
        position: 0,
        bytes: 0,
        from: checkpoint.start,
        to: first,
    })
}

/// The index files that the checkpoint vouches for.
fn indexes(
    disk: &dyn Disk,
    dir: &Path,
    checkpoint: &Checkpoint,
    checked: &mut Checked,
) -> Result<(), LogError> {
    for summary in checkpoint.segments.iter().filter(|summary| summary.sealed) {
        let log = log_path(dir, summary.base);
        // Gone with the log's start, or found missing by the opening.
        if !disk.exists(&log).map_err(LogError::io("look at", &log))? {
            continue;
        }
        let (index, times) = (log.with_extension("index"), log.with_extension("timeindex"));
        let index_right =
            read_table::<OffsetEntry>(disk, &index, summary.offset_entries, summary.offset_crc);
        let times_right =
            read_table::<TimeEntry>(disk, &times, summary.time_entries, summary.time_crc);
        for (file, right) in [
            (index, index_right.map(|table| table.is_some())),
            (times, times_right.map(|table| table.is_some())),
        ] {
            if !right.map_err(LogError::io("read", &file))? {
                checked.wrong.push(WrongFile {
                    file,
                    why: "is missing or not what was written: rebuilt when it is used".into(),
                });
            }
        }
    }
    Ok(())
}

/// Reads, and thereby verifies, every batch.
fn read(reader: &LogReader, dir: &Path, checked: &mut Checked) -> Result<(), LogError> {
    let mut met = Vec::new();
    for item in reader.headers(checked.start) {
        match item {
            Ok(_) => checked.batches += 1,
            Err(ReadError::Damaged { from, to }) => met.push((from, to)),
            Err(ReadError::BelowStart { .. } | ReadError::AboveEnd { .. }) => break,
            Err(ReadError::Io(source)) => {
                return Err(LogError::Io {
                    what: "read",
                    path: dir.to_owned(),
                    source,
                });
            }
        }
    }
    checked.damage.extend(reader.health().damage);
    // What changed between two looks has no place in a file.
    met.retain(|(from, to)| {
        !checked
            .damage
            .iter()
            .any(|damage| damage.from < *to && *from < damage.to)
    });
    checked
        .damage
        .extend(met.into_iter().map(|(from, to)| FoundDamage {
            file: dir.to_owned(),
            position: 0,
            bytes: 0,
            from,
            to,
        }));
    Ok(())
}

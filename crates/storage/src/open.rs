//! Making a log, and opening one: its segments (`open/opener.rs`), its end, and what a start that
//! was cut short left undone.
//!
//! Invariants: nothing that was synced is removed; what is removed is counted and logged; a segment
//! that the checkpoint vouches for is not even opened for reading its bytes (it is verified when it
//! is read). Not here: the decisions (`recover.rs`), the looking (`scan.rs`).

mod opener;

use crate::{
    checkpoint::{self, Checkpoint, CheckpointExtra, OnDisk, Summary},
    disk::{Boot, Disk, OpenMode, ReadWait},
    error::LogError,
    flush::{SYNC_FAILED_FILE, leave_mark},
    log::Log,
    options::LogOptions,
    segment::{Indexer, Segment, base_of, log_path},
    shared::{self, Shared},
};
use gnomon_protocol::ids::Offset;
use opener::Opener;
use std::{
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

/// Bytes rewritten at once after a failed sync.
const REWRITE_CHUNK: usize = 1 << 20;

/// What a log knows to be durable beyond what its checkpoint says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durable {
    pub flushed: Offset,
    pub flushed_data: Offset,
}

/// A log that was closed to writing, to be opened again under the same process. `Send`.
pub struct Reopening {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) durable: Durable,
}

impl Reopening {
    /// Notes in the log's folder that it is not to be believed, for a start that may come first.
    /// While this fails the disk does not work.
    pub fn mark(&self) -> Result<(), LogError> {
        leave_mark(&*self.disk, &self.dir)
    }

    /// Opens the log from what the disk has, as after a power loss: what was durable stays, damaged
    /// or not; what lies behind it and is whole is written again and synced, because the kernel may
    /// show bytes that the disk never got; the rest is cut off. Blocks.
    pub fn open(&self) -> Result<Opened, LogError> {
        open(
            self.disk.clone(),
            self.dir.clone(),
            self.options.clone(),
            Boot::Other,
            Some(self.durable),
        )
    }
}

/// An open log and what opening it did.
pub struct Opened {
    /// Ready to append at [`Log::end`].
    pub log: Log,
    /// What was found and repaired.
    pub recovered: Recovery,
}

/// What opening a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// As given to [`Log::open`], or [`Boot::Other`] when a sync had failed before.
    pub boot: Boot,
    /// What was cut off the end.
    pub cut: Option<Cut>,
    /// Damage below the flushed offset that was seen while scanning: kept, and answered with
    /// [`crate::ReadError::Damaged`]. Damage in what did not have to be scanned is found when it is
    /// read.
    pub damaged: Vec<Range<Offset>>,
    /// Batches looked at.
    pub scanned_batches: u64,
}

/// What was cut off the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The log's end now.
    pub at: Offset,
    /// Whole batches behind the first bad place that went with it.
    pub batches: u64,
    /// Bytes cut off, over all segments.
    pub bytes: u64,
    /// What the first bad place was.
    pub why: String,
}

pub(crate) fn create(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    start: Offset,
) -> Result<Log, LogError> {
    // Every directory that is made here needs a durable name too, and the last one also if an
    // earlier attempt made it and came no further.
    let mut to_sync = vec![dir.as_path()];
    for above in dir.ancestors() {
        let parent = above
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let is_new = !disk.exists(above).map_err(LogError::io("look at", above))?;
        match parent {
            Some(parent) if is_new || above == dir => to_sync.push(parent),
            Some(_) | None => break,
        }
    }
    disk.create_dir_all(&dir)
        .map_err(LogError::io("create", &dir))?;
    remove(&*disk, &dir.join(checkpoint::FILE))?;
    remove_empty_segments(&*disk, &dir)?;
    let segment =
        Segment::create(&*disk, &dir, start, 0).map_err(LogError::io("create segment in", &dir))?;
    segment.name_synced.store(true, Ordering::Release);
    // From the top: what is below a name that is not durable is not either.
    for dir in to_sync.into_iter().rev() {
        disk.sync_dir(dir)
            .map_err(LogError::io("sync directory", dir))?;
    }
    let indexer = Indexer::new(start, options.index_interval_bytes);
    Ok(assemble(
        disk,
        dir,
        options,
        Parts {
            segments: vec![segment],
            summaries: Vec::new(),
            indexer,
            start,
            end: start,
            flushed: start,
            flushed_data: start,
            found: shared::Found::default(),
        },
    ))
}

/// What an attempt to make a log here left when it failed. A segment with batches is none of that.
fn remove_empty_segments(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    for base in disk
        .list(dir)
        .map_err(LogError::io("list", dir))?
        .iter()
        .filter_map(|name| base_of(name))
    {
        let path = log_path(dir, base);
        let file = disk
            .open(&path, OpenMode::Read)
            .map_err(LogError::io("open", &path))?;
        if !file.is_empty().map_err(LogError::io("look at", &path))? {
            return Err(LogError::Io {
                what: "make a log where there is one,",
                path,
                source: io::ErrorKind::AlreadyExists.into(),
            });
        }
        remove_segment(disk, dir, base)?;
    }
    Ok(())
}

/// What a log is made of.
struct Parts {
    segments: Vec<Segment>,
    summaries: Vec<Option<Summary>>,
    indexer: Indexer,
    start: Offset,
    end: Offset,
    flushed: Offset,
    flushed_data: Offset,
    found: shared::Found,
}

fn assemble(disk: Arc<dyn Disk>, dir: PathBuf, options: LogOptions, parts: Parts) -> Log {
    let segments: Vec<_> = parts.segments.into_iter().map(Arc::new).collect();
    Log {
        shared: Arc::new(Shared::new(
            disk,
            dir,
            segments.clone(),
            parts.start,
            parts.end,
            parts.found,
        )),
        options,
        segments,
        summaries: parts.summaries,
        covered: None,
        indexer: parts.indexer,
        reserved: 0,
        grown: 0,
        flushed: parts.flushed,
        flushed_data: parts.flushed_data,
        gap: None,
        extra: CheckpointExtra::default(),
        checkpoint_sequence: 0,
        since_checkpoint: Default::default(),
        sealed_since_checkpoint: false,
        closed: None,
        timeless: None,
    }
}

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    boot: Boot,
    durable: Option<Durable>,
) -> Result<Opened, LogError> {
    let distrust = durable.is_some()
        || disk
            .exists(&dir.join(SYNC_FAILED_FILE))
            .map_err(LogError::io("look into", &dir))?;
    let boot = if distrust { Boot::Other } else { boot };
    let (checkpoint, damaged_checkpoint) = match checkpoint::load(&*disk, &dir)? {
        OnDisk::Valid(checkpoint) => (Some(*checkpoint), false),
        OnDisk::Absent => {
            // The process that made the log may have ended here: the names may not be durable.
            sync_names(&*disk, &dir)?;
            (None, false)
        }
        OnDisk::Damaged => {
            tracing::error!(dir = %dir.display(), "checkpoint is damaged: everything is scanned, and the log's start may be an earlier one");
            (None, true)
        }
    };
    let names = disk.list(&dir).map_err(LogError::io("list", &dir))?;
    let mut bases: Vec<Offset> = names.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    let start = checkpoint
        .as_ref()
        .map_or(Offset::MIN, |checkpoint| checkpoint.start);
    // A trim was not completed.
    while bases.len() > 1 && bases[1] <= start {
        remove_segment(&*disk, &dir, bases.remove(0))?;
    }
    let Some(&first) = bases.first() else {
        return without_segments(disk, dir, options, boot, checkpoint, durable);
    };
    if let Some(checkpoint) = checkpoint
        .as_ref()
        .filter(|checkpoint| checkpoint.start < first && checkpoint.flushed > checkpoint.start)
    {
        tracing::error!(dir = %dir.display(), from = checkpoint.start, to = first, "segments are missing: the log begins behind them");
    }
    let recovery = Recovery {
        boot,
        cut: None,
        damaged: Vec::new(),
        scanned_batches: 0,
    };
    let flushed = checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.flushed)
        .max(durable.map(|durable| durable.flushed))
        .unwrap_or(first);
    let flushed_data = checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.flushed_data)
        .max(durable.map(|durable| durable.flushed_data))
        .unwrap_or(first);
    let history = checkpoint
        .as_ref()
        .map_or_else(CheckpointExtra::default, |checkpoint| {
            checkpoint.extra.clone()
        });
    let mut opener = Opener {
        disk: &*disk,
        dir: &dir,
        history: &history,
        interval: options.index_interval_bytes,
        boot,
        checkpoint: checkpoint.as_ref(),
        place_unknown: damaged_checkpoint,
        flushed,
        flushed_data,
        recovery,
        segments: Vec::new(),
        summaries: Vec::new(),
        indexer: Indexer::new(first, options.index_interval_bytes),
        ends_damaged: false,
    };
    for at in 0..bases.len() {
        if !opener.segment(&bases, at)? {
            break;
        }
    }
    let Opener {
        recovery: recovered,
        segments,
        summaries,
        indexer,
        ends_damaged,
        ..
    } = opener;
    let data_end = segments.last().map_or(first, Segment::end);
    let noted = checkpoint.as_ref().and_then(|checkpoint| checkpoint.gap);
    let gap = noted.filter(|gap| gap.after == data_end && gap.to > data_end);
    // All that was synced is there: so is the end that was, even if it had been moved without a
    // batch.
    let complete = if data_end >= flushed_data {
        data_end.max(flushed)
    } else {
        data_end
    };
    let end = gap.map_or(complete, |gap| gap.to);
    let parts = Parts {
        segments,
        summaries,
        indexer,
        start: start.max(first).min(end.max(first)),
        end,
        flushed: flushed.min(end),
        flushed_data: flushed_data.min(data_end),
        found: shared::Found {
            history,
            cut: recovered.cut.clone(),
            damaged: !recovered.damaged.is_empty(),
        },
    };
    let mut log = assemble(disk, dir, options, parts);
    log.gap = noted.filter(|gap| gap.after <= data_end);
    // What the end was moved away from is lost: other batches may end there some day.
    let void_gap = noted.is_some_and(|gap| gap.after > data_end);
    if let Some(checkpoint) = checkpoint {
        log.extra = checkpoint.extra;
        // The epoch of a log that was trimmed to its end begins at that end, and is not beyond it.
        let emptied = checkpoint.start == end;
        log.extra.truncate(if emptied {
            end.saturating_add(1)
        } else {
            end.max(checkpoint.start)
        });
    }
    if void_gap {
        log.checkpoint(log.extra.clone())?;
    }
    if start > end {
        // The log was being restarted after its end, and that was not completed.
        log.trim_to(start)?;
    } else if ends_damaged {
        log.begin_segment(end)?;
    }
    if distrust {
        rewrite(&log)?;
    }
    report(&log, &recovered);
    Ok(Opened { log, recovered })
}

/// Only the checkpoint is there: the log was being restarted, empty, and that was not completed; or
/// its segments are lost.
fn without_segments(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    boot: Boot,
    checkpoint: Option<Checkpoint>,
    durable: Option<Durable>,
) -> Result<Opened, LogError> {
    let durable = durable.map_or(Offset::MIN, |durable| durable.flushed);
    let lost = |why: String| io::Error::new(io::ErrorKind::NotFound, why);
    let source = match checkpoint {
        Some(Checkpoint {
            start,
            flushed,
            extra,
            ..
        }) if flushed.max(durable) <= start => {
            let mut log = create(disk, dir, options, start)?;
            log.checkpoint(extra)?;
            let recovered = Recovery {
                boot,
                cut: None,
                damaged: Vec::new(),
                scanned_batches: 0,
            };
            return Ok(Opened { log, recovered });
        }
        Some(Checkpoint { start, flushed, .. }) => lost(format!(
            "offsets {start} to {} (exclusive) were there, and their files are gone",
            flushed.max(durable)
        )),
        None => lost("its files are gone, and no checkpoint says what was there".into()),
    };
    Err(LogError::Io {
        what: "find a segment in",
        path: dir,
        source,
    })
}

/// Makes the names of a log's files and its own durable.
fn sync_names(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    [Some(dir), parent]
        .into_iter()
        .flatten()
        .try_for_each(|dir| {
            disk.sync_dir(dir)
                .map_err(LogError::io("sync directory", dir))
        })
}

fn report(log: &Log, recovered: &Recovery) {
    let dir = log.dir().display();
    if let Some(cut) = &recovered.cut {
        tracing::info!(%dir, at = cut.at, batches = cut.batches, bytes = cut.bytes, why = %cut.why, "cut off what was not completely written");
    }
    for damaged in &recovered.damaged {
        tracing::error!(%dir, from = damaged.start, to = damaged.end, "log is damaged on disk; this range is answered with an error");
    }
}

/// After a failed sync the page cache may hold what the disk does not, and no later sync would
/// write it: write it again, from a batch at or before the first one in doubt.
fn rewrite(log: &Log) -> Result<(), LogError> {
    let mut chunk = vec![0; REWRITE_CHUNK];
    for segment in log
        .segments
        .iter()
        .filter(|segment| segment.end() > log.flushed)
    {
        let len = segment.len();
        let from = segment
            .anchor(&*log.shared.disk, log.flushed, ReadWait::Waits)
            .map_err(LogError::io("read index of", &segment.path))?;
        let mut position = from.position;
        while position < len {
            let want = REWRITE_CHUNK.min((len - position) as usize);
            segment
                .file
                .read_exact_at(&mut chunk[..want], position)
                .map_err(LogError::io("read", &segment.path))?;
            segment
                .file
                .write_all_at(&mut [IoSlice::new(&chunk[..want])], position)
                .map_err(LogError::io("write again", &segment.path))?;
            position += want as u64;
        }
        segment
            .file
            .sync_data()
            .map_err(LogError::io("sync", &segment.path))?;
    }
    let mark = log.dir().join(SYNC_FAILED_FILE);
    match log.shared.disk.remove_file(&mark) {
        Ok(()) => {}
        // The disk would not even take the mark, or there was nothing to mark.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(LogError::Io {
                what: "remove",
                path: mark,
                source,
            });
        }
    }
    log.shared
        .disk
        .sync_dir(log.dir())
        .map_err(LogError::io("sync directory", log.dir()))
}

fn remove_segment(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), LogError> {
    let path = log_path(dir, base);
    ["timeindex", "index", "log"]
        .iter()
        .try_for_each(|extension| remove(disk, &path.with_extension(extension)))
}

/// Removes a file that may not be there.
fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(LogError::io("remove", path)),
    }
}

//! Opening a log, step by step: what is known of it (`open/known.rs`), its segments (`open/opener.rs`), its
//! offsets (`open/bounds.rs`), and the end of what a process that ended had begun.
//!
//! Invariants: nothing that was synced is removed; what is removed is counted and logged; a segment
//! that the checkpoint describes is not even opened for reading its bytes (it is verified when it
//! is read). Not here: the decisions (`recover.rs`), looking at bytes (`scan.rs`).

mod bounds;
mod cut;
mod known;
mod opener;
mod rewrite;
mod segment_file;

use crate::{
    checkpoint::Checkpoint,
    create::{create, remove_segment},
    disk::{Boot, Disk},
    durability::{Durability, Durable},
    error::LogError,
    flush::leave_mark,
    log::Log,
    options::LogOptions,
    recover::Recovery,
    segment::{Segment, base_of},
    shared::{Found, Shared},
};
use bounds::{Bounds, Evidence};
use gnomon_protocol::ids::Offset;
use known::Known;
use opener::{Opener, Scanned};
use rewrite::rewrite;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

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
    /// Damage that was found and repaired.
    pub recovered: Recovery,
}

impl Log {
    /// Opens what is in `dir`, and repairs it as [`crate::recover`] says. What was cut off or is
    /// damaged is logged.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        boot: Boot,
    ) -> Result<Opened, LogError> {
        open(disk, dir, options, boot, None)
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
}

/// Opens what is in `dir`. `durable`: what this process knows to be durable of a log that it had
/// open before.
fn open(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    boot: Boot,
    durable: Option<Durable>,
) -> Result<Opened, LogError> {
    let known = Known::read(&*disk, &dir, boot, durable)?;
    let bases = remaining_segments(&*disk, &dir, known.start())?;
    let Some(&first) = bases.first() else {
        return without_segments(disk, dir, options, known);
    };
    known.report_missing_segments(&dir, first);
    let opener = Opener::new(&*disk, &dir, options.index_interval_bytes, &known, first);
    let Scanned {
        segments,
        summaries,
        indexer,
        recovery: recovered,
        ends_damaged,
    } = opener.open_all(&bases)?;
    let bounds = Evidence {
        start: known.start(),
        durable: known.durable(first),
        gap: known
            .checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.gap),
        first,
        data_end: segments.last().map_or(first, Segment::end),
    }
    .bounds();
    let history = known.history();
    let extra = known.extra_up_to(bounds.end);
    let found = Found {
        history,
        cut: recovered.cut.clone(),
        damaged: !recovered.damaged.is_empty(),
    };
    let segments = segments.into_iter().map(Arc::new).collect();
    let shared = Shared::new(disk, dir, segments, bounds.start, bounds.end, found);
    let durability = Durability::new(bounds.durable, summaries).recalled(bounds.gap, extra);
    let mut log = Log::new(shared, options, indexer, durability);
    finish(&mut log, &bounds, ends_damaged)?;
    if known.distrust {
        rewrite(&log)?;
    }
    report(&log, &recovered);
    Ok(Opened { log, recovered })
}

/// Base offsets of the segments that the log has, rising. Segments below its start are removed: a
/// trim was not completed.
fn remaining_segments(disk: &dyn Disk, dir: &Path, start: Offset) -> Result<Vec<Offset>, LogError> {
    let names = disk.list(dir).map_err(LogError::io("list", dir))?;
    let mut bases: Vec<Offset> = names.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    let below = bases
        .partition_point(|base| *base <= start)
        .saturating_sub(1);
    for base in bases.drain(..below) {
        remove_segment(disk, dir, base)?;
    }
    Ok(bases)
}

/// Carries out what a process that ended had begun, and leaves a log that can be appended to.
fn finish(log: &mut Log, bounds: &Bounds, ends_damaged: bool) -> Result<(), LogError> {
    if bounds.gap_is_void {
        log.checkpoint(log.checkpoint_extra().clone())?;
    }
    match bounds.restart_at {
        Some(start) => log.trim_to(start),
        None if ends_damaged => log.begin_segment(bounds.end),
        None => Ok(()),
    }
}

/// Only the checkpoint is there: the log was being restarted, empty, and that was not completed; or
/// its segments are lost.
fn without_segments(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    known: Known,
) -> Result<Opened, LogError> {
    let boot = known.boot;
    let durable = known.durable.map_or(Offset::MIN, |durable| durable.flushed);
    let lost = |why: String| io::Error::new(io::ErrorKind::NotFound, why);
    let source = match known.checkpoint {
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

fn report(log: &Log, recovered: &Recovery) {
    let dir = log.dir().display();
    if let Some(cut) = &recovered.cut {
        tracing::info!(%dir, at = cut.at, batches = cut.batches, bytes = cut.bytes, why = %cut.why, "cut off what was not completely written");
    }
    for damaged in &recovered.damaged {
        tracing::error!(%dir, from = damaged.start, to = damaged.end, "log is damaged on disk; this range is answered with an error");
    }
}

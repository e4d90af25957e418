//! State from the log: the snapshot that the checkpoint names, and the tail after it read back.
//!
//! Invariant: the state after opening is the one that the batches in the log make, whatever of
//! checkpoint and snapshot is there; without a usable snapshot the whole log is read. Everything
//! found is made durable before anyone sees it, so that the high watermark starts at the end.

use crate::{
    epochs::EpochHistory,
    error::OpenError,
    id::PartitionName,
    log_state::{LogState, marker_of},
    producer::Producers,
    producer_snapshot,
    settings::{Env, Settings},
};
use gnomon_protocol::{
    batch::{BatchHeader, BatchView, Marker},
    ids::Offset,
};
use gnomon_storage::{FileRange, Log, Opened, ReadError, Reopening};
use std::{io, path::Path};
use tracing::{info, warn};

/// An opened log and what its batches make.
pub(crate) struct Rebuilt {
    pub(crate) log: Log,
    pub(crate) log_state: LogState,
    /// Offset of the snapshot that was used, -1 if none.
    pub(crate) snapshot_at: Offset,
    /// A checkpoint now would save reading.
    pub(crate) changed: bool,
}

/// Where a log comes from.
pub(crate) enum LogFrom<'a> {
    /// A life of the process before this one wrote it.
    Disk,
    /// A disk error closed it in this one.
    Failed(&'a Reopening),
}

/// Opens and reads back.
pub(crate) fn open(
    env: &Env,
    dir: &Path,
    name: &PartitionName,
    settings: &Settings,
    from: LogFrom<'_>,
) -> Result<Rebuilt, OpenError> {
    let Opened { mut log, recovered } = match from {
        LogFrom::Disk => Log::open(
            env.disk.clone(),
            dir.to_path_buf(),
            settings.log.clone(),
            env.boot,
        )?,
        LogFrom::Failed(reopening) => reopening.open()?,
    };
    log.set_options(settings.log.clone());
    if let Some(cut) = &recovered.cut {
        warn!(topic = %name.topic, partition = name.index, at = cut.at, bytes = cut.bytes, batches = cut.batches, why = %cut.why, "log cut at recovery");
    }
    for damaged in &recovered.damaged {
        warn!(topic = %name.topic, partition = name.index, from = damaged.start, to = damaged.end, "damaged on the disk");
    }
    if log.flushed() < log.end() {
        let point = log.flush_point();
        point.sync()?;
        log.flushed_to(&point);
    }
    let (mut log_state, snapshot_at) = snapshot(env, dir, &log);
    let from = if snapshot_at < 0 {
        log.start()
    } else {
        snapshot_at
    };
    let batches = replay(&log, from, &mut log_state, name)?;
    log_state.trim_to(log.start());
    if forget_producer_state() {
        log_state.producers = Producers::default();
    }
    if batches > 0 {
        info!(topic = %name.topic, partition = name.index, from, end = log.end(), batches, "read back");
    }
    Ok(Rebuilt {
        log,
        log_state,
        snapshot_at,
        changed: batches > 0 || recovered.cut.is_some(),
    })
}

/// The state that the checkpoint's snapshot holds, and its offset; the epochs alone and -1 without
/// a usable one.
fn snapshot(env: &Env, dir: &Path, log: &Log) -> (LogState, Offset) {
    let extra = log.checkpoint_extra();
    let at = extra.producer_snapshot_at;
    // One below the log start lacks the batches between, which nobody can read back: better nothing
    // known of a producer than half of it.
    let usable = at >= log.start() && at <= log.end();
    let found = usable
        .then(|| {
            env.disk
                .read(&dir.join(producer_snapshot::file_name(at)))
                .ok()
        })
        .flatten();
    remove_others(env, dir, at);
    let decoded = found.and_then(|bytes| producer_snapshot::decode(&bytes, at));
    let from = if decoded.is_some() { at } else { log.start() };
    let epochs = EpochHistory::from_entries(
        extra
            .epochs
            .iter()
            .copied()
            .filter(|(_, start)| *start <= from)
            .collect(),
    );
    match decoded {
        Some((producers, txns)) => (
            LogState {
                producers,
                txns,
                epochs,
            },
            at,
        ),
        None => (
            LogState {
                epochs,
                ..LogState::default()
            },
            -1,
        ),
    }
}

/// Snapshots that a crash left behind. One that stays costs space only.
fn remove_others(env: &Env, dir: &Path, at: Offset) {
    let keep = producer_snapshot::file_name(at);
    for name in env.disk.list(dir).unwrap_or_default() {
        if producer_snapshot::is_snapshot(&name) && name != keep {
            let _ = env.disk.remove_file(&dir.join(name));
        }
    }
}

fn replay(
    log: &Log,
    from: Offset,
    log_state: &mut LogState,
    name: &PartitionName,
) -> Result<u64, OpenError> {
    let mut batches = 0;
    for found in log.reader().headers(from) {
        match found {
            Ok((header, range)) => {
                log_state.apply(&header, marker(&header, &range, name)?, None);
                batches += 1;
            }
            Err(ReadError::Damaged { from, to }) => {
                warn!(topic = %name.topic, partition = name.index, from, to, "damaged on the disk: not read back")
            }
            Err(ReadError::BelowStart { .. } | ReadError::AboveEnd { .. }) => break,
            Err(ReadError::Io(failure)) => return Err(OpenError::Replay(failure)),
        }
    }
    Ok(batches)
}

fn marker(
    header: &BatchHeader,
    range: &FileRange,
    name: &PartitionName,
) -> Result<Option<Marker>, OpenError> {
    if !header.is_control() {
        return Ok(None);
    }
    let bytes = range
        .bytes()
        .map_err(|failure: io::Error| OpenError::Replay(failure))?;
    let marker = BatchView::parse_only(bytes).and_then(|view| marker_of(&view));
    Ok(marker.unwrap_or_else(|why| {
        warn!(topic = %name.topic, partition = name.index, offset = header.base_offset, %why, "a control batch cannot be read: its transaction stays open");
        None
    }))
}

/// Planted fault for tests of restarts: sequences start again.
fn forget_producer_state() -> bool {
    gnomon_failpoints::fail_point!("forget_producer_state", |_| true);
    false
}

//! Logs to be damaged: written with epochs that rise, flushed up to a place that is known, opened
//! again and held against what was written.

use super::{LogModel, batch_of_epoch, read_all, small_segments};
use bytes::Bytes;
use gnomon_protocol::ids::{BatchEpoch, Offset};
use gnomon_storage::{Boot, CheckpointExtra, Disk, Log, LogOptions, MemDisk, OpenMode, Opened};
use std::{
    collections::BTreeMap,
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

pub const DIR: &str = "/data/t-0";

/// Batches of one leader epoch.
const EPOCH_BATCHES: usize = 7;

/// Whether the whole of a fault's cases is asked for (`cargo xtask faults`), or what fits into
/// every test run.
pub fn full() -> bool {
    std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full")
}

pub fn open(disk: &MemDisk, boot: Boot) -> Opened {
    Log::open(
        Arc::new(disk.clone()),
        PathBuf::from(DIR),
        small_segments(),
        boot,
    )
    .expect("opened")
}

pub fn flush(log: &mut Log) {
    let point = log.flush_point();
    point.sync().expect("synced");
    log.flushed_to(&point);
}

/// Flushes, and writes the checkpoint as a partition does: with the epochs of all batches.
pub fn checkpoint(log: &mut Log, model: &LogModel) {
    flush(log);
    let mut epochs: Vec<(BatchEpoch, Offset)> = Vec::new();
    for (base, _, bytes) in &model.batches {
        let epoch = BatchEpoch(i32::from_be_bytes(
            *bytes[12..].first_chunk().expect("a header"),
        ));
        if epochs.last().is_none_or(|(last, _)| *last < epoch) {
            epochs.push((epoch, *base));
        }
    }
    log.checkpoint(CheckpointExtra {
        epochs,
        producer_snapshot_at: log.end(),
    })
    .expect("written");
}

/// A log of `count` batches with values of `bytes` bytes, the first `flushed` of them flushed and
/// in the checkpoint.
pub fn written(
    options: LogOptions,
    count: usize,
    flushed: usize,
    bytes: usize,
) -> (MemDisk, LogModel) {
    let disk = MemDisk::new();
    let mut log =
        Log::create(Arc::new(disk.clone()), PathBuf::from(DIR), options, 0).expect("created");
    let mut model = LogModel::default();
    for i in 0..count {
        let batch = batch_of_epoch(
            log.end(),
            1 + (i % 3) as i32,
            bytes,
            i as u64,
            (i / EPOCH_BATCHES) as i32,
        );
        log.append(std::slice::from_ref(&batch)).expect("appended");
        model.push(&batch);
        if i + 1 == flushed {
            checkpoint(&mut log, &model);
        }
    }
    (disk, model)
}

/// Replaces a file's content.
pub fn change(disk: &MemDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.read(path).expect("there");
    change(&mut bytes);
    put(disk, path, &bytes);
}

pub fn put(disk: &MemDisk, path: &Path, bytes: &[u8]) {
    disk.open(path, OpenMode::Create)
        .expect("made")
        .write_all_at(&mut [IoSlice::new(bytes)], 0)
        .expect("written");
}

/// Every file of the log that is not empty.
pub fn files(disk: &MemDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk
        .list(Path::new(DIR))
        .expect("listed")
        .into_iter()
        .map(|name| Path::new(DIR).join(name));
    paths
        .map(|path| (path.clone(), disk.read(&path).expect("there")))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

/// Puts these files in the place of all.
pub fn restore(disk: &MemDisk, files: &[(PathBuf, Vec<u8>)]) {
    for name in disk.list(Path::new(DIR)).expect("listed") {
        disk.remove_file(&Path::new(DIR).join(name))
            .expect("removed");
    }
    files
        .iter()
        .for_each(|(path, bytes)| put(disk, path, bytes));
}

/// Every batch that is served is the one that was written at its offset, to the last byte. What is
/// served, and what is answered with an error.
pub fn serves_only_what_was_written(
    log: &Log,
    model: &LogModel,
) -> (Vec<Bytes>, Vec<(Offset, Offset)>) {
    let by_offset: BTreeMap<Offset, &Bytes> = model
        .batches
        .iter()
        .map(|(base, _, bytes)| (*base, bytes))
        .collect();
    let (batches, damaged) = read_all(&log.reader(), log.start(), log.end(), 700);
    for batch in &batches {
        let base = i64::from_be_bytes(*batch.first_chunk().expect("a batch"));
        let written = by_offset
            .get(&base)
            .unwrap_or_else(|| panic!("nothing was ever written at {base}"));
        assert!(batch == *written, "other bytes at {base}");
    }
    (batches, damaged)
}

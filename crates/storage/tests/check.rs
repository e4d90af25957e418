//! The check of a log that lies still, or is being written: it finds what a start would, and
//! changes nothing.

mod common;

use common::{LogModel, batch, damage::*, random::Rng, small_segments};
use gnomon_storage::{Boot, Checked, Disk, Log, LogError, LogOptions, MemDisk, check, dump};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

fn checked(disk: &MemDisk, boot: Boot) -> Result<Checked, LogError> {
    let before = files(disk);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let checked = check(&shared, Path::new(DIR), boot);
    assert_eq!(files(disk), before, "looking changes nothing");
    checked
}

#[test]
fn a_whole_log_is_clean_also_while_it_is_written() {
    let (disk, model) = written(small_segments(), 60, 40, 60);
    let found = checked(&disk, Boot::Same).expect("readable");
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(
        (found.start, found.end, found.batches, found.unfinished),
        (0, model.end, 60, None)
    );
    assert_eq!(
        found.bytes,
        model
            .batches
            .iter()
            .map(|(_, _, bytes)| bytes.len() as u64)
            .sum::<u64>()
    );
    let mut log = open(&disk, Boot::Same).log;
    for i in 0..40 {
        log.append(&[batch(log.end(), 2, 60, i)]).expect("appended");
        let found = checked(&disk, Boot::Same).expect("readable");
        assert!(found.is_clean() && found.end == log.end(), "{found:?}");
    }
}

#[test]
fn an_unfinished_write_is_named_and_is_no_damage() {
    let (disk, model) = written(
        LogOptions {
            segment_bytes: 1 << 20,
            ..small_segments()
        },
        12,
        9,
        60,
    );
    change(
        &disk,
        &Path::new(DIR).join("00000000000000000000.log"),
        |bytes| bytes.truncate(bytes.len() - 10),
    );
    let found = checked(&disk, Boot::Same).expect("readable");
    let (base, _, bytes) = model.batches.last().expect("a batch");
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(
        found.unfinished.map(|cut| (cut.at, cut.bytes)),
        Some((*base, bytes.len() as u64 - 10))
    );
}

/// Every bit that is flipped below the flushed offset is found: the check names the file, and the
/// offsets that a reader cannot have.
#[test]
fn every_flipped_bit_is_found() {
    let (disk, model) = written(small_segments(), 60, 60, 60);
    let mut log = open(&disk, Boot::Same).log;
    checkpoint(&mut log, &model);
    log.release_reserved();
    drop(log);
    let pristine = files(&disk);
    let mut rng = Rng(7);
    let rounds = if full() { 3_000 } else { 400 };
    for round in 0..rounds {
        restore(&disk, &pristine);
        let (path, bytes) = &pristine[rng.below(pristine.len() as u64) as usize];
        let bit = rng.below(bytes.len() as u64 * 8) as usize;
        change(&disk, path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let boot = if round % 2 == 0 {
            Boot::Same
        } else {
            Boot::Other
        };
        let found = checked(&disk, boot).expect("readable");
        let what = format!("bit {bit} of {}: {found:?}", path.display());
        let named = |extension: &str| path.extension().is_some_and(|found| found == extension);
        if named("log") {
            assert!(
                found
                    .damage
                    .iter()
                    .any(|damage| damage.file == *path && damage.from < damage.to),
                "{what}"
            );
            let (_, unreadable) = serves_only_what_was_written(&open(&disk, boot).log, &model);
            assert_eq!(
                found
                    .damage
                    .iter()
                    .map(|damage| (damage.from, damage.to))
                    .collect::<Vec<_>>(),
                unreadable,
                "{what}"
            );
        } else {
            let active = pristine
                .iter()
                .rev()
                .find(|(path, _)| path.extension().is_some_and(|found| found == "log"));
            let of_active =
                active.is_some_and(|(active, _)| active.file_stem() == path.file_stem());
            // The active segment's indexes are rebuilt by each start.
            assert!(
                of_active || found.wrong.iter().any(|wrong| wrong.file == *path),
                "{what}"
            );
        }
    }
    println!("faults: flipped bits found by the check: {rounds}");
}

#[test]
fn missing_files_are_named() {
    let (disk, model) = written(small_segments(), 60, 60, 60);
    let pristine = files(&disk);
    let logs: Vec<&PathBuf> = pristine
        .iter()
        .map(|(path, _)| path)
        .filter(|path| path.extension().is_some_and(|found| found == "log"))
        .collect();
    let base = |path: &Path| {
        path.file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse::<i64>().ok())
            .expect("an offset")
    };
    for (nth, path) in logs.iter().enumerate() {
        restore(&disk, &pristine);
        disk.remove_file(path).expect("removed");
        let found = checked(&disk, Boot::Same).expect("readable");
        let next = logs.get(nth + 1).map_or(model.end, |next| base(next));
        let lost: Vec<_> = found
            .damage
            .iter()
            .map(|damage| (damage.from, damage.to))
            .collect();
        assert_eq!(lost, [(base(path), next)], "{}", path.display());
    }
    restore(&disk, &pristine);
    disk.remove_file(&logs[0].with_extension("timeindex"))
        .expect("removed");
    let found = checked(&disk, Boot::Same).expect("readable");
    assert_eq!(found.wrong.len(), 1);
    assert_eq!(found.wrong[0].file, logs[0].with_extension("timeindex"));
}

/// Nothing but the checkpoint is left: the log is not taken for one that was never written.
#[test]
fn all_segments_gone_is_a_sentence() {
    let (disk, model) = written(small_segments(), 30, 30, 60);
    for (path, _) in files(&disk) {
        if path.file_name().is_none_or(|name| name != "checkpoint") {
            disk.remove_file(&path).expect("removed");
        }
    }
    let found = checked(&disk, Boot::Same).expect("readable");
    assert_eq!(
        found
            .damage
            .iter()
            .map(|damage| (damage.from, damage.to))
            .collect::<Vec<_>>(),
        [(0, model.end)]
    );
    assert!(Log::exists(&disk, Path::new(DIR)).expect("readable"));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let Err(error) = Log::open(
        shared.clone(),
        PathBuf::from(DIR),
        small_segments(),
        Boot::Same,
    ) else {
        panic!("opened")
    };
    let sentence = format!(
        "find a segment in {DIR}: offsets 0 to {} (exclusive) were there, and their files are gone",
        model.end
    );
    assert_eq!(error.to_string(), sentence);
    // One that was emptied and whose new segment did not come to be goes on where it was to.
    disk.remove_file(&Path::new(DIR).join("checkpoint"))
        .expect("removed");
    let mut log = Log::create(shared, PathBuf::from(DIR), small_segments(), 70).expect("created");
    checkpoint(&mut log, &LogModel::default());
    drop(log);
    disk.remove_file(&Path::new(DIR).join("00000000000000000070.log"))
        .expect("removed");
    let log = open(&disk, Boot::Same).log;
    assert_eq!((log.start(), log.end()), (70, 70));
}

/// A rebuilt index is put in its place, and the next checkpoint vouches for it: nothing is wrong
/// any more.
#[test]
fn a_rebuilt_index_heals() {
    let (disk, model) = written(small_segments(), 60, 60, 60);
    let index = Path::new(DIR).join("00000000000000000000.index");
    change(&disk, &index, |bytes| bytes[5] ^= 4);
    assert_eq!(checked(&disk, Boot::Same).expect("readable").wrong.len(), 1);
    let mut log = open(&disk, Boot::Same).log;
    assert!(!log.has_rebuilt());
    serves_only_what_was_written(&log, &model);
    assert!(log.has_rebuilt());
    assert_eq!(log.reader().health().indexes_rebuilt, 1);
    checkpoint(&mut log, &model);
    assert!(!log.has_rebuilt());
    assert!(checked(&disk, Boot::Same).expect("readable").is_clean());
}

#[test]
fn a_segment_is_taken_apart_to_the_last_byte() {
    let (disk, model) = written(
        LogOptions {
            segment_bytes: 1 << 20,
            ..small_segments()
        },
        12,
        9,
        60,
    );
    let path = Path::new(DIR).join("00000000000000000000.log");
    let sizes: Vec<u64> = model
        .batches
        .iter()
        .map(|(_, _, bytes)| bytes.len() as u64)
        .collect();
    let third: u64 = sizes[..3].iter().sum();
    // No batch any more at the fourth, and a torn one at the end.
    change(&disk, &path, |bytes| {
        bytes[third as usize + 16] = 1;
        bytes.truncate(bytes.len() - 5);
    });
    let pieces: Vec<dump::Piece> = dump::Pieces::of(&disk, &path)
        .expect("opened")
        .collect::<Result<_, _>>()
        .expect("readable");
    let invalid: Vec<_> = pieces
        .iter()
        .filter_map(|piece| match piece {
            dump::Piece::Invalid { position, bytes } => Some((*position, *bytes)),
            dump::Piece::Batch { .. } => None,
        })
        .collect();
    let last: u64 = sizes[..11].iter().sum();
    assert_eq!(invalid, [(third, sizes[3]), (last, sizes[11] - 5)]);
    let whole: LogModel = LogModel {
        batches: model.batches.clone(),
        ..LogModel::default()
    };
    let batches: Vec<i64> = pieces
        .iter()
        .filter_map(|piece| match piece {
            dump::Piece::Batch { header, .. } => Some(header.base_offset),
            dump::Piece::Invalid { .. } => None,
        })
        .collect();
    let expected: Vec<i64> = whole
        .batches
        .iter()
        .enumerate()
        .filter(|(nth, _)| *nth != 3 && *nth != 11)
        .map(|(_, batch)| batch.0)
        .collect();
    assert_eq!(batches, expected);
}

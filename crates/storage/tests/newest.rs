//! The newest batch of a log is found without a walk over the log, and is the one that a walk
//! finds.

mod common;

use common::{batch_at_time, random::Rng, small_segments};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{Boot, CheckpointExtra, Log, MemDisk, Newest};
use std::{path::PathBuf, sync::Arc};

fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

fn create(disk: &MemDisk) -> Log {
    Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created")
}

fn append(log: &mut Log, timestamp: i64) {
    let end = log.end();
    log.append(&[batch_at_time(end, 1, 150, end as u64, timestamp)])
        .expect("appended");
}

fn checkpoint(log: &mut Log) {
    let point = log.flush_point();
    point.sync().expect("synced");
    log.flushed_to(&point);
    log.checkpoint(CheckpointExtra::default()).expect("written");
}

/// By looking at every batch.
fn by_walking(log: &Log, upper: Offset) -> Option<Newest> {
    let mut newest: Option<Newest> = None;
    for batch in log.reader().headers(log.start()) {
        let (header, _) = batch.expect("whole");
        if header.base_offset >= upper {
            break;
        }
        if newest.is_none_or(|newest| newest.timestamp < header.max_timestamp) {
            newest = Some(Newest {
                timestamp: header.max_timestamp,
                base_offset: header.base_offset,
            });
        }
    }
    newest
}

#[test]
fn the_newest_batch_is_the_one_that_a_walk_finds() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let disk = MemDisk::new();
        let mut log = create(&disk);
        let (mut stable, mut upper) = (0, 0);
        for _ in 0..200 {
            match rng.below(20) {
                0 => log
                    .trim_to(log.start() + rng.below(10) as i64)
                    .map_or_else(|error| panic!("{error}"), |()| ()),
                1 if upper < log.end() => _ = log.truncate_to(upper).expect("cut"),
                2 => {
                    checkpoint(&mut log);
                    drop(log);
                    let disk = Arc::new(disk.clone());
                    log = Log::open(disk, dir(), small_segments(), Boot::Same)
                        .expect("opened")
                        .log;
                }
                3..8 => {
                    upper = (upper + rng.below(30) as i64).clamp(log.start(), log.end());
                    stable = (stable + rng.below(30) as i64).clamp(log.start(), upper);
                }
                // Few different ones: of several that are as new, the first counts.
                _ => append(&mut log, rng.below(40) as i64 - 1),
            }
            (stable, upper) = (stable.max(log.start()), upper.max(log.start()));
            for upper in [upper, stable] {
                let found = log.reader().newest(log.start(), stable, upper);
                assert_eq!(
                    found.expect("whole"),
                    by_walking(&log, upper),
                    "seed {seed}"
                );
            }
        }
    }
}

#[test]
fn what_was_looked_at_once_is_not_looked_at_again() {
    let disk = MemDisk::new();
    let mut log = create(&disk);
    for offset in 0..3_000 {
        append(&mut log, 1_000 + offset % 977);
    }
    checkpoint(&mut log);
    let look = |log: &Log| {
        let before = disk.reads();
        let end = log.end();
        let newest = log.reader().newest(0, end, end).expect("whole");
        (newest.expect("there are batches"), disk.reads() - before)
    };
    let newest = Newest {
        timestamp: 1_976,
        base_offset: 976,
    };
    let (found, first) = look(&log);
    assert_eq!(found, newest);
    let (found, again) = look(&log);
    assert_eq!(found, newest);
    assert!(again <= 4, "{again} reads, {first} the first time");
    append(&mut log, 5_000);
    let (found, after) = look(&log);
    assert_eq!((found.timestamp, found.base_offset), (5_000, 3_000));
    assert!(after <= 8, "{after} reads after one more batch");

    // A restart knows from the checkpoint in which segments to look.
    drop(log);
    let opened = Log::open(Arc::new(disk.clone()), dir(), small_segments(), Boot::Same);
    let log = opened.expect("opened").log;
    assert!(log.segments().len() > 50);
    let (found, restarted) = look(&log);
    assert_eq!(found.base_offset, 3_000);
    let segments = log.segments().len() as u64;
    assert!(
        restarted < segments / 2,
        "{restarted} reads after a restart, of {segments} segments"
    );
}

//! Segments whose records have no timestamp: they are as old as their files, on every disk, and
//! after a restart too.

mod common;

use common::{batch_at_time, small_segments};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{
    Boot, CheckpointExtra, Disk, Log, LogOptions, MemDisk, OpenMode, RealDisk, RetentionLimits,
};
use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Records without a timestamp.
const NO_TIMESTAMP: i64 = -1;

fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

/// Appends so many batches, and makes them durable.
fn append(log: &mut Log, count: i64, timestamp: i64) {
    for _ in 0..count {
        let end = log.end();
        log.append(&[batch_at_time(end, 1, 150, end as u64, timestamp)])
            .expect("appended");
    }
    let point = log.flush_point();
    point.sync().expect("synced");
    log.flushed_to(&point);
    log.checkpoint(CheckpointExtra::default()).expect("written");
}

fn older_than(before_timestamp: i64) -> RetentionLimits {
    RetentionLimits {
        bytes: None,
        before_timestamp: Some(before_timestamp),
    }
}

fn reopened(disk: &MemDisk, boot: Boot) -> Log {
    Log::open(Arc::new(disk.clone()), dir(), small_segments(), boot)
        .expect("opened")
        .log
}

#[test]
fn a_segment_whose_records_have_no_timestamp_is_as_old_as_its_file() {
    for boot in [Boot::Same, Boot::Other] {
        let disk = MemDisk::new();
        let mut log =
            Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created");
        disk.set_time(1_000);
        append(&mut log, 60, NO_TIMESTAMP);
        disk.set_time(2_000);
        append(&mut log, 60, NO_TIMESTAMP);
        let none = log.retain(older_than(1_000), 120).expect("retained");
        assert_eq!(none, None, "none is older than the oldest file");
        let start = log.retain(older_than(1_500), 120).expect("retained");
        let start = start.expect("what was written at 1,000 is too old at 1,500");
        assert!((30..=60).contains(&start), "{start}");
        drop(log);

        disk.set_time(9_000);
        let mut log = reopened(&disk, boot);
        let none = log.retain(older_than(2_000), 120).expect("retained");
        assert_eq!(none, None, "{boot:?}");
        let all = log.retain(older_than(2_001), 120).expect("retained");
        assert_eq!(all, Some(120), "{boot:?}: a restart makes nothing younger");
    }
}

#[test]
fn a_segment_without_timestamps_does_not_keep_those_around_it_for_ever() {
    let disk = MemDisk::new();
    disk.set_time(5_000);
    let mut log = Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created");
    append(&mut log, 60, 4_000);
    append(&mut log, 60, NO_TIMESTAMP);
    append(&mut log, 60, 4_500);
    let start = log.retain(older_than(6_000), 180).expect("retained");
    assert_eq!(start, Some(180));
}

#[test]
fn the_file_of_records_with_timestamps_does_not_count() {
    let disk = MemDisk::new();
    disk.set_time(1_000);
    let mut log = Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created");
    append(&mut log, 60, 8_000);
    let kept = log.retain(older_than(7_000), 60).expect("retained");
    assert_eq!(kept, None, "its records are younger than the file");
    disk.set_time(20_000);
    append(&mut log, 1, 8_000);
    let gone = log.retain(older_than(9_000), 61).expect("retained");
    assert_eq!(gone, Some(61), "its records are older than the file");
}

#[test]
fn a_segment_without_timestamps_that_is_written_again_and_again_is_rolled_by_its_age() {
    let disk = MemDisk::new();
    let options = LogOptions {
        segment_ms: Some(100),
        segment_bytes: 1 << 20,
        ..small_segments()
    };
    let mut log = Log::create(Arc::new(disk.clone()), dir(), options, 0).expect("created");
    let mut begins: Vec<Offset> = Vec::new();
    for now_ms in (1_000..1_500).step_by(50) {
        disk.set_time(now_ms);
        append(&mut log, 1, NO_TIMESTAMP);
        log.roll_if_timeless(now_ms).expect("rolled");
        begins = log.segments().iter().map(|segment| segment.base).collect();
    }
    assert_eq!(begins, [0, 4, 8]);
    // Records with timestamps roll by these.
    append(&mut log, 1, 1_500);
    for now_ms in [10_000, 20_000] {
        log.roll_if_timeless(now_ms).expect("as it was");
    }
    assert_eq!(log.segments().len(), 3);
}

#[test]
fn the_time_of_a_real_file_is_the_file_systems_and_stays_when_only_reserved_space_is_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: &Path = &folder.path().join("file");
    let disk = RealDisk::new();
    let file = disk.open(path, OpenMode::Create).expect("made");
    file.write_all_at(&mut [IoSlice::new(b"some bytes")], 0)
        .expect("written");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500_000_000_123);
    std::fs::File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(long_ago))
        .expect("set");
    file.set_len(10).expect("as long as before");
    assert_eq!(file.modified_ms().expect("known"), 1_500_000_000_123);
    file.set_len(5).expect("shorter");
    assert!(file.modified_ms().expect("known") > 1_600_000_000_000);

    assert!(!file.is_removed().expect("known"));
    std::fs::rename(folder.path().join("file"), folder.path().join("other")).expect("renamed");
    std::fs::remove_file(folder.path().join("other")).expect("removed");
    assert!(file.is_removed().expect("known"));
}

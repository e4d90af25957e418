//! One log, step by step: appending, rolling, reading, taking back, closing. Everything on the
//! simulated disk; once on a real one.

mod common;

use common::{LogModel, batch, batch_at_time, check, read_all, small_segments};
use gnomon_protocol::ids::BatchEpoch;
use gnomon_storage::{
    Boot, CheckpointExtra, Disk, Fault, FileRange, Log, LogError, LogOptions, MemDisk, OpenMode,
    ReadError, RealDisk, RetentionLimits, read_checkpoint,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

fn new_log(disk: &MemDisk, options: LogOptions, start: i64) -> Log {
    Log::create(
        Arc::new(disk.clone()),
        PathBuf::from("/data/t-0"),
        options,
        start,
    )
    .expect("created")
}

fn reopen(disk: &MemDisk, boot: Boot) -> Log {
    Log::open(
        Arc::new(disk.clone()),
        PathBuf::from("/data/t-0"),
        small_segments(),
        boot,
    )
    .expect("opened")
    .log
}

fn flush(log: &mut Log) {
    let point = log.flush_point();
    point.sync().expect("synced");
    log.flushed_to(&point);
}

fn fill(log: &mut Log, model: &mut LogModel, count: usize) {
    for i in 0..count {
        let batch = batch(log.end(), 1 + (i % 3) as i32, 100, i as u64);
        log.append(std::slice::from_ref(&batch)).expect("appended");
        model.push(&batch);
    }
}

#[test]
fn appends_roll_and_read_back() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 7);
    let mut model = LogModel {
        start: 7,
        end: 7,
        ..LogModel::default()
    };
    check(&log, &model);
    fill(&mut log, &mut model, 60);
    let many: Vec<_> = (0..40)
        .map(|i| batch(log.end() + i * 2, 2, 150, i as u64))
        .collect();
    log.append(&many).expect("one append over several segments");
    many.iter().for_each(|batch| model.push(batch));
    assert!(log.segments().len() > 4, "{:?}", log.segments());
    for pair in log.segments().windows(2) {
        assert_eq!(pair[0].end, pair[1].base, "segments adjoin");
    }
    check(&log, &model);
    assert_eq!(
        log.size_bytes(),
        model
            .batches
            .iter()
            .map(|(_, _, bytes)| bytes.len() as u64)
            .sum::<u64>()
    );
    drop(log);
    check(&reopen(&disk, Boot::Same), &model);
}

#[test]
fn whoever_must_not_wait_hears_that_it_would() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let mut model = LogModel::default();
    fill(&mut log, &mut model, 60);
    log.checkpoint(CheckpointExtra::default()).expect("written");
    let end = log.end();
    let now = |log: &Log, from| {
        log.reader()
            .read_now(from, i64::MAX, 1_000, true)
            .expect("no error")
    };
    let patient = |log: &Log, from| {
        log.reader()
            .read(from, i64::MAX, 1_000, true)
            .expect("readable")
    };
    let len = patient(&log, 0).len;
    assert_eq!(now(&log, 0).expect("all is at hand").len, len);
    disk.set_cold(true);
    assert!(now(&log, 0).is_none(), "headers would come from the disk");
    assert!(patient(&log, 0).len > 0);
    assert_eq!(
        now(&log, end)
            .expect("nothing to read is known without a look")
            .len,
        0
    );
    disk.set_cold(false);
    drop(log);

    // What another process wrote is verified first, and sealed segments' indexes are on the disk.
    let log = reopen(&disk, Boot::Same);
    assert!(log.segments().len() > 2);
    assert!(now(&log, 0).is_none());
    assert_eq!(patient(&log, 0).base_offset, 0);
    let range = now(&log, 0).expect("verified now");
    assert_eq!((range.base_offset, range.len), (0, patient(&log, 0).len));
}

#[test]
fn on_a_real_disk_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(RealDisk::new());
    let path = dir.path().join("t-0");
    let mut log = Log::create(disk.clone(), path.clone(), small_segments(), 0).expect("created");
    let mut model = LogModel::default();
    fill(&mut log, &mut model, 100);
    flush(&mut log);
    log.checkpoint(CheckpointExtra::default()).expect("written");
    check(&log, &model);
    log.release_reserved();
    drop(log);
    let mut log = Log::open(disk.clone(), path.clone(), small_segments(), Boot::Same)
        .expect("opened")
        .log;
    check(&log, &model);
    log.truncate_to(50).expect("truncated");
    model.truncate(50);
    log.trim_to(20).expect("trimmed");
    model.trim(20);
    fill(&mut log, &mut model, 30);
    check(&log, &model);
    let mut resident = log
        .reader()
        .read(20, i64::MAX, 1 << 20, true)
        .expect("readable");
    assert!(resident.is_resident());
    // Out of the page cache, where the file system lets it go, and back.
    resident.file.sync_data().expect("synced");
    let descriptor = resident
        .file
        .descriptor()
        .expect("open")
        .expect("a real file");
    rustix::fs::fadvise(descriptor, 0, None, rustix::fs::Advice::DontNeed).expect("advised");
    resident.read_ahead().expect("read");
    assert!(resident.is_resident());
    resident.len += 1 << 20;
    assert!(resident.bytes().is_err() && resident.read_ahead().is_err());
    log.remove().expect("removed");
    assert!(!disk.exists(&path).expect("looked"));
}

#[test]
fn the_lock_file_says_who_holds_it_and_whether_the_kernel_is_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("lock");
    let disk = RealDisk::new();
    let first = disk.lock(&path).expect("free");
    assert_eq!(first.boot(), Boot::Other);
    let error = disk.lock(&path).err().expect("held");
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    drop(first);
    assert_eq!(disk.lock(&path).expect("free again").boot(), Boot::Same);

    let disk = MemDisk::new();
    drop(disk.lock(Path::new("/lock")).expect("free"));
    let again = disk.lock(Path::new("/lock")).expect("free again");
    assert_eq!(again.boot(), Boot::Same);
    assert!(disk.lock(Path::new("/lock")).is_err());
    disk.sync_dir(Path::new("/")).expect("synced");
    disk.power_loss(1);
    assert_eq!(
        disk.lock(Path::new("/lock")).expect("nobody lives").boot(),
        Boot::Other
    );
}

#[test]
fn offsets_may_jump_forward_and_never_back() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let mut model = LogModel::default();
    for base in [0, 10, 11, 5_000_000_000, 5_000_000_100] {
        let batch = batch(base, 1, 50, base as u64);
        log.append(std::slice::from_ref(&batch)).expect("appended");
        model.push(&batch);
    }
    check(&log, &model);
    let range = log
        .reader()
        .read(3, i64::MAX, 1, true)
        .expect("the next one after the gap");
    assert_eq!(range.base_offset, 10);
    flush(&mut log);
    drop(log);
    disk.power_loss(3);
    check(&reopen(&disk, Boot::Other), &model);
}

#[test]
#[should_panic(expected = "in a log that ends at 5")]
fn an_offset_below_the_end_is_our_bug() {
    let mut log = new_log(&MemDisk::new(), small_segments(), 5);
    let _ = log.append(&[batch(4, 1, 10, 0)]);
}

#[test]
fn an_end_moved_without_a_batch_survives() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let mut model = LogModel::default();
    fill(&mut log, &mut model, 5);
    flush(&mut log);
    log.advance_end(100).expect("advanced");
    model.end = 100;
    check(&log, &model);
    flush(&mut log);
    assert_eq!(log.flushed(), 100);
    drop(log);
    disk.power_loss(9);
    let mut log = reopen(&disk, Boot::Other);
    check(&log, &model);
    assert_eq!(log.truncate_to(60).expect("truncated"), 60);
    model.truncate(60);
    fill(&mut log, &mut model, 3);
    check(&log, &model);
    drop(log);
    check(&reopen(&disk, Boot::Same), &model);
}

/// Batches after the moved end may be lost with the power; the move itself was durable before they
/// came.
#[test]
fn an_end_moved_without_a_batch_survives_what_is_written_behind_it() {
    for (seed, then) in (0..40).flat_map(|seed| (0..5).map(move |then| (seed, then))) {
        let disk = MemDisk::new();
        let mut log = new_log(&disk, small_segments(), 0);
        let mut model = LogModel::default();
        fill(&mut log, &mut model, 5);
        flush(&mut log);
        log.advance_end(100).expect("advanced");
        model.end = 100;
        fill(&mut log, &mut model, 3);
        let behind = model.end;
        match then {
            0 => {}
            1 => log.checkpoint(CheckpointExtra::default()).expect("written"),
            2 => log.advance_end(behind + 50).expect("advanced"),
            3 => _ = log.truncate_to(behind - 1).expect("truncated"),
            _ => {
                drop(log);
                log = reopen(&disk, Boot::Same);
                log.checkpoint(CheckpointExtra::default()).expect("written");
            }
        }
        let moved = log.end();
        drop(log);
        disk.power_loss(seed);
        let log = reopen(&disk, Boot::Other);
        let least = if then == 2 { moved } else { 100 };
        assert!(
            log.end() >= least,
            "seed {seed}, {then}: the end was moved to {least} and is {}",
            log.end()
        );
        model.end = model.end.max(log.end());
        model.truncate(log.end());
        check(&log, &model);
    }
}

#[test]
fn truncation_at_every_offset() {
    for end in 0..60 {
        let disk = MemDisk::new();
        let mut log = new_log(&disk, small_segments(), 3);
        let mut model = LogModel {
            start: 3,
            end: 3,
            ..LogModel::default()
        };
        fill(&mut log, &mut model, 30);
        flush(&mut log);
        log.checkpoint(CheckpointExtra {
            epochs: vec![(BatchEpoch(0), 3), (BatchEpoch(1), 40)],
            producer_snapshot_at: 45,
        })
        .expect("written");
        let got = log.truncate_to(end).expect("truncated");
        model.truncate(end);
        assert_eq!(got, model.end);
        assert!(log.flushed() <= got);
        assert_eq!(
            log.checkpoint_extra().epochs.len(),
            usize::from(got > 3) + usize::from(got > 40)
        );
        check(&log, &model);
        fill(&mut log, &mut model, 10);
        check(&log, &model);
        drop(log);
        disk.power_loss(end as u64);
        let log = reopen(&disk, Boot::Other);
        assert!(
            log.end() >= got && log.start() == model.start,
            "what was flushed before {end} is still there"
        );
    }
}

#[test]
fn the_start_moves_inside_a_batch_and_beyond_the_end() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let mut model = LogModel::default();
    fill(&mut log, &mut model, 80);
    let held: FileRange = log.reader().read(0, i64::MAX, 500, true).expect("readable");
    for start in [1, 2, 33, 77, 120] {
        log.trim_to(start).expect("trimmed");
        model.trim(start);
        check(&log, &model);
        check(&reopen(&disk, Boot::Same), &model);
    }
    assert!(held.bytes().is_ok(), "what a reader holds stays readable");
    assert!(
        log.segments()[0].base > 60,
        "whole segments below the start are gone: {:?}",
        log.segments()
    );
    log.trim_to(10).expect("nothing to do");
    check(&log, &model);
    log.trim_to(1_000).expect("beyond the end");
    model.trim(1_000);
    check(&log, &model);
    fill(&mut log, &mut model, 5);
    check(&log, &model);
    drop(log);
    check(&reopen(&disk, Boot::Same), &model);
}

#[test]
fn retention_by_age_and_size() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let mut model = LogModel::default();
    fill(&mut log, &mut model, 80);
    let second = log.segments()[1];
    let by_age = RetentionLimits {
        bytes: None,
        before_timestamp: Some(second.max_timestamp),
    };
    assert_eq!(
        log.retain(by_age, log.end()).expect("retained"),
        Some(second.base)
    );
    model.trim(second.base);
    check(&log, &model);
    let bytes = log.size_bytes();
    let by_size = RetentionLimits {
        bytes: Some(bytes - second.bytes),
        before_timestamp: None,
    };
    assert_eq!(
        log.retain(by_size, second.base).expect("retained"),
        None,
        "not above the bound"
    );
    assert_eq!(
        log.retain(by_size, log.end()).expect("retained"),
        Some(second.end)
    );
    model.trim(second.end);
    let all = RetentionLimits {
        bytes: None,
        before_timestamp: Some(i64::MAX),
    };
    assert_eq!(
        log.retain(all, log.end()).expect("retained"),
        Some(log.end())
    );
    model.trim(log.end());
    check(&log, &model);
    assert_eq!(log.size_bytes(), 0);
    fill(&mut log, &mut model, 3);
    drop(log);
    check(&reopen(&disk, Boot::Same), &model);
}

#[test]
fn timestamps_lead_to_where_to_scan_from() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let times: Vec<i64> = (0..200)
        .map(|i| 1_000 + i * 10 - if i % 7 == 3 { 500 } else { 0 })
        .collect();
    for (offset, time) in times.iter().enumerate() {
        log.append(&[batch_at_time(offset as i64, 1, 60, 0, *time)])
            .expect("appended");
    }
    for log in [log, reopen(&disk, Boot::Same)] {
        let reader = log.reader();
        for wanted in (400..3_100).step_by(5) {
            let from = reader
                .offset_for_timestamp_from_index(wanted)
                .expect("found");
            let truth = times
                .iter()
                .position(|time| *time >= wanted)
                .map_or(200, |at| at as i64);
            assert!(from <= truth, "{wanted}: {from} is behind {truth}");
            let scanned = reader
                .headers(from)
                .map(|item| item.expect("undamaged").0)
                .find(|header| header.max_timestamp >= wanted);
            assert_eq!(
                scanned.map_or(200, |header| header.base_offset),
                truth,
                "{wanted}"
            );
            assert!(
                truth - from < 80 || truth == 200,
                "{wanted}: scans from {from} to {truth}"
            );
        }
    }
}

#[test]
fn a_write_error_closes_the_log_until_it_is_opened_again() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let mut model = LogModel::default();
    fill(&mut log, &mut model, 5);
    disk.fail_next(Fault::Write);
    let error = log
        .append(&[batch(log.end(), 1, 100, 1)])
        .expect_err("fails");
    assert!(matches!(error, LogError::Io { .. }) && !error.is_disk_full());
    check(&log, &model);
    assert!(matches!(
        log.append(&[batch(log.end(), 1, 100, 1)]),
        Err(LogError::Closed { .. })
    ));
    assert!(matches!(log.truncate_to(0), Err(LogError::Closed { .. })));
    drop(log);
    let mut log = reopen(&disk, Boot::Same);
    check(&log, &model);
    fill(&mut log, &mut model, 5);
    disk.set_full(true);
    assert!(
        log.append(&[batch(log.end(), 1, 100, 1)])
            .expect_err("fails")
            .is_disk_full()
    );
    disk.set_full(false);
    drop(log);
    let mut log = reopen(&disk, Boot::Same);
    fill(&mut log, &mut model, 5);
    check(&log, &model);
}

#[test]
fn after_a_failed_sync_nothing_is_called_durable_and_a_reopened_log_writes_again_what_the_kernel_dropped()
 {
    for seed in 0..50 {
        let disk = MemDisk::new();
        let mut log = new_log(&disk, small_segments(), 0);
        let mut model = LogModel::default();
        fill(&mut log, &mut model, 5);
        flush(&mut log);
        log.checkpoint(CheckpointExtra::default()).expect("written");
        fill(&mut log, &mut model, 10);
        let (first, second) = (log.flush_point(), log.flush_point());
        disk.fail_next(Fault::Sync);
        assert!(matches!(first.sync(), Err(LogError::Io { .. })));
        assert!(
            matches!(second.sync(), Err(LogError::Closed { .. })),
            "the kernel would say yes now"
        );
        assert!(matches!(
            log.append(&[batch(log.end(), 1, 100, 1)]),
            Err(LogError::Closed { .. })
        ));
        assert!(log.closed().is_some());
        drop(log);
        let mut log = reopen(&disk, Boot::Same);
        check(&log, &model);
        flush(&mut log);
        assert_eq!(log.flushed(), model.end);
        disk.power_loss(seed);
        check(&reopen(&disk, Boot::Other), &model);
    }
}

#[test]
fn a_flush_point_from_before_a_truncation_counts_for_nothing() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let mut model = LogModel::default();
    fill(&mut log, &mut model, 10);
    let point = log.flush_point();
    assert!(!point.is_clean());
    log.truncate_to(5).expect("truncated");
    point.sync().expect("synced");
    assert!(log.flushed_to(&point) <= 5);
    flush(&mut log);
    assert_eq!(log.flushed(), log.end());
    assert!(log.flush_point().is_clean());
}

#[test]
fn checkpoints_are_due_after_bytes_and_seals_and_never_go_back() {
    let disk = MemDisk::new();
    let mut log = new_log(
        &disk,
        LogOptions {
            segment_bytes: 1 << 20,
            ..small_segments()
        },
        0,
    );
    let mut model = LogModel::default();
    assert!(!log.checkpoint_due());
    fill(&mut log, &mut model, 20);
    assert!(log.checkpoint_due());
    let older = log.prepare_checkpoint(CheckpointExtra {
        producer_snapshot_at: 1,
        ..CheckpointExtra::default()
    });
    assert!(!log.checkpoint_due());
    let extra = CheckpointExtra {
        epochs: vec![(BatchEpoch(4), 0)],
        producer_snapshot_at: 2,
    };
    log.checkpoint(extra.clone()).expect("written");
    older.write().expect("does nothing");
    let found = read_checkpoint(&disk, Path::new("/data/t-0"))
        .expect("readable")
        .expect("there");
    assert_eq!((found.start, found.flushed, found.extra), (0, 0, extra));
}

#[test]
fn missing_and_wrong_indexes_are_rebuilt() {
    for damage in 0..6 {
        let disk = MemDisk::new();
        let mut log = new_log(&disk, small_segments(), 0);
        let mut model = LogModel::default();
        fill(&mut log, &mut model, 90);
        flush(&mut log);
        log.checkpoint(CheckpointExtra::default()).expect("written");
        drop(log);
        let dir = Path::new("/data/t-0");
        for name in disk
            .list(dir)
            .expect("listed")
            .iter()
            .filter(|name| name.ends_with("index"))
        {
            let path = dir.join(name);
            let file = disk.open(&path, OpenMode::ReadWrite).expect("opened");
            let len = file.len().expect("known");
            match damage {
                0 => disk.remove_file(&path).expect("removed"),
                1 => file.set_len(0).expect("cut"),
                2 => file.set_len(len.saturating_sub(1)).expect("cut"),
                3 => file.set_len(len + 64).expect("lengthened"),
                _ => {
                    let mut bytes = disk.read(&path).expect("read");
                    if let Some(byte) = bytes.get_mut(damage) {
                        *byte ^= 0x40;
                        file.write_all_at(&mut [std::io::IoSlice::new(&bytes)], 0)
                            .expect("written");
                    }
                }
            }
        }
        for boot in [Boot::Same, Boot::Other] {
            let mut log = reopen(&disk, boot);
            check(&log, &model);
            fill(&mut log, &mut model, 2);
            check(&log, &model);
            flush(&mut log);
        }
    }
}

#[test]
fn readers_see_whole_batches_while_the_writer_writes_and_rolls() {
    let disk = MemDisk::new();
    let mut log = new_log(&disk, small_segments(), 0);
    let reader = log.reader();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut next = 0;
            while next < 3_000 {
                let (batches, damaged) = read_all(&reader, next, reader.end(), 600);
                assert_eq!(damaged, []);
                next += batches.len() as i64;
            }
        });
        for offset in 0..3_000 {
            log.append(&[batch(offset, 1, 80, offset as u64)])
                .expect("appended");
        }
        reading.join().expect("no batch was torn");
    });
}

#[test]
fn damage_names_are_errors_with_numbers() {
    let error = ReadError::Damaged { from: 3, to: 9 };
    assert_eq!(
        error.to_string(),
        "offsets 3 to 9 (exclusive) are damaged on disk"
    );
}

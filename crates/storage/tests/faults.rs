//! The n-th call to the disk fails, for every n: once, from then on, or because the disk is full.
//!
//! What must hold: a call that fails leaves the log as it was or closed; a closed log opens again
//! once the disk works, with everything that was durable and nothing that was not written; a power
//! loss after that takes nothing that was called durable since. The script touches every place that
//! writes.

mod common;

use common::{LogModel, batch, check, read_all, small_segments};
use gnomon_protocol::{
    batch::PlacedBatch,
    ids::{BatchEpoch, Offset},
};
use gnomon_storage::{
    Boot, CheckpointExtra, Disk, Fault, Log, LogError, LogOptions, MemDisk, OpenMode,
    RetentionLimits,
};
use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// One call.
    Once,
    /// One call; a failed sync takes the unsynced bytes with it.
    Forgetful,
    /// This call and all that follow, until somebody looks.
    Broken,
    /// From this call on there is no space, for some steps.
    Full,
}

/// Steps of a script that a full disk stays full for.
const FULL_STEPS: usize = 4;

struct LogRun {
    how: How,
    at: u64,
    disk: MemDisk,
    log: Option<Log>,
    /// The expected content of the log; after an append that failed, what it may hold.
    model: LogModel,
    /// The most that was called durable and not taken back since.
    durable: Offset,
    full_steps: usize,
    salt: u64,
    reopened: u32,
}

impl LogRun {
    fn new(how: How, at: u64) -> LogRun {
        let disk = MemDisk::new();
        disk.create_dir_all(Path::new("/data")).expect("made");
        disk.sync_dir(Path::new("/")).expect("synced");
        let at = at.saturating_add(disk.calls());
        disk.set_forgetful(how == How::Forgetful);
        match how {
            How::Once | How::Forgetful => disk.fail_calls(at..at.saturating_add(1)),
            How::Broken => disk.fail_calls(at..u64::MAX),
            How::Full => {}
        }
        LogRun {
            how,
            at,
            disk,
            log: None,
            model: LogModel::default(),
            durable: 0,
            full_steps: 0,
            salt: 0,
            reopened: 0,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open")
    }

    /// Does a step. `Err` is fine as long as the log is as it was, or closed and comes back.
    fn step(&mut self, name: &str, step: impl FnOnce(&mut LogRun) -> Result<(), LogError>) {
        if self.how == How::Full && self.disk.calls() >= self.at && self.full_steps < FULL_STEPS {
            self.full_steps += 1;
            // Room for some of what is to be written.
            let capacity = self.disk.used_bytes() + 400;
            self.disk
                .set_capacity((self.full_steps < FULL_STEPS).then_some(capacity));
        }
        let failed = step(self);
        let log = self.log.as_ref().expect("open");
        if let Err(failure) = &failed {
            let full = self.how == How::Full;
            assert!(
                !full || failure.is_disk_full() || matches!(failure, LogError::Closed { .. }),
                "{name}: {failure}"
            );
        }
        if failed.is_ok() && self.how != How::Broken {
            assert!(
                log.closed().is_none(),
                "{name} succeeded and left the log closed"
            );
        }
        if log.closed().is_some() {
            assert!(
                matches!(self.log().append(&[]), Err(LogError::Closed { .. })),
                "{name}: takes writes though it is closed"
            );
            self.reopen(name);
        } else if failed.is_err() && self.how == How::Full {
            self.restart(name);
        }
        self.settle(name);
        if failed.is_err() {
            check(self.log.as_ref().expect("open"), &self.model);
        }
        self.durable = self.durable.max(self.log().flushed());
    }

    /// The log says what is in; it must be whole batches of the model.
    fn settle(&mut self, name: &str) {
        let log = self.log.as_ref().expect("open");
        let (start, end) = (log.start(), log.end());
        assert!(
            end >= self.durable,
            "{name}: {} was durable, the log ends at {end}",
            self.durable
        );
        if end > self.model.end {
            self.model.end = end;
        }
        if start > self.model.start {
            self.model.trim(start);
        }
        self.model.truncate(end);
    }

    fn reopen(&mut self, name: &str) {
        if self.how == How::Broken {
            assert!(
                self.log().reopening().open().is_err(),
                "{name}: a broken disk cannot take the tail"
            );
        }
        self.disk.heal();
        let opened = self
            .log()
            .reopening()
            .open()
            .unwrap_or_else(|error| panic!("{name}: not opened again: {error}"));
        assert_eq!(opened.recovered.damaged, [], "{name}");
        self.log = Some(opened.log);
        self.reopened += 1;
    }

    /// A write that a full disk refused left nothing after.
    fn restart(&mut self, name: &str) {
        let end = self.log().end();
        self.log = None;
        let opened = Log::open(
            Arc::new(self.disk.clone()),
            dir(),
            small_segments(),
            Boot::Same,
        )
        .expect("opened");
        assert_eq!(
            (opened.recovered.cut, opened.log.end()),
            (None, end),
            "{name}"
        );
        self.log = Some(opened.log);
    }

    fn append(&mut self, batches: &[PlacedBatch]) -> Result<(), LogError> {
        let appended = self.log().append(batches);
        batches.iter().for_each(|batch| self.model.push(batch));
        appended
    }

    fn batches(&mut self, count: usize, jump: Offset) -> Vec<PlacedBatch> {
        let mut end = self.log().end() + jump;
        let mut batches = Vec::new();
        for _ in 0..count {
            self.salt += 1;
            let batch = batch(end, 1 + (self.salt % 3) as i32, 150, self.salt);
            end = batch.next_offset();
            batches.push(batch);
        }
        batches
    }

    fn write(&mut self, count: usize, jump: Offset) {
        self.step("append", |run| {
            let batches = run.batches(count, jump);
            run.append(&batches)
        });
    }

    fn flush(&mut self) {
        self.step("flush", |run| {
            let point = run.log().flush_point();
            point.sync()?;
            let flushed = run.log().flushed_to(&point);
            assert_eq!(flushed, point.end());
            Ok(())
        });
    }

    fn checkpoint(&mut self) {
        self.step("checkpoint", |run| {
            let extra = CheckpointExtra {
                epochs: vec![(BatchEpoch(1), run.model.start)],
                producer_snapshot_at: -1,
            };
            run.log().checkpoint(extra)
        });
    }

    fn create(&mut self) {
        // Nothing is there before the first success, and every attempt is the first one again.
        let mut tries = 0;
        self.log = loop {
            let made = Log::create(Arc::new(self.disk.clone()), dir(), small_segments(), 0);
            match made {
                Ok(log) => break Some(log),
                Err(_) if tries < 2 => tries += 1,
                Err(_) => self.disk.heal(),
            }
        };
    }

    fn script(&mut self) {
        self.create();
        self.write(3, 0);
        self.flush();
        self.write(20, 0);
        self.checkpoint();
        self.write(1, 0);
        self.flush();
        self.write(40, 0);
        self.step("trim", |run| {
            let start = run.log().start() + 10;
            run.log().trim_to(start)
        });
        self.flush();
        self.write(2, 7);
        self.write(1, 3_000_000_000);
        self.checkpoint();
        self.write(10, 0);
        self.flush();
        self.step("advance", |run| {
            let to = run.log().end() + 5;
            run.model.end = to;
            run.log().advance_end(to)
        });
        self.write(5, 0);
        self.step("retain", |run| {
            let limits = RetentionLimits {
                bytes: Some(6_000),
                before_timestamp: None,
            };
            let not_above = run.log().flushed();
            run.log().retain(limits, not_above).map(drop)
        });
        self.write(30, 0);
        self.flush();
        self.checkpoint();
        self.write(4, 0);
    }

    /// After everything, the power goes.
    fn end(mut self, seed: u64) -> (u64, u32) {
        let calls = self.disk.calls();
        self.disk.heal();
        if self.log().closed().is_some() {
            self.reopen("the end");
            self.settle("the end");
        }
        self.flush();
        assert_eq!(
            self.durable, self.model.end,
            "all is durable after a flush that succeeded"
        );
        self.write(6, 0);
        self.log = None;
        self.disk.power_loss(seed);
        let opened = Log::open(
            Arc::new(self.disk.clone()),
            dir(),
            small_segments(),
            Boot::Other,
        )
        .expect("opened");
        assert_eq!(opened.recovered.damaged, []);
        self.log = Some(opened.log);
        self.settle("power loss");
        check(self.log.as_ref().expect("open"), &self.model);
        (calls, self.reopened)
    }
}

fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

fn run(how: How, at: u64, seed: u64) -> (u64, u32) {
    let mut run = LogRun::new(how, at);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run.script();
        run.end(seed)
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!("{how:?} at call {at}, seed {seed}");
        std::panic::resume_unwind(panic)
    })
}

/// Power losses after each failure; the full run takes more.
fn seeds() -> u64 {
    if std::env::var("GNOMON_FAULTS").is_ok_and(|runs| runs == "full") {
        20
    } else {
        1
    }
}

fn every_call(how: How) {
    let (calls, _) = run(how, u64::MAX, 1);
    let mut reopened = 0;
    for at in 0..calls {
        for seed in 0..seeds() {
            reopened += run(how, at, seed).1;
        }
    }
    println!(
        "faults: {how:?} at each of {calls} calls, {} power losses behind each, {reopened} times opened again",
        seeds()
    );
    assert!(how == How::Full || reopened > 10, "hardly anything failed");
}

#[test]
fn one_call_fails() {
    every_call(How::Once);
}

#[test]
fn one_call_fails_on_a_file_system_that_forgets() {
    every_call(How::Forgetful);
}

#[test]
fn all_calls_fail_from_one_on() {
    every_call(How::Broken);
}

#[test]
fn the_disk_is_full_from_one_call_on() {
    every_call(How::Full);
}

#[test]
fn what_was_durable_is_not_cut_when_a_log_is_opened_again_though_no_checkpoint_says_so() {
    let disk = MemDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created");
    for offset in 0..3 {
        log.append(&[batch(offset, 1, 150, offset as u64)])
            .expect("appended");
    }
    let point = log.flush_point();
    point.sync().expect("synced");
    assert_eq!(log.flushed_to(&point), 3);
    log.append(&[batch(3, 1, 150, 3)]).expect("appended");
    let file = disk
        .open(&dir().join(format!("{:020}.log", 0)), OpenMode::ReadWrite)
        .expect("opened");
    let len = file.len().expect("known");
    file.write_all_at(&mut [IoSlice::new(b"rot")], len / 4 + 100)
        .expect("written");
    disk.fail_next(Fault::Sync);
    log.flush_point().sync().expect_err("fails");
    let opened = log.reopening().open().expect("opened");
    assert_eq!((opened.recovered.cut, opened.log.end()), (None, 4));
    let (batches, damaged) = read_all(&opened.log.reader(), 0, 4, 1 << 20);
    assert_eq!((batches.len(), damaged), (3, vec![(1, 2)]));
}

/// A hundred batches of one record, synced.
fn a_hundred(disk: &MemDisk) -> Log {
    let mut log = Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created");
    for offset in 0..100 {
        log.append(&[batch(offset, 1, 150, offset as u64)])
            .expect("appended");
    }
    let point = log.flush_point();
    point.sync().expect("synced");
    log.flushed_to(&point);
    log
}

#[test]
fn retention_makes_room_on_a_full_disk() {
    let disk = MemDisk::new();
    let mut log = a_hundred(&disk);
    let used = disk.used_bytes();
    disk.set_capacity(Some(used));
    assert!(
        log.append(&[batch(100, 1, 150, 0)])
            .expect_err("no room")
            .is_disk_full()
    );
    let limits = RetentionLimits {
        bytes: Some(8_000),
        before_timestamp: None,
    };
    let start = log.retain(limits, 100).expect("retained").expect("moved");
    assert!(
        disk.used_bytes() < used / 2,
        "{} of {used}",
        disk.used_bytes()
    );
    log.append(&[batch(100, 1, 150, 0)]).expect("appended");
    drop(log);
    let opened =
        Log::open(Arc::new(disk.clone()), dir(), small_segments(), Boot::Same).expect("opened");
    assert_eq!((opened.log.start(), opened.log.end()), (start, 101));
}

/// The disk is full, so that no checkpoint says where the log starts now, and the power goes right
/// after the retention: what is left has no holes.
#[test]
fn retention_on_a_full_disk_leaves_no_holes_wherever_the_power_goes() {
    for seed in 0..200 {
        let disk = MemDisk::new();
        disk.create_dir_all(Path::new("/data")).expect("made");
        disk.sync_dir(Path::new("/")).expect("synced");
        let mut log = a_hundred(&disk);
        log.checkpoint(CheckpointExtra::default()).expect("written");
        disk.set_full(true);
        let limits = RetentionLimits {
            bytes: Some(2_000),
            before_timestamp: None,
        };
        let retained = log.retain(limits, 100);
        let moved = log.start();
        assert!(moved > 0, "no room was made");
        assert!(
            matches!(retained, Ok(Some(start)) if start == moved),
            "the log starts at {moved} now, and its retention says {retained:?}"
        );
        drop(log);
        disk.power_loss(seed);
        let opened = Log::open(Arc::new(disk.clone()), dir(), small_segments(), Boot::Other)
            .expect("opened");
        let (start, end) = (opened.log.start(), opened.log.end());
        let (batches, damaged) = read_all(&opened.log.reader(), start, end, 1 << 20);
        assert_eq!(
            (end, damaged, batches.len() as i64),
            (100, vec![], 100 - start),
            "seed {seed}, {retained:?}"
        );
    }
}

#[test]
fn what_is_reserved_can_be_written_on_a_full_disk() {
    let disk = MemDisk::new();
    let options = LogOptions {
        segment_bytes: 1 << 20,
        reserve_bytes: 2_000,
        ..small_segments()
    };
    let mut log = Log::create(Arc::new(disk.clone()), dir(), options, 0).expect("created");
    log.append(&[batch(0, 1, 150, 0)]).expect("appended");
    disk.set_full(true);
    let mut written = 0;
    while log.append(&[batch(log.end(), 1, 150, 0)]).is_ok() {
        written += 1;
    }
    assert!((5..20).contains(&written), "{written}");
    assert!(
        log.append(&[batch(log.end(), 1, 150, 0)])
            .expect_err("used up")
            .is_disk_full()
    );
    disk.set_full(false);
    log.append(&[batch(log.end(), 1, 150, 0)])
        .expect("appended");
}

/// A process that made a log and died before its names were durable: the next process makes them
/// so.
#[test]
fn the_names_of_a_log_whose_maker_died_become_durable() {
    let disk = || {
        let disk = MemDisk::new();
        disk.create_dir_all(Path::new("/data")).expect("made");
        disk.sync_dir(Path::new("/")).expect("synced");
        disk
    };
    let whole = disk();
    let before = whole.calls();
    drop(Log::create(Arc::new(whole.clone()), dir(), small_segments(), 0).expect("created"));
    for (at, seed) in (before..whole.calls()).flat_map(|at| (0..20).map(move |seed| (at, seed))) {
        let disk = disk();
        disk.fail_calls(at..u64::MAX);
        assert!(Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).is_err());
        disk.heal();
        let mut log = match Log::exists(&disk, &dir()).expect("looked") {
            true => {
                Log::open(Arc::new(disk.clone()), dir(), small_segments(), Boot::Same)
                    .expect("opened")
                    .log
            }
            false => {
                Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created")
            }
        };
        survives(&disk, &mut log, seed);
    }
}

/// The same for a segment after others, when the checkpoint vouches for everything before it.
#[test]
fn the_name_of_a_segment_whose_maker_died_becomes_durable() {
    for seed in 0..40 {
        let disk = MemDisk::new();
        let mut log =
            Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created");
        while log.segments().len() == 1 {
            let point = log.flush_point();
            point.sync().expect("synced");
            log.flushed_to(&point);
            log.checkpoint(CheckpointExtra::default()).expect("written");
            let next = batch(log.end(), 1, 150, log.end() as u64);
            if log.size_bytes() + next.total_bytes() as u64 > small_segments().segment_bytes {
                // The first segment's index, which is not fatal, and the batch.
                disk.fail_next(Fault::Write);
                disk.fail_next(Fault::Write);
                log.append(&[next])
                    .expect_err("fails in the second segment");
            } else {
                log.append(&[next]).expect("appended");
            }
        }
        drop(log);
        let mut log = Log::open(Arc::new(disk.clone()), dir(), small_segments(), Boot::Same)
            .expect("opened")
            .log;
        assert_eq!(
            log.segments().last().expect("two").bytes,
            0,
            "made, and nothing written"
        );
        survives(&disk, &mut log, seed);
    }
}

/// Checks that flushed batches are there after a power loss.
fn survives(disk: &MemDisk, log: &mut Log, seed: u64) {
    let end = log.end();
    log.append(&[batch(end, 1, 150, 9)]).expect("appended");
    let point = log.flush_point();
    point.sync().expect("synced");
    assert_eq!(log.flushed_to(&point), end + 1);
    disk.power_loss(seed);
    let opened =
        Log::open(Arc::new(disk.clone()), dir(), small_segments(), Boot::Other).expect("opened");
    assert_eq!(
        (opened.log.end(), opened.recovered.damaged),
        (end + 1, vec![]),
        "seed {seed}"
    );
}

//! The n-th call to the disk fails, for every n, under a partition that clients write; they try
//! again until they are acknowledged.
//!
//! What must hold: nothing is acknowledged between a failure and the reopening (L4); a full disk
//! refuses and heals by itself (L5); what was acknowledged is there, once and at its offset, also
//! with acks=1 as long as the power stays on (L1); no offset is handed out twice under one epoch
//! for different bytes (L2); a repeated sequence is never stored twice (L6); watermarks never go
//! back.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{
    AppendError, Handle, Isolation, Lost, ReadError, ReopenError, Role, Settings,
};
use gnomon_protocol::{batch::BatchView, ids::Offset};
use gnomon_storage::MemDisk;
use std::{collections::HashMap, time::Duration};

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// One call.
    Once,
    /// One call, and what it did not sync is gone.
    Forgetful,
    /// From this call on all fail, until somebody has tried in vain to open the partition again.
    Broken,
    /// From this call on there is no more space, until a client has been refused some times.
    Full,
}

/// The answers that a client got.
struct ClientView {
    batch: BatchView,
    base: Offset,
    epoch: i32,
    durable: bool,
}

struct FaultRun {
    how: How,
    at: u64,
    disk: MemDisk,
    handle: Handle,
    settings: Settings,
    epoch: i32,
    told: Vec<ClientView>,
    /// The bytes that were given to an offset, by epoch.
    handed_out: HashMap<(i32, Offset), BatchView>,
    next_sequence: i32,
    seen: Offset,
    /// Records that consumers of a caching topic saw may go with a failed sync.
    lossy: bool,
    reopened: u32,
    refused: u32,
}

impl FaultRun {
    fn new(how: How, at: u64, settings: Settings) -> FaultRun {
        let disk = disk();
        let at = at.saturating_add(disk.calls());
        disk.set_forgetful(how == How::Forgetful);
        match how {
            How::Once | How::Forgetful => disk.fail_calls(at..at.saturating_add(1)),
            How::Broken => disk.fail_calls(at..u64::MAX),
            How::Full => {}
        }
        let handle = open(&disk, Role::leader(1), settings.clone());
        let lossy = how == How::Forgetful && settings.write_caching;
        FaultRun {
            how,
            at,
            disk,
            handle,
            settings,
            epoch: 1,
            told: Vec::new(),
            handed_out: HashMap::new(),
            next_sequence: 0,
            seen: 0,
            lossy,
            reopened: 0,
            refused: 0,
        }
    }

    /// An idempotent client writes a batch until it is acknowledged.
    async fn produce(&mut self, count: i32, acks_all: bool) {
        if self.how == How::Full && self.disk.calls() >= self.at && self.refused == 0 {
            self.disk.set_capacity(Some(self.disk.used_bytes() + 100));
        }
        for attempt in 0.. {
            assert!(attempt < 20, "never acknowledged");
            let batch = idempotent(7, 0, self.next_sequence, count);
            let appended = match self.handle.appender().append(batch.clone(), CLIENT, NOW) {
                Ok(appended) => appended,
                Err(AppendError::Closed { .. }) => {
                    self.reopen();
                    continue;
                }
                Err(AppendError::Storage(failure)) => {
                    self.refused += 1;
                    assert!(
                        self.handle.control().failed().is_some()
                            || self.how != How::Full
                            || failure.is_disk_full(),
                        "{failure}"
                    );
                    if self.how == How::Full && self.refused.is_multiple_of(3) {
                        self.disk.heal();
                    } else if self.how == How::Broken && self.handle.control().failed().is_none() {
                        // Nothing but making the log fails without closing anything, and there is
                        // no way back but to try again.
                        self.disk.heal();
                    }
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            let (base, epoch) = (appended.base_offset, self.epoch);
            if !appended.duplicate {
                let before = self.handed_out.insert((epoch, base), batch.clone());
                assert!(
                    before.is_none_or(|before| before == batch),
                    "offset {base} again under epoch {epoch}"
                );
            }
            if acks_all {
                match self
                    .handle
                    .appender()
                    .durable(appended.last_offset + 1)
                    .await
                {
                    Ok(()) => assert!(
                        self.handle.control().failed().is_none()
                            || self.handle.offsets().flushed > appended.last_offset
                    ),
                    Err(Lost::Closed { .. }) => {
                        self.reopen();
                        continue;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            self.next_sequence += count;
            self.told.push(ClientView {
                batch,
                base,
                epoch,
                durable: acks_all,
            });
            break;
        }
        self.look();
    }

    /// L4: nobody gets anything in. Then the way back.
    fn reopen(&mut self) {
        assert!(
            self.handle.control().failed().is_some(),
            "closed, and not by the disk"
        );
        let before = self.handle.offsets();
        assert!(matches!(
            self.handle.appender().append(plain(1, 0), CLIENT, NOW),
            Err(AppendError::Closed { .. })
        ));
        let readable = self.readable(before.log_start);
        if self.handle.latest_epoch().0 == self.epoch {
            let again = self
                .handle
                .control()
                .reopen(Role::leader(self.epoch), self.settings.clone());
            assert!(
                matches!(again, Err(ReopenError::EpochUsed { .. })),
                "{again:?}"
            );
        }
        self.epoch += 1;
        if self.how == How::Broken {
            let again = self
                .handle
                .control()
                .reopen(Role::leader(self.epoch), self.settings.clone());
            assert!(matches!(again, Err(ReopenError::Open(_))), "{again:?}");
            assert!(matches!(
                self.handle.appender().append(plain(1, 0), CLIENT, NOW),
                Err(AppendError::Closed { .. })
            ));
            assert_eq!(self.readable(before.log_start), readable, "reads go on");
        }
        self.disk.heal();
        let successor = self
            .handle
            .control()
            .reopen(Role::leader(self.epoch), self.settings.clone())
            .expect("the disk works");
        self.handle.control().succeeded_by(&successor);
        let after = successor.offsets();
        assert_eq!(
            (after.flushed, after.high_watermark),
            (after.end, after.end)
        );
        assert!(
            self.lossy || after.end >= before.high_watermark,
            "{before:?} became {after:?}"
        );
        assert!(
            self.how == How::Forgetful || after.end >= before.end,
            "the page cache had it all: {before:?} became {after:?}"
        );
        if self.how == How::Forgetful {
            // What was only written may be gone, and its sender was told nothing or a failure.
            self.told.retain(|told| told.base < after.end);
            self.seen = self.seen.min(after.end);
            self.next_sequence = self
                .told
                .last()
                .map_or(0, |told| told.batch.header().last_sequence() + 1);
        }
        self.handle = successor;
        self.reopened += 1;
        self.look();
    }

    /// The batches that consumers get while the partition is closed to writing: everything, unless
    /// what they had seen may have gone with a failed sync.
    fn readable(&self, from: Offset) -> Vec<BatchView> {
        if !self.lossy {
            return batches(&self.handle, from, Isolation::ReadUncommitted);
        }
        let read = self
            .handle
            .reader()
            .read(from, 1, Isolation::ReadUncommitted, true);
        assert!(
            matches!(read, Ok(_) | Err(ReadError::Closed { .. })),
            "{read:?}"
        );
        Vec::new()
    }

    fn look(&mut self) {
        let offsets = self.handle.offsets();
        assert!(
            offsets.high_watermark >= self.seen,
            "the high watermark went back: {offsets:?}, it was at {}",
            self.seen
        );
        self.seen = offsets.high_watermark;
    }

    /// Everything acknowledged is there, once.
    fn check(&self, promised_only: bool) {
        let start = self.handle.offsets().log_start;
        let found = batches(&self.handle, start, Isolation::LogEnd);
        let by_base: HashMap<Offset, &BatchView> = found
            .iter()
            .map(|batch| (batch.header().base_offset, batch))
            .collect();
        for told in self
            .told
            .iter()
            .filter(|told| told.base >= start && (told.durable || !promised_only))
        {
            let expected = copied(told.base, told.epoch, told.batch.clone());
            let records = |batch: &BatchView| batch.bytes().slice(61..);
            let there = by_base.get(&told.base).map(|batch| records(batch));
            assert_eq!(
                there,
                Some(records(&expected)),
                "what was acknowledged at {}",
                told.base
            );
        }
        let mut expected = None;
        for batch in found.iter().filter(|batch| batch.header().producer_id == 7) {
            let header = batch.header();
            assert!(
                expected.is_none_or(|next| next == header.base_sequence),
                "sequences {expected:?} and {header:?}"
            );
            expected = Some(header.last_sequence() + 1);
        }
    }

    async fn script(&mut self) {
        for round in 0..14 {
            self.produce(1 + round % 5, round % 3 != 1).await;
            match round {
                3 | 9 => drop(self.handle.control().checkpoint()),
                5 => drop(self.handle.control().trim_to(self.seen.min(6))),
                7 => drop(self.handle.control().apply_retention(NOW)),
                11 => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => {}
            }
        }
    }

    /// The disk works again, all is flushed, the power goes.
    async fn end(mut self, seed: u64) -> (u64, u32, u32) {
        let calls = self.disk.calls();
        if self.handle.control().failed().is_some() {
            self.reopen();
        }
        self.disk.heal();
        if self.handle.control().flush().await.is_err() {
            self.reopen();
        }
        self.check(false);
        let promised = self.handle.offsets().end;
        self.produce(3, false).await;
        let (reopened, refused) = (self.reopened, self.refused);
        self.disk.power_loss(seed);
        self.epoch += 1;
        self.handle =
            open_after_power_loss(&self.disk, Role::leader(self.epoch), self.settings.clone());
        assert!(self.handle.offsets().end >= promised);
        self.check(true);
        (calls, reopened, refused)
    }
}

fn run(how: How, at: u64, seed: u64, settings: &Settings) -> (u64, u32, u32) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut run = FaultRun::new(how, at, settings.clone());
            run.script().await;
            run.end(seed).await
        })
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!(
            "{how:?} at call {at}, seed {seed}, write.caching {}",
            settings.write_caching
        );
        std::panic::resume_unwind(panic)
    })
}

/// Power losses after each failure; the full run takes more.
fn seeds() -> u64 {
    if std::env::var("GNOMON_FAULTS").is_ok_and(|runs| runs == "full") {
        50
    } else {
        2
    }
}

fn every_call(how: How) {
    for write_caching in [false, true] {
        let settings = Settings {
            write_caching,
            ..settings()
        };
        let (calls, ..) = run(how, u64::MAX, 0, &settings);
        let (mut reopened, mut refused) = (0, 0);
        for at in 0..calls {
            for seed in 0..seeds() {
                let (_, again, no) = run(how, at, seed, &settings);
                (reopened, refused) = (reopened + again, refused + no);
            }
        }
        println!(
            "faults: {how:?} at each of {calls} calls, write.caching {write_caching}, {reopened} times reopened, {refused} writes refused"
        );
        assert!(
            if how == How::Full {
                refused > 50
            } else {
                reopened > 20
            },
            "hardly anything failed"
        );
    }
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

/// Twelve batches in several segments, all durable, and a checkpoint.
async fn several_segments(disk: &MemDisk, settings: &Settings) -> Handle {
    let handle = open(disk, Role::leader(1), settings.clone());
    for round in 0..12 {
        append(&handle, plain(20, round));
    }
    handle.control().flush().await.expect("the disk works");
    handle.control().checkpoint().expect("the disk works");
    handle
}

/// Where the log starts, a client can read; below it, it cannot.
fn starts_where_it_says(handle: &Handle, story: &str) {
    let start = handle.offsets().log_start;
    let first = handle
        .reader()
        .read(start, 1, Isolation::ReadUncommitted, true);
    assert!(first.is_ok(), "{story}: reading at {start}: {first:?}");
    if start > 0 {
        let below = handle
            .reader()
            .read(start - 1, 1, Isolation::ReadUncommitted, true);
        assert!(
            matches!(below, Err(ReadError::OutOfRange { .. })),
            "{story}: reading below {start}: {below:?}"
        );
    }
}

/// Its name, the topic's settings, and the change.
type ChangeOfTheStart = (&'static str, Settings, fn(&Handle));

/// A change of the log start that fails half way: by size, by age (all of it, which notes the
/// epochs as well), and by request.
fn changes_of_the_start() -> Vec<ChangeOfTheStart> {
    let retain = |handle: &Handle| drop(handle.control().apply_retention(i64::MAX));
    vec![
        (
            "retention by size",
            Settings {
                retention_bytes: Some(2_000),
                ..settings()
            },
            retain,
        ),
        (
            "retention of everything",
            Settings {
                retention_ms: Some(1),
                ..settings()
            },
            retain,
        ),
        ("DeleteRecords", settings(), |handle| {
            drop(handle.control().trim_to(130))
        }),
        ("DeleteRecords of everything", settings(), |handle| {
            drop(handle.control().trim_to(-1))
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn retention_that_cannot_write_its_checkpoint_moves_the_log_start_all_the_same() {
    let disk = disk();
    let settings = Settings {
        retention_bytes: Some(2_000),
        ..settings()
    };
    let handle = several_segments(&disk, &settings).await;
    disk.set_full(true);
    let _ = handle.control().apply_retention(NOW);
    assert!(handle.offsets().log_start > 0, "segments were removed");
    starts_where_it_says(&handle, "a full disk");
    let start = handle.offsets().log_start;
    disk.set_full(false);
    drop(handle);
    let handle = open_after_power_loss(&disk, Role::leader(2), settings);
    assert_eq!(handle.offsets().log_start, start);
    starts_where_it_says(&handle, "after a restart");
}

#[tokio::test(start_paused = true)]
async fn the_log_start_is_readable_whichever_call_fails_while_it_moves() {
    for (story, settings, change) in changes_of_the_start() {
        let whole = disk();
        let handle = several_segments(&whole, &settings).await;
        let before = whole.calls();
        change(&handle);
        let calls = whole.calls() - before;
        assert!(handle.offsets().log_start > 0, "{story} moves nothing");
        // Space for a new file, but not for a checkpoint; more calls are made then.
        let hardly_any_space = [None, Some(10)];
        let cases = (0..3 * calls).flat_map(|at| [(at, 1), (at, u64::MAX)]);
        for ((at, lasts), space) in
            cases.flat_map(|case| hardly_any_space.map(|space| (case, space)))
        {
            let disk = disk();
            let handle = several_segments(&disk, &settings).await;
            let first = disk.calls() + at;
            disk.fail_calls(first..first.saturating_add(lasts));
            disk.set_capacity(space.map(|space| disk.used_bytes() + space));
            change(&handle);
            let story = format!("{story}, call {at} fails, {lasts} in all, {space:?} bytes free");
            starts_where_it_says(&handle, &story);
            disk.heal();
            change(&handle);
            starts_where_it_says(&handle, &story);
        }
    }
}

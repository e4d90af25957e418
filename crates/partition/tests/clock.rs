//! A wall clock that steps back and forth under one partition: records are found by time as if one
//! had looked at them all, retention takes what the clock calls old and nothing above the high
//! watermark, and producers stay known.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{ByTime, Handle, Isolation, Role, Settings, TimestampType};
use gnomon_protocol::ids::Offset;
use rand::{RngExt, SeedableRng, rngs::StdRng};

const HOUR: i64 = 3_600_000;

/// The answer by a look at every record: the first whose time is not before `timestamp`.
fn first_at_or_after(handle: &Handle, timestamp: i64) -> Option<(Offset, i64)> {
    let all = batches(
        handle,
        handle.offsets().log_start,
        Isolation::ReadUncommitted,
    );
    let times = all.iter().flat_map(|batch| {
        let header = *batch.header();
        let records = gnomon_protocol::batch::records(batch, 1 << 20).unwrap();
        records
            .map(move |record| {
                record
                    .map(|record| (record.offset, record.timestamp))
                    .unwrap()
            })
            .filter(move |_| !header.is_control())
    });
    times
        .filter(|(offset, _)| *offset >= handle.offsets().log_start)
        .find(|(_, time)| *time >= timestamp)
}

async fn live(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let disk = disk();
    let settings = Settings {
        timestamp_type: TimestampType::LogAppendTime,
        retention_ms: Some(24 * HOUR),
        ..settings()
    };
    let mut handle = open(&disk, Role::leader(1), settings.clone());
    let mut sequence = 0;
    for step in 0..120 {
        let now = NOW + rng.random_range(-1_000..1_000) * HOUR;
        match rng.random_range(0..10) {
            0..=5 => {
                let appended = handle
                    .appender()
                    .append(idempotent(7, 0, sequence, 3), CLIENT, now)
                    .unwrap();
                assert_eq!(
                    (appended.duplicate, appended.log_append_time_ms),
                    (false, now)
                );
                let again = handle
                    .appender()
                    .append(idempotent(7, 0, sequence, 3), CLIENT, now - HOUR)
                    .unwrap();
                assert_eq!(
                    (again.duplicate, again.base_offset),
                    (true, appended.base_offset),
                    "seed {seed}, step {step}"
                );
                sequence += 3;
            }
            6 => drop(handle.control().flush().await.unwrap()),
            7 => {
                handle.control().flush().await.unwrap();
                let looked = (0..5).map(|_| NOW + rng.random_range(-1_200..1_200) * HOUR);
                for time in looked {
                    let found = handle
                        .reader()
                        .find_by_time_here(ByTime::AtOrAfter(time), Isolation::ReadUncommitted)
                        .unwrap();
                    let found = found.map(|found| (found.offset, found.timestamp_ms));
                    assert_eq!(
                        found,
                        first_at_or_after(&handle, time),
                        "seed {seed}, step {step}, time {time}"
                    );
                }
            }
            8 => {
                let before = handle.offsets();
                let kept = before.high_watermark;
                if let Some(start) = handle.control().apply_retention(now).unwrap() {
                    assert!(
                        start <= kept,
                        "seed {seed}, step {step}: {start} and {before:?}"
                    );
                }
            }
            _ => {
                drop(handle);
                handle = open(&disk, Role::leader(step + 2), settings.clone());
                assert_eq!(handle.offsets().high_watermark, handle.offsets().end);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps() {
    let seeds = if std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full") {
        1_000
    } else {
        25
    };
    for seed in 0..seeds {
        live(seed).await;
    }
    println!("faults: partitions under a clock that steps: {seeds}");
}

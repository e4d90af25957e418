//! A log start that moves costs one checkpoint, whoever moves it: on a slow disk, each more would
//! hold up the partition's writer.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{Fence, Handle, Role, Settings};
use gnomon_storage::{LogOptions, MemDisk};

/// Long after every record of these tests.
const LATER: i64 = NOW + 1_000_000_000;

/// Files that are written atomically while `work` runs: checkpoints, and producer snapshots.
fn files_written<R>(disk: &MemDisk, work: impl FnOnce() -> R) -> u64 {
    let before = disk.renames();
    work();
    disk.renames() - before
}

/// Checkpoints are written when the test asks for one, or a segment is sealed.
fn few_checkpoints(segment_bytes: u64) -> Settings {
    let log = LogOptions {
        segment_bytes,
        checkpoint_bytes: u64::MAX,
        ..settings().log
    };
    Settings { log, ..settings() }
}

/// Twenty batches of an idempotent producer.
async fn filled(disk: &MemDisk, settings: Settings) -> Handle {
    let handle = open(disk, Role::leader(1), settings);
    for batch in 0..20 {
        append(&handle, idempotent(7, 0, 5 * batch, 5));
    }
    handle.appender().durable(100).await.unwrap();
    handle
}

/// Keeps producers, and nothing else.
fn keeping_nothing(settings: Settings) -> Settings {
    Settings {
        retention_ms: Some(0),
        producer_expiration_ms: i64::MAX,
        ..settings
    }
}

#[tokio::test(start_paused = true)]
async fn deleting_records_writes_one_snapshot_and_one_checkpoint() {
    let disk = disk();
    let handle = filled(&disk, few_checkpoints(1 << 20)).await;
    handle.control().checkpoint().unwrap();
    append(&handle, idempotent(7, 0, 100, 5));
    handle.appender().durable(105).await.unwrap();
    let trim = |to| files_written(&disk, || handle.control().trim_to(to).unwrap());
    assert_eq!(trim(50), 1, "the snapshot of the checkpoint will do");
    assert_eq!(trim(104), 2);
    assert_eq!(trim(105), 1, "the snapshot of the last trim will do");
    assert_eq!(trim(105), 0, "the log starts there already");
}

#[tokio::test(start_paused = true)]
async fn following_a_source_writes_one_snapshot_and_one_checkpoint() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    for batch in 0..20 {
        let batch = copied(5 * batch, 1, idempotent(7, 0, 5 * batch as i32, 5));
        let known = bounds(0, 100);
        handle
            .copier()
            .append_at(Fence(1), vec![batch], known)
            .unwrap();
    }
    handle.appender().durable(100).await.unwrap();
    let follow = |to| {
        let copier = handle.copier();
        files_written(&disk, || copier.follow_source_start(Fence(1), to).unwrap())
    };
    assert_eq!(follow(30), 2);
    assert_eq!(
        follow(100),
        1,
        "an emptied log notes its epochs with its start"
    );
}

#[tokio::test(start_paused = true)]
async fn retention_writes_one_snapshot_and_one_checkpoint() {
    let retain = |disk: &MemDisk, handle: &Handle, now_ms| {
        let control = handle.control();
        files_written(disk, || control.apply_retention(now_ms).unwrap().unwrap())
    };
    let disk = disk();
    let small = few_checkpoints(500);
    let handle = filled(&disk, small.clone()).await;
    handle.control().checkpoint().unwrap();
    handle.control().set_settings(Settings {
        retention_bytes: Some(1_000),
        ..small
    });
    assert_eq!(
        retain(&disk, &handle, NOW),
        1,
        "the snapshot of the checkpoint will do"
    );

    let disk = common::disk();
    let large = few_checkpoints(1 << 20);
    let handle = filled(&disk, large.clone()).await;
    handle.control().set_settings(keeping_nothing(large));
    assert_eq!(retain(&disk, &handle, LATER), 2);
    assert_eq!(handle.offsets().log_start, 100);
}

#[tokio::test(start_paused = true)]
async fn producers_survive_a_power_loss_after_every_kind_of_trim() {
    for kind in 0..3 {
        let disk = disk();
        let handle = filled(&disk, settings()).await;
        let control = handle.control();
        match kind {
            0 => control.trim_to(99).unwrap(),
            1 => control.trim_to(100).unwrap(),
            _ => {
                control.set_settings(keeping_nothing(settings()));
                control.apply_retention(LATER).unwrap().unwrap()
            }
        };
        disk.power_loss(3);
        let handle = open_after_power_loss(&disk, Role::leader(2), settings());
        let again = append(&handle, idempotent(7, 0, 95, 5));
        assert!(again.duplicate, "{kind}");
        let next = append(&handle, idempotent(7, 0, 100, 5));
        assert_eq!(next.base_offset, 100, "{kind}");
    }
}

//! Waiting for the disk: which requests are told when it fails, and how many syncs it takes.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{
    AppendError, Blocking, CloseError, Env, Fence, Flusher, Handle, Isolation, Lost, Role,
    Settings, Waiter,
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView},
    ids::BatchEpoch,
};
use gnomon_storage::{Boot, Disk, MemDisk, disk::Fault};
use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

/// Whether a future is still waiting.
async fn waits(future: impl Future) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test(start_paused = true)]
async fn a_reply_waits_for_the_disk_and_many_share_one_pass() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    let mut replies = Vec::new();
    for tag in 0..20 {
        let appended = append(&handle, plain(1, tag));
        let handle = handle.clone();
        replies.push(tokio::spawn(async move {
            handle.appender().durable(appended.last_offset + 1).await
        }));
    }
    assert_eq!(handle.offsets().high_watermark, 0);
    for reply in replies {
        reply.await.unwrap().unwrap();
    }
    assert_eq!(handle.offsets().flushed, 20);
    assert!(
        !waits(handle.appender().durable(20)).await,
        "reached already"
    );
    assert!(waits(handle.appender().durable(21)).await);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_and_it_is_flushed_all_the_same() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    append(&handle, plain(3, 0));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(handle.offsets().high_watermark, 3);
}

#[tokio::test(start_paused = true)]
async fn write_caching_does_not_wait() {
    let disk = disk();
    let handle = open(
        &disk,
        Role::leader(1),
        Settings {
            write_caching: true,
            ..settings()
        },
    );
    append(&handle, plain(3, 0));
    let offsets = handle.offsets();
    assert_eq!((offsets.high_watermark, offsets.flushed), (3, 0));
    assert!(!waits(handle.appender().durable(3)).await);
    assert_eq!(handle.control().flush().await.unwrap(), 3);
    assert_eq!(handle.offsets().flushed, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_closes_to_writing_and_tells_everyone() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    append(&handle, plain(3, 0));
    handle.control().flush().await.unwrap();
    append(&handle, plain(4, 1));
    let waiter = handle.reader().wait();
    disk.fail_next(Fault::Sync);
    assert!(matches!(
        handle.appender().durable(7).await,
        Err(Lost::Closed { .. })
    ));
    waiter.changed().await;
    assert!(matches!(
        handle.appender().append(plain(1, 2), CLIENT, NOW),
        Err(AppendError::Closed { .. })
    ));
    assert!(matches!(
        handle.appender().durable(9).await,
        Err(Lost::Closed { .. })
    ));
    assert_eq!(handle.offsets().high_watermark, 3);
    assert_eq!(
        batches(&handle, 0, Isolation::ReadUncommitted).len(),
        1,
        "reading goes on"
    );
    assert!(matches!(
        handle.control().close().await,
        Err(CloseError::AlreadyClosed { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_takes_no_offset_and_changes_no_sequence() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    let first = append(&handle, idempotent(5, 0, 0, 3));
    handle
        .appender()
        .durable(first.last_offset + 1)
        .await
        .unwrap();
    disk.fail_next(Fault::Write);
    assert!(matches!(
        handle
            .appender()
            .append(idempotent(5, 0, 3, 3), CLIENT, NOW),
        Err(AppendError::Storage(_))
    ));
    assert_eq!(handle.offsets().end, 3);
    drop(handle);
    let handle = open(&disk, Role::leader(2), settings());
    assert_eq!(append(&handle, idempotent(5, 0, 3, 3)).base_offset, 3);
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_lost_with_the_role_and_with_the_partition() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    let parked = |handle: &Handle| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.appender().durable(100).await })
    };
    let kept = parked(&handle);
    tokio::task::yield_now().await;
    handle.control().set_role(Role::leader(2));
    tokio::task::yield_now().await;
    assert!(
        !kept.is_finished(),
        "a new epoch of the same writers keeps the promise"
    );
    handle.control().set_role(shadow(1));
    assert_eq!(kept.await.unwrap(), Err(Lost::RoleChanged));
    let parked = parked(&handle);
    tokio::task::yield_now().await;
    handle.control().delete().unwrap();
    assert_eq!(parked.await.unwrap(), Err(Lost::Deleted));
}

#[tokio::test(start_paused = true)]
async fn one_waiter_over_many_partitions() {
    let disk = disk();
    let env = env(&disk);
    let open = |index: i32| {
        let id = gnomon_partition::PartitionId { index, ..id() };
        Handle::open(
            &env,
            format!("/data/topics/t-{index}").into(),
            id,
            Role::leader(1),
            settings(),
        )
        .unwrap()
    };
    let partitions: Vec<_> = (0..50).map(open).collect();
    let waiter = Waiter::new();
    for partition in &partitions {
        partition.reader().watch(&waiter);
    }
    assert!(waits(waiter.changed()).await);
    append(&partitions[37], plain(1, 0));
    waiter.changed().await;
    assert_eq!(
        partitions[37].offsets().high_watermark,
        1,
        "woken by what can be read"
    );
    for role in [Role::leader(2), shadow(1)] {
        partitions[3].control().set_role(role);
        waiter.changed().await;
    }
    partitions[4].control().delete().unwrap();
    waiter.changed().await;
}

/// A waiter is woken by the change itself, not by a later one.
#[tokio::test(start_paused = true)]
async fn every_single_change_wakes_whoever_waits() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    for tag in 0..5 {
        let waiter = handle.reader().wait();
        let appended = append(&handle, plain(1, tag));
        tokio::time::timeout(Duration::from_secs(3600), waiter.changed())
            .await
            .expect("woken");
        assert_eq!(handle.offsets().high_watermark, appended.last_offset + 1);
    }
}

#[test]
fn a_pool_flushes_many_partitions_beside_each_other() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let disk = disk();
        let env = Env {
            disk: Arc::new(disk.clone()),
            flusher: Flusher::start(Blocking::Pool { threads: 3 }).unwrap(),
            boot: Boot::Same,
            troubles: Default::default(),
            reserved: Default::default(),
        };
        let mut writers = Vec::new();
        for index in 0..8 {
            let id = gnomon_partition::PartitionId { index, ..id() };
            let handle = Handle::open(
                &env,
                format!("/data/topics/t-{index}").into(),
                id,
                Role::leader(1),
                settings(),
            )
            .unwrap();
            for writer in 0..3 {
                let handle = handle.clone();
                writers.push(tokio::spawn(async move {
                    for sequence in 0..40 {
                        let appended = append(&handle, idempotent(writer, 0, sequence, 1));
                        handle
                            .appender()
                            .durable(appended.last_offset + 1)
                            .await
                            .unwrap();
                        assert!(handle.offsets().flushed > appended.last_offset);
                    }
                    handle
                }));
            }
        }
        for writer in writers {
            let handle = writer.await.unwrap();
            if handle.offsets().end == 120 {
                handle.control().flush().await.unwrap();
            }
        }
        drop(env);
    });
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_leaves_nothing_to_read_back() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    for sequence in 0..30 {
        append(&handle, idempotent(5, 0, sequence, 1));
    }
    let producers = handle.control().known_producers();
    handle.control().close().await.unwrap();
    assert!(handle.control().close().await.is_err(), "once");
    disk.power_loss(11);
    let handle = open_after_power_loss(&disk, Role::leader(2), settings());
    assert_eq!(handle.offsets().end, 30);
    assert_eq!(handle.control().known_producers(), producers);
}

/// Enough partitions of one disk to be synced together.
fn many(disk: &MemDisk) -> Vec<Handle> {
    let file_system = disk.file_system(&dir()).unwrap();
    let env = Env {
        disk: Arc::new(disk.clone()),
        flusher: Flusher::over(
            file_system,
            Blocking::Inline {
                flush: Duration::ZERO,
            },
        )
        .unwrap(),
        boot: Boot::Other,
        troubles: Default::default(),
        reserved: Default::default(),
    };
    let open = |index| {
        let id = gnomon_partition::PartitionId { index, ..id() };
        Handle::open(
            &env,
            format!("/data/topics/t-{index}").into(),
            id,
            Role::leader(1),
            settings(),
        )
        .unwrap()
    };
    (0..40).map(open).collect()
}

#[tokio::test(start_paused = true)]
async fn many_partitions_are_durable_by_one_sync() {
    for seed in 0..20 {
        let disk = disk();
        let handles = many(&disk);
        for handle in &handles {
            append(handle, plain(3, seed));
        }
        let before = disk.calls();
        for handle in &handles {
            handle.appender().durable(3).await.unwrap();
        }
        assert_eq!(disk.calls() - before, 1);
        drop(handles);
        disk.power_loss(seed);
        for handle in many(&disk) {
            assert_eq!(
                (handle.offsets().end, handle.offsets().high_watermark),
                (3, 3)
            );
            append(&handle, plain(1, seed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_that_are_synced_together_only_the_one_that_fails_is_closed() {
    let disk = disk();
    let handles = many(&disk);
    for handle in &handles {
        append(handle, plain(3, 1));
    }
    disk.fail_next(Fault::Sync);
    let mut lost = Vec::new();
    for (index, handle) in handles.iter().enumerate() {
        match handle.appender().durable(3).await {
            Ok(()) => assert_eq!(handle.control().failed(), None),
            Err(Lost::Closed { .. }) => lost.push(index),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(handles[lost[0]].control().failed().is_some());
}

/// Retention takes everything away, and the power goes in the middle of it: which epoch the log had
/// stays known, or a reader that stands at its end would be told that its history has parted from
/// ours.
#[tokio::test(start_paused = true)]
async fn an_emptied_log_knows_its_last_epoch_wherever_the_power_goes() {
    let gone = Settings {
        retention_ms: Some(1),
        ..settings()
    };
    for calls in 0..40 {
        let disk = disk();
        let handle = open(&disk, Role::leader(1), gone.clone());
        append(&handle, plain(10, 0));
        handle.control().close().await.unwrap();
        let handle = open(&disk, Role::leader(2), gone.clone());
        append(&handle, plain(10, 1));
        handle.control().flush().await.unwrap();
        disk.fail_calls(disk.calls() + calls..u64::MAX);
        let emptied = handle.control().apply_retention(i64::MAX);
        drop(handle);
        disk.power_loss(calls);

        let handle = open_after_power_loss(&disk, Role::leader(3), gone.clone());
        let offsets = handle.offsets();
        assert_eq!(
            (handle.latest_epoch(), offsets.end),
            (BatchEpoch(2), 20),
            "after {calls} calls, {emptied:?}, {offsets:?}"
        );
    }
}

fn large() -> BatchView {
    let mut builder = BatchBuilder::new(NOW);
    builder.push(NOW, None, Some(&[7; 200_000]), &[]);
    view(builder.build().unwrap())
}

/// A log that grows has space reserved ahead of it, and gives it back once nobody writes to it.
#[tokio::test(start_paused = true)]
async fn space_ahead_of_a_log_is_given_back_when_it_grows_no_more() {
    let disk = disk();
    let env = env(&disk);
    let settings = Settings::named("t");
    let handle = Handle::open(&env, dir(), id(), Role::leader(1), settings).unwrap();
    assert!(waits(env.reserved.some()).await, "nothing is reserved yet");
    for _ in 0..12 {
        append(&handle, large());
    }
    handle.control().flush().await.unwrap();
    let ahead = || disk.used_bytes() - handle.control().size_bytes();
    let (reserved, bytes) = (ahead(), handle.control().size_bytes());
    assert!(
        (64 << 10..bytes / 8).contains(&reserved),
        "{reserved} ahead of {bytes}"
    );
    env.reserved.some().await;
    append(&handle, large());
    let reserved = ahead();
    env.reserved.release_idle();
    assert_eq!(ahead(), reserved, "it grew since");
    env.reserved.release_idle();
    let left = ahead();
    assert!(left < 32 << 10, "{left} ahead of a log that does not grow");
    assert!(waits(env.reserved.some()).await, "nobody has any");
    // And again, from the start.
    append(&handle, large());
    env.reserved.some().await;
    handle.control().close().await.unwrap();
    let left = ahead();
    assert!(left < 32 << 10, "{left} ahead of a log that is closed");
}

/// The same for a copy that starts again.
#[tokio::test(start_paused = true)]
async fn space_ahead_of_a_copy_that_starts_again_is_given_back() {
    let disk = disk();
    let env = env(&disk);
    let handle = Handle::open(&env, dir(), id(), shadow(1), Settings::named("t")).unwrap();
    let grow = |from: i64| {
        for offset in from..from + 12 {
            handle
                .copier()
                .append_at(
                    Fence(1),
                    vec![copied(offset, 1, large())],
                    bounds(from, offset + 1),
                )
                .unwrap();
        }
    };
    let ahead = || disk.used_bytes() - handle.control().size_bytes();
    grow(0);
    env.reserved.some().await;
    handle.copier().restart_at(Fence(1), 700).unwrap();
    env.reserved.release_idle();
    grow(700);
    assert!(ahead() > 32 << 10, "reserved again");
    env.reserved.some().await;
    env.reserved.release_idle();
    env.reserved.release_idle();
    let left = ahead();
    assert!(left < 32 << 10, "{left} ahead of a log that does not grow");
}

//! A partition after a disk error, case by case: refused by a full disk, closed and opened again,
//! succeeded by another handle.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{
    AppendAtError, AppendError, Fence, Handle, Isolation, Lost, Position, PositionState, ReadError,
    ReopenError, Role, Settings, TrimError,
};
use gnomon_protocol::ids::BatchEpoch;
use gnomon_storage::{MemDisk, disk::Fault};

/// Closed by a sync that failed, with three records durable and four in doubt.
async fn failed(disk: &MemDisk, settings: Settings) -> Handle {
    let handle = open(disk, Role::leader(1), settings);
    append(&handle, plain(3, 0));
    handle.control().flush().await.unwrap();
    let late = append(&handle, plain(4, 1));
    disk.fail_next(Fault::Sync);
    assert!(
        matches!(handle.control().flush().await, Err(Lost::Closed { .. })),
        "{late:?}"
    );
    assert!(handle.control().failed().is_some());
    handle
}

#[tokio::test(start_paused = true)]
async fn what_was_only_written_is_written_again_and_survives() {
    let disk = disk();
    let handle = failed(&disk, settings()).await;
    let successor = handle
        .control()
        .reopen(Role::leader(2), settings())
        .unwrap();
    handle.control().succeeded_by(&successor);
    let offsets = successor.offsets();
    assert_eq!(
        (offsets.end, offsets.flushed, offsets.high_watermark),
        (7, 7, 7)
    );
    assert_eq!(append(&successor, plain(1, 2)).base_offset, 7);
    assert_eq!(
        successor.reader().epochs(),
        [(BatchEpoch(1), 0), (BatchEpoch(2), 7)]
    );
    disk.power_loss(3);
    assert!(
        open_after_power_loss(&disk, Role::leader(3), settings())
            .offsets()
            .end
            >= 7
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_forgot_is_gone_and_its_offsets_come_again_under_another_epoch() {
    let disk = disk();
    disk.set_forgetful(true);
    let handle = failed(&disk, settings()).await;
    assert!(matches!(
        handle.control().reopen(Role::leader(1), settings()),
        Err(ReopenError::EpochUsed { .. })
    ));
    let successor = handle
        .control()
        .reopen(Role::leader(2), settings())
        .unwrap();
    handle.control().succeeded_by(&successor);
    assert_eq!(successor.offsets().end, 3);
    assert_eq!(append(&successor, plain(1, 2)).base_offset, 3);
    assert_eq!(successor.reader().epoch_at(3), BatchEpoch(2));
    // A consumer that had read further than what was left would be told where its history ends.
    let there = Position {
        offset: 7,
        last_epoch: BatchEpoch(1),
    };
    assert_eq!(
        successor.reader().position_state(there),
        PositionState::Diverging {
            epoch: BatchEpoch(1),
            end: 3
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_shadow_comes_back_under_its_source_s_epoch_and_is_copied_again() {
    let disk = disk();
    disk.set_forgetful(true);
    let handle = open(&disk, shadow(1), settings());
    handle
        .copier()
        .append_at(Fence(1), vec![copied(0, 5, plain(3, 0))], bounds(0, 7))
        .unwrap();
    handle.control().flush().await.unwrap();
    handle
        .copier()
        .append_at(Fence(1), vec![copied(3, 5, plain(4, 1))], bounds(0, 7))
        .unwrap();
    disk.fail_next(Fault::Sync);
    assert!(handle.control().flush().await.is_err());
    let again = handle
        .copier()
        .append_at(Fence(1), vec![copied(7, 5, plain(1, 2))], bounds(0, 8));
    assert!(matches!(again, Err(AppendAtError::Closed { .. })));
    let successor = handle.control().reopen(shadow(1), settings()).unwrap();
    handle.control().succeeded_by(&successor);
    assert_eq!(successor.offsets().end, 3);
    successor
        .copier()
        .append_at(Fence(1), vec![copied(3, 5, plain(4, 1))], bounds(0, 7))
        .unwrap();
    successor.control().flush().await.unwrap();
    assert_eq!(successor.reader().epochs(), [(BatchEpoch(5), 0)]);
}

/// A failover asks for the end to cut at: an end that the successor goes beyond would be no cut.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_write_that_failed_is_not_known_until_it_is_opened_again() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    handle
        .copier()
        .append_at(Fence(1), vec![copied(0, 5, plain(3, 0))], bounds(0, 40))
        .unwrap();
    handle.control().flush().await.unwrap();
    // The write, and the cut of what it left.
    disk.fail_calls(disk.calls()..disk.calls() + 2);
    let several = (0..10)
        .map(|n| copied(3 + 3 * n, 5, plain(3, n as u64)))
        .collect();
    assert!(matches!(
        handle.copier().append_at(Fence(1), several, bounds(0, 40)),
        Err(AppendAtError::Storage(_))
    ));
    let known = handle.offsets();
    assert_eq!(
        (known.end, known.flushed),
        (3, 3),
        "nothing is dirty as far as it is known"
    );
    handle.control().set_role(failing_over(9));
    assert!(matches!(
        handle.control().flush().await,
        Err(Lost::Closed { .. })
    ));
    let successor = handle
        .control()
        .reopen(failing_over(9), settings())
        .unwrap();
    handle.control().succeeded_by(&successor);
    let end = successor.control().flush().await.unwrap();
    assert!(
        end > 3 && end == successor.offsets().end,
        "half of the write was whole batches: {end}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_predecessor_is_over_and_its_fetches_hear_of_the_successor() {
    let disk = disk();
    let handle = failed(&disk, settings()).await;
    let waiter = handle.reader().wait();
    let successor = handle
        .control()
        .reopen(Role::leader(2), settings())
        .unwrap();
    assert_eq!(
        batches(&handle, 0, Isolation::ReadUncommitted).len(),
        1,
        "readable until it is succeeded"
    );
    handle.control().succeeded_by(&successor);
    waiter.changed().await;
    assert!(matches!(
        handle.reader().read(0, 1, Isolation::ReadUncommitted, true),
        Err(ReadError::Closed { .. })
    ));
    assert!(matches!(
        handle.appender().append(plain(1, 0), CLIENT, NOW),
        Err(AppendError::Closed { .. })
    ));
    assert!(matches!(
        handle.control().reopen(Role::leader(3), settings()),
        Err(ReopenError::NotFailed)
    ));
    assert!(handle.control().failed().is_none() && successor.control().failed().is_none());
    assert!(
        matches!(
            handle.appender().durable(100).await,
            Err(Lost::Closed { .. })
        ),
        "and promises nothing about another's offsets"
    );
    append(&successor, plain(1, 3));
    waiter.changed().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_closed_for_good_is_not_opened_again() {
    let disk = disk();
    assert!(matches!(
        open(&disk, Role::leader(1), settings())
            .control()
            .reopen(Role::leader(2), settings()),
        Err(ReopenError::NotFailed)
    ));
    let handle = failed(&disk, settings()).await;
    handle.control().delete().unwrap();
    assert!(matches!(
        handle.control().reopen(Role::leader(2), settings()),
        Err(ReopenError::NotFailed)
    ));
    let handle = failed(&disk, settings()).await;
    assert!(handle.control().close().await.is_err());
    assert!(matches!(
        handle.control().reopen(Role::leader(2), settings()),
        Err(ReopenError::NotFailed)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    append(&handle, idempotent(5, 0, 0, 3));
    handle.control().flush().await.unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 20));
    for _ in 0..3 {
        let refused = handle
            .appender()
            .append(idempotent(5, 0, 3, 3), CLIENT, NOW);
        assert!(
            matches!(&refused, Err(AppendError::Storage(failure)) if failure.is_disk_full()),
            "{refused:?}"
        );
    }
    assert!(handle.control().failed().is_none());
    assert_eq!(batches(&handle, 0, Isolation::ReadUncommitted).len(), 1);
    assert!(
        append(&handle, idempotent(5, 0, 0, 3)).duplicate,
        "a repeat needs no space"
    );
    assert!(
        matches!(handle.control().trim_to(2), Err(TrimError::Storage(_))),
        "the start cannot be recorded"
    );
    assert_eq!(handle.offsets().log_start, 0);
    disk.set_capacity(None);
    assert_eq!(append(&handle, idempotent(5, 0, 3, 3)).base_offset, 3);
    handle.control().flush().await.unwrap();
    assert_eq!(handle.control().trim_to(2).unwrap(), 2);
    assert_eq!(
        handle.reader().epochs(),
        [(BatchEpoch(1), 2)],
        "and no epoch was raised for it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_a_full_disk_has_no_room_for_is_made_later() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    disk.set_full(true);
    for _ in 0..3 {
        assert!(matches!(
            handle.appender().append(plain(1, 0), CLIENT, NOW),
            Err(AppendError::Storage(_))
        ));
    }
    assert!(handle.control().failed().is_none());
    disk.set_full(false);
    append(&handle, plain(1, 0));
    handle.control().flush().await.unwrap();
    disk.power_loss(1);
    assert_eq!(
        open_after_power_loss(&disk, Role::leader(2), settings())
            .offsets()
            .end,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn of_a_copy_over_several_segments_what_fits_is_kept() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    let many: Vec<_> = (0..20)
        .map(|i| copied(i * 10, 3, plain(10, i as u64)))
        .collect();
    let bytes: u64 = many.iter().map(|batch| batch.bytes().len() as u64).sum();
    disk.set_capacity(Some(disk.used_bytes() + bytes * 3 / 4));
    let refused = handle
        .copier()
        .append_at(Fence(1), many.clone(), bounds(0, 200));
    assert!(
        matches!(refused, Err(AppendAtError::Storage(_))),
        "{refused:?}"
    );
    let end = handle.offsets().end;
    assert!(0 < end && end < 200 && end % 10 == 0, "{end}");
    assert!(handle.control().failed().is_none());
    disk.set_capacity(None);
    handle
        .copier()
        .append_at(Fence(1), many[end as usize / 10..].to_vec(), bounds(0, 200))
        .unwrap();
    handle.control().flush().await.unwrap();
    assert!(batches(&handle, 0, Isolation::ReadUncommitted) == many);
}

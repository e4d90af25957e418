//! Appends of clients, from the role to the disk.

mod common;

use common::*;
use gnomon_partition::{
    AppendError, ByTime, EpochEnd, Isolation, PositionState, ReadError, Role, RoleRefusal,
    SequenceError, Settings, TimestampType, Writers,
};
use gnomon_protocol::{
    batch::{BatchBuilder, Codec},
    ids::{BatchEpoch, LeaderEpoch},
};
use gnomon_storage::Disk;

#[tokio::test(start_paused = true)]
async fn nothing_is_on_the_disk_before_the_first_write() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    assert!(
        handle
            .reader()
            .read(0, 100, Isolation::ReadUncommitted, true)
            .unwrap()
            .range
            .is_none()
    );
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(3), None),
        EpochEnd::Known {
            epoch: BatchEpoch(3),
            end: 0
        }
    );
    handle.control().close().await.unwrap();
    assert!(!disk.exists(&dir()).unwrap());

    let handle = open(&disk, Role::leader(3), settings());
    append(&handle, plain(1, 0));
    assert!(disk.exists(&dir()).unwrap());
    handle.control().delete().unwrap();
    assert!(!disk.exists(&dir()).unwrap());
    assert!(matches!(
        handle.appender().append(plain(1, 0), CLIENT, NOW),
        Err(AppendError::Closed { .. })
    ));
    assert!(matches!(
        handle
            .reader()
            .read(0, 100, Isolation::ReadUncommitted, true),
        Err(ReadError::Closed { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn readers_see_what_is_durable_and_batches_stay_whole() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    append(&handle, plain(10, 1));
    let second = append(&handle, plain(5, 2));
    assert_eq!(
        (second.base_offset, second.last_offset, second.duplicate),
        (10, 14, false)
    );
    assert!(
        handle
            .reader()
            .read(0, 1 << 20, Isolation::ReadUncommitted, true)
            .unwrap()
            .range
            .is_none(),
        "nothing is durable yet"
    );
    handle.appender().durable(15).await.unwrap();
    assert_eq!(handle.offsets().high_watermark, 15);
    let read = handle
        .reader()
        .read(12, 1, Isolation::ReadUncommitted, true)
        .unwrap()
        .range
        .unwrap();
    assert_eq!(
        (read.base_offset, read.next_offset),
        (10, 15),
        "the batch that holds the offset, however large"
    );
    assert_eq!(batches(&handle, 0, Isolation::ReadUncommitted).len(), 2);
    assert!(
        batches(&handle, 0, Isolation::ReadUncommitted)
            .iter()
            .all(|batch| batch.header().leader_epoch == BatchEpoch(3))
    );
    assert!(
        handle
            .reader()
            .read(15, 100, Isolation::ReadUncommitted, true)
            .unwrap()
            .range
            .is_none()
    );
    assert!(matches!(
        handle
            .reader()
            .read(16, 100, Isolation::ReadUncommitted, true),
        Err(ReadError::OutOfRange { .. })
    ));
    assert!(matches!(
        handle
            .reader()
            .read(-1, 100, Isolation::ReadUncommitted, true),
        Err(ReadError::OutOfRange { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_may_not_send() {
    let disk = disk();
    let small = Settings {
        message_bytes_max: 300,
        ..settings()
    };
    let handle = open(&disk, Role::leader(3), small);
    let refused = |batch| handle.appender().append(batch, CLIENT, NOW).unwrap_err();
    assert!(matches!(
        refused(plain(100, 0)),
        AppendError::TooLarge { bytes_max: 300, .. }
    ));
    assert!(
        matches!(
            refused(copied(5, 0, plain(1, 0))),
            AppendError::InvalidRecord { .. }
        ),
        "base offset 0"
    );
    assert!(
        matches!(
            refused(marker(true, 1, 0, 0)),
            AppendError::InvalidRecord { .. }
        ),
        "no control batches"
    );
    assert!(
        matches!(
            refused(filled(BatchBuilder::new(NOW).producer(1, 0, -1), 1, 0)),
            AppendError::InvalidRecord { .. }
        ),
        "no sequence"
    );
    assert!(
        matches!(
            refused(filled(BatchBuilder::new(NOW).transactional(), 1, 0)),
            AppendError::InvalidRecord { .. }
        ),
        "no producer"
    );
    let gap = filled(BatchBuilder::new(NOW).last_offset_delta(5), 2, 0);
    assert!(
        matches!(refused(gap), AppendError::InvalidRecord { .. }),
        "as many records as offsets"
    );
    let early = handle
        .appender()
        .append(plain(1, 0), CLIENT, NOW - 3_600_001)
        .unwrap_err();
    assert!(matches!(
        early,
        AppendError::InvalidTimestamp { timestamp: NOW, .. }
    ));
    let zstd = || filled(BatchBuilder::new(NOW).codec(Codec::Zstd), 1, 0);
    let old = gnomon_partition::Origin::Client {
        zstd_allowed: false,
    };
    assert!(matches!(
        handle.appender().append(zstd(), old, NOW).unwrap_err(),
        AppendError::UnsupportedCompression
    ));
    append(&handle, zstd());
    assert_eq!(handle.offsets().end, 1, "refused batches change nothing");
}

#[tokio::test(start_paused = true)]
async fn compacted_topics_need_keys() {
    let disk = disk();
    let handle = open(
        &disk,
        Role::leader(3),
        Settings {
            compacted: true,
            ..settings()
        },
    );
    let mut builder = BatchBuilder::new(NOW).codec(Codec::Lz4);
    builder.push(NOW, Some(b"k"), None, &[]);
    builder.push(NOW, None, Some(b"v"), &[]);
    builder.push(NOW, None, None, &[]);
    let refused = handle
        .appender()
        .append(view(builder.build().unwrap()), CLIENT, NOW)
        .unwrap_err();
    assert!(matches!(refused, AppendError::InvalidRecord { indices, .. } if indices == [1, 2]));
}

#[tokio::test(start_paused = true)]
async fn log_append_time_is_ours_and_under_the_checksum() {
    let disk = disk();
    let handle = open(
        &disk,
        Role::leader(3),
        Settings {
            timestamp_type: TimestampType::LogAppendTime,
            ..settings()
        },
    );
    let appended = handle
        .appender()
        .append(plain(2, 0), CLIENT, NOW + 77)
        .unwrap();
    assert_eq!(appended.log_append_time_ms, NOW + 77);
    handle.control().flush().await.unwrap();
    let stored = batches(&handle, 0, Isolation::ReadUncommitted);
    assert_eq!(stored[0].header().max_timestamp, NOW + 77);
    let found = handle
        .reader()
        .find_by_time_here(ByTime::AtOrAfter(NOW + 77), Isolation::ReadUncommitted)
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.offset, found.timestamp_ms, found.epoch),
        (0, NOW + 77, BatchEpoch(3))
    );
}

#[tokio::test(start_paused = true)]
async fn timestamps_are_found_at_the_record() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    append(&handle, plain(10, 0));
    append(
        &handle,
        filled(BatchBuilder::new(NOW).codec(Codec::Gzip), 20, 1),
    );
    handle.control().flush().await.unwrap();
    append(&handle, plain(40, 2));
    let at = |ts| {
        handle
            .reader()
            .find_by_time_here(ByTime::AtOrAfter(ts), Isolation::ReadUncommitted)
            .unwrap()
            .map(|found| (found.offset, found.timestamp_ms))
    };
    assert_eq!(at(0), Some((0, NOW)));
    assert_eq!(at(NOW + 4), Some((4, NOW + 4)));
    assert_eq!(
        at(NOW + 15),
        Some((25, NOW + 15)),
        "inside a compressed batch"
    );
    assert_eq!(
        at(NOW + 30),
        None,
        "it exists, but not below the high watermark"
    );
}

#[tokio::test(start_paused = true)]
async fn idempotent_producers_survive_every_kind_of_restart() {
    let disk = disk();
    let mut handle = open(&disk, Role::leader(3), settings());
    for restart in 0..3 {
        let sequence = restart * 10;
        let first = append(&handle, idempotent(5, 0, sequence, 10));
        assert!(!first.duplicate);
        handle
            .appender()
            .durable(first.last_offset + 1)
            .await
            .unwrap();
        match restart {
            0 => handle.control().close().await.unwrap(),
            1 => drop(handle),
            _ => disk.power_loss(1),
        }
        handle = if restart == 2 {
            open_after_power_loss(&disk, Role::leader(4 + restart), settings())
        } else {
            open(&disk, Role::leader(4 + restart), settings())
        };
        let again = append(&handle, idempotent(5, 0, sequence, 10));
        assert_eq!(
            (again.base_offset, again.last_offset, again.duplicate),
            (first.base_offset, first.last_offset, true)
        );
        let gap = handle
            .appender()
            .append(idempotent(5, 0, sequence + 11, 1), CLIENT, NOW)
            .unwrap_err();
        assert!(
            matches!(gap, AppendError::Sequence(SequenceError::OutOfOrder { expected, .. }) if expected == sequence + 10)
        );
    }
    assert_eq!(handle.offsets().end, 30);
}

#[tokio::test(start_paused = true)]
async fn transactions_hold_readers_up_and_aborted_ones_are_named() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    append(&handle, plain(3, 0));
    append(&handle, transactional(8, 0, 0, 2));
    append(&handle, plain(1, 1));
    let mixed = handle
        .appender()
        .append(idempotent(8, 0, 2, 1), CLIENT, NOW)
        .unwrap_err();
    assert!(matches!(
        mixed,
        AppendError::InvalidTxnState {
            producer_id: 8,
            open_since: 3
        }
    ));
    handle.control().flush().await.unwrap();
    let offsets = handle.offsets();
    assert_eq!((offsets.last_stable, offsets.high_watermark), (3, 6));
    assert_eq!(batches(&handle, 0, Isolation::ReadCommitted).len(), 1);

    handle
        .appender()
        .append(marker(false, 8, 0, 4), gnomon_partition::Origin::Site, NOW)
        .unwrap();
    assert_eq!(
        handle.offsets().last_stable,
        3,
        "the marker is not durable yet"
    );
    handle.control().flush().await.unwrap();
    assert_eq!(handle.offsets().last_stable, 7);
    let aborted = |handle: &gnomon_partition::Handle| {
        handle
            .reader()
            .read(0, 1 << 20, Isolation::ReadCommitted, true)
            .unwrap()
            .aborted
    };
    assert_eq!(aborted(&handle), Some(vec![(8, 3)]));
    assert_eq!(
        handle
            .reader()
            .read(0, 1 << 20, Isolation::ReadUncommitted, true)
            .unwrap()
            .aborted,
        None
    );
    let old = handle
        .appender()
        .append(marker(true, 8, 0, 3), gnomon_partition::Origin::Site, NOW)
        .unwrap_err();
    assert!(matches!(
        old,
        AppendError::CoordinatorFenced {
            current: 4,
            found: 3,
            ..
        }
    ));

    handle.control().checkpoint().unwrap();
    append(&handle, transactional(9, 0, 0, 1));
    handle.control().flush().await.unwrap();
    drop(handle);
    let handle = open(&disk, Role::leader(4), settings());
    assert_eq!(aborted(&handle), Some(vec![(8, 3)]), "from the snapshot");
    assert_eq!(handle.offsets().last_stable, 7, "from the tail behind it");
    assert_eq!(handle.control().open_transactions()[0].producer_id, 9);
}

#[tokio::test(start_paused = true)]
async fn roles_refuse_and_epochs_fence() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    append(&handle, plain(4, 0));
    assert!(
        handle.reader().check_current_epoch(LeaderEpoch(-1)).is_ok()
            && handle.reader().check_current_epoch(LeaderEpoch(3)).is_ok()
    );
    assert!(
        handle.reader().check_current_epoch(LeaderEpoch(2)).is_err()
            && handle.reader().check_current_epoch(LeaderEpoch(4)).is_err()
    );
    let cut = handle.control().set_role(Role {
        writers: Writers::Nobody("taken over by b".into()),
        ..Role::leader(3)
    });
    assert_eq!((cut.end, cut.epoch), (4, BatchEpoch(3)));
    let refused = handle
        .appender()
        .append(plain(1, 0), CLIENT, NOW)
        .unwrap_err();
    assert!(matches!(
        refused,
        AppendError::Refused(RoleRefusal::Nobody { .. })
    ));
    handle.control().set_role(Role::leader(2));
    let behind = handle
        .appender()
        .append(plain(1, 0), CLIENT, NOW)
        .unwrap_err();
    assert!(
        matches!(behind, AppendError::EpochBehind { .. }),
        "an epoch never goes back"
    );
    handle.control().set_role(Role::leader(6));
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(5), None),
        EpochEnd::Known {
            epoch: BatchEpoch(3),
            end: 4
        }
    );
    assert_eq!(
        handle.reader().position_state(at(9, 5)),
        PositionState::Diverging {
            epoch: BatchEpoch(3),
            end: 4
        }
    );
    assert_eq!(
        handle.reader().position_state(at(4, 3)),
        PositionState::Here
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_start_moves_by_request_and_by_retention() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    for tag in 0..60 {
        append(&handle, plain(10, tag));
    }
    assert!(
        handle.control().trim_to(5).is_err(),
        "not below the high watermark yet"
    );
    handle.control().flush().await.unwrap();
    assert_eq!(handle.control().trim_to(5).unwrap(), 5);
    assert_eq!(handle.control().trim_to(3).unwrap(), 5);
    assert!(handle.control().trim_to(601).is_err());
    drop(handle);
    disk.power_loss(3);
    let handle = open_after_power_loss(&disk, Role::leader(4), settings());
    assert_eq!(
        handle.offsets().log_start,
        5,
        "DeleteRecords survives a power cut"
    );
    assert_eq!(
        batches(&handle, 5, Isolation::ReadUncommitted)[0]
            .header()
            .base_offset,
        0,
        "the batch around it stays whole"
    );
    handle.control().set_settings(Settings {
        retention_bytes: Some(4 << 10),
        ..settings()
    });
    let start = handle.control().apply_retention(NOW).unwrap().unwrap();
    assert!(start > 5 && start < 600);
    assert_eq!(handle.control().trim_to(-1).unwrap(), 600);
    assert_eq!(handle.offsets().end, 600);
    assert_eq!(append(&handle, plain(1, 0)).base_offset, 600);
}

//! A shadow: copying by the rules, following the source's bounds, and the failover's steps on one
//! partition.

mod common;

use common::*;
use gnomon_partition::{
    AppendAtError, AppendError, EpochEnd, Fence, FenceRefusal, FollowError, Handle, Isolation,
    Origin, PositionState, ReadError, Replica, Role, RoleRefusal, Settings, SourceAnswer,
    SourceEpochEnd, Writers,
};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, Offset};
use gnomon_storage::Disk;

const FENCE: Fence = Fence(1);

fn copy(handle: &Handle, base: Offset, epoch: i32, count: i32) -> Result<Offset, AppendAtError> {
    let batch = copied(base, epoch, plain(count, base as u64));
    handle
        .copier()
        .append_at(FENCE, vec![batch], bounds(0, 1_000_000))
        .map(|copied| copied.end)
}

#[tokio::test(start_paused = true)]
async fn the_table_of_copied_batches() {
    // compacted, offset of the next batch after 0..10 of epoch 4, its epoch, admitted
    let rows = [
        (false, 10, 4, true),
        (false, 10, 6, true),
        (false, 10, 3, false),
        (false, 9, 4, false),
        (false, 0, 4, false),
        (false, 11, 4, false),
        (true, 11, 4, true),
        (true, 9, 4, false),
    ];
    for (compacted, base, epoch, admitted) in rows {
        let disk = disk();
        let handle = open(
            &disk,
            shadow(1),
            Settings {
                compacted,
                ..settings()
            },
        );
        assert_eq!(copy(&handle, 0, 4, 10).unwrap(), 10);
        let outcome = copy(&handle, base, epoch, 5);
        assert_eq!(
            outcome.is_ok(),
            admitted,
            "compacted {compacted}, base {base}, epoch {epoch}: {outcome:?}"
        );
        assert_eq!(handle.offsets().end, if admitted { base + 5 } else { 10 });
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_a_response_or_none() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    let response = vec![copied(0, 1, plain(10, 0)), copied(11, 1, plain(1, 1))];
    let gap = handle
        .copier()
        .append_at(FENCE, response, bounds(0, 12))
        .unwrap_err();
    assert!(matches!(
        gap,
        AppendAtError::Gap {
            expected: 10,
            found: 11
        }
    ));
    assert!(!disk.exists(&dir()).unwrap());
    assert_eq!(
        handle
            .copier()
            .append_at(FENCE, vec![], bounds(0, 12))
            .unwrap()
            .end,
        0
    );
}

#[tokio::test(start_paused = true)]
async fn bytes_and_readers() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    let sent: Vec<_> = (0..5)
        .map(|n| copied(n * 10, 2, plain(10, n as u64)))
        .collect();
    handle
        .copier()
        .append_at(FENCE, sent.clone(), bounds(0, 50))
        .unwrap();
    handle.appender().durable(50).await.unwrap();
    assert_eq!(batches(&handle, 0, Isolation::ReadUncommitted), sent);
    assert!(matches!(
        handle
            .reader()
            .read(51, 100, Isolation::ReadUncommitted, true),
        Err(ReadError::NotYet { .. })
    ));
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(2), None),
        EpochEnd::Open {
            epoch: BatchEpoch(2)
        }
    );
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(2), None).pair(),
        (BatchEpoch(2), Offset::MAX),
        "an end that throws nobody back"
    );
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(3), None),
        EpochEnd::NotYet
    );
    for position in [at(51, -1), at(50, 3), at(80, 2)] {
        assert_eq!(
            handle.reader().position_state(position),
            PositionState::NotYet,
            "{position:?}"
        );
    }
    assert_eq!(
        handle.reader().position_state(at(50, 2)),
        PositionState::Here
    );
    let refused = handle
        .appender()
        .append(plain(1, 0), CLIENT, NOW)
        .unwrap_err();
    assert!(matches!(
        refused,
        AppendError::Refused(RoleRefusal::Shadow { .. })
    ));
    assert!(handle.control().trim_to(10).is_err());
    assert_eq!(
        handle.control().apply_retention(i64::MAX).unwrap(),
        None,
        "a shadow deletes nothing of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_ahead_waits_for_the_sources_word_or_for_the_data() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    copy(&handle, 0, 2, 20).unwrap();
    handle.appender().durable(20).await.unwrap();
    let (ahead, nonsense) = (at(25, 2), at(1_000_000_000, -1));
    let waiter = handle.reader().wait();
    let queries =
        [ahead, nonsense].map(|position| handle.reader().open_query(position.subject(), None));
    let source_query = handle.copier().source_query().expect("two readers ask");
    assert_eq!(source_query.epoch, Some(BatchEpoch(2)));
    let epoch_end = Some(SourceEpochEnd {
        epoch: BatchEpoch(2),
        end: 30,
    });
    handle.copier().source_answered(
        source_query,
        SourceAnswer {
            high_watermark: 30,
            epoch_end,
        },
    );
    waiter.changed().await;
    assert_eq!(
        handle
            .reader()
            .position_by_source(nonsense, Some(queries[1])),
        PositionState::OutOfRange
    );
    assert_eq!(
        handle.reader().position_by_source(ahead, Some(queries[0])),
        PositionState::NotYet
    );
    assert_eq!(
        handle
            .reader()
            .end_for_epoch(BatchEpoch(2), Some(queries[0])),
        EpochEnd::Known {
            epoch: BatchEpoch(2),
            end: 30
        }
    );
    assert_eq!(handle.copier().source_query(), None);
    copy(&handle, 20, 2, 10).unwrap();
    handle.appender().durable(30).await.unwrap();
    assert_eq!(
        handle.reader().position_by_source(ahead, Some(queries[0])),
        PositionState::Here
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_may_begin_below_the_start() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    assert_eq!(
        handle.copier().follow_source_start(FENCE, 105).unwrap(),
        105
    );
    assert!(!disk.exists(&dir()).unwrap(), "still nothing to keep");
    assert_eq!(handle.offsets().end, 105);
    let below = handle
        .copier()
        .append_at(FENCE, vec![copied(95, 1, plain(10, 0))], bounds(105, 200))
        .unwrap_err();
    assert!(matches!(
        below,
        AppendAtError::BelowStart {
            next: 105,
            start: 105
        }
    ));
    handle
        .copier()
        .append_at(
            FENCE,
            vec![copied(100, 1, plain(10, 0)), copied(110, 1, plain(10, 1))],
            bounds(105, 200),
        )
        .unwrap();
    handle.control().flush().await.unwrap();
    drop(handle);
    let handle = open(&disk, shadow(1), settings());
    let offsets = handle.offsets();
    assert_eq!((offsets.log_start, offsets.end), (105, 120));
    assert_eq!(
        batches(&handle, 105, Isolation::ReadUncommitted)[0]
            .header()
            .base_offset,
        100
    );
    assert!(matches!(
        copy(&handle, 115, 1, 10),
        Err(AppendAtError::Overlap {
            base: 115,
            end: 120
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_trimmed_before_we_came() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    let end = handle
        .copier()
        .append_at(FENCE, vec![copied(500, 1, plain(10, 0))], bounds(500, 510))
        .unwrap()
        .end;
    handle.control().flush().await.unwrap();
    assert_eq!(
        (handle.offsets().log_start, end),
        (500, 510),
        "the response itself says where the source begins"
    );
}

#[tokio::test(start_paused = true)]
async fn following_the_start_and_the_end() {
    let disk = disk();
    let handle = open(
        &disk,
        shadow(1),
        Settings {
            compacted: true,
            ..settings()
        },
    );
    copy(&handle, 0, 1, 10).unwrap();
    handle.control().flush().await.unwrap();
    assert_eq!(handle.copier().follow_source_start(FENCE, 4).unwrap(), 4);
    assert_eq!(handle.copier().follow_source_start(FENCE, 2).unwrap(), 4);
    assert!(matches!(
        handle.copier().follow_source_start(FENCE, 11),
        Err(FollowError::Gap {
            end: 10,
            source_start: 11
        })
    ));
    assert_eq!(handle.copier().advance_end(FENCE, 25).unwrap(), 25);
    assert_eq!(handle.copier().advance_end(FENCE, 20).unwrap(), 25);
    assert_eq!(handle.offsets().high_watermark, 25);
    drop(handle);
    disk.power_loss(5);
    let handle = open_after_power_loss(
        &disk,
        shadow(1),
        Settings {
            compacted: true,
            ..settings()
        },
    );
    assert_eq!((handle.offsets().log_start, handle.offsets().end), (4, 25));
    assert!(matches!(
        copy(&handle, 24, 1, 5),
        Err(AppendAtError::Overlap { .. })
    ));
    copy(&handle, 25, 1, 5).unwrap();
    handle.control().flush().await.unwrap();
    assert_eq!(batches(&handle, 4, Isolation::ReadUncommitted).len(), 2);

    handle.copier().restart_at(FENCE, 700).unwrap();
    assert_eq!(
        (handle.offsets().log_start, handle.offsets().end),
        (700, 700)
    );
    assert_eq!(handle.latest_epoch(), BatchEpoch::NONE);
    copy(&handle, 700, 1, 5).unwrap();
    handle.control().flush().await.unwrap();
    assert_eq!(batches(&handle, 700, Isolation::ReadUncommitted).len(), 1);
}

/// A copy that begins at its source's end begins there once: not at a later end after a restart,
/// also if nothing came until then.
#[tokio::test(start_paused = true)]
async fn where_a_copy_begins_is_kept_before_it_has_anything() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    assert!(!handle.copier().has_begun());
    assert_eq!(handle.copier().begin_copy_at(FENCE, 105).unwrap(), 105);
    assert_eq!(
        handle.copier().follow_source_start(FENCE, 107).unwrap(),
        107,
        "the source trims on"
    );
    drop(handle);
    disk.power_loss(3);
    let handle = open_after_power_loss(&disk, shadow(1), settings());
    assert!(handle.copier().has_begun());
    assert_eq!(
        (handle.offsets().log_start, handle.offsets().end),
        (107, 107)
    );
    // The batch that holds the start begins below.
    handle
        .copier()
        .append_at(FENCE, vec![copied(100, 1, plain(10, 0))], bounds(107, 110))
        .unwrap();
    assert_eq!(
        (handle.offsets().log_start, handle.offsets().end),
        (107, 110)
    );
    assert_eq!(
        handle.copier().begin_copy_at(FENCE, 50).unwrap(),
        107,
        "it has begun"
    );
}

/// Everything was trimmed away: which epoch the log had is known from the checkpoint alone, and a
/// source of an older one is still divergence.
#[tokio::test(start_paused = true)]
async fn an_emptied_log_remembers_its_epoch_over_a_restart() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    assert_eq!(copy(&handle, 0, 7, 10).unwrap(), 10);
    assert_eq!(handle.copier().follow_source_start(FENCE, 10).unwrap(), 10);
    handle.control().close().await.unwrap();
    drop(handle);
    let handle = open(&disk, shadow(1), settings());
    assert_eq!(handle.latest_epoch(), BatchEpoch(7));
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(7), None),
        EpochEnd::Open {
            epoch: BatchEpoch(7)
        }
    );
    assert!(matches!(
        copy(&handle, 10, 6, 1),
        Err(AppendAtError::EpochBack { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn an_empty_end_can_be_advanced_and_written_behind() {
    let disk = disk();
    let handle = open(
        &disk,
        shadow(1),
        Settings {
            compacted: true,
            ..settings()
        },
    );
    assert_eq!(handle.copier().advance_end(FENCE, 40).unwrap(), 40);
    assert!(matches!(
        copy(&handle, 30, 1, 5),
        Err(AppendAtError::Overlap { base: 30, end: 40 })
    ));
    assert_eq!(copy(&handle, 40, 1, 5).unwrap(), 45);
    handle.control().flush().await.unwrap();
    assert_eq!(batches(&handle, 0, Isolation::ReadUncommitted).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_response_meets_the_fence() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    copy(&handle, 0, 1, 10).unwrap();
    handle.control().set_role(shadow(2));
    assert!(matches!(
        copy(&handle, 10, 1, 10),
        Err(AppendAtError::Fenced(FenceRefusal::Fenced { .. }))
    ));
    assert!(matches!(
        handle.copier().follow_source_start(FENCE, 5),
        Err(FollowError::Fenced(_))
    ));
    handle.control().set_role(failing_over(9));
    assert!(matches!(
        copy(&handle, 10, 1, 10),
        Err(AppendAtError::Fenced(FenceRefusal::NotAShadow))
    ));
    assert_eq!(handle.offsets().end, 10);
}

#[tokio::test(start_paused = true)]
async fn failover_step_by_step() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    let response = vec![
        copied(0, 2, idempotent(70, 0, 0, 10)),
        copied(10, 2, transactional(80, 3, 0, 5)),
        copied(15, 4, marker(true, 80, 3, 6)),
        copied(16, 4, transactional(80, 3, 5, 4)),
    ];
    handle
        .copier()
        .append_at(FENCE, response, bounds(0, 40))
        .unwrap();
    // (a), (b), (c)
    let cut = handle.control().set_role(failing_over(9));
    assert_eq!((cut.end, cut.epoch), (20, BatchEpoch(4)));
    assert_eq!(handle.control().flush().await.unwrap(), 20);
    let early = handle
        .appender()
        .append(plain(1, 0), CLIENT, NOW)
        .unwrap_err();
    assert!(matches!(
        early,
        AppendError::Refused(RoleRefusal::FailingOver)
    ));
    assert!(matches!(
        handle
            .reader()
            .read(30, 100, Isolation::ReadUncommitted, true),
        Err(ReadError::NotYet { .. })
    ));
    // (d), twice, as after a crash
    handle
        .control()
        .begin_leadership(LeaderEpoch(65_536), cut.end)
        .unwrap();
    handle
        .control()
        .begin_leadership(LeaderEpoch(65_536), cut.end)
        .unwrap();
    // (e), twice
    let aborted = handle.control().abort_open_transactions(NOW).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!(
        (
            aborted[0].producer_id,
            aborted[0].producer_epoch,
            aborted[0].first_offset,
            aborted[0].coordinator_epoch
        ),
        (80, 3, 16, 6)
    );
    assert!(
        handle
            .control()
            .abort_open_transactions(NOW)
            .unwrap()
            .is_empty()
    );
    handle.control().flush().await.unwrap();
    assert_eq!(handle.offsets().last_stable, 21);
    assert_eq!(
        handle
            .reader()
            .read(0, 1 << 20, Isolation::ReadCommitted, true)
            .unwrap()
            .aborted,
        Some(vec![(80, 16)])
    );
    // (g)
    handle.control().set_role(Role::leader(65_536));
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(5), None),
        EpochEnd::Known {
            epoch: BatchEpoch(4),
            end: 20
        }
    );
    assert_eq!(
        handle.reader().position_state(at(30, 5)),
        PositionState::Diverging {
            epoch: BatchEpoch(4),
            end: 20
        }
    );
    assert!(matches!(
        handle
            .reader()
            .read(30, 100, Isolation::ReadUncommitted, true),
        Err(ReadError::OutOfRange { .. })
    ));

    // (f): after a restart the cut comes from the catalog.
    let settings = Settings {
        copied_to: 20,
        ..settings()
    };
    let check = |handle: &Handle| {
        let repeat = append(handle, idempotent(70, 0, 0, 10));
        assert_eq!((repeat.base_offset, repeat.duplicate), (0, true));
    };
    check(&handle);
    handle.control().close().await.unwrap();
    let handle = open(&disk, Role::leader(65_537), settings);
    check(&handle);
    assert_eq!(
        append(&handle, idempotent(70, 0, 33, 2)).base_offset,
        21,
        "its tail was lost; it goes on higher"
    );
    assert!(
        handle
            .appender()
            .append(idempotent(70, 0, 50, 2), CLIENT, NOW)
            .is_err(),
        "once"
    );
    assert!(
        handle
            .appender()
            .append(transactional(80, 3, 9, 1), CLIENT, NOW)
            .is_err(),
        "the aborted transaction's producer is fenced"
    );
    let epochs: Vec<_> = handle.reader().epochs();
    assert_eq!(
        epochs,
        [
            (BatchEpoch(2), 0),
            (BatchEpoch(4), 15),
            (BatchEpoch(65_536), 20),
            (BatchEpoch(65_537), 21)
        ]
    );
}

/// Killed after the cut was recorded, and again after the markers were written under the epoch of
/// the incarnation between: the recorded epoch is below those of the markers, and stands.
#[tokio::test(start_paused = true)]
async fn a_failover_goes_on_under_every_later_incarnation() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    let response = vec![
        copied(0, 4, plain(3, 0)),
        copied(3, 4, transactional(80, 3, 0, 4)),
    ];
    handle
        .copier()
        .append_at(FENCE, response, bounds(0, 40))
        .unwrap();
    handle.control().flush().await.unwrap();
    drop(handle);
    for (incarnation, aborted) in [(65_537, 1), (65_538, 0), (65_539, 0)] {
        let handle = open(&disk, failing_over(incarnation), settings());
        handle
            .control()
            .begin_leadership(LeaderEpoch(65_536), 7)
            .unwrap();
        let open = handle.control().abort_open_transactions(NOW).unwrap();
        assert_eq!(open.len(), aborted, "incarnation {incarnation}");
        assert_eq!(handle.leader_epoch(), LeaderEpoch(incarnation));
        handle.control().flush().await.unwrap();
        let offsets = handle.offsets();
        assert_eq!((offsets.end, offsets.last_stable), (8, 8));
        assert_eq!(
            handle.reader().epochs(),
            [(BatchEpoch(4), 0), (BatchEpoch(65_537), 7)]
        );
    }
    let handle = open(&disk, failing_over(65_540), settings());
    let below = handle
        .control()
        .begin_leadership(LeaderEpoch(3), 7)
        .unwrap_err();
    assert!(
        matches!(below, AppendError::EpochBehind { .. }),
        "what was copied lies below: {below}"
    );
    handle.control().set_role(Role::leader(65_540));
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(5), None),
        EpochEnd::Known {
            epoch: BatchEpoch(4),
            end: 7
        }
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_shadow_keeps_its_start_through_a_failover() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    handle.copier().follow_source_start(FENCE, 1_000).unwrap();
    let cut = handle.control().set_role(failing_over(9));
    assert_eq!((cut.end, cut.epoch), (1_000, BatchEpoch::NONE));
    handle
        .control()
        .begin_leadership(LeaderEpoch(65_536), cut.end)
        .unwrap();
    drop(handle);
    disk.power_loss(9);
    let handle = open_after_power_loss(&disk, Role::leader(65_537), settings());
    assert_eq!(
        handle
            .appender()
            .append(plain(1, 0), Origin::Client { zstd_allowed: true }, NOW)
            .unwrap()
            .base_offset,
        1_000
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_copies_from_its_leader_until_another_one_leads() {
    let follower = |epoch| Role {
        replica: Replica::Follower {
            leader: 2,
            epoch: LeaderEpoch(epoch),
        },
        writers: Writers::Clients,
    };
    let of_leader = |epoch| Fence::of_leader(LeaderEpoch(epoch));
    let handle = open(&disk(), follower(4), settings());
    let copy = |fence, base, epoch| {
        handle.copier().append_at(
            fence,
            vec![copied(base, epoch, plain(3, 0))],
            bounds(0, 100),
        )
    };
    assert_eq!(copy(of_leader(4), 0, 4).unwrap().end, 3);
    assert!(matches!(
        handle.appender().append(plain(1, 0), CLIENT, NOW),
        Err(AppendError::Refused(RoleRefusal::NotLeader {
            leader: 2,
            ..
        }))
    ));
    handle.control().set_role(follower(5));
    assert!(matches!(
        copy(of_leader(4), 3, 4),
        Err(AppendAtError::Fenced(FenceRefusal::Fenced { .. }))
    ));
    assert_eq!(copy(of_leader(5), 3, 5).unwrap().end, 6);
    assert_eq!(
        handle.reader().epochs(),
        [(BatchEpoch(4), 0), (BatchEpoch(5), 3)]
    );
    // A failover is the leader's, and so is retention.
    let begun = handle.control().begin_leadership(LeaderEpoch(9), 6);
    assert!(
        matches!(
            begun,
            Err(AppendError::Refused(RoleRefusal::NotLeader {
                leader: 2,
                ..
            }))
        ),
        "{begun:?}"
    );
    handle.control().set_settings(Settings {
        retention_ms: Some(0),
        ..settings()
    });
    let later = NOW + 1_000_000_000;
    assert_eq!(handle.control().apply_retention(later).unwrap(), None);
    // It takes over: its own batches come after the leader's.
    handle.control().set_role(Role::leader(6));
    let own = handle.appender().append(plain(1, 1), CLIENT, NOW).unwrap();
    assert_eq!(own.base_offset, 6);
}

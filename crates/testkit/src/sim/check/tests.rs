//! Every check holds over a history that is right, and fails over one in which one thing was
//! changed.

use super::{
    groups::{self, Attempt, Commits},
    links,
    records::{self, Ack},
    shadows::{self, Cut},
};
use crate::sim::{
    log::{AckedRecord, Marks, PartitionLog, SeenBatch},
    model::{Failover, Kind, Topic},
};
use gnomon_links::{PartitionStatus, TopicState, TopicStatus, lag::Lag};
use gnomon_protocol::ids::{Offset, Uuid};

fn batch(base: Offset, epoch: i32, values: &[&str]) -> SeenBatch {
    SeenBatch {
        base,
        last: base + values.len() as i64 - 1,
        epoch,
        producer: (-1, -1),
        control: false,
        transactional: false,
        sum: base as u64,
        values: (base..)
            .zip(values)
            .map(|(offset, value)| (offset, (*value).to_owned()))
            .collect(),
    }
}

/// Offsets 0 to 4: two batches, epochs 1 and 2; the first acknowledged with acks=all.
fn log() -> PartitionLog {
    let mut log = PartitionLog::default();
    log.saw(batch(0, 1, &["t#1/0:7.0", "t#1/0:7.1"]));
    log.saw(batch(2, 2, &["t#1/0:8.0", "t#1/0:7.2", "t#1/0:7.3"]));
    for (offset, value) in [(0, "t#1/0:7.0"), (1, "t#1/0:7.1")] {
        log.acked.insert(offset, acked(value, true));
    }
    log
}

fn acked(value: &str, durable: bool) -> AckedRecord {
    AckedRecord {
        value: value.to_owned(),
        durable,
        epoch: Some(1),
    }
}

fn broken(check: super::Check, invariant: &str) {
    assert_eq!(
        check.map_err(|violation| violation.invariant),
        Err(invariant)
    );
}

#[test]
fn l1_what_is_acknowledged_is_there_once_and_in_order() {
    let log = log();
    let next = batch(5, 2, &["t#1/0:7.4"]);
    assert_eq!(records::l1_acked_is_there(&log, &log.batches[&0]), Ok(()));
    broken(
        records::l1_acked_is_there(&log, &batch(0, 1, &["t#1/0:7.1", "t#1/0:7.0"])),
        "L1",
    );
    broken(
        records::l1_acked_is_there(&log, &batch(0, 1, &["t#1/0:7.0", "t#1/0:9.9"])),
        "L1",
    );
    assert_eq!(records::l1_once(&log, &next), Ok(()));
    broken(records::l1_once(&log, &batch(5, 2, &["t#1/0:7.1"])), "L1");
    broken(
        records::l1_once(&log, &batch(5, 2, &["t#1/0:7.4", "t#1/0:7.4"])),
        "L1",
    );
    assert_eq!(records::l1_nothing_is_missing(&log, 0, 5), Ok(()));
    broken(records::l1_nothing_is_missing(&log, 0, 4), "L1");
    let mut promised = log.clone();
    promised.acked.insert(5, acked("t#1/0:7.4", true));
    broken(records::l1_nothing_is_missing(&promised, 0, 5), "L1");
    let number = crate::sim::model::producer_of;
    assert_eq!(records::l1_in_order(&log, number), Ok(()));
    let mut swapped = log;
    swapped.saw(batch(2, 2, &["t#1/0:8.0", "t#1/0:7.3", "t#1/0:7.2"]));
    broken(records::l1_in_order(&swapped, number), "L1");
}

#[test]
fn l2_offsets_are_dense_keep_their_bytes_and_watermarks_rise() {
    let mut log = log();
    assert_eq!(records::l2_same_bytes(&log, &log.batches[&2]), Ok(()));
    broken(
        records::l2_same_bytes(
            &log,
            &SeenBatch {
                sum: 99,
                ..log.batches[&2].clone()
            },
        ),
        "L2",
    );
    broken(
        records::l2_same_bytes(&log, &batch(4, 2, &["t#1/0:7.9"])),
        "L2",
    );
    let good = [log.batches[&0].clone(), log.batches[&2].clone()];
    assert_eq!(records::l2_dense(1, &good, 5), Ok(()));
    broken(records::l2_dense(1, &good, 4), "L2");
    broken(records::l2_dense(1, &good[1..], 5), "L2");
    broken(
        records::l2_dense(0, &[good[0].clone(), batch(3, 2, &["t#1/0:7.2"])], 5),
        "L2",
    );
    broken(
        records::l2_dense(
            0,
            &[SeenBatch {
                last: 2,
                ..good[0].clone()
            }],
            5,
        ),
        "L2",
    );
    let floor = Marks {
        log_start: 0,
        high_watermark: 5,
    };
    assert_eq!(records::l2_watermark_rises(floor, 5), Ok(()));
    broken(records::l2_watermark_rises(floor, 4), "L2");
    // Acknowledged with acks=1, lost to the power, and written again.
    log.acked.insert(5, acked("t#1/0:9.0", false));
    log.lost_power();
    assert!(log.acked.len() == 2 && log.doubtful.len() == 1);
    assert_eq!(
        records::l2_not_reused(&log, &batch(5, 1, &["t#1/0:9.0"])),
        Ok(())
    );
    assert_eq!(
        records::l2_not_reused(&log, &batch(5, 2, &["t#1/0:9.1"])),
        Ok(())
    );
    broken(
        records::l2_not_reused(&log, &batch(5, 1, &["t#1/0:9.1"])),
        "L2",
    );
}

#[test]
fn l6_a_new_batch_gets_a_new_offset_and_a_repeat_its_first() {
    let log = log();
    let check = |base, value: &str, end_before| {
        let values = [value.to_owned()];
        records::l6_right_offset(
            &log,
            &Ack {
                base,
                values: &values,
                durable: true,
                end_before,
            },
        )
    };
    assert_eq!(check(5, "t#1/0:9.0", Some(5)), Ok(()));
    assert_eq!(check(1, "t#1/0:7.1", Some(0)), Ok(()));
    broken(check(4, "t#1/0:9.0", Some(5)), "L6");
    broken(check(5, "t#1/0:7.1", Some(5)), "L6");
    broken(check(3, "t#1/0:9.0", Some(0)), "L1");
}

#[test]
fn a_shadow_is_held_against_its_source() {
    let source = log();
    let mut shadow = PartitionLog::default();
    shadow.saw(source.batches[&0].clone());
    assert_eq!(shadows::r1_same_logs(&source, &shadow, 5), Ok(()));
    shadow.saw(SeenBatch {
        epoch: 3,
        ..source.batches[&2].clone()
    });
    broken(shadows::r1_same_logs(&source, &shadow, 5), "R1");
    assert_eq!(shadows::r1_same_logs(&source, &shadow, 4), Ok(()));
    broken(
        shadows::r1_same_bytes(&source, &batch(1, 1, &["t#1/0:7.1"])),
        "R1",
    );
    assert_eq!(
        (
            shadows::r2_not_ahead(5, 5),
            shadows::r3_same_start(2, 2),
            shadows::r13_same_end(5, 5)
        ),
        (Ok(()), Ok(()), Ok(()))
    );
    broken(shadows::r2_not_ahead(6, 5), "R2");
    broken(shadows::r3_same_start(3, 2), "R3");
    broken(shadows::r3_same_start(1, 2), "R3");
    broken(shadows::r13_same_end(4, 5), "R13");
}

#[test]
fn a_failover_is_held_against_its_cut() {
    let cut = Cut {
        end: 2,
        epoch: 65_536,
    };
    assert_eq!(shadows::r4_not_written(true, Some(cut), 2), Ok(()));
    broken(shadows::r4_not_written(false, None, 2), "R4");
    broken(shadows::r4_not_written(true, Some(cut), 1), "R4");
    assert_eq!(
        shadows::r5_nothing_late(cut, &batch(0, 1, &["x", "y"])),
        Ok(())
    );
    assert_eq!(
        shadows::r5_nothing_late(cut, &batch(2, 65_537, &["z"])),
        Ok(())
    );
    broken(shadows::r5_nothing_late(cut, &batch(2, 1, &["late"])), "R5");
    broken(
        shadows::r5_nothing_late(cut, &batch(1, 1, &["across", "it"])),
        "R5",
    );
    assert_eq!(shadows::r7_cut_holds_what_was_seen(cut, 2), Ok(()));
    broken(shadows::r7_cut_holds_what_was_seen(cut, 3), "R7");
    assert_eq!(shadows::r7_cut_stands(None, cut), Ok(()));
    broken(
        shadows::r7_cut_stands(Some(Cut { end: 3, ..cut }), cut),
        "R7",
    );
    let mut here = PartitionLog::default();
    here.saw(batch(2, 65_536, &["z"]));
    assert_eq!(shadows::r5_epochs_part(&log(), &here, 2), Ok(()));
    here.saw(batch(3, 2, &["w"]));
    broken(shadows::r5_epochs_part(&log(), &here, 2), "R5");
}

#[test]
fn groups_are_held_against_their_commits() {
    let attempt = |number, offset| Attempt {
        number,
        generation: 1,
        offset,
    };
    let mut commits = Commits {
        highest: 9,
        maybe: vec![attempt(1, 5), attempt(2, 9)],
        ..Commits::default()
    };
    commits.acked(1);
    assert_eq!(groups::l7_commit_stands(&commits, Some(5)), Ok(()));
    assert_eq!(
        groups::l7_commit_stands(&commits, Some(9)),
        Ok(()),
        "the second one may have been written"
    );
    broken(groups::l7_commit_stands(&commits, Some(4)), "L7");
    broken(groups::l7_commit_stands(&commits, None), "L7");
    commits.found(Some(9));
    broken(
        groups::l7_commit_stands(
            &Commits {
                maybe: Vec::new(),
                ..commits
            },
            Some(5),
        ),
        "L7",
    );
    assert_eq!(
        (
            groups::r9_within_the_data(5, 5),
            groups::r12_nothing_is_skipped(9, 9),
            groups::r12_not_behind_the_cut(7, 7)
        ),
        (Ok(()), Ok(()), Ok(()))
    );
    broken(groups::r9_within_the_data(6, 5), "R9");
    broken(groups::r12_nothing_is_skipped(9, 10), "R12");
    broken(groups::r12_not_behind_the_cut(8, 7), "R12");
    assert_eq!(
        groups::r12_nothing_is_repeated(Some(9), Some(7), 0, 7),
        Ok(()),
        "as far as the data reaches"
    );
    broken(
        groups::r12_nothing_is_repeated(Some(9), Some(6), 0, 7),
        "R12",
    );
    broken(groups::r12_nothing_is_repeated(Some(9), None, 0, 7), "R12");
}

fn topic() -> Topic {
    Topic {
        name: "a_1".into(),
        generation: 1,
        owner: 0,
        partitions: 1,
        kind: Kind::Plain,
        ids: [Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2))],
        failover: None,
        retired: false,
        former: None,
        stale: None,
    }
}

fn status(state: TopicState, reason: Option<&str>) -> TopicStatus {
    let lag = Some(Lag {
        records: 0,
        records_stable: 0,
        bytes: Some(0),
        seconds: 0.0,
    });
    TopicStatus {
        name: "a_1".into(),
        id: Uuid::from_u128(2),
        source_topic_id: Some(Uuid::from_u128(1)),
        state,
        reason: reason.map(str::to_owned),
        source_missing: false,
        step: None,
        partitions: vec![PartitionStatus {
            high_watermark: 5,
            lag,
            ..PartitionStatus::default()
        }],
        gaps: Vec::new(),
    }
}

#[test]
fn links_are_held_against_what_operators_are_told() {
    let active = status(TopicState::Active, None);
    assert_eq!(links::r8_one_owner("a_1", "b", true), Ok(()));
    broken(links::r8_one_owner("a_1", "b", false), "R8");
    assert_eq!(
        links::r11_made_again_is_a_fault(&status(TopicState::Faulted, Some("made again"))),
        Ok(())
    );
    broken(links::r11_made_again_is_a_fault(&active), "R11");
    broken(
        links::r11_made_again_is_a_fault(&status(TopicState::Faulted, None)),
        "R11",
    );
    let gap = status(TopicState::Faulted, Some("partition 0 has a gap"));
    assert_eq!(
        links::r11_no_fault_without_reason(&topic(), &active),
        Ok(())
    );
    assert_eq!(
        links::r11_no_fault_without_reason(
            &Topic {
                kind: Kind::Trimmed,
                ..topic()
            },
            &gap
        ),
        Ok(())
    );
    broken(links::r11_no_fault_without_reason(&topic(), &gap), "R11");
    let done = Topic {
        failover: Some(Failover {
            done: true,
            ..Failover::default()
        }),
        ..topic()
    };
    assert_eq!(
        links::r5_done_is_done(&done, &status(TopicState::FailedOver, None)),
        Ok(())
    );
    broken(
        links::r5_done_is_done(&done, &status(TopicState::FailingOver, None)),
        "R5",
    );
    assert_eq!(links::r13_level(&topic(), Some(&active), &[5]), Ok(()));
    broken(links::r13_level(&topic(), Some(&active), &[6]), "R13");
    broken(links::r13_level(&topic(), None, &[5]), "R13");
    broken(
        links::r13_level(&topic(), Some(&status(TopicState::FailingOver, None)), &[5]),
        "R13",
    );
    let mut slow = active;
    slow.partitions[0].lag = None;
    broken(links::r13_level(&topic(), Some(&slow), &[5]), "R13");
}

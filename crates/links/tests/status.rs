//! A link, as an operator sees it: the text, and that the JSON holds all of it.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::{filters, run_scripts};
use gnomon_links::{
    LinkState, LinkStatus, PartitionStatus, Task, TaskState, TaskStatus, TopicState, TopicStatus,
    config::parse_link_file_plain,
    lag::Lag,
    loss::{self, EndedTransaction, GroupBehind, GroupsLoss, GroupsRead, Loss},
    render,
    status::{GapEvent, OpenTransaction, TakenOver, TakenOverPartition, UnselectedTopic},
    verdict::{Verdict, judge},
};
use gnomon_protocol::ids::Uuid;

const NOW: i64 = 1_767_225_600_000;

fn fresh() -> LinkStatus {
    let yaml = "name: from-a\nclient_options: { bootstrap_servers: [\"127.0.0.1:9092\"] }\ntopic_metadata_sync_options:\n  auto_create_shadow_topic_filters: [{ pattern_type: PREFIX, name: a_ }]\n";
    LinkStatus::of_config(
        &parse_link_file_plain(yaml).unwrap(),
        Uuid::from_u128(1),
        "b",
        LinkState::Active,
    )
}

/// The same with the verdict that a running link has.
fn judged(mut status: LinkStatus, silent_seconds: Option<f64>) -> LinkStatus {
    status.source.contact_seconds = Some(silent_seconds.unwrap_or(0.2));
    status.verdict = Some(judge(&status.topics, silent_seconds));
    status
}

/// A link that was level when its source was cut off.
fn cut_off() -> LinkStatus {
    let mut status = copying();
    status.topics[0].partitions[1] = partition(1, Some(20), 20, 60.0);
    for topic in &mut status.topics {
        for partition in &mut topic.partitions {
            partition.silent_seconds = Some(60.0);
            partition.lag.as_mut().unwrap().seconds = 60.0;
        }
    }
    status.source.last_contact_ms = Some(NOW - 60_000);
    judged(status, Some(60.0))
}

fn partition(partition: i32, source: Option<i64>, here: i64, seconds: f64) -> PartitionStatus {
    PartitionStatus {
        partition,
        source_high_watermark: source,
        source_last_stable_offset: source,
        high_watermark: here,
        last_stable_offset: here,
        end: here,
        leader_epoch: 3,
        lag: source.map(|source| Lag {
            records: source - here,
            records_stable: source - here,
            bytes: Some((source - here).unsigned_abs() * 100),
            seconds,
        }),
        ..PartitionStatus::default()
    }
}

fn topic(name: &str, state: TopicState, partitions: Vec<PartitionStatus>) -> TopicStatus {
    TopicStatus {
        name: name.to_owned(),
        id: Uuid::from_u128(7),
        source_topic_id: None,
        state,
        reason: None,
        source_missing: false,
        step: None,
        partitions,
        gaps: Vec::new(),
    }
}

fn copying() -> LinkStatus {
    let mut status = fresh();
    status.source.site = Some("a".to_owned());
    status.source.cluster_id = Some("XyZ".to_owned());
    status.source.last_contact_ms = Some(NOW - 200);
    status.topics = vec![
        topic(
            "a_orders",
            TopicState::Active,
            vec![
                partition(0, Some(1_234), 1_234, 0.0),
                partition(1, Some(20), 8, 0.25),
            ],
        ),
        topic(
            "a_payments",
            TopicState::Active,
            vec![partition(0, Some(5), 5, 0.0)],
        ),
    ];
    status.tasks = vec![TaskStatus {
        task: Task::SourceTopicSync,
        state: TaskState::Active,
        reason: None,
        broker_id: 0,
        last_success_ms: Some(NOW),
    }];
    status
}

/// Everything that can be wrong at once.
fn troubled() -> LinkStatus {
    let mut status = copying();
    status.group_filters = filters("a_*,!a_test");
    status.fault = Some("the source's cluster id is Q, but at first contact it was XyZ".to_owned());
    status.source.last_contact_ms = Some(NOW - 75_000);
    status.topics[0].partitions[1].stalled_seconds = Some(31.0);
    status.topics[0].partitions[1].error = Some("NOT_LEADER_OR_FOLLOWER".to_owned());
    status.topics[0].partitions[1]
        .lag
        .as_mut()
        .unwrap()
        .records_stable = 2;
    status.topics[0].partitions[1].open_transactions = vec![OpenTransaction {
        producer_id: 4_000,
        producer_epoch: 2,
        first_offset: 6,
        last_timestamp_ms: Some(NOW - 90_000),
    }];
    status.topics[0].source_missing = true;
    status.topics[0].gaps = vec![GapEvent {
        partition: 1,
        from: 100,
        to: 200,
        at_ms: NOW,
        reason: "retention at the source was faster".to_owned(),
    }];
    status.topics[1].state = TopicState::Faulted;
    status.topics[1].reason = Some("the source topic was deleted and created again".to_owned());
    let mut going = topic(
        "a_going",
        TopicState::FailingOver,
        vec![partition(0, None, 0, 0.0)],
    );
    going.step = Some("cut".to_owned());
    let mut ours = topic(
        "a_ours",
        TopicState::FailedOver,
        vec![partition(0, Some(10), 12, 0.0)],
    );
    ours.partitions[0].cut = Some(9);
    ours.partitions[0].cut_epoch = Some(65_536);
    ours.partitions[0].leader_epoch = 65_536;
    ours.partitions[0].lag = None;
    status.topics.extend([going, ours]);
    status.tasks.push(TaskStatus {
        task: Task::ConsumerGroupShadowing,
        state: TaskState::LinkUnavailable,
        reason: Some("127.0.0.1:9092: connection refused".to_owned()),
        broker_id: 0,
        last_success_ms: None,
    });
    status.unselected = vec![UnselectedTopic {
        topic: "a_mine".to_owned(),
        reason: "a topic of this name exists".to_owned(),
    }];
    status.unselected_groups = vec!["reports".to_owned(), "z".to_owned()];
    status.taken_over = vec![TakenOver {
        topic: "b_orders".to_owned(),
        by: "a".to_owned(),
        cluster_id: "XyZ".to_owned(),
        link: "from-b".to_owned(),
        partitions: vec![TakenOverPartition {
            partition: 0,
            offset: 1_234,
            epoch: 65_536,
        }],
    }];
    status.file_differs =
        vec!["topic_metadata_sync_options.interval: is 1s, the file says 30s".to_owned()];
    status.warnings = vec!["group offsets were applied before their data had come".to_owned()];
    status
}

fn loss_of(status: &LinkStatus) -> Loss {
    let ended = [
        ended(2, 2, NOW - 80_000),
        ended(2, 2, NOW - 95_000),
        EndedTransaction {
            producer_id: 9,
            ..ended(2, 2, NOW)
        },
    ];
    let behind = |topic: &str, offset| GroupBehind {
        group: "reports".into(),
        topic: topic.into(),
        partition: 0,
        source_offset: 9,
        offset,
    };
    let behind = vec![
        behind("a_orders", Some(3)),
        behind("a_going", None),
        behind("a_ours", Some(1)),
    ];
    let groups = GroupsLoss {
        read: GroupsRead::SecondsAgo(75.5),
        behind,
        unknown: vec!["mute".into()],
    };
    loss::of(status, None, &ended, groups, NOW)
}

/// The end of a transaction of producer 4000 on a_payments-0.
fn ended(producer_epoch: i16, marker_epoch: i16, marker_timestamp_ms: i64) -> EndedTransaction {
    EndedTransaction {
        topic: "a_payments".into(),
        partition: 0,
        producer_id: 4_000,
        producer_epoch,
        marker_epoch,
        marker_timestamp_ms,
    }
}

fn groups(read: GroupsRead) -> GroupsLoss {
    GroupsLoss {
        read,
        ..GroupsLoss::default()
    }
}

#[test]
fn texts() {
    run_scripts("status", || {
        |block: &str| match block.trim_end() {
            "story" => [
                render::story_line(&fresh()),
                render::story_line(&copying()),
                render::story_line(&troubled()),
                render::story_line(&judged(fresh(), None)),
                render::story_line(&judged(copying(), None)),
                render::story_line(&judged(troubled(), None)),
                render::story_line(&cut_off()),
            ]
            .join("\n"),
            "list" => render::list(&[]) + &render::list(&[fresh(), copying()]),
            "status fresh" => render::status(&fresh(), NOW),
            "status copying" => render::status(&copying(), NOW),
            "status cut off" => render::status(&cut_off(), NOW),
            "status troubled" => render::status(&troubled(), NOW),
            "loss copying" => {
                let topics = ["a_orders".into(), "a_nope".into()];
                render::loss(&loss::of(
                    &copying(),
                    Some(&topics),
                    &[],
                    groups(GroupsRead::NeverSinceStart),
                    NOW,
                ))
            }
            "loss nothing" => render::loss(&loss::of(
                &copying(),
                Some(&["a_payments".into()]),
                &[],
                groups(GroupsRead::SecondsAgo(0.4)),
                NOW,
            )),
            "loss without groups" => render::loss(&loss::of(
                &copying(),
                Some(&["a_payments".into()]),
                &[],
                groups(GroupsRead::NotSynced),
                NOW,
            )),
            "loss troubled" => render::loss(&loss_of(&troubled())),
            other => panic!("{other} is not shown"),
        }
    });
}

#[test]
fn a_transaction_is_cut_in_half_only_by_its_own_marker() {
    let loss = loss_of(&troubled());
    assert_eq!(loss.half_copied.len(), 1);
    assert_eq!(loss.half_copied[0].ended_on, [("a_payments".to_owned(), 0)]);
    // the transaction's epoch, the marker's, its age in ms: is it the end of the one that is open
    // in epoch 2 and wrote 90 s ago?
    let rows = [
        (2, 2, 80_000, true),
        (2, 2, 90_000, true),
        (2, 2, 90_001, false),
        (1, 1, 0, false),
        (1, 2, 0, false),
        (2, 3, 95_000, true),
        (3, 3, 95_000, true),
    ];
    for (epoch, marker_epoch, age_ms, expected) in rows {
        let ended = [ended(epoch, marker_epoch, NOW - age_ms)];
        let loss = loss::of(&troubled(), None, &ended, GroupsLoss::default(), NOW);
        assert_eq!(!loss.half_copied.is_empty(), expected, "{ended:?}");
    }
    assert!(
        loss.groups_behind.iter().all(|g| g.topic != "a_ours"),
        "a topic that is ours loses nothing"
    );
}

#[test]
fn a_transaction_in_half_names_every_partition_where_it_is_open_and_every_one_where_it_ended() {
    let mut status = copying();
    let open = |last_timestamp_ms| {
        vec![OpenTransaction {
            producer_id: 4_000,
            producer_epoch: 2,
            first_offset: 6,
            last_timestamp_ms: Some(last_timestamp_ms),
        }]
    };
    // The first partition heard of the transaction later than the second: an end between the two
    // moments is seen from the second alone.
    status.topics[0].partitions[0].open_transactions = open(NOW - 50);
    status.topics[0].partitions[1].open_transactions = open(NOW - 90);
    let on = |partition, age_ms| EndedTransaction {
        partition,
        ..ended(2, 2, NOW - age_ms)
    };
    let loss_with = |ended: &[EndedTransaction]| {
        loss::of(&status, None, ended, GroupsLoss::default(), NOW).half_copied
    };
    let orders = |partition| ("a_orders".to_owned(), partition);
    let payments = |partition| ("a_payments".to_owned(), partition);
    let [half] = &loss_with(&[on(0, 40), on(1, 70), on(0, 30)])[..] else {
        panic!("one transaction");
    };
    assert_eq!(half.open_on, [orders(0), orders(1)]);
    assert_eq!(half.ended_on, [payments(0), payments(1)]);
    let [half] = &loss_with(&[on(1, 70)])[..] else {
        panic!("one transaction");
    };
    assert_eq!(
        (&half.open_on[..], &half.ended_on[..]),
        (&[orders(1)][..], &[payments(1)][..])
    );
    assert_eq!(loss_with(&[on(1, 91)]), [], "older than both");
}

#[test]
fn a_link_is_level_only_if_every_partition_that_is_copied_was_heard_just_now() {
    let mut status = copying();
    let verdict = |status: &LinkStatus| judge(&status.topics, None);
    assert_eq!(verdict(&status), Verdict::Behind);
    status.topics[0].partitions[1] = partition(1, Some(20), 20, 0.0);
    assert_eq!(verdict(&status), Verdict::Level);
    status.topics[0].partitions[1].silent_seconds = Some(30.0);
    let one_of_three = Verdict::NotKnown {
        seconds: 30.0,
        partitions: 1,
        of: 3,
    };
    assert_eq!(verdict(&status), one_of_three);
    status.topics[0].partitions[1] = partition(1, None, 0, 0.0);
    assert!(matches!(
        verdict(&status),
        Verdict::NotKnown { partitions: 1, .. }
    ));
    status.topics.clear();
    assert_eq!(verdict(&status), Verdict::Level, "there is nothing to copy");
    assert_eq!(
        judge(&status.topics, Some(9.0)),
        Verdict::NotKnown {
            seconds: 9.0,
            partitions: 0,
            of: 0
        },
        "what there would be to copy is not known"
    );
}

#[test]
fn a_faulted_topic_hides_no_lag_of_the_others() {
    let mut status = copying();
    status.topics[1].state = TopicState::Faulted;
    status.topics[1].partitions = vec![partition(0, None, 0, 0.0)];
    assert_eq!(judge(&status.topics, None), Verdict::Behind);
    assert_eq!(status.lag().map(|lag| lag.records), Some(12));
    assert_eq!(status.faulted(), 1);
    // Nor does a partition that the source did not tell of yet.
    status.topics[1].state = TopicState::Active;
    assert_eq!(status.lag().map(|lag| lag.records), Some(12));
    status.topics[0].state = TopicState::Faulted;
    assert_eq!(
        status.lag(),
        None,
        "of those that are copied nothing is known"
    );
}

#[test]
fn json_holds_it_all() {
    for status in [fresh(), copying(), troubled(), cut_off()] {
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<LinkStatus>(&json).unwrap(), status);
    }
    let loss = loss_of(&troubled());
    assert_eq!(
        serde_json::from_str::<Loss>(&serde_json::to_string(&loss).unwrap()).unwrap(),
        loss
    );
}

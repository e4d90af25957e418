//! Story 3: one group on one site reads both families of topics, and finds its offsets on the other
//! site when its own is lost.
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use proto_tests::client::{Client, Consumer, Consuming, Seen};
use proto_tests::pair::Pair;
use proto_tests::toolchain::{Tool, have};
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{java, kcat, librdkafka, load};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A commit at its owner is known on the other site after a second or so; here with patience for a
/// busy machine.
const SYNCED: Duration = Duration::from_secs(20);

fn member(bootstrap: &str, group: &str) -> Box<dyn Consumer> {
    let how = Consuming::member(bootstrap, group, &["a_orders", "b_orders"]);
    librdkafka::client()
        .consumer(&how)
        .unwrap_or_else(|failure| panic!("open: {failure}"))
}

/// Commits without being a member: as an administrator does, when nobody is.
fn asks(bootstrap: &str, group: &str) -> Box<dyn Consumer> {
    librdkafka::client()
        .consumer(&Consuming::member(bootstrap, group, &[]))
        .unwrap_or_else(|failure| panic!("open: {failure}"))
}

fn committed(bootstrap: &str, group: &str) -> Vec<Option<i64>> {
    let mut consumer = asks(bootstrap, group);
    ["a_orders", "b_orders"]
        .map(|topic| {
            consumer
                .committed(topic, 0)
                .unwrap_or_else(|failure| panic!("committed: {failure}"))
        })
        .to_vec()
}

fn wait_for(bootstrap: &str, group: &str, wanted: &[Option<i64>]) {
    until(
        &format!("{group} at {wanted:?} on {bootstrap}"),
        SYNCED,
        || {
            let there = committed(bootstrap, group);
            holds(there == wanted, || format!("{there:?}"))
        },
    );
}

fn distinct(seen: &[Seen]) -> BTreeSet<(String, i64)> {
    seen.iter()
        .map(|record| (record.topic.clone(), record.offset))
        .collect()
}

fn pair_with_orders() -> Pair {
    let pair = Pair::start();
    for topic in ["a_orders", "b_orders"] {
        // Two partitions, so that two members have one each of both; all records are in the first.
        pair.create(topic, 2);
        pair.write(topic, 0, 20);
        pair.level(topic, 1);
    }
    pair
}

#[test]
fn story_groups_read_both_families_together() {
    let pair = pair_with_orders();
    let mut reports = member(&pair.b.kafka, "b_reports");
    let seen = reports.read(40, PATIENCE);
    assert_eq!(
        (seen.len(), distinct(&seen).len()),
        (40, 40),
        "each record once"
    );
    reports
        .commit()
        .expect("commit on a shadow and on an own topic");
    pair.write("a_orders", 20, 5);
    pair.write("b_orders", 20, 5);
    assert_eq!(distinct(&reports.read(10, PATIENCE)).len(), 10);
    reports.commit().expect("commit");
    assert_eq!(committed(&pair.b.kafka, "b_reports"), [Some(25), Some(25)]);
    // Two members share them.
    let mut second = member(&pair.b.kafka, "b_reports");
    let start = Instant::now();
    loop {
        reports.poll(Duration::from_millis(200)).expect("poll");
        second.poll(Duration::from_millis(200)).expect("poll");
        let shares = (reports.assignment().len(), second.assignment().len());
        if shares == (2, 2) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "shares {shares:?}");
    }
    if have(&[Tool::Kcat]) {
        let text = kcat::group(&pair.a.kafka, "a_reports", &["a_orders", "b_orders"], 50)
            .expect("kcat -G on the other site");
        assert_eq!(text.lines().count(), 50);
    }
}

/// An acknowledged commit is there, however soon the process dies.
#[test]
fn story_groups_commit_survives_a_kill_within_5_ms() {
    let mut pair = pair_with_orders();
    for offset in 1..=15 {
        let mut late = Duration::ZERO;
        until("a commit", PATIENCE, || {
            let site = &mut pair.b;
            let kafka = site.kafka.clone();
            let kill = || {
                let acked = Instant::now();
                site.running().signal(rustix::process::Signal::KILL);
                late = acked.elapsed();
            };
            librdkafka::commit(&kafka, "b_kills", ("b_orders", 0, offset), kill)
                .map_err(|failure| failure.to_string())
        });
        assert!(
            late < Duration::from_millis(5),
            "the kill came {late:?} after the ack"
        );
        pair.b.kill();
        pair.b.start();
        assert_eq!(
            asks(&pair.b.kafka, "b_kills")
                .committed("b_orders", 0)
                .expect("committed"),
            Some(offset)
        );
    }
}

/// Commits one offset and returns when it is acknowledged.
fn commit(bootstrap: &str, group: &str, topic: &str, offset: i64) {
    until(
        &format!("a commit of {group} at {bootstrap}"),
        PATIENCE,
        || {
            librdkafka::commit(bootstrap, group, (topic, 0, offset), || {})
                .map_err(|failure| failure.to_string())
        },
    );
}

/// A group of b that moves to a finds its offsets on both families: on b's topics, which a shadows,
/// and on a's own.
#[test]
fn story_groups_move_with_their_offsets() {
    let mut pair = pair_with_orders();
    let mut reports = member(&pair.b.kafka, "b_reports");
    assert_eq!(reports.read(40, PATIENCE).len(), 40);
    reports.commit().expect("commit");
    drop(reports);
    wait_for(&pair.a.kafka, "b_reports", &[Some(20), Some(20)]);
    // Down as well as up: at the owner's word.
    commit(&pair.b.kafka, "b_reports", "b_orders", 15);
    wait_for(&pair.a.kafka, "b_reports", &[Some(20), Some(15)]);
    pair.write("a_orders", 20, 5);
    pair.write("b_orders", 20, 5);
    pair.level("b_orders", 1);
    pair.b.kill();
    let clients: Vec<&dyn Client> = if have(&[Tool::Java]) {
        vec![java::client()]
    } else {
        vec![librdkafka::client()]
    };
    for client in clients {
        let how = Consuming::member(&pair.a.kafka, "b_reports", &["a_orders", "b_orders"]);
        let mut moved = client.consumer(&how).expect("a consumer");
        let seen = moved.read(15, PATIENCE);
        let from = |topic: &str| {
            seen.iter()
                .filter(|record| record.topic == topic)
                .map(|record| record.offset)
                .collect::<Vec<_>>()
        };
        assert_eq!(from("a_orders"), (20..25).collect::<Vec<_>>());
        assert_eq!(from("b_orders"), (15..25).collect::<Vec<_>>());
        moved.commit().expect("commit");
    }
    assert_eq!(committed(&pair.a.kafka, "b_reports"), [Some(25), Some(25)]);
}

/// A commit made here is ours from then on, also when the process dies right after it, and whatever
/// the source says later.
#[test]
fn story_groups_local_commit_wins_over_the_sync() {
    let mut pair = pair_with_orders();
    commit(&pair.b.kafka, "b_local", "b_orders", 5);
    wait_for(&pair.a.kafka, "b_local", &[None, Some(5)]);
    // Between a sync and a local commit: the process dies, and the synced value is there.
    pair.a.crash();
    wait_for(&pair.a.kafka, "b_local", &[None, Some(5)]);
    commit(&pair.a.kafka, "b_local", "b_orders", 9);
    pair.a.crash();
    assert_eq!(committed(&pair.a.kafka, "b_local"), [None, Some(9)]);
    commit(&pair.b.kafka, "b_local", "b_orders", 12);
    commit(&pair.b.kafka, "b_follows", "b_orders", 12);
    // Another group that is synced after it: by then this one would have been too.
    wait_for(&pair.a.kafka, "b_follows", &[None, Some(12)]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        committed(&pair.a.kafka, "b_local"),
        [None, Some(9)],
        "marked local, and left alone"
    );
}

/// A group with a live member here is not touched; when the member has gone it follows its source
/// again.
#[test]
fn story_groups_with_a_live_member_are_left_alone() {
    let pair = pair_with_orders();
    let mut live = member(&pair.a.kafka, "b_live");
    assert_eq!(live.read(40, PATIENCE).len(), 40);
    commit(&pair.b.kafka, "b_live", "b_orders", 7);
    commit(&pair.b.kafka, "b_follows", "b_orders", 7);
    wait_for(&pair.a.kafka, "b_follows", &[None, Some(7)]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        live.poll(Duration::from_millis(100)).expect("poll");
    }
    assert_eq!(
        committed(&pair.a.kafka, "b_live"),
        [None, None],
        "a live member's group is left alone"
    );
    drop(live);
    if have(&[Tool::Java]) {
        until("the group is empty", PATIENCE, || {
            let group = java::client()
                .admin(
                    &pair.a.kafka,
                    "describe_group",
                    serde_json::json!({"group": "b_live"}),
                )
                .map_err(|failure| failure.to_string())?;
            holds(group["state"] == "Empty", || group.to_string())
        });
    }
    wait_for(&pair.a.kafka, "b_live", &[None, Some(7)]);
}

/// A position never outruns the data it stands for.
#[test]
fn story_groups_offsets_wait_for_their_records() {
    let mut pair = pair_with_orders();
    pair.a.stop();
    pair.write("b_orders", 20, 500);
    commit(&pair.b.kafka, "b_quick", "b_orders", 520);
    pair.a.start();
    let start = Instant::now();
    loop {
        let at = committed(&pair.a.kafka, "b_quick")[1];
        let end = load::end_of(&pair.a.kafka, "b_orders", 0);
        assert!(at.is_none_or(|at| at <= end), "{at:?} beyond {end}");
        if at == Some(520) {
            break;
        }
        assert!(start.elapsed() < SYNCED, "{at:?} of 520");
    }
}

//! The source's start moves: followed exactly while we keep up, a gap once it has passed our end,
//! and no gap for what was never copied.

use crate::site::LinkedSites;
use gnomon_links::Start;
use gnomon_replication::source::scripted::Odd;
use std::time::Duration;
use uuid::Uuid;

/// The gap events that a topic's status shows: partition, from, to. Each has a time and a reason.
fn gaps(world: &LinkedSites, topic: &str) -> Vec<(i32, i64, i64)> {
    let status = world.service.status(world.link).unwrap();
    let gaps = &status.topic(topic).unwrap().gaps;
    assert!(
        gaps.iter()
            .all(|gap| gap.at_ms > 0 && !gap.reason.is_empty()),
        "{gaps:?}"
    );
    gaps.iter()
        .map(|gap| (gap.partition, gap.from, gap.to))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_trim_is_followed_also_when_the_topic_is_idle_and_inside_a_batch() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .partition("a_orders", 0, |p| p.append(&["0", "1", "2", "3"]));
    world.copied("a_orders", 0, 4).await;
    world.source.partition("a_orders", 0, |p| p.log_start = 2);
    world
        .until("the start followed", Duration::from_secs(2), |w| {
            w.handle("a_orders", 0).offsets().log_start == 2
        })
        .await;
    assert_eq!(world.high_watermark("a_orders", 0), 4);
}

#[tokio::test(start_paused = true)]
async fn an_empty_shadow_begins_at_the_sources_start() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| {
        p.append(&["0", "1", "2"]);
        p.append(&["3"]);
        p.log_start = 2;
    });
    world.copied("a_orders", 0, 4).await;
    assert_eq!(world.handle("a_orders", 0).offsets().log_start, 2);
}

/// "Latest" is the source's end when the copy begins, once and for all: what comes then is copied,
/// also if the copy has to look again before it has anything.
#[tokio::test(start_paused = true)]
async fn a_copy_from_the_end_begins_once() {
    let world = LinkedSites::start_at(Start::Latest).await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    let begun = |world: &LinkedSites| {
        world.topic("a_orders").is_some() && world.handle("a_orders", 0).copier().has_begun()
    };
    world
        .until("the copy begun", Duration::from_secs(10), begun)
        .await;
    world.source.partition("a_orders", 0, |p| {
        p.leader_epoch = 1;
        p.append(&["0", "1", "2"]);
    });
    world.copied("a_orders", 0, 3).await;
    assert_eq!(world.handle("a_orders", 0).offsets().log_start, 0);
    assert_eq!(
        world.bytes("a_orders", 0),
        world.source_bytes("a_orders", 0)
    );
}

/// A partition that the source adds later is copied from its start: what stands in it came after
/// the copy of the topic had begun.
#[tokio::test(start_paused = true)]
async fn a_partition_that_is_added_to_a_copy_from_the_end_is_copied_whole() {
    let world = LinkedSites::start_at(Start::Latest).await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .partition("a_orders", 0, |p| p.append(&["before"]));
    let begun = |world: &LinkedSites| {
        world.topic("a_orders").is_some() && world.handle("a_orders", 0).copier().has_begun()
    };
    world
        .until("the copy begun", Duration::from_secs(10), begun)
        .await;
    world.source.set(|cluster| {
        cluster
            .topics
            .get_mut("a_orders")
            .unwrap()
            .partitions
            .push(Default::default())
    });
    world
        .source
        .partition("a_orders", 1, |p| p.append(&["0", "1", "2"]));
    world.copied("a_orders", 1, 3).await;
    assert_eq!(world.handle("a_orders", 1).offsets().log_start, 0);
    assert_eq!(
        world.bytes("a_orders", 1),
        world.source_bytes("a_orders", 1)
    );
    assert_eq!(
        world.handle("a_orders", 0).offsets().log_start,
        1,
        "the first one began at its end"
    );
}

#[tokio::test(start_paused = true)]
async fn records_that_were_lost_to_us_are_a_gap_and_fault_the_topic() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 2);
    world.source.partition("a_orders", 0, |p| p.append(&["0"]));
    world.copied("a_orders", 0, 1).await;
    world.source.set(|cluster| cluster.down = true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.source.partition("a_orders", 0, |p| {
        (1..6).for_each(|n| p.append(&[&n.to_string()]));
        p.log_start = 3;
    });
    world.source.set(|cluster| cluster.down = false);
    let reason = world.faulted("a_orders").await;
    assert!(reason.contains("offsets 1 to 3"), "{reason}");
    assert_eq!(
        world.high_watermark("a_orders", 0),
        1,
        "what was copied stays"
    );
    assert_eq!(gaps(&world, "a_orders"), [(0, 1, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_the_middle_is_a_gap_but_not_on_a_compacted_topic() {
    let hole = |world: &LinkedSites, topic: &str, id: u128, policy: &str| {
        world.source.create(topic, Uuid::from_u128(id), 1);
        world.source.set(|c| {
            drop(
                c.topics
                    .get_mut(topic)
                    .unwrap()
                    .configs
                    .insert("cleanup.policy".into(), policy.into()),
            )
        });
        world.source.partition(topic, 0, |p| {
            (0..4).for_each(|n| p.append(&[&n.to_string()]));
            p.batches.remove(2);
        });
    };
    let world = LinkedSites::start().await;
    hole(&world, "a_plain", 1, "delete");
    hole(&world, "a_compacted", 2, "compact");
    let reason = world.faulted("a_plain").await;
    assert!(reason.contains("offsets 2 to 3"), "{reason}");
    assert_eq!(gaps(&world, "a_plain"), [(0, 2, 3)]);
    assert_eq!(gaps(&world, "a_compacted"), []);
    world.copied("a_compacted", 0, 4).await;
}

/// A source that throttles answers with nothing, and that is not "nothing is there": what it holds
/// back must not be passed over.
#[tokio::test(start_paused = true)]
async fn a_throttled_answer_is_no_cleaned_tail() {
    let world = LinkedSites::start().await;
    world.source.create("a_compacted", Uuid::from_u128(1), 1);
    world.source.set(|c| {
        drop(
            c.topics
                .get_mut("a_compacted")
                .unwrap()
                .configs
                .insert("cleanup.policy".into(), "compact".into()),
        )
    });
    world
        .source
        .partition("a_compacted", 0, |p| p.append(&["0"]));
    world.copied("a_compacted", 0, 1).await;
    world.source.set(|cluster| {
        cluster.topics.get_mut("a_compacted").unwrap().partitions[0].append(&["1", "2"]);
        cluster.odd.extend([Odd::Starved, Odd::Throttled]);
    });
    world.copied("a_compacted", 0, 3).await;
    assert!(
        world.source.set(|cluster| cluster.odd.is_empty()),
        "both odd answers were given"
    );
    assert_eq!(
        world.bytes("a_compacted", 0),
        world.source_bytes("a_compacted", 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cleaned_tail_brings_the_end_forward() {
    let world = LinkedSites::start().await;
    world.source.create("a_compacted", Uuid::from_u128(1), 1);
    world.source.set(|c| {
        drop(
            c.topics
                .get_mut("a_compacted")
                .unwrap()
                .configs
                .insert("cleanup.policy".into(), "compact".into()),
        )
    });
    world
        .source
        .partition("a_compacted", 0, |p| p.append(&["0"]));
    world.copied("a_compacted", 0, 1).await;
    // Offsets 1 to 8 were written and cleaned away: the source's end is ahead, and there is
    // nothing.
    world.source.partition("a_compacted", 0, |p| {
        let empty = gnomon_protocol::batch::BatchBuilder::new(1)
            .base_offset(8)
            .leader_epoch(gnomon_protocol::ids::BatchEpoch(0));
        p.append_bytes(empty.record(1, None, Some(b"x"), &[]).build().unwrap());
        p.high_watermark = 8;
    });
    world.copied("a_compacted", 0, 8).await;
    assert_eq!(world.handle("a_compacted", 0).offsets().end, 8);
}

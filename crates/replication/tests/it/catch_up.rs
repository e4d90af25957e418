//! A shadow is made, catches up, and follows: bytes equal, epochs recorded before they are seen,
//! one bad partition alone.

use crate::site::LinkedSites;
use gnomon_links::TopicState;
use gnomon_partition::Writers;
use gnomon_protocol::{
    batch::{BatchBuilder, Codec},
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch},
};
use gnomon_replication::Site;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn what_was_there_and_what_comes_is_copied_byte_for_byte() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 3);
    world.source.create("b_other", Uuid::from_u128(2), 1);
    for index in 0..3 {
        world.source.partition("a_orders", index, |p| {
            (0..20).for_each(|n| p.append(&["x", &n.to_string()]))
        });
    }
    for index in 0..3 {
        world.copied("a_orders", index, 40).await;
    }
    assert!(
        world.topic("b_other").is_none(),
        "the filter does not select it"
    );
    for codec in Codec::ALL {
        let batch = |p: &mut gnomon_replication::source::scripted::ScriptedPartition| {
            let builder = BatchBuilder::new(5)
                .codec(codec)
                .base_offset(p.end())
                .leader_epoch(BatchEpoch(0));
            p.append_bytes(
                builder
                    .record(5, Some(b"k"), None, &[])
                    .record(6, None, Some(&[7; 500]), &[])
                    .build()
                    .unwrap(),
            );
        };
        world.source.partition("a_orders", 1, batch);
    }
    world.copied("a_orders", 1, 50).await;
    for index in 0..3 {
        assert!(
            world.bytes("a_orders", index as i32) == world.source_bytes("a_orders", index),
            "partition {index} differs"
        );
    }
    let status = world.service.status(world.link).unwrap();
    let topic = status.topic("a_orders").unwrap();
    assert_eq!(
        (topic.state, topic.partitions[1].counters.records_written),
        (TopicState::Active, 50)
    );
    assert_eq!(topic.partitions[1].lag.map(|lag| lag.records), Some(0));
    assert!(matches!(
        world.handle("a_orders", 0).role().writers,
        Writers::Link { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_new_topic_and_a_new_partition_are_there_within_an_interval() {
    let world = LinkedSites::start().await;
    world.source.create("a_one", Uuid::from_u128(1), 1);
    world.source.partition("a_one", 0, |p| p.append(&["x"]));
    world.copied("a_one", 0, 1).await;
    world.source.create("a_two", Uuid::from_u128(2), 1);
    world.source.partition("a_two", 0, |p| p.append(&["y"]));
    world.source.set(|cluster| {
        cluster
            .topics
            .get_mut("a_one")
            .unwrap()
            .partitions
            .push(Default::default())
    });
    world.source.partition("a_one", 1, |p| p.append(&["z"]));
    let began = Instant::now();
    world.copied("a_two", 0, 1).await;
    world.copied("a_one", 1, 1).await;
    assert!(
        began.elapsed() < SECOND + Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
    // Asked for by a client, it comes at once.
    world.source.create("a_three", Uuid::from_u128(3), 1);
    world.source.partition("a_three", 0, |p| p.append(&["y"]));
    let began = Instant::now();
    world.service.wake_discovery(world.link);
    world.copied("a_three", 0, 1).await;
    assert!(
        began.elapsed() < Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_append_at_the_source_is_here_within_milliseconds() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .partition("a_orders", 0, |p| p.append(&["first"]));
    world.copied("a_orders", 0, 1).await;
    for n in 1..50 {
        tokio::time::sleep(Duration::from_millis(37)).await;
        world
            .source
            .partition("a_orders", 0, |p| p.append(&["more"]));
        let began = Instant::now();
        world.copied("a_orders", 0, n + 1).await;
        assert!(
            began.elapsed() <= Duration::from_millis(20),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_epoch_is_recorded_before_a_batch_of_it_is_here() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| p.append(&["x"]));
    world.copied("a_orders", 0, 1).await;
    // An election: the next batches come in a newer epoch.
    world.source.partition("a_orders", 0, |p| {
        p.leader_epoch = 7;
        p.append(&["y"]);
    });
    let recorded = |world: &LinkedSites| {
        world
            .topic("a_orders")
            .unwrap()
            .partition(0)
            .unwrap()
            .leader_epoch
    };
    while world.high_watermark("a_orders", 0) < 2 {
        let newest = world.handle("a_orders", 0).latest_epoch();
        assert!(recorded(&world).0 >= newest.0);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(recorded(&world), LeaderEpoch(7));
    assert_eq!(world.handle("a_orders", 0).latest_epoch(), BatchEpoch(7));
    assert_eq!(
        world
            .site
            .image()
            .topic_by_name("a_orders")
            .unwrap()
            .shadow
            .as_ref()
            .unwrap()
            .state,
        TopicState::Active
    );
}

#[tokio::test(start_paused = true)]
async fn one_bad_partition_holds_up_no_other() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 8);
    world.source.partition("a_orders", 3, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code())
    });
    for n in 1..30 {
        for index in 0..8 {
            world
                .source
                .partition("a_orders", index, |p| p.append(&["x"]));
        }
        let began = Instant::now();
        for index in [0, 1, 2, 4, 5, 6, 7] {
            world.copied("a_orders", index, n).await;
        }
        assert!(
            n == 1 || began.elapsed() <= Duration::from_millis(600),
            "{:?}",
            began.elapsed()
        );
    }
    let status = world.service.status(world.link).unwrap();
    let bad = &status.topic("a_orders").unwrap().partitions[3];
    assert!(
        bad.error
            .as_deref()
            .is_some_and(|error| error.contains("KAFKA_STORAGE_ERROR")),
        "{bad:?}"
    );
    assert!(bad.counters.client_errors > 0);
    world.source.partition("a_orders", 3, |p| p.error = None);
    world.copied("a_orders", 3, 29).await;
}

//! The source goes away and comes back: never a fault, no gap, no duplicate, and said in the status
//! meanwhile.

use crate::site::LinkedSites;
use gnomon_links::{Task, TaskState, TopicState};
use gnomon_replication::source::scripted::Odd;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn a_link_resumes_from_its_own_log() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 2);
    let mut expected = 0;
    for _ in 0..5 {
        for index in 0..2 {
            world.source.partition("a_orders", index, |p| {
                (0..10).for_each(|n| p.append(&[&n.to_string()]))
            });
        }
        expected += 10;
        for index in 0..2 {
            world.copied("a_orders", index, expected).await;
        }
        world.source.set(|cluster| cluster.down = true);
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(world.state("a_orders"), Some((TopicState::Active, None)));
        let status = world.service.status(world.link).unwrap();
        let task = status
            .tasks
            .iter()
            .find(|task| task.task == Task::SourceTopicSync)
            .unwrap();
        assert_eq!(task.state, TaskState::LinkUnavailable);
        // Appended while nobody could see it.
        world
            .source
            .partition("a_orders", 0, |p| p.append(&["unseen"]));
        world
            .source
            .partition("a_orders", 1, |p| p.append(&["unseen"]));
        expected += 1;
        world.source.set(|cluster| cluster.down = false);
        let began = Instant::now();
        for index in 0..2 {
            world.copied("a_orders", index, expected).await;
        }
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
    }
    for index in 0..2 {
        assert!(world.bytes("a_orders", index as i32) == world.source_bytes("a_orders", index));
    }
}

/// A lost session is replaced at once; a source that knows none, again and again, is left
/// alone in between like any source in trouble.
#[tokio::test(start_paused = true)]
async fn a_source_that_refuses_every_session_is_not_asked_without_end() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| p.append(&["0"]));
    world.copied("a_orders", 0, 1).await;
    let began = Instant::now();
    world.source.set(|cluster| {
        cluster.topics.get_mut("a_orders").unwrap().partitions[0].append(&["1"]);
        cluster.odd.extend([Odd::NoSession; 4]);
    });
    world.copied("a_orders", 0, 2).await;
    assert!(
        began.elapsed() >= Duration::from_millis(150),
        "three times a wait of at least 50 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_everything() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| p.append(&["0"]));
    world.copied("a_orders", 0, 1).await;
    world.service.shutdown().await;
    let fetches = world.source.set(|cluster| cluster.fetches);
    world.source.partition("a_orders", 0, |p| p.append(&["1"]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (
            world.high_watermark("a_orders", 0),
            world.source.set(|cluster| cluster.fetches)
        ),
        (1, fetches)
    );
}

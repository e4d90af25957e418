//! A failover with the source gone: fence, cut, epoch, markers, last offsets, writable.

use crate::site::LinkedSites;
use gnomon_catalog::{Event, FailOver, Reply, Which};
use gnomon_links::{LinkState, TopicState};
use gnomon_partition::{Fence, SourceBounds, Writers};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView},
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use gnomon_replication::Site;
use gnomon_storage::disk::Fault;
use std::time::Duration;
use uuid::Uuid;

async fn fail_over(world: &LinkedSites, which: Which) {
    let reply = world
        .site
        .submit(Event::FailOver(FailOver {
            link: "from-a".into(),
            which,
        }))
        .await;
    assert!(matches!(reply, Ok(Reply::FailOver(Ok(_)))), "{reply:?}");
}

fn transactional(base: Offset, producer: i64) -> bytes::Bytes {
    let builder = BatchBuilder::new(1)
        .base_offset(base)
        .leader_epoch(BatchEpoch(0))
        .producer(producer, 3, 0)
        .transactional();
    builder.record(1, None, Some(b"open"), &[]).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_topic_becomes_ours_and_the_others_stay_shadows() {
    let world = LinkedSites::start().await;
    for (topic, id) in [("a_orders", 1), ("a_other", 2)] {
        world.source.create(topic, Uuid::from_u128(id), 2);
        world.source.partition(topic, 0, |p| {
            (0..10).for_each(|n| p.append(&[&n.to_string()]))
        });
    }
    world
        .source
        .partition("a_orders", 0, |p| p.append_bytes(transactional(10, 55)));
    world.copied("a_orders", 0, 11).await;
    world.copied("a_other", 0, 10).await;
    assert_eq!(world.handle("a_orders", 0).offsets().last_stable, 10);
    let Writers::Link { fence, .. } = world.handle("a_orders", 0).role().writers else {
        panic!("a shadow")
    };
    world.source.set(|cluster| cluster.down = true);
    fail_over(&world, Which::Topics(vec!["a_orders".into()])).await;

    assert_eq!(
        world.state("a_orders"),
        Some((TopicState::FailedOver, None))
    );
    assert_eq!(world.state("a_other"), Some((TopicState::Active, None)));
    let topic = world.topic("a_orders").unwrap();
    let cut = topic.partition(0).unwrap().cut.unwrap();
    assert_eq!(
        (cut.end, cut.last_epoch, cut.epoch.0),
        (11, BatchEpoch(0), 65_536)
    );
    assert_eq!(topic.partition(1).unwrap().cut.unwrap().end, 0);
    let handle = world.handle("a_orders", 0);
    assert_eq!(handle.role().writers, Writers::Clients);
    assert_eq!(handle.leader_epoch().0, 65_536);
    // The open transaction ended with a marker: readers are not stuck.
    let offsets = handle.offsets();
    assert_eq!(
        (
            offsets.end,
            offsets.last_stable,
            handle.control().open_transactions().len()
        ),
        (12, 12, 0)
    );
    // A position from an epoch that never came here is answered with the cut.
    assert_eq!(
        handle.reader().end_for_epoch(BatchEpoch(40), None).pair(),
        (BatchEpoch(0), 11)
    );
    // A late answer of the source cannot be appended any more.
    let late = BatchBuilder::new(1)
        .base_offset(12)
        .leader_epoch(BatchEpoch(0))
        .record(1, None, Some(b"late"), &[])
        .build()
        .unwrap();
    for fence in [fence, Fence(fence.0 + 1)] {
        let bounds = SourceBounds {
            log_start: 0,
            high_watermark: 13,
        };
        assert!(
            handle
                .copier()
                .append_at(
                    fence,
                    vec![BatchView::parse_only(late.clone()).unwrap()],
                    bounds
                )
                .is_err()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_closed_partition_holds_up_goes_on_when_it_is_open_again() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 2);
    world.source.partition("a_orders", 0, |p| p.append(&["0"]));
    world.copied("a_orders", 0, 1).await;
    world.site.disk.fail_next(Fault::Sync);
    world.source.partition("a_orders", 0, |p| p.append(&["1"]));
    world
        .until("it is closed", Duration::from_secs(5), |world| {
            world.handle("a_orders", 0).control().failed().is_some()
        })
        .await;
    world.source.set(|cluster| cluster.down = true);
    fail_over(&world, Which::Topics(vec!["a_orders".into()])).await;
    let stuck = |world: &LinkedSites| match world.state("a_orders") {
        Some((TopicState::FailingOver, Some(reason))) => reason.starts_with("partition 0: "),
        _ => false,
    };
    assert!(stuck(&world), "{:?}", world.state("a_orders"));
    // Commands of impatient operators make no more commands of ours.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        fail_over(&world, Which::Topics(vec!["a_orders".into()])).await;
        assert!(stuck(&world), "{:?}", world.state("a_orders"));
    }
    let commands = world.site.failovers();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let more = world.site.failovers() - commands;
    assert!((5..=11).contains(&more), "{more} commands in ten minutes");

    let topic = world.topic("a_orders").unwrap().id;
    let used = LeaderEpoch(world.handle("a_orders", 0).latest_epoch().0);
    world
        .site
        .submit(Event::Reopening {
            topic,
            partition: 0,
            used,
        })
        .await
        .unwrap();
    world.reopen("a_orders", 0);
    world
        .until("it is ours", Duration::from_secs(65), |world| {
            world.state("a_orders") == Some((TopicState::FailedOver, None))
        })
        .await;
    assert_eq!(world.handle("a_orders", 0).role().writers, Writers::Clients);
}

#[tokio::test(start_paused = true)]
async fn all_ends_the_link_and_nothing_is_copied_afterwards() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| p.append(&["0"]));
    world.copied("a_orders", 0, 1).await;
    fail_over(&world, Which::All).await;
    assert_eq!(
        world.site.image().link(world.link).unwrap().state,
        LinkState::FailedOver
    );
    world.source.partition("a_orders", 0, |p| p.append(&["1"]));
    world.source.create("a_new", Uuid::from_u128(2), 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.handle("a_orders", 0).offsets().end, 1);
    assert!(world.topic("a_new").is_none());
    assert_eq!(
        world.service.status(world.link).unwrap().state,
        LinkState::FailedOver
    );
}

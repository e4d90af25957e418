//! Histories that part are faults with both offsets; an election, however it looks for a moment, is
//! not.

use crate::site::LinkedSites;
use gnomon_catalog::Event;
use gnomon_links::TopicState;
use gnomon_partition::{Fence, SourceBounds};
use gnomon_protocol::{batch::BatchView, ids::LeaderEpoch};
use gnomon_replication::source::scripted::{Odd, ScriptedTopic};
use std::time::Duration;
use uuid::Uuid;

async fn copied_world() -> LinkedSites {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| {
        (0..10).for_each(|n| p.append(&[&n.to_string()]))
    });
    world.copied("a_orders", 0, 10).await;
    world
}

#[tokio::test(start_paused = true)]
async fn an_unclean_election_faults_the_topic() {
    let world = copied_world().await;
    world.source.partition("a_orders", 0, |p| {
        p.truncate(6);
        p.leader_epoch = 1;
        (0..9).for_each(|_| p.append(&["other"]));
    });
    let reason = world.faulted("a_orders").await;
    assert!(
        reason.contains("our log ends at 10 in epoch 0") && reason.contains("ends at 6"),
        "{reason}"
    );
    assert_eq!(
        world.high_watermark("a_orders", 0),
        10,
        "nothing was overwritten"
    );
    // It stays as it is.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.high_watermark("a_orders", 0), 10);
}

/// A partition that changes its fetch connection (its leader moved) may still be appended to by the
/// one that had it. What the new one asked for from before is then news of yesterday, not
/// divergence.
#[tokio::test(start_paused = true)]
async fn a_log_that_went_on_meanwhile_is_no_divergence() {
    let world = copied_world().await;
    let batch = world.source.partition("a_orders", 0, |p| {
        let mut ahead = p.clone();
        ahead.append(&["10"]);
        ahead.batches.pop().unwrap()
    });
    let fence = Fence(
        world
            .topic("a_orders")
            .unwrap()
            .shadow
            .as_ref()
            .unwrap()
            .fence,
    );
    let known = SourceBounds {
        log_start: 0,
        high_watermark: 11,
    };
    world
        .handle("a_orders", 0)
        .copier()
        .append_at(fence, vec![BatchView::parse_only(batch).unwrap()], known)
        .unwrap();
    world.source.partition("a_orders", 0, |p| {
        (10..13).for_each(|n| p.append(&[&n.to_string()]))
    });
    world.copied("a_orders", 0, 13).await;
    assert_eq!(world.state("a_orders"), Some((TopicState::Active, None)));
    assert_eq!(
        world.bytes("a_orders", 0),
        world.source_bytes("a_orders", 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_power_loss_at_the_source_faults_the_topic() {
    let world = copied_world().await;
    world.source.partition("a_orders", 0, |p| p.truncate(6));
    let reason = world.faulted("a_orders").await;
    assert!(
        reason.contains("10") && reason.contains('6') && reason.contains("this side has more"),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_clean_election_is_followed() {
    let world = copied_world().await;
    for epoch in 1..5 {
        world.source.partition("a_orders", 0, |p| {
            p.leader_epoch = epoch;
            // The new leader's watermark lags behind for a moment (KIP-207).
            p.high_watermark = 4;
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(world.state("a_orders"), Some((TopicState::Active, None)));
        world
            .source
            .partition("a_orders", 0, |p| p.append(&["next"]));
        world.copied("a_orders", 0, 10 + i64::from(epoch)).await;
    }
    assert!(world.bytes("a_orders", 0) == world.source_bytes("a_orders", 0));
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_again_faults_its_shadow() {
    let world = copied_world().await;
    world.source.create("a_orders", Uuid::from_u128(99), 1);
    world.source.partition("a_orders", 0, |p| {
        (0..20).for_each(|_| p.append(&["other"]))
    });
    let reason = world.faulted("a_orders").await;
    assert!(reason.contains("deleted and created again"), "{reason}");
    assert_eq!(world.high_watermark("a_orders", 0), 10);
}

/// The shadow of a topic that was created again is deleted right after a discovery: the source's
/// list does not change any more, and still the link creates the shadow again.
#[tokio::test(start_paused = true)]
async fn a_shadow_that_is_deleted_after_a_discovery_is_created_again() {
    let world = copied_world().await;
    world.source.create("a_orders", Uuid::from_u128(99), 1);
    world.faulted("a_orders").await;
    let faulted = world.topic("a_orders").unwrap().id;
    *world.site.behind_discovery.lock().unwrap() = Some(Event::DeleteTopics { ids: vec![faulted] });
    world.source.create("a_other", Uuid::from_u128(100), 1);
    world
        .until("the deletion", Duration::from_secs(5), |world| {
            world
                .topic("a_orders")
                .is_none_or(|topic| topic.id != faulted)
        })
        .await;
    world
        .until("a new shadow", Duration::from_secs(5), |world| {
            world.topic("a_orders").is_some()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_is_missing_and_keeps_its_data() {
    let world = copied_world().await;
    world
        .source
        .set(|cluster| drop(cluster.topics.remove("a_orders")));
    let missing = |world: &LinkedSites| {
        world
            .topic("a_orders")
            .unwrap()
            .shadow
            .as_ref()
            .unwrap()
            .source_missing
    };
    world
        .until("source missing", Duration::from_secs(5), missing)
        .await;
    assert_eq!(
        (world.state("a_orders"), world.high_watermark("a_orders", 0)),
        (Some((TopicState::Active, None)), 10)
    );
}

/// A topic in trouble makes the list incomplete, and nothing is missing in that round. The next
/// list may name the same topics, and be whole.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_is_missing_as_soon_as_the_list_is_whole() {
    let world = copied_world().await;
    world.source.set(|cluster| {
        cluster.topics.remove("a_orders");
        let troubled = ScriptedTopic {
            error: Some(5),
            ..ScriptedTopic::default()
        };
        cluster.topics.insert("a_troubled".to_owned(), troubled);
    });
    let missing = |world: &LinkedSites| {
        world
            .topic("a_orders")
            .unwrap()
            .shadow
            .as_ref()
            .unwrap()
            .source_missing
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!missing(&world));
    world
        .source
        .set(|cluster| drop(cluster.topics.remove("a_troubled")));
    world
        .until("source missing", Duration::from_secs(5), missing)
        .await;
}

/// The epoch stands outside of a batch's checksum. One that the source's leader cannot have given
/// is not recorded, where it would stand for ever.
#[tokio::test(start_paused = true)]
async fn a_damaged_epoch_is_asked_for_again() {
    let world = copied_world().await;
    world.source.set(|cluster| {
        cluster.topics.get_mut("a_orders").unwrap().partitions[0].append(&["ten"]);
        cluster.odd.push_back(Odd::Epoch(1 << 30));
    });
    world.copied("a_orders", 0, 11).await;
    assert_eq!(world.state("a_orders"), Some((TopicState::Active, None)));
    assert_eq!(
        world
            .topic("a_orders")
            .unwrap()
            .partition(0)
            .unwrap()
            .leader_epoch,
        LeaderEpoch(0)
    );
    assert!(world.bytes("a_orders", 0) == world.source_bytes("a_orders", 0));
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_asked_for_again() {
    let world = copied_world().await;
    let good = world.source.partition("a_orders", 0, |p| {
        p.append(&["ten"]);
        let good = p.batches.pop().unwrap();
        let mut bad = good.to_vec();
        *bad.last_mut().unwrap() ^= 1;
        p.batches.push(bad.into());
        good
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(
        (world.state("a_orders"), world.high_watermark("a_orders", 0)),
        (Some((TopicState::Active, None)), 10)
    );
    world.source.partition("a_orders", 0, |p| {
        p.batches.pop();
        p.append_bytes(good);
    });
    world.copied("a_orders", 0, 11).await;
    assert!(world.bytes("a_orders", 0) == world.source_bytes("a_orders", 0));
}

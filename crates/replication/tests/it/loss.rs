//! The loss by a failover, before it is done: groups that are after, transactions that are cut in
//! half, and what cannot be known.

use crate::site::LinkedSites;
use bytes::Bytes;
use gnomon_catalog::{Event, FailOver, Which};
use gnomon_links::{
    loss::{GroupsRead, Loss},
    plan_offsets::SourceCommit,
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, marker_batch},
    error_code::ErrorCode,
    ids::{BatchEpoch, Offset},
};
use gnomon_replication::Site;
use std::time::Duration;
use uuid::Uuid;

async fn loss(world: &LinkedSites, topics: &[&str]) -> Loss {
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    world
        .service
        .loss(world.link, (!topics.is_empty()).then_some(&topics[..]))
        .await
        .expect("a link")
}

async fn fail_over(world: &LinkedSites, topic: &str) {
    let which = Which::Topics(vec![topic.into()]);
    world
        .site
        .submit(Event::FailOver(FailOver {
            link: "from-a".into(),
            which,
        }))
        .await
        .unwrap();
}

async fn copied_world(topics: &[&str]) -> LinkedSites {
    let world = LinkedSites::start().await;
    for (topic, id) in topics.iter().zip(1..) {
        world.source.create(topic, Uuid::from_u128(id), 2);
        world.source.partition(topic, 0, |p| {
            (0..10).for_each(|n| p.append(&[&n.to_string()]))
        });
        world.copied(topic, 0, 10).await;
    }
    world
}

fn commits(world: &LinkedSites, group: &str, commits: &[(&str, Offset)]) {
    let commit = |(topic, offset): &(&str, Offset)| SourceCommit {
        topic: (*topic).to_owned(),
        partition: 0,
        offset: *offset,
        leader_epoch: 0,
        metadata: None,
    };
    world.source.set(|cluster| {
        drop(
            cluster
                .groups
                .insert(group.to_owned(), commits.iter().map(commit).collect()),
        )
    });
}

/// Group, topic, where it stands at the source, where it would go on here.
fn behind(loss: &Loss) -> Vec<(&str, &str, Offset, Option<Offset>)> {
    loss.groups_behind
        .iter()
        .map(|g| {
            (
                g.group.as_str(),
                g.topic.as_str(),
                g.source_offset,
                g.offset,
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn groups_that_would_go_on_from_behind_are_named() {
    let world = copied_world(&["a_orders", "a_other"]).await;
    // The source goes on, and nothing more of a_orders comes here.
    world.source.partition("a_orders", 0, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code());
        (10..20).for_each(|n| p.append(&[&n.to_string()]));
    });
    commits(&world, "a_level", &[("a_orders", 10), ("a_other", 10)]);
    commits(&world, "a_ahead", &[("a_orders", 15), ("a_other", 3)]);
    commits(&world, "a_works_here", &[("a_orders", 8)]);
    commits(&world, "a_new_here", &[("a_orders", 8)]);
    world.site.stand.lock().unwrap().extend([
        ("a_works_here".to_owned(), Some(2)),
        ("a_new_here".to_owned(), None),
    ]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let synced = world.site.synced.lock().unwrap().len();
    let told = loss(&world, &[]).await;
    let expected = [
        ("a_ahead", "a_orders", 15, Some(10)),
        ("a_new_here", "a_orders", 8, None),
        ("a_works_here", "a_orders", 8, Some(2)),
    ];
    assert_eq!(
        (behind(&told), told.groups_unknown.len()),
        (expected.to_vec(), 0)
    );
    assert!(
        matches!(told.groups_read, GroupsRead::SecondsAgo(ago) if ago < 20.0),
        "{:?}",
        told.groups_read
    );
    assert_eq!(
        behind(&loss(&world, &["a_other"]).await),
        [],
        "of other topics than are asked for nothing is said"
    );
    assert_eq!(
        world.site.synced.lock().unwrap().len(),
        synced,
        "nothing was written for it"
    );

    world.source.set(|cluster| cluster.down = true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let told = loss(&world, &["a_orders"]).await;
    assert_eq!(behind(&told), expected);
    assert!(
        matches!(told.groups_read, GroupsRead::SecondsAgo(ago) if ago >= 60.0),
        "{:?}",
        told.groups_read
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_never_read_is_said_and_what_was_synced_before_is_let_go() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .set(|cluster| cluster.groups_error = Some(ErrorCode::CoordinatorNotAvailable.code()));
    world.source.partition("a_orders", 0, |p| p.append(&["0"]));
    world.copied("a_orders", 0, 1).await;
    world.source.set(|cluster| cluster.down = true);
    let told = loss(&world, &["a_orders"]).await;
    assert_eq!(
        (told.groups_read, behind(&told)),
        (GroupsRead::NeverSinceStart, Vec::new())
    );
    fail_over(&world, "a_orders").await;
    let ended = world.site.sync_ended.lock().unwrap().clone();
    assert_eq!(
        (ended.len(), &*ended[0].link, ended[0].topics.clone()),
        (1, "from-a", Some(vec!["a_orders".into()]))
    );
}

const PRODUCER: i64 = 77;

fn transactional(base: Offset, epoch: i16, sequence: i32, time_ms: i64) -> Bytes {
    let builder = BatchBuilder::new(time_ms)
        .base_offset(base)
        .leader_epoch(BatchEpoch(0))
        .producer(PRODUCER, epoch, sequence)
        .transactional();
    builder
        .record(time_ms, None, Some(b"t"), &[])
        .build()
        .unwrap()
}

fn marker(base: Offset, epoch: i16, time_ms: i64) -> Bytes {
    BatchView::parse_only(marker_batch(true, PRODUCER, epoch, 1, time_ms))
        .unwrap()
        .place(base, BatchEpoch(0))
        .to_bytes()
}

/// One transaction over three partitions; its end came on one of them.
async fn cut_in_half() -> LinkedSites {
    let world = copied_world(&["a_orders", "a_other"]).await;
    for (topic, partition, base) in [("a_orders", 0, 10), ("a_orders", 1, 0), ("a_other", 0, 10)] {
        world.source.partition(topic, partition, |p| {
            p.append_bytes(transactional(base, 3, 0, 5_000))
        });
        world.copied(topic, partition as i32, base + 1).await;
    }
    world
        .source
        .partition("a_other", 0, |p| p.append_bytes(marker(11, 3, 6_000)));
    world.copied("a_other", 0, 12).await;
    world.source.set(|cluster| cluster.down = true);
    world
}

fn place(topic: &str, partition: i32) -> (String, i32) {
    (topic.to_owned(), partition)
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_ended_on_one_partition_and_not_on_another_is_cut_in_half() {
    let world = cut_in_half().await;
    let told = loss(&world, &[]).await;
    assert_eq!(told.half_copied.len(), 1, "{told:#?}");
    let half = &told.half_copied[0];
    assert_eq!(
        (half.producer_id, &half.ended_on),
        (PRODUCER, &vec![place("a_other", 0)])
    );
    assert_eq!(half.open_on, [place("a_orders", 0), place("a_orders", 1)]);
    let open: Vec<_> = told
        .topics
        .iter()
        .flat_map(|t| &t.partitions)
        .flat_map(|p| &p.open_transactions)
        .collect();
    assert!(
        open.len() == 2
            && open
                .iter()
                .all(|t| (t.producer_epoch, t.last_timestamp_ms) == (3, Some(5_000))),
        "{open:?}"
    );
    // Asked for the topic alone on which it ended: nothing of it would be aborted there.
    assert_eq!(loss(&world, &["a_other"]).await.half_copied, []);
    // It ended there before it was failed over.
    fail_over(&world, "a_other").await;
    assert_eq!(
        loss(&world, &["a_orders"]).await.half_copied,
        told.half_copied
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_transaction_before_and_our_own_aborts_cut_nothing() {
    let world = copied_world(&["a_orders", "a_other"]).await;
    // A whole transaction on both, then another one that is open on both.
    for topic in ["a_orders", "a_other"] {
        world.source.partition(topic, 0, |p| {
            p.append_bytes(transactional(10, 3, 0, 5_000));
            p.append_bytes(marker(11, 3, 6_000));
            p.append_bytes(transactional(12, 3, 1, 7_000));
        });
        world.copied(topic, 0, 13).await;
    }
    world.source.set(|cluster| cluster.down = true);
    assert_eq!(loss(&world, &[]).await.half_copied, []);
    fail_over(&world, "a_orders").await;
    assert!(
        world
            .handle("a_orders", 0)
            .control()
            .last_marker(PRODUCER)
            .unwrap()
            .offset
            >= 13,
        "aborted by ourselves"
    );
    assert_eq!(loss(&world, &["a_other"]).await.half_copied, []);
}

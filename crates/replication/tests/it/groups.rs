//! Group offsets come with the data they stand for, never before it.

use crate::site::LinkedSites;
use gnomon_catalog::{Event, FailOver, Which};
use gnomon_groups::SyncOffsets;
use gnomon_links::plan_offsets::SourceCommit;
use gnomon_protocol::error_code::ErrorCode;
use gnomon_replication::Site;
use std::time::Duration;
use uuid::Uuid;

fn commit(topic: &str, partition: i32, offset: i64) -> SourceCommit {
    SourceCommit {
        topic: topic.into(),
        partition,
        offset,
        leader_epoch: 0,
        metadata: Some("m".into()),
    }
}

fn set_commits(world: &LinkedSites, group: &str, commits: Vec<SourceCommit>) {
    world
        .source
        .set(|cluster| drop(cluster.groups.insert(group.into(), commits)));
}

/// The last position that was handed over for a partition.
fn synced(world: &LinkedSites, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let synced = world.site.synced.lock().unwrap();
    let of_group = synced.iter().rev().filter(|sync| &*sync.group == group);
    of_group
        .flat_map(|sync| &sync.offsets)
        .find(|o| &*o.topic == topic && o.partition == partition)
        .map(|o| o.offset)
}

#[tokio::test(start_paused = true)]
async fn offsets_are_synced_within_an_interval_and_not_again_without_need() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .partition("a_orders", 0, |p| (0..10).for_each(|_| p.append(&["x"])));
    world.copied("a_orders", 0, 10).await;
    set_commits(
        &world,
        "a_reports",
        vec![commit("a_orders", 0, 7), commit("b_else", 0, 3)],
    );
    set_commits(&world, "b_reports", vec![commit("a_orders", 0, 1)]);
    world
        .until("synced", Duration::from_millis(1_500), |w| {
            synced(w, "a_reports", "a_orders", 0) == Some(7)
        })
        .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seen: Vec<SyncOffsets> = world.site.synced.lock().unwrap().clone();
    assert_eq!(
        seen.len(),
        1,
        "only what the filter selects, once: {seen:?}"
    );
    assert_eq!(
        (
            seen[0].offsets.len(),
            seen[0].offsets[0].leader_epoch,
            seen[0].complete,
            seen[0].last
        ),
        (1, 0, true, false)
    );
    // Down as well as up: the source's value wins.
    set_commits(&world, "a_reports", vec![commit("a_orders", 0, 2)]);
    world
        .until("synced back", Duration::from_millis(1_500), |w| {
            synced(w, "a_reports", "a_orders", 0) == Some(2)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn offsets_wait_for_their_data_and_then_for_no_longer_than_ten_seconds() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| p.append(&["x"]));
    world.copied("a_orders", 0, 1).await;
    world.source.partition("a_orders", 0, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code());
        (0..9).for_each(|_| p.append(&["x"]));
    });
    set_commits(&world, "a_reports", vec![commit("a_orders", 0, 10)]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(
        synced(&world, "a_reports", "a_orders", 0),
        None,
        "positions never outrun their data"
    );
    world
        .until("applied, clamped", Duration::from_secs(10), |w| {
            synced(w, "a_reports", "a_orders", 0) == Some(1)
        })
        .await;
    world.source.partition("a_orders", 0, |p| p.error = None);
    world
        .until("applied as it is", Duration::from_secs(30), |w| {
            synced(w, "a_reports", "a_orders", 0) == Some(10)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_source_died_is_applied_without_it() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| p.append(&["x"]));
    world.copied("a_orders", 0, 1).await;
    world.source.partition("a_orders", 0, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code());
        (0..9).for_each(|_| p.append(&["x"]));
    });
    set_commits(&world, "a_reports", vec![commit("a_orders", 0, 10)]);
    // It was read, and waits for data that will not come any more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.source.set(|cluster| cluster.down = true);
    assert_eq!(synced(&world, "a_reports", "a_orders", 0), None);
    world
        .until("applied, clamped", Duration::from_secs(30), |w| {
            synced(w, "a_reports", "a_orders", 0) == Some(1)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_failover_writes_the_last_fetched_offsets() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .partition("a_orders", 0, |p| (0..10).for_each(|_| p.append(&["x"])));
    set_commits(&world, "a_reports", vec![commit("a_orders", 0, 10)]);
    world.copied("a_orders", 0, 10).await;
    world
        .until("synced", Duration::from_secs(3), |w| {
            synced(w, "a_reports", "a_orders", 0) == Some(10)
        })
        .await;
    world.source.set(|cluster| cluster.down = true);
    world
        .site
        .submit(Event::FailOver(FailOver {
            link: "from-a".into(),
            which: Which::All,
        }))
        .await
        .unwrap();
    let last = world.site.synced.lock().unwrap().last().cloned().unwrap();
    assert!(
        last.last && last.offsets.len() == 1 && last.offsets[0].offset == 10,
        "{last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_shown_holds_up_no_other_and_keeps_what_was_read_last() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .partition("a_orders", 0, |p| (0..10).for_each(|_| p.append(&["x"])));
    set_commits(&world, "a_first", vec![commit("a_orders", 0, 5)]);
    set_commits(&world, "a_second", vec![commit("a_orders", 0, 6)]);
    world.copied("a_orders", 0, 10).await;
    world
        .until("synced", Duration::from_secs(3), |w| {
            synced(w, "a_first", "a_orders", 0) == Some(5)
        })
        .await;
    let loading = ErrorCode::CoordinatorLoadInProgress.code();
    world.source.set(|cluster| {
        cluster.group_errors.insert("a_first".into(), loading);
    });
    set_commits(&world, "a_second", vec![commit("a_orders", 0, 8)]);
    world
        .until("the other goes on", Duration::from_secs(3), |w| {
            synced(w, "a_second", "a_orders", 0) == Some(8)
        })
        .await;
    let warnings: Vec<String> = world
        .service
        .statuses()
        .into_iter()
        .flat_map(|link| link.warnings)
        .collect();
    assert!(
        warnings.iter().any(|warning| warning.contains("a_first")),
        "{warnings:?}"
    );

    world.source.set(|cluster| cluster.down = true);
    world
        .site
        .submit(Event::FailOver(FailOver {
            link: "from-a".into(),
            which: Which::All,
        }))
        .await
        .unwrap();
    let synced = world.site.synced.lock().unwrap();
    let last: Vec<_> = synced
        .iter()
        .filter(|sync| sync.last)
        .map(|sync| (&*sync.group, sync.offsets[0].offset))
        .collect();
    assert_eq!(last, [("a_first", 5), ("a_second", 8)]);
}

/// The metadata is looked up for each group: the positions of the second one are not planned with
/// what was true before the first one was written.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_while_groups_are_written_is_not_named_for_the_next_group() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world
        .source
        .partition("a_orders", 0, |p| (0..10).for_each(|_| p.append(&["x"])));
    world.copied("a_orders", 0, 10).await;
    let before = world.topic("a_orders").unwrap().id;
    *world.site.during_sync.lock().unwrap() = vec![
        Event::TopicFaulted {
            topic: before,
            reason: "a test".into(),
            gap: None,
        },
        Event::DeleteTopics { ids: vec![before] },
    ];
    set_commits(&world, "a_first", vec![commit("a_orders", 0, 5)]);
    set_commits(&world, "a_second", vec![commit("a_orders", 0, 6)]);
    // The link finds the source's topic again and creates it again, with another id.
    world
        .until(
            "both groups are on the new topic",
            Duration::from_secs(90),
            |w| {
                let Some(topic) = w.topic("a_orders").filter(|topic| topic.id != before) else {
                    return false;
                };
                let synced = w.site.synced.lock().unwrap();
                ["a_first", "a_second"].iter().all(|group| {
                    synced.iter().any(|sync| {
                        &*sync.group == *group
                            && sync.offsets.iter().any(|o| o.topic_id == topic.id)
                    })
                })
            },
        )
        .await;
    let synced = world.site.synced.lock().unwrap();
    let outdated: Vec<_> = synced
        .iter()
        .filter(|sync| sync.offsets.iter().any(|offset| !offset.is_current))
        .collect();
    assert!(outdated.is_empty(), "{outdated:?}");
    assert_eq!(&*synced[0].group, "a_first");
    assert_eq!(synced[0].offsets[0].topic_id, before);
}

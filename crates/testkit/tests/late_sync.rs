//! A sync of group offsets that was prepared before its topic was deleted and created again: it
//! arrives late, and removes nothing that a client committed here on the new topic.

mod common;

use common::{make_topic, pair, runtime};
use gnomon_client::{
    Client, Topics,
    groups::{CommittedOffset, GroupOffsets},
};
use gnomon_protocol::ids::{LeaderEpoch, TopicId};
use gnomon_testkit::MemDisk;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

const TOPIC: &str = "a_orders";
const GROUP: &str = "a_readers";

async fn commit(client: &Client, offset: i64) {
    let commit = CommittedOffset {
        offset,
        leader_epoch: LeaderEpoch::NONE,
        metadata: None,
    };
    let offsets: GroupOffsets = BTreeMap::from([((TOPIC.to_owned(), 0), commit)]);
    let answer = client
        .commit_offsets(GROUP, &offsets)
        .await
        .expect("an answer");
    assert!(answer.values().all(Option::is_none), "{answer:?}");
}

async fn committed(client: &Client) -> Option<i64> {
    let offsets = client
        .fetch_group_offsets(&[GROUP.to_owned()])
        .await
        .expect("an answer");
    let of_group = offsets[GROUP].as_ref().expect("offsets");
    of_group
        .get(&(TOPIC.to_owned(), 0))
        .map(|commit| commit.offset)
}

/// The topic's id, once there is a topic of that name with another id than this.
async fn topic_other_than(client: &Client, before: Option<TopicId>) -> TopicId {
    loop {
        let metadata = client.metadata(Topics::All, false).await.expect("metadata");
        let id = metadata.topics.get(TOPIC).and_then(|topic| topic.id);
        match id.filter(|id| Some(*id) != before) {
            Some(id) => return id,
            None => sleep(Duration::from_millis(10)).await,
        }
    }
}

#[test]
fn a_late_sync_removes_nothing_that_a_client_committed_here() {
    let _faults = fail::FailScenario::setup();
    let waits = Arc::new(AtomicU64::new(0));
    let counter = waits.clone();
    fail::cfg_callback("sync_of_offsets_waits", move || {
        counter.fetch_add(1, Ordering::Relaxed);
    })
    .expect("a fail point");
    fail::cfg("hold_sync_of_offsets", "return").expect("a fail point");
    let (a, b) = (MemDisk::new(), MemDisk::new());
    let (source, shadow, _file) = pair(&a, &b);
    let (at_a, at_b) = (source.client(), shadow.client());
    runtime().block_on(async {
        make_topic(&at_a, TOPIC).await;
        commit(&at_a, 0).await;
        let first = topic_other_than(&at_b, None).await;
        while waits.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        at_a.delete_topics(&[TOPIC.to_owned()])
            .await
            .expect("deleted");
        // Here as well, as soon as the link knows that the source has it no longer.
        loop {
            let answers = at_b
                .delete_topics(&[TOPIC.to_owned()])
                .await
                .expect("an answer");
            if answers.iter().all(|answer| answer.error.is_none()) {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        make_topic(&at_a, TOPIC).await;
        topic_other_than(&at_b, Some(first)).await;
        commit(&at_b, 7).await;
        fail::remove("hold_sync_of_offsets");
        for _ in 0..50 {
            assert_eq!(committed(&at_b).await, Some(7), "acknowledged here");
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!((source.failure(), shadow.failure()), (None, None));
}

//! A topic's name that is used again at once: what was committed on the first topic does not stand
//! for the second, and what is committed on that one stays, however late the group machines hear
//! that the first is gone.

mod common;

use common::{make_topic, runtime};
use gnomon_client::{
    Client,
    groups::{CommittedOffset, GroupOffsets},
};
use gnomon_protocol::ids::LeaderEpoch;
use gnomon_testkit::{MemDisk, Site};
use std::{collections::BTreeMap, time::Duration};

const TOPIC: &str = "orders";
const GROUP: &str = "readers";

async fn commit(client: &Client, offset: i64) {
    let commit = CommittedOffset {
        offset,
        leader_epoch: LeaderEpoch::NONE,
        metadata: None,
    };
    let offsets: GroupOffsets = BTreeMap::from([((TOPIC.to_owned(), 0), commit)]);
    client
        .commit_offsets(GROUP, &offsets)
        .await
        .expect("committed");
}

/// Where the group stands on the topic.
async fn committed(client: &Client) -> Option<i64> {
    let offsets = client
        .fetch_group_offsets(&[GROUP.to_owned()])
        .await
        .expect("an answer");
    offsets[GROUP]
        .as_ref()
        .expect("offsets")
        .get(&(TOPIC.to_owned(), 0))
        .map(|commit| commit.offset)
}

#[test]
fn offsets_stand_for_the_topic_that_they_were_committed_on() {
    let _faults = fail::FailScenario::setup();
    let late = Duration::from_millis(300);
    fail::cfg(
        "late_news_of_deletions",
        &format!("return({})", late.as_millis()),
    )
    .expect("a fail point");
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        for round in 0..3 {
            make_topic(&client, TOPIC).await;
            assert_eq!(
                committed(&client).await,
                None,
                "round {round}: committed on a topic before"
            );
            commit(&client, 1).await;
            client
                .delete_topics(&[TOPIC.to_owned()])
                .await
                .expect("deleted");
            assert_eq!(
                committed(&client).await,
                None,
                "round {round}: committed on a topic that is gone"
            );
            make_topic(&client, TOPIC).await;
            assert_eq!(
                committed(&client).await,
                None,
                "round {round}: committed on the topic before"
            );
            commit(&client, 0).await;
            tokio::time::sleep(2 * late).await;
            assert_eq!(
                committed(&client).await,
                Some(0),
                "round {round}: acknowledged"
            );
            client
                .delete_topics(&[TOPIC.to_owned()])
                .await
                .expect("deleted");
        }
        make_topic(&client, TOPIC).await;
        commit(&client, 5).await;
    });
    // The news of the last deletion never came: the next start sees what is left, and what is not.
    site.lose_power(1);
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        for _ in 0..20 {
            assert_eq!(
                committed(&client).await,
                Some(5),
                "acknowledged before the power was lost"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

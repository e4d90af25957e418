//! What a deleted topic leaves: nothing. A deletion that is cut short by a crash is finished by the next start, and a topic of the same name begins anew.

use gnomon_client::{
    Client, Topics,
    admin::NewTopic,
    groups::{CommittedOffset, GroupOffsets},
    produce::Acks,
};
use gnomon_protocol::{batch::BatchBuilder, ids::LeaderEpoch};
use gnomon_storage::Disk;
use gnomon_testkit::{MemDisk, Site};
use std::{collections::BTreeMap, path::Path, time::Duration};

const TOPIC: &str = "orders";
const GROUP: &str = "readers";

async fn make(client: &Client) {
    let topic = NewTopic { name: TOPIC.into(), partitions: 1, replication_factor: -1, configs: BTreeMap::new() };
    client.create_topics(&[topic], false).await.expect("created");
}

async fn make_and_use(client: &Client) {
    make(client).await;
    let batch = BatchBuilder::new(0).record(0, None, Some(b"value"), &[]).build().expect("a batch");
    client.produce(&(TOPIC.to_owned(), 0), batch, Acks::All).await.expect("written");
    commit(client, 1).await;
}

async fn commit(client: &Client, offset: i64) {
    let commit = CommittedOffset { offset, leader_epoch: LeaderEpoch::NONE, metadata: None };
    let offsets: GroupOffsets = BTreeMap::from([((TOPIC.to_owned(), 0), commit)]);
    client.commit_offsets(GROUP, &offsets).await.expect("committed");
}

/// Where the group stands on the topic.
async fn committed(client: &Client) -> Option<i64> {
    let offsets = client.fetch_group_offsets(&[GROUP.to_owned()]).await.expect("an answer");
    offsets[GROUP].as_ref().expect("offsets").get(&(TOPIC.to_owned(), 0)).map(|commit| commit.offset)
}

fn folders(disk: &MemDisk) -> usize {
    disk.list(Path::new("/data/partitions")).expect("a folder").len()
}

#[test]
fn a_deletion_cut_short_is_finished_by_the_next_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in 0..10 {
        let disk = MemDisk::new();
        let site = Site::start(&disk).expect("a site");
        let client = site.client();
        runtime.block_on(make_and_use(&client));
        let used = folders(&disk);
        runtime.block_on(client.delete_topics(&[TOPIC.to_owned()])).expect("deleted");
        site.lose_power(seed);

        let site = Site::start(&disk).expect("a site");
        let client = site.client();
        runtime.block_on(async {
            let metadata = client.metadata(Topics::All, false).await.expect("metadata");
            assert!(!metadata.topics.contains_key(TOPIC), "seed {seed}: deleted is deleted");
            let mut waited = Duration::ZERO;
            loop {
                let forgotten = committed(&client).await.is_none();
                if forgotten && folders(&disk) < used {
                    break;
                }
                assert!(waited < Duration::from_secs(10), "seed {seed}: {} folders, forgotten: {forgotten}", folders(&disk));
                tokio::time::sleep(Duration::from_millis(20)).await;
                waited += Duration::from_millis(20);
            }
        });
    }
}

/// The name is used again at once, long before everything of the first topic is gone.
#[test]
fn what_is_committed_on_a_topic_of_the_same_name_stays_and_nothing_else_stands() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime.block_on(async {
        for round in 0..40 {
            make_and_use(&client).await;
            client.delete_topics(&[TOPIC.to_owned()]).await.expect("deleted");
            make(&client).await;
            assert_eq!(committed(&client).await, None, "round {round}: committed on the topic before");
            commit(&client, 0).await;
            for _ in 0..10 {
                assert_eq!(committed(&client).await, Some(0), "round {round}: acknowledged");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            client.delete_topics(&[TOPIC.to_owned()]).await.expect("deleted");
        }
    });
}

/// Without its metadata a directory is not a new site's: its files would be removed as those of deleted topics.
#[test]
fn a_site_without_its_metadata_does_not_start_and_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    runtime.block_on(make_and_use(&site.client()));
    site.stop();
    let metadata = Path::new("/data/partitions/00000000000000000000000000000001-0");
    disk.remove_dir_all(metadata).expect("the metadata's folder");
    let used = folders(&disk);
    let refused = Site::start(&disk).err().expect("no start").to_string();
    assert!(refused.contains("__cluster_metadata is empty or missing") && refused.contains(&format!("{used} partitions")), "{refused}");
    assert_eq!(folders(&disk), used, "nothing is removed");
}

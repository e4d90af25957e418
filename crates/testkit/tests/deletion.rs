//! A deletion that is cut short by a crash is finished by the next start: no files and no committed
//! offsets of a topic that is gone.

use gnomon_client::{
    Client, Topics,
    admin::NewTopic,
    groups::{CommittedOffset, GroupOffsets},
    produce::Acks,
};
use gnomon_protocol::{batch::BatchBuilder, ids::LeaderEpoch};
use gnomon_storage::Disk;
use gnomon_testkit::{MemDisk, Site};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

const TOPIC: &str = "orders";
const GROUP: &str = "readers";

async fn make_and_use(client: &Client) {
    let topic = NewTopic {
        name: TOPIC.into(),
        partitions: 1,
        replication_factor: -1,
        configs: BTreeMap::new(),
    };
    client
        .create_topics(&[topic], false)
        .await
        .expect("created");
    let batch = BatchBuilder::new(0)
        .record(0, None, Some(b"value"), &[])
        .build()
        .expect("a batch");
    client
        .produce(&(TOPIC.to_owned(), 0), batch, Acks::All)
        .await
        .expect("written");
    let commit = CommittedOffset {
        offset: 1,
        leader_epoch: LeaderEpoch::NONE,
        metadata: None,
    };
    let offsets: GroupOffsets = BTreeMap::from([((TOPIC.to_owned(), 0), commit)]);
    client
        .commit_offsets(GROUP, &offsets)
        .await
        .expect("committed");
}

/// Partitions that have files, or a mark that says that they had some.
fn folders(disk: &MemDisk) -> usize {
    let names = disk.list(Path::new("/data/partitions")).expect("a folder");
    let folders: BTreeSet<&str> = names
        .iter()
        .map(|name| name.trim_end_matches(".written"))
        .collect();
    folders.len()
}

#[test]
fn a_deletion_cut_short_is_finished_by_the_next_start() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for seed in 0..10 {
        let disk = MemDisk::new();
        let site = Site::start(&disk).expect("a site");
        let client = site.client();
        runtime.block_on(make_and_use(&client));
        let used = folders(&disk);
        runtime
            .block_on(client.delete_topics(&[TOPIC.to_owned()]))
            .expect("deleted");
        site.lose_power(seed);

        let site = Site::start(&disk).expect("a site");
        let client = site.client();
        runtime.block_on(async {
            let metadata = client.metadata(Topics::All, false).await.expect("metadata");
            assert!(
                !metadata.topics.contains_key(TOPIC),
                "seed {seed}: deleted is deleted"
            );
            let mut waited = Duration::ZERO;
            loop {
                let offsets = client
                    .fetch_group_offsets(&[GROUP.to_owned()])
                    .await
                    .expect("an answer");
                let forgotten = offsets[GROUP].as_ref().expect("offsets").is_empty();
                if forgotten && folders(&disk) < used {
                    break;
                }
                assert!(
                    waited < Duration::from_secs(10),
                    "seed {seed}: {} folders, forgotten: {forgotten}",
                    folders(&disk)
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
                waited += Duration::from_millis(20);
            }
        });
    }
}

/// Without its metadata a directory is not a new site's: its files would be removed as those of
/// deleted topics.
#[test]
fn a_site_without_its_metadata_does_not_start_and_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    runtime.block_on(make_and_use(&site.client()));
    site.stop();
    let metadata = Path::new("/data/partitions/00000000000000000000000000000001-0");
    disk.remove_dir_all(metadata)
        .expect("the metadata's folder");
    let refused = Site::start(&disk).err().expect("no start").to_string();
    assert!(
        refused.contains("cannot open __cluster_metadata")
            && refused.contains(&metadata.display().to_string()),
        "{refused}"
    );
    // As a version left it that made no marks.
    disk.remove_file(&metadata.with_extension("written"))
        .expect("its mark");
    let used = folders(&disk);
    let refused = Site::start(&disk).err().expect("no start").to_string();
    assert!(
        refused.contains("__cluster_metadata is empty or missing")
            && refused.contains(&format!("{used} partitions")),
        "{refused}"
    );
    assert_eq!(folders(&disk), used, "nothing is removed");
}

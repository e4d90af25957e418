//! Files that somebody removes from a site's data directory: the site says so and keeps its hands
//! off, until the files are back or the loss is accepted.

mod common;

use common::{make_topic, runtime};
use gnomon_broker::RawConfig;
use gnomon_client::{Client, ClientError, produce::Acks};
use gnomon_protocol::{batch::BatchBuilder, error_code::ErrorCode, ids::Offset};
use gnomon_storage::Disk;
use gnomon_testkit::{MemDisk, Site};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
};

const PARTITIONS: &str = "/data/partitions";

async fn produce(client: &Client, topic: &str) -> Result<Offset, ClientError> {
    let batch = BatchBuilder::new(0)
        .record(0, None, Some(b"value"), &[])
        .build()
        .expect("a batch");
    client
        .produce(&(topic.to_owned(), 0), batch, Acks::All)
        .await
        .map(|produced| produced.base_offset)
}

fn lost_by_metrics(site: &Site) -> String {
    let mut stream = TcpStream::connect(site.admin()).expect("connected");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("asked");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("answered");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("gnomon_partitions_lost "));
    line.expect("the metric").to_owned()
}

/// Folders of partitions that came with the last step.
fn new_folders(disk: &MemDisk, before: &[String]) -> Vec<PathBuf> {
    let names = disk.list(Path::new(PARTITIONS)).expect("listed");
    names
        .iter()
        .filter(|name| !before.contains(name) && !name.ends_with(".written"))
        .map(|name| Path::new(PARTITIONS).join(name))
        .collect()
}

#[test]
fn a_source_whose_partition_lost_its_folder_does_not_begin_again_at_0_unasked() {
    let runtime = runtime();
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    let before = runtime.block_on(async {
        for topic in ["kept", "orders"] {
            make_topic(&client, topic).await;
        }
        produce(&client, "kept").await.expect("written");
        disk.list(Path::new(PARTITIONS)).expect("listed")
    });
    for offset in 0..3 {
        let written = runtime.block_on(produce(&client, "orders"));
        assert_eq!(written.expect("written"), offset);
    }
    assert_eq!(lost_by_metrics(&site), "0");
    site.stop();
    let [folder] = &new_folders(&disk, &before)[..] else {
        panic!("one partition was written");
    };
    disk.remove_dir_all(folder).expect("removed");

    for _ in 0..2 {
        let site = Site::start(&disk).expect("the site comes up");
        assert_eq!(lost_by_metrics(&site), "1");
        let client = site.client();
        let refused = runtime.block_on(produce(&client, "orders"));
        let refused = refused.expect_err("it is not written to").to_string();
        let storage_error = format!("{:?}", ErrorCode::KafkaStorageError);
        assert!(
            refused.contains("KAFKA_STORAGE_ERROR") || refused.contains(&storage_error),
            "{refused}"
        );
        runtime
            .block_on(produce(&client, "kept"))
            .expect("others are written");
        assert!(!disk.exists(folder).expect("looked"), "nothing is made");
        site.stop();
    }

    let accepting = RawConfig {
        accept_loss: true,
        ..RawConfig::default()
    };
    for settings in [accepting, RawConfig::default()] {
        let site = Site::start_with(&disk, settings).expect("a site");
        assert_eq!(lost_by_metrics(&site), "0");
        runtime
            .block_on(produce(&site.client(), "orders"))
            .expect("it is written to again");
        site.stop();
    }
}

#[test]
fn a_data_directory_without_its_partitions_is_not_taken_for_a_new_one() {
    let disk = MemDisk::new();
    Site::start(&disk).expect("a site").stop();
    disk.remove_dir_all(Path::new(PARTITIONS)).expect("removed");
    let refused = Site::start(&disk).err().expect("no start").to_string();
    assert!(refused.contains("/data/partitions is gone"), "{refused}");
    assert!(!disk.exists(Path::new(PARTITIONS)).expect("looked"));
}

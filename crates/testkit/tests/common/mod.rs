//! The work of clients in tests of a whole site: make topics, write batches, read everything back.
#![allow(dead_code, reason = "each test binary uses its part")]

use bytes::Bytes;
use gnomon_broker::RawConfig;
use gnomon_client::{
    Client, Topics,
    admin::NewTopic,
    fetcher::{FetchOptions, FetchPosition, FetchTarget, Fetcher},
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, records},
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use gnomon_testkit::{MemDisk, Site};
use std::{collections::BTreeMap, io::Write, time::Duration};
use tokio::runtime::Runtime;

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Its records carry the time of 2023: retention must not take them while they are counted.
pub fn new_topic(name: &str, partitions: i32) -> NewTopic {
    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    NewTopic {
        name: name.into(),
        partitions,
        replication_factor: -1,
        configs,
    }
}

pub async fn make_topic(client: &Client, name: &str) {
    make(client, new_topic(name, 1)).await;
}

pub async fn make_topic_with(client: &Client, name: &str, configs: &[(&str, &str)]) {
    let configs = configs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    make(
        client,
        NewTopic {
            configs,
            ..new_topic(name, 1)
        },
    )
    .await;
}

async fn make(client: &Client, topic: NewTopic) {
    let outcome = client
        .create_topics(&[topic], false)
        .await
        .expect("an answer");
    assert_eq!(outcome[0].error, None);
}

pub async fn epoch(client: &Client, topic: &str) -> i32 {
    let metadata = client
        .metadata(Topics::Names(vec![topic.into()]), false)
        .await
        .expect("metadata");
    metadata.topics[topic].partitions[&0].leader_epoch.0
}

pub fn batch(values: &[String], producer: Option<(i64, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(1_700_000_000_000);
    if let Some((id, sequence)) = producer {
        builder = builder.producer(id, 0, sequence);
    }
    for value in values {
        builder.push(1_700_000_000_000, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("a batch")
}

/// Everything in a topic's first partition: offset, epoch of its batch, value. Looks again where
/// consumers do.
pub async fn read(client: &Client, name: &str) -> Vec<(Offset, i32, String)> {
    let metadata = client
        .metadata(Topics::Names(vec![name.into()]), false)
        .await
        .expect("metadata");
    let topic = &metadata.topics[name];
    let mut fetcher = Fetcher::new(
        client
            .dedicated(topic.partitions[&0].leader.expect("a leader"))
            .await
            .expect("a connection"),
        FetchOptions::default(),
    );
    let target = FetchTarget {
        topic: name.into(),
        topic_id: topic.id.expect("an id"),
        partition: 0,
    };
    let (mut next, mut found) = (0, Vec::new());
    loop {
        let position = FetchPosition {
            offset: next,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: BatchEpoch::NONE,
        };
        fetcher
            .send(&BTreeMap::from([(target.clone(), position)]))
            .await
            .expect("sent");
        let Some(fetched) = fetcher.receive().await.expect("an answer").pop() else {
            return found;
        };
        if fetched.error == Some(ErrorCode::KafkaStorageError.code()) {
            // A partition that is being opened again, its tail perhaps cut under our feet:
            // consumers look again.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        assert_eq!(fetched.error, None, "fetch at {next}");
        let mut bytes = fetched.records;
        while let Some(batch) = BatchView::parse_first(&mut bytes).expect("a batch") {
            for record in records(&batch, 1 << 20).expect("records") {
                let record = record.expect("a record");
                let value =
                    String::from_utf8(record.value.expect("a value").to_vec()).expect("text");
                found.push((record.offset, batch.header().leader_epoch.0, value));
            }
            next = batch.header().next_offset();
        }
        if next >= fetched.high_watermark {
            return found;
        }
    }
}

/// Site b with a link from site a that looks for topics and offsets often. The file of the link is
/// there as long as the third value.
pub fn pair(a: &MemDisk, b: &MemDisk) -> (Site, Site, tempfile::NamedTempFile) {
    let settings = |name: &str, tag| RawConfig {
        site_name: Some(name.to_owned()),
        owns: vec![format!("{name}_")],
        producer_tag: Some(tag),
        ..RawConfig::default()
    };
    let source = Site::start_with(a, settings("a", 1)).expect("site a");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let link = format!(
        "name: from-a
client_options:
  bootstrap_servers: [\"{}\"]
topic_metadata_sync_options:
  interval: 100ms
  auto_create_shadow_topic_filters:
    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: a_ }}
consumer_offset_sync_options:
  interval: 100ms
  group_filters:
    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: a_ }}
",
        source.kafka()
    );
    file.write_all(link.as_bytes()).expect("written");
    let with_link = RawConfig {
        link: vec![file.path().to_owned()],
        ..settings("b", 2)
    };
    let shadow = Site::start_with(b, with_link).expect("site b");
    (source, shadow, file)
}

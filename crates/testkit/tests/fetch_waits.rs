//! A fetch waits for `min_bytes` only where waiting can bring more: not at the end of a segment,
//! nor for more than its answer may hold.

use bytes::Bytes;
use gnomon_client::{
    Client,
    admin::NewTopic,
    fetcher::{FetchOptions, FetchPosition, FetchTarget, Fetcher},
    produce::Acks,
};
use gnomon_protocol::{
    batch::BatchBuilder,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use gnomon_testkit::{MemDisk, Site};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

const TOPIC: &str = "orders";
/// Far beyond what this test waits for itself.
const LONG: Duration = Duration::from_secs(250);

async fn fetch(client: &Client, offset: Offset, options: FetchOptions) -> Bytes {
    let metadata = client
        .metadata(gnomon_client::Topics::Names(vec![TOPIC.into()]), false)
        .await
        .expect("metadata");
    let topic = &metadata.topics[TOPIC];
    let target = FetchTarget {
        topic: TOPIC.into(),
        topic_id: topic.id.expect("an id"),
        partition: 0,
    };
    let mut fetcher = Fetcher::new(
        client
            .dedicated(topic.partitions[&0].leader.expect("a leader"))
            .await
            .expect("connected"),
        options,
    );
    let position = FetchPosition {
        offset,
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: BatchEpoch::NONE,
    };
    fetcher
        .send(&BTreeMap::from([(target, position)]))
        .await
        .expect("sent");
    let answer = timeout(Duration::from_secs(30), fetcher.receive())
        .await
        .expect("an answer long before its wait is over");
    answer
        .expect("an answer")
        .pop()
        .expect("the partition")
        .records
}

#[test]
fn waiting_that_cannot_help_is_not_done() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let site = Site::start(&MemDisk::new()).expect("a site");
    let client = site.client();
    runtime.block_on(async {
        let configs = BTreeMap::from([("segment.bytes", "1048576"), ("retention.ms", "-1")]);
        let configs = configs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let topic = NewTopic {
            name: TOPIC.into(),
            partitions: 1,
            replication_factor: -1,
            configs,
        };
        client
            .create_topics(&[topic], false)
            .await
            .expect("created");
        let value = vec![b'x'; 700_000];
        for _ in 0..2 {
            let batch = BatchBuilder::new(0)
                .record(0, None, Some(&value), &[])
                .build()
                .expect("a batch");
            client
                .produce(&(TOPIC.to_owned(), 0), batch, Acks::All)
                .await
                .expect("written");
        }
        let patient = FetchOptions {
            max_wait: LONG,
            min_bytes: 10_000_000,
            partition_max_bytes: 20_000_000,
            ..FetchOptions::default()
        };
        let first = fetch(&client, 0, patient).await.len();
        assert!(
            (700_000..1_400_000).contains(&first),
            "the first segment, {first} bytes, and nothing of the second"
        );
        let small = fetch(
            &client,
            1,
            FetchOptions {
                max_bytes: 500_000,
                ..patient
            },
        )
        .await
        .len();
        assert!(
            small >= 700_000,
            "the only batch, though larger than the limit"
        );
    });
}

//! A link on a real broker as its source, if there is one: `GNOMON_TEST_KAFKA=HOST:PORT cargo test
//! -p gnomon-replication --test it live`. Skipped with a sentence otherwise.
#![expect(
    clippy::disallowed_methods,
    reason = "real brokers answer in real time"
)]

use crate::site::LinkedSites;
use gnomon_client::{Client, Config, Tcp, admin::NewTopic, groups::CommittedOffset, produce::Acks};
use gnomon_links::TopicState;
use gnomon_protocol::{
    batch::{BatchBuilder, Codec},
    ids::LeaderEpoch,
};
use gnomon_replication::source::kafka::KafkaConnect;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Writes, and waits for a leader first where a topic has just been made.
async fn produce(
    client: &Client,
    topic: &str,
    partition: i32,
    batch: bytes::Bytes,
    acks: Acks,
) -> i64 {
    for _ in 0..100 {
        match client
            .produce(&(topic.to_owned(), partition), batch.clone(), acks)
            .await
        {
            Ok(produced) => return produced.base_offset,
            Err(error) => eprintln!("again: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing can be written to {topic}-{partition}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_cluster_is_copied_with_its_groups() {
    let Ok(address) = std::env::var("GNOMON_TEST_KAFKA") else {
        eprintln!(
            "SKIPPED: set GNOMON_TEST_KAFKA=HOST:PORT to a broker whose topics may be made and deleted"
        );
        return;
    };
    let client = Client::new(Config::to([address.clone()]), Arc::new(Tcp));
    let topic = format!("a_live_{}", std::process::id());
    let configs = BTreeMap::from([
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        ("max.message.bytes".to_owned(), "2000000".to_owned()),
    ]);
    let new = NewTopic {
        name: topic.clone(),
        partitions: 3,
        replication_factor: 1,
        configs,
    };
    assert_eq!(
        client.create_topics(&[new], false).await.unwrap()[0].error,
        None
    );
    let batch = |n: i64, codec| {
        let builder =
            BatchBuilder::new(n)
                .codec(codec)
                .record(n, Some(b"k"), Some(&[b'v'; 900]), &[]);
        builder
            .record(n + 1, Some(b"gone"), None, &[])
            .build()
            .unwrap()
    };
    for n in 0..30 {
        produce(
            &client,
            &topic,
            (n % 3) as i32,
            batch(n, Codec::ALL[n as usize % 5]),
            Acks::All,
        )
        .await;
    }
    let world = LinkedSites::start_on(&address, Arc::new(KafkaConnect::tcp("b"))).await;
    for index in 0..3 {
        world.copied(&topic, index, 20).await;
    }
    let shadow = world.topic(&topic).unwrap();
    assert_eq!(
        shadow.configs.get("max.message.bytes").map(String::as_str),
        Some("2000000")
    );
    assert!(
        shadow
            .configs
            .get("cleanup.policy")
            .is_some_and(|policy| policy == "compact")
    );

    let mut lags = Vec::new();
    for n in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let base_offset = produce(&client, &topic, 0, batch(n, Codec::None), Acks::Leader).await;
        let began = Instant::now();
        while world.high_watermark(&topic, 0) < base_offset + 2 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        lags.push(began.elapsed());
    }
    lags.sort();
    eprintln!("lag p50 {:?} max {:?}", lags[25], lags[49]);

    let group = format!("a_group_{topic}");
    let commit = CommittedOffset {
        offset: 5,
        leader_epoch: LeaderEpoch::NONE,
        metadata: None,
    };
    let offsets = BTreeMap::from([((topic.clone(), 1), commit)]);
    for _ in 0..50 {
        if client
            .commit_offsets(&group, &offsets)
            .await
            .is_ok_and(|c| c.values().all(Option::is_none))
        {
            break;
        }
        client.forget_coordinators();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let synced = |w: &LinkedSites| {
        w.site
            .synced
            .lock()
            .unwrap()
            .iter()
            .any(|s| *s.group == *group && s.offsets.iter().any(|o| o.offset == 5))
    };
    world
        .until("the group's offsets", Duration::from_secs(5), synced)
        .await;

    let status = world.service.status(world.link).unwrap();
    assert_eq!(status.topic(&topic).unwrap().state, TopicState::Active);
    assert!(status.source.cluster_id.is_some());
    client
        .delete_topics(std::slice::from_ref(&topic))
        .await
        .unwrap();
    let missing = |w: &LinkedSites| {
        w.topic(&topic)
            .unwrap()
            .shadow
            .as_ref()
            .unwrap()
            .source_missing
    };
    world
        .until("source missing", Duration::from_secs(5), missing)
        .await;
    world.service.shutdown().await;
}

//! The whole client against a real broker, if there is one: `GNOMON_TEST_KAFKA=HOST:PORT cargo test
//! -p gnomon-client --test live`. Proven against Apache Kafka 4; skipped with a sentence otherwise.
#![allow(
    clippy::disallowed_methods,
    reason = "real brokers answer in real time"
)]
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

use gnomon_client::{
    Client, Config, Tcp, Topics,
    admin::{ConfigSource, NewTopic},
    fetcher::{FetchOptions, FetchPosition, FetchTarget, Fetcher, Isolation},
    groups::{CommittedOffset, GroupOffsets},
    offsets::{EARLIEST, LATEST},
    produce::Acks,
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, Codec},
    ids::{BatchEpoch, LeaderEpoch, Uuid},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

fn batch(values: &[&str]) -> bytes::Bytes {
    let start = BatchBuilder::new(1_700_000_000_000).codec(Codec::Gzip);
    values
        .iter()
        .fold(start, |b, v| {
            b.record(1_700_000_000_000, Some(b"k"), Some(v.as_bytes()), &[])
        })
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_a_link_and_the_tools_ask() {
    let Ok(address) = std::env::var("GNOMON_TEST_KAFKA") else {
        eprintln!(
            "SKIPPED: set GNOMON_TEST_KAFKA=HOST:PORT to a broker whose topics may be made and deleted"
        );
        return;
    };
    let client = Client::new(Config::to([address]), Arc::new(Tcp));
    let topic = format!("live_{}", std::process::id());

    let cluster = client.describe_cluster().await.unwrap();
    assert!(!cluster.cluster_id.is_empty() && !cluster.brokers.is_empty());
    let configs = BTreeMap::from([("max.message.bytes".to_owned(), "100000".to_owned())]);
    let new = NewTopic {
        name: topic.clone(),
        partitions: 2,
        replication_factor: 1,
        configs,
    };
    assert_eq!(
        client
            .create_topics(std::slice::from_ref(&new), false)
            .await
            .unwrap()[0]
            .error,
        None
    );
    assert!(
        client.create_topics(&[new], false).await.unwrap()[0]
            .error
            .as_ref()
            .is_some_and(|(code, _)| *code == 36)
    );

    let described = client
        .describe_topic_configs(
            std::slice::from_ref(&topic),
            Some(&["max.message.bytes", "gnomon.shadow.origin"]),
        )
        .await
        .unwrap();
    let entries = described[&topic].as_ref().unwrap();
    assert_eq!(
        entries["max.message.bytes"].value.as_deref(),
        Some("100000")
    );
    assert_eq!(entries["max.message.bytes"].source, ConfigSource::Topic);
    let node = *cluster.brokers.keys().next().unwrap();
    assert!(
        client
            .describe_broker_configs(node, Some(&["gnomon.site", "gnomon.links"]))
            .await
            .is_ok()
    );

    for (partition, values) in [(0, &["a", "b"][..]), (1, &["c"]), (0, &["d"])] {
        let name = (topic.clone(), partition);
        let mut produced = client.produce(&name, batch(values), Acks::All).await;
        for _ in 0..100 {
            if produced.is_ok() {
                break;
            }
            // A topic that has just been made may have no leader yet.
            tokio::time::sleep(Duration::from_millis(50)).await;
            produced = client.produce(&name, batch(values), Acks::All).await;
        }
        produced.unwrap();
    }
    let noise: String = (0..400_000u64)
        .map(|n| {
            char::from(
                33 + (n.wrapping_mul(2_654_435_761).wrapping_add(n * n * 31) >> 13) as u8 % 90,
            )
        })
        .collect();
    let refused = client
        .produce(&(topic.clone(), 0), batch(&[&noise]), Acks::Leader)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(10), "{refused}");

    let both: Vec<_> = (0..2).map(|p| (topic.clone(), p)).collect();
    let ask = |timestamp: i64| {
        both.iter()
            .map(|name| (name.clone(), timestamp))
            .collect::<BTreeMap<_, _>>()
    };
    let ends = client
        .list_offsets(&ask(LATEST), Isolation::ReadUncommitted)
        .await;
    assert!(ends[&both[0]].as_ref().unwrap().offset >= 3);
    assert_eq!(ends[&both[1]].as_ref().unwrap().offset, 1);
    assert_eq!(
        client
            .list_offsets(&ask(EARLIEST), Isolation::ReadUncommitted)
            .await[&both[0]]
            .as_ref()
            .unwrap()
            .offset,
        0
    );
    let unknown = BTreeMap::from([(("no_such_topic".to_owned(), 0), LATEST)]);
    assert!(
        client
            .list_offsets(&unknown, Isolation::ReadUncommitted)
            .await
            .values()
            .all(|r| r.as_ref().unwrap_err().code() == Some(3))
    );
    let epochs = both
        .iter()
        .map(|name| (name.clone(), BatchEpoch(0)))
        .collect();
    assert_eq!(
        client.epoch_ends(&epochs).await[&both[1]]
            .as_ref()
            .unwrap()
            .end,
        1
    );

    let metadata = client.metadata(Topics::All, false).await.unwrap();
    let listed = &metadata.topics[&topic];
    let (leader, epoch) = (
        listed.partitions[&0].leader.unwrap(),
        listed.partitions[&0].leader_epoch,
    );
    let options = FetchOptions {
        max_wait: Duration::from_millis(300),
        ..FetchOptions::default()
    };
    let at = |offset, last| FetchPosition {
        offset,
        current_leader_epoch: epoch,
        last_fetched_epoch: BatchEpoch(last),
    };
    // By topic id, and by name, as with peers that have no ids.
    for id in [listed.id.unwrap(), Uuid::nil()] {
        let target = |p| FetchTarget {
            topic: topic.as_str().into(),
            topic_id: id,
            partition: p,
        };
        let mut fetcher = Fetcher::new(client.dedicated(leader).await.unwrap(), options);
        let mut wanted = BTreeMap::from([(target(0), at(0, -1)), (target(1), at(0, -1))]);
        // Read both to their ends: from then on the session is silent.
        loop {
            fetcher.send(&wanted).await.unwrap();
            let answer = fetcher.receive().await.unwrap();
            if answer.is_empty() {
                break;
            }
            for fetched in answer {
                assert_eq!((fetched.error, fetched.diverging), (None, None));
                let mut records = fetched.records.clone();
                while let Some(view) = BatchView::parse_first(&mut records).unwrap() {
                    wanted.insert(
                        fetched.target.clone(),
                        at(view.header().next_offset(), view.header().leader_epoch.0),
                    );
                }
            }
        }
        assert!(
            wanted[&target(0)].offset >= 3 && wanted[&target(1)].offset >= 1,
            "{wanted:?}"
        );
        fetcher.send(&wanted).await.unwrap();
        let begun = Instant::now();
        client
            .produce(&(topic.clone(), 1), batch(&["late"]), Acks::All)
            .await
            .unwrap();
        let news = fetcher.receive().await.unwrap();
        assert!(
            news.len() == 1 && news[0].target.partition == 1 && !news[0].records.is_empty(),
            "{news:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_millis(250),
            "woken by the append, not by the end of the wait"
        );
        wanted.insert(target(1), at(1_000_000, -1));
        fetcher.send(&wanted).await.unwrap();
        assert_eq!(
            fetcher.receive().await.unwrap()[0].error,
            Some(1),
            "beyond the end"
        );
    }

    let group = format!("group_{topic}");
    let commit = CommittedOffset {
        offset: 2,
        leader_epoch: LeaderEpoch(0),
        metadata: Some("m".into()),
    };
    let offsets = GroupOffsets::from([((topic.clone(), 0), commit)]);
    let mut committed = client.commit_offsets(&group, &offsets).await;
    for _ in 0..50 {
        if committed
            .as_ref()
            .is_ok_and(|c| c.values().all(Option::is_none))
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.forget_coordinators();
        committed = client.commit_offsets(&group, &offsets).await;
    }
    assert!(committed.unwrap().values().all(Option::is_none));
    assert!(client.list_groups().await.unwrap().contains_key(&group));
    let fetched = client
        .fetch_group_offsets(&[group.clone(), "nobody".into()])
        .await
        .unwrap();
    assert_eq!(fetched[&group].as_ref().unwrap(), &offsets);
    assert!(
        fetched["nobody"]
            .as_ref()
            .is_ok_and(|offsets| offsets.is_empty())
    );
    assert_eq!(client.describe_group(&group).await.unwrap().members, vec![]);
    // A fresh Kafka needs a moment for its first block of ids.
    let mut producer = client.init_producer_id().await;
    for _ in 0..50 {
        if producer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        producer = client.init_producer_id().await;
    }
    assert!(producer.unwrap().0 >= 0);
    assert_eq!(
        client
            .delete_topics(std::slice::from_ref(&topic))
            .await
            .unwrap()[0]
            .error,
        None
    );
}

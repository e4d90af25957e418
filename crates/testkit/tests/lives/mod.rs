//! The life of a site as its clients know it: what they write, read, commit and make, and what must
//! be there afterwards.
#![allow(dead_code, reason = "each test program uses its part")]

use crate::common::{batch, epoch, make_topic, read};
use gnomon_client::{
    Client, Topics,
    groups::{CommittedOffset, GroupOffsets},
    produce::Acks,
};
use gnomon_protocol::ids::{LeaderEpoch, Offset};
use gnomon_testkit::{Acked, History, Violation};
use rand::{RngExt, rngs::StdRng};
use std::collections::BTreeMap;

pub const TOPIC: &str = "orders";
pub const GROUP: &str = "readers";

/// The answers that clients got over all rounds.
#[derive(Default)]
pub struct Observed {
    pub history: History,
    committed: Option<Offset>,
    topics: Vec<String>,
    /// Producer id, next sequence, the last acknowledged batch and its offset.
    producer: Option<(i64, i32, bytes::Bytes, Offset)>,
    written: u64,
}

/// One life of the site: everything that clients are told goes into `told`.
pub async fn live(client: &Client, told: &mut Observed, random: &mut StdRng) {
    let epoch = epoch(client, TOPIC).await;
    for _ in 0..random.random_range(3..12) {
        match random.random_range(0..7) {
            0..=2 => write(client, told, random, epoch).await,
            3 => write_idempotent(client, told, epoch).await,
            4 => {
                for (offset, _, value) in read(client, TOPIC).await {
                    told.history.saw(offset, &value);
                }
            }
            5 => {
                let offset = random.random_range(0..1_000);
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
                told.committed = Some(offset);
            }
            _ => {
                let name = format!("topic-{}", told.topics.len());
                make_topic(client, &name).await;
                told.topics.push(name);
            }
        }
    }
}

async fn write(client: &Client, told: &mut Observed, random: &mut StdRng, epoch: i32) {
    let values: Vec<String> = (0..random.random_range(1..4))
        .map(|index| format!("{}-{index}", told.written))
        .collect();
    told.written += 1;
    let durable = random.random_bool(0.5);
    let acks = if durable { Acks::All } else { Acks::Leader };
    let produced = client
        .produce(&(TOPIC.to_owned(), 0), batch(&values, None), acks)
        .await
        .expect("written");
    for (value, offset) in values.into_iter().zip(produced.base_offset..) {
        told.history.acked(Acked {
            offset,
            epoch,
            value,
            durable,
        });
    }
}

async fn write_idempotent(client: &Client, told: &mut Observed, epoch: i32) {
    let (id, sequence) = match &told.producer {
        Some((id, sequence, ..)) => (*id, *sequence),
        None => (client.init_producer_id().await.expect("a producer id").0, 0),
    };
    let value = format!("idempotent-{}", told.written);
    told.written += 1;
    let bytes = batch(std::slice::from_ref(&value), Some((id, sequence)));
    let offset = client
        .produce(&(TOPIC.to_owned(), 0), bytes.clone(), Acks::All)
        .await
        .expect("written")
        .base_offset;
    told.history.acked(Acked {
        offset,
        epoch,
        value,
        durable: true,
    });
    told.producer = Some((id, sequence + 1, bytes, offset));
}

/// After a restart: everything promised is there.
pub async fn check(client: &Client, told: &Observed) -> Vec<String> {
    let metadata = client.metadata(Topics::All, false).await.expect("metadata");
    let mut wrong: Vec<String> = told
        .topics
        .iter()
        .filter(|name| !metadata.topics.contains_key(*name))
        .map(|name| format!("topic {name} is gone"))
        .collect();
    if !metadata.topics.contains_key(TOPIC) {
        wrong.push(format!("topic {TOPIC} is gone"));
        return wrong;
    }
    wrong.extend(
        told.history
            .check(&read(client, TOPIC).await)
            .iter()
            .map(|violation: &Violation| format!("{violation:?}")),
    );
    if let Some(promised) = told.committed {
        let fetched = client
            .fetch_group_offsets(&[GROUP.to_owned()])
            .await
            .expect("an answer");
        let found = fetched[GROUP]
            .as_ref()
            .expect("offsets")
            .get(&(TOPIC.to_owned(), 0))
            .map(|commit| commit.offset);
        if found != Some(promised) {
            wrong.push(format!("the commit of {promised} reads {found:?}"));
        }
    }
    if let Some((_, _, bytes, offset)) = &told.producer {
        match client
            .produce(&(TOPIC.to_owned(), 0), bytes.clone(), Acks::All)
            .await
        {
            Ok(again) if again.base_offset == *offset => {}
            other => wrong.push(format!(
                "the repeat of the batch at {offset} was answered {other:?}"
            )),
        }
    }
    wrong
}

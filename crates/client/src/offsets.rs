//! Where a partition begins and ends, and where its epochs do: ListOffsets and OffsetForLeaderEpoch, asked from each leader at once for many
//! partitions.
//!
//! A partition that its broker refuses, or whose leader does not answer, has its error beside it: one bad partition spoils no other.

use crate::{Call, Client, ClientError, fetcher::Isolation};
use gnomon_protocol::{
    ids::{BatchEpoch, LeaderEpoch, Offset},
    messages::{
        BrokerId, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    wire::StrBytes,
};
use std::collections::BTreeMap;

/// The end: the high watermark, or the last stable offset when reading committed.
pub const LATEST: i64 = -1;
/// The log start.
pub const EARLIEST: i64 = -2;

/// A partition by name.
pub type TopicPartition = (String, i32);

/// An answer to ListOffsets. Offset and timestamp are `-1` when no record is that late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    pub offset: Offset,
    pub timestamp: i64,
    pub leader_epoch: LeaderEpoch,
}

/// The largest epoch at or below the one asked for, and where it ends; both `-1` when the broker knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: BatchEpoch,
    pub end: Offset,
}

/// Results by partition.
pub type PerPartition<T> = BTreeMap<TopicPartition, Result<T, ClientError>>;

impl Client {
    /// Offsets by timestamp in milliseconds, or [`LATEST`], [`EARLIEST`].
    pub async fn list_offsets(&self, wanted: &BTreeMap<TopicPartition, i64>, isolation: Isolation) -> PerPartition<ListedOffset> {
        let mut found = PerPartition::new();
        for (node, partitions) in self.by_leader(wanted, &mut found).await {
            let partition = |timestamp: &i64, index| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(*timestamp);
            let topic = |(name, partitions)| ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions);
            let request = ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_isolation_level(isolation.level())
                .with_topics(by_topic(&partitions, partition).into_iter().map(topic).collect());
            match self.ask(node, request).await {
                Ok(response) => {
                    for topic in response.topics {
                        for p in topic.partitions {
                            let listed =
                                ListedOffset { offset: p.offset, timestamp: p.timestamp, leader_epoch: LeaderEpoch(p.leader_epoch) };
                            self.note(
                                &mut found,
                                ListOffsetsRequest::NAME,
                                (topic.name.0.to_string(), p.partition_index),
                                p.error_code,
                                listed,
                            );
                        }
                    }
                    complete(&mut found, ListOffsetsRequest::NAME, partitions);
                }
                Err(error) => self.all_failed(&mut found, partitions, &error),
            }
        }
        found
    }

    /// Where each partition's history ends for an epoch (KIP-101, KIP-279).
    pub async fn epoch_ends(&self, wanted: &BTreeMap<TopicPartition, BatchEpoch>) -> PerPartition<EpochEnd> {
        let mut found = PerPartition::new();
        for (node, partitions) in self.by_leader(wanted, &mut found).await {
            let partition = |epoch: &BatchEpoch, index| {
                OffsetForLeaderPartition::default().with_partition(index).with_current_leader_epoch(-1).with_leader_epoch(epoch.0)
            };
            let topic = |(name, partitions)| OffsetForLeaderTopic::default().with_topic(topic_name(name)).with_partitions(partitions);
            let request = OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(by_topic(&partitions, partition).into_iter().map(topic).collect());
            match self.ask(node, request).await {
                Ok(response) => {
                    for topic in response.topics {
                        for p in topic.partitions {
                            let end = EpochEnd { epoch: BatchEpoch(p.leader_epoch), end: p.end_offset };
                            self.note(
                                &mut found,
                                OffsetForLeaderEpochRequest::NAME,
                                (topic.topic.0.to_string(), p.partition),
                                p.error_code,
                                end,
                            );
                        }
                    }
                    complete(&mut found, OffsetForLeaderEpochRequest::NAME, partitions);
                }
                Err(error) => self.all_failed(&mut found, partitions, &error),
            }
        }
        found
    }

    /// Splits by leader; partitions without one get their error at once.
    async fn by_leader<W: Clone, T>(
        &self,
        wanted: &BTreeMap<TopicPartition, W>,
        found: &mut PerPartition<T>,
    ) -> BTreeMap<i32, BTreeMap<TopicPartition, W>> {
        let mut split: BTreeMap<i32, BTreeMap<TopicPartition, W>> = BTreeMap::new();
        for (key, what) in wanted {
            match self.leader(&key.0, key.1).await {
                Ok((node, _)) => drop(split.entry(node).or_default().insert(key.clone(), what.clone())),
                Err(error) => drop(found.insert(key.clone(), Err(error))),
            }
        }
        split
    }

    fn note<T>(&self, found: &mut PerPartition<T>, api: &'static str, key: TopicPartition, code: i16, value: T) {
        let result = if code == 0 {
            Ok(value)
        } else {
            self.forget_leader(&key.0, key.1);
            Err(ClientError::refused(api, format!("{}-{}", key.0, key.1), code, None))
        };
        found.insert(key, result);
    }

    fn all_failed<W, T>(&self, found: &mut PerPartition<T>, partitions: BTreeMap<TopicPartition, W>, error: &ClientError) {
        for key in partitions.into_keys() {
            self.forget_leader(&key.0, key.1);
            found.insert(key, Err(error.clone()));
        }
    }
}

fn complete<W, T>(found: &mut PerPartition<T>, api: &'static str, asked: BTreeMap<TopicPartition, W>) {
    for key in asked.into_keys() {
        let subject = format!("{}-{}", key.0, key.1);
        found.entry(key).or_insert(Err(ClientError::Missing { api, subject }));
    }
}

fn by_topic<W, P>(partitions: &BTreeMap<TopicPartition, W>, one: impl Fn(&W, i32) -> P) -> BTreeMap<&str, Vec<P>> {
    let mut topics: BTreeMap<&str, Vec<P>> = BTreeMap::new();
    for ((topic, index), what) in partitions {
        topics.entry(topic).or_default().push(one(what, *index));
    }
    topics
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

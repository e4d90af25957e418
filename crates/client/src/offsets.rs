//! Where a partition begins and ends, and where its epochs do: ListOffsets and
//! OffsetForLeaderEpoch, asked from each leader for many partitions at once. [`Client::log_ends`]
//! asks both, and only of who leads now.
//!
//! A partition that its broker refuses, or whose leader does not answer, has its error beside it:
//! one bad partition spoils no other.

use crate::{Call, Client, ClientError, Topics, fetcher::Isolation};
use gnomon_protocol::{
    ids::{BatchEpoch, LeaderEpoch, Offset, TopicId},
    messages::{
        BrokerId, ListOffsetsRequest, OffsetForLeaderEpochRequest, TopicName,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    wire::StrBytes,
};
use std::collections::{BTreeMap, BTreeSet};

/// The end: the high watermark, or the last stable offset when reading committed.
pub const LATEST: i64 = -1;
/// The log start.
pub const EARLIEST: i64 = -2;

pub type TopicPartition = (String, i32);

/// An answer to ListOffsets. Offset and timestamp are `-1` when no record is that late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    pub offset: Offset,
    pub timestamp: i64,
    pub leader_epoch: LeaderEpoch,
}

/// The largest epoch at or below the one asked for, and where it ends; both `-1` when the broker
/// knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: BatchEpoch,
    pub end: Offset,
}

/// Where a log ends as its leader says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// `None` where the peer has no topic ids.
    pub topic_id: Option<TopicId>,
    pub high_watermark: Offset,
    /// The end of the epoch that was asked for; absent if none was, or if the leader does not tell.
    pub epoch_end: Option<EpochEnd>,
}

pub type PerPartition<T> = BTreeMap<TopicPartition, Result<T, ClientError>>;

/// The brokers whose answers count (KIP-320).
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswersFrom {
    /// The broker that is remembered as the leader, and answers.
    AnyLeader,
    /// Only a broker that leads under the epoch that it is remembered with: one that was deposed
    /// since, or does not know yet that it leads, refuses.
    UnderItsEpoch,
}

impl AnswersFrom {
    fn epoch(self, remembered: LeaderEpoch) -> i32 {
        match self {
            AnswersFrom::AnyLeader => LeaderEpoch::NONE.0,
            AnswersFrom::UnderItsEpoch => remembered.0,
        }
    }
}

impl Client {
    /// Where these logs end, and for those that name an epoch where that ends. Leaders are looked
    /// up again and asked under the epoch that goes with them, so that what comes is newer than the
    /// call, and not a deposed leader's.
    pub async fn log_ends(
        &self,
        wanted: &BTreeMap<TopicPartition, Option<BatchEpoch>>,
    ) -> PerPartition<LogEnd> {
        let names: BTreeSet<&String> = wanted.keys().map(|(topic, _)| topic).collect();
        let metadata = match self
            .metadata(Topics::Names(names.into_iter().cloned().collect()), false)
            .await
        {
            Ok(metadata) => metadata,
            Err(error) => {
                return wanted
                    .keys()
                    .map(|key| (key.clone(), Err(error.clone())))
                    .collect();
            }
        };
        let latest = wanted.keys().map(|key| (key.clone(), LATEST)).collect();
        let epochs = wanted
            .iter()
            .filter_map(|(key, epoch)| Some((key.clone(), (*epoch)?)))
            .collect();
        let (mut ends, mut epoch_ends) = tokio::join!(
            self.list(
                &latest,
                Isolation::ReadUncommitted,
                AnswersFrom::UnderItsEpoch
            ),
            self.find_epoch_ends(&epochs, AnswersFrom::UnderItsEpoch)
        );
        let mut log_end = |key: &TopicPartition| -> Result<LogEnd, ClientError> {
            let missing = || ClientError::Missing {
                api: ListOffsetsRequest::NAME,
                subject: format!("{}-{}", key.0, key.1),
            };
            let end = ends.remove(key).unwrap_or_else(|| Err(missing()))?;
            let topic_id = metadata.topics.get(&key.0).and_then(|topic| topic.id);
            let epoch_end = epoch_ends.remove(key).and_then(|end| {
                end.inspect_err(|error| tracing::debug!(topic = key.0, partition = key.1, %error, "an epoch's end is not told")).ok()
            });
            Ok(LogEnd {
                topic_id,
                high_watermark: end.offset,
                epoch_end,
            })
        };
        wanted
            .keys()
            .map(|key| (key.clone(), log_end(key)))
            .collect()
    }

    /// Offsets by timestamp in milliseconds, or [`LATEST`], [`EARLIEST`].
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, i64>,
        isolation: Isolation,
    ) -> PerPartition<ListedOffset> {
        self.list(wanted, isolation, AnswersFrom::AnyLeader).await
    }

    async fn list(
        &self,
        wanted: &BTreeMap<TopicPartition, i64>,
        isolation: Isolation,
        asked: AnswersFrom,
    ) -> PerPartition<ListedOffset> {
        let mut found = PerPartition::new();
        for (node, partitions) in self.by_leader(wanted, &mut found).await {
            let partition = |(timestamp, epoch): &(i64, LeaderEpoch), index| {
                let partition = ListOffsetsPartition::default()
                    .with_partition_index(index)
                    .with_timestamp(*timestamp);
                partition.with_current_leader_epoch(asked.epoch(*epoch))
            };
            let topic = |(name, partitions)| {
                ListOffsetsTopic::default()
                    .with_name(topic_name(name))
                    .with_partitions(partitions)
            };
            let request = ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_isolation_level(isolation.level())
                .with_topics(
                    by_topic(&partitions, partition)
                        .into_iter()
                        .map(topic)
                        .collect(),
                );
            match self.ask(node, request).await {
                Ok(response) => {
                    for topic in response.topics {
                        for p in topic.partitions {
                            let listed = ListedOffset {
                                offset: p.offset,
                                timestamp: p.timestamp,
                                leader_epoch: LeaderEpoch(p.leader_epoch),
                            };
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
    pub async fn epoch_ends(
        &self,
        wanted: &BTreeMap<TopicPartition, BatchEpoch>,
    ) -> PerPartition<EpochEnd> {
        self.find_epoch_ends(wanted, AnswersFrom::AnyLeader).await
    }

    async fn find_epoch_ends(
        &self,
        wanted: &BTreeMap<TopicPartition, BatchEpoch>,
        asked: AnswersFrom,
    ) -> PerPartition<EpochEnd> {
        let mut found = PerPartition::new();
        for (node, partitions) in self.by_leader(wanted, &mut found).await {
            let partition = |(epoch, current): &(BatchEpoch, LeaderEpoch), index| {
                let partition = OffsetForLeaderPartition::default()
                    .with_partition(index)
                    .with_leader_epoch(epoch.0);
                partition.with_current_leader_epoch(asked.epoch(*current))
            };
            let topic = |(name, partitions)| {
                OffsetForLeaderTopic::default()
                    .with_topic(topic_name(name))
                    .with_partitions(partitions)
            };
            let request = OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(
                    by_topic(&partitions, partition)
                        .into_iter()
                        .map(topic)
                        .collect(),
                );
            match self.ask(node, request).await {
                Ok(response) => {
                    for topic in response.topics {
                        for p in topic.partitions {
                            let end = EpochEnd {
                                epoch: BatchEpoch(p.leader_epoch),
                                end: p.end_offset,
                            };
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

    /// Splits by leader, whose epoch stands beside what is wanted; partitions without one get their
    /// error at once.
    async fn by_leader<W: Clone, T>(
        &self,
        wanted: &BTreeMap<TopicPartition, W>,
        found: &mut PerPartition<T>,
    ) -> BTreeMap<i32, BTreeMap<TopicPartition, (W, LeaderEpoch)>> {
        let mut split: BTreeMap<i32, BTreeMap<TopicPartition, (W, LeaderEpoch)>> = BTreeMap::new();
        for (key, what) in wanted {
            match self.leader(&key.0, key.1).await {
                Ok((node, epoch)) => drop(
                    split
                        .entry(node)
                        .or_default()
                        .insert(key.clone(), (what.clone(), epoch)),
                ),
                Err(error) => drop(found.insert(key.clone(), Err(error))),
            }
        }
        split
    }

    fn note<T>(
        &self,
        found: &mut PerPartition<T>,
        api: &'static str,
        key: TopicPartition,
        code: i16,
        value: T,
    ) {
        let result = if code == 0 {
            Ok(value)
        } else {
            self.forget_leader(&key.0, key.1);
            Err(ClientError::refused(
                api,
                format!("{}-{}", key.0, key.1),
                code,
                None,
            ))
        };
        found.insert(key, result);
    }

    fn all_failed<W, T>(
        &self,
        found: &mut PerPartition<T>,
        partitions: BTreeMap<TopicPartition, W>,
        error: &ClientError,
    ) {
        for key in partitions.into_keys() {
            self.forget_leader(&key.0, key.1);
            found.insert(key, Err(error.clone()));
        }
    }
}

fn complete<W, T>(
    found: &mut PerPartition<T>,
    api: &'static str,
    asked: BTreeMap<TopicPartition, W>,
) {
    for key in asked.into_keys() {
        let subject = format!("{}-{}", key.0, key.1);
        found
            .entry(key)
            .or_insert(Err(ClientError::Missing { api, subject }));
    }
}

fn by_topic<W, P>(
    partitions: &BTreeMap<TopicPartition, W>,
    one: impl Fn(&W, i32) -> P,
) -> BTreeMap<&str, Vec<P>> {
    let mut topics: BTreeMap<&str, Vec<P>> = BTreeMap::new();
    for ((topic, index), what) in partitions {
        topics.entry(topic).or_default().push(one(what, *index));
    }
    topics
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

//! A source without a network: a cluster in memory that a test moves by hand. It keeps the contract
//! of [`super`], long polls included.
//!
//! It answers as Kafka does in the cases that links care about: bounds, epochs, diverging
//! histories, unknown topics, a session's silence about what did not change. What a test sets out
//! of order (a truncated log, an epoch that goes back) is answered as it stands.

mod cluster;
mod fetch;

pub use cluster::{Cluster, Odd, Scripted, ScriptedPartition, ScriptedTopic};

use self::{
    cluster::{refused, refused_with},
    fetch::ScriptedConnection,
};
use super::{
    ByName, Configs, Connect, Contact, FetchConnection, ListedPartition, ListedTopic, Source,
};
use gnomon_client::{
    BoxFuture, ClientError,
    offsets::{EARLIEST, EpochEnd, LATEST, LogEnd, PerPartition, TopicPartition},
};
use gnomon_links::{LinkConfig, plan_offsets::SourceCommit};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use std::{collections::BTreeMap, sync::Arc};

impl Connect for Scripted {
    fn connect(&self, _link: &LinkConfig) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }
}

impl Source for Scripted {
    fn start_over(&self) {}

    fn contact(&self) -> BoxFuture<'_, Result<Contact, ClientError>> {
        Box::pin(async { self.ask(|cluster| cluster.contact.clone()) })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<ListedTopic>, ClientError>> {
        let listed = |(name, topic): (&String, &ScriptedTopic)| ListedTopic {
            name: name.clone(),
            id: topic.id,
            internal: name.starts_with("__"),
            error: topic.error,
            partitions: (0..)
                .zip(&topic.partitions)
                .map(|(index, p)| {
                    (
                        index,
                        ListedPartition {
                            leader: Some(p.leader),
                            leader_epoch: LeaderEpoch(p.leader_epoch),
                        },
                    )
                })
                .collect(),
        };
        Box::pin(async move { self.ask(|cluster| cluster.topics.iter().map(listed).collect()) })
    }

    fn configs<'a>(
        &'a self,
        topics: &'a [String],
        keys: &'a [&'a str],
    ) -> BoxFuture<'a, ByName<Configs>> {
        Box::pin(async move {
            self.ask(|cluster| {
                let of = |name: &String| {
                    let topic = cluster
                        .topics
                        .get(name)
                        .ok_or_else(|| refused(name, ErrorCode::UnknownTopicOrPartition))?;
                    let asked = topic
                        .configs
                        .iter()
                        .filter(|(key, _)| keys.contains(&key.as_str()));
                    Ok(asked
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect())
                };
                topics.iter().map(|name| (name.clone(), of(name))).collect()
            })
        })
    }

    fn offsets<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, i64>,
    ) -> BoxFuture<'a, PerPartition<Offset>> {
        let answer = |partition: &ScriptedPartition, timestamp: &i64| match *timestamp {
            EARLIEST => partition.log_start,
            LATEST => partition.high_watermark,
            at => partition
                .headers()
                .find(|header| header.max_timestamp >= at)
                .map_or(-1, |header| header.base_offset),
        };
        Box::pin(async move { self.per_partition(wanted, answer) })
    }

    fn epoch_ends<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, BatchEpoch>,
    ) -> BoxFuture<'a, PerPartition<EpochEnd>> {
        Box::pin(async move {
            self.per_partition(wanted, |partition, epoch| partition.epoch_end(*epoch))
        })
    }

    fn log_ends<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, Option<BatchEpoch>>,
    ) -> BoxFuture<'a, PerPartition<LogEnd>> {
        Box::pin(async move {
            self.set(|cluster| cluster.end_questions += 1);
            let one = |(name, epoch): (&TopicPartition, &Option<BatchEpoch>)| {
                let found = self.ask(|cluster| {
                    let topic = cluster.topics.get(&name.0)?;
                    let partition = topic.partitions.get(usize::try_from(name.1).ok()?)?;
                    let epoch_end = epoch.map(|epoch| partition.epoch_end(epoch));
                    Some((
                        partition.end_error,
                        LogEnd {
                            topic_id: topic.id,
                            high_watermark: partition.high_watermark,
                            epoch_end,
                        },
                    ))
                });
                let end = match found {
                    Ok(Some((None, end))) => Ok(end),
                    Ok(Some((Some(code), _))) => Err(refused_with(&name.0, code)),
                    Ok(None) => Err(refused(&name.0, ErrorCode::UnknownTopicOrPartition)),
                    Err(error) => Err(error),
                };
                (name.clone(), end)
            };
            wanted.iter().map(one).collect()
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, ClientError>> {
        Box::pin(async {
            let listed = self.ask(|cluster| {
                (
                    cluster.groups_error,
                    cluster.groups.keys().cloned().collect(),
                )
            })?;
            match listed {
                (None, groups) => Ok(groups),
                (Some(code), _) => Err(refused_with("groups", code)),
            }
        })
    }

    fn group_offsets<'a>(
        &'a self,
        groups: &'a [String],
    ) -> BoxFuture<'a, ByName<Vec<SourceCommit>>> {
        Box::pin(async move {
            self.ask(|cluster| {
                let of = |group: &String| match cluster.group_errors.get(group) {
                    Some(code) => Err(refused_with(group, *code)),
                    None => Ok(cluster.groups.get(group).cloned().unwrap_or_default()),
                };
                groups
                    .iter()
                    .map(|group| (group.clone(), of(group)))
                    .collect()
            })
        })
    }

    fn fetch_connection(
        &self,
        _node: i32,
    ) -> BoxFuture<'_, Result<Box<dyn FetchConnection>, ClientError>> {
        Box::pin(async {
            self.ask(|_| ())?;
            Ok(Box::new(ScriptedConnection::to(self.clone())) as Box<dyn FetchConnection>)
        })
    }
}

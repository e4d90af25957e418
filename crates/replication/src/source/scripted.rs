//! A source without a network: a cluster in memory that a test moves by hand. It keeps the contract
//! of [`super`], long polls included.
//!
//! It answers as Kafka does in the cases that links care about: bounds, epochs, diverging
//! histories, unknown topics, a session's silence about what did not change. What a test sets out
//! of order (a truncated log, an epoch that goes back) is answered as it stands.

use super::{
    ByName, Configs, Connect, Contact, FetchConnection, FetchLimits, ListedPartition, ListedTopic,
    Source,
};
use bytes::Bytes;
use gnomon_client::{
    BoxFuture, ClientError,
    fetcher::{FetchPosition, FetchTarget, Fetched, FetchedAll},
    offsets::{EARLIEST, EpochEnd, LATEST, LogEnd, PerPartition, TopicPartition},
};
use gnomon_links::{LinkConfig, plan_offsets::SourceCommit};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchHeader},
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset, TopicId},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// A cluster in memory. Clones are the same cluster.
#[derive(Clone)]
pub struct Scripted(Arc<ScriptedCluster>);

struct ScriptedCluster {
    cluster: Mutex<Cluster>,
    changed: watch::Sender<u64>,
}

/// Everything that a test may set.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Its identity.
    pub contact: Contact,
    pub topics: BTreeMap<String, ScriptedTopic>,
    /// Group to what it has committed.
    pub groups: BTreeMap<String, Vec<SourceCommit>>,
    /// Every question about groups is answered with this code.
    pub groups_error: Option<i16>,
    /// A question about these groups' offsets is answered with this code.
    pub group_errors: BTreeMap<String, i16>,
    /// Nobody reaches it.
    pub down: bool,
    /// So long an answer with records takes to arrive in whole.
    pub arrives_after: Duration,
    /// Fetches so far.
    pub fetches: u64,
    /// How often it was asked where its logs end, on behalf of readers.
    pub end_questions: u64,
    /// Answers to the next fetches, in place of the true ones.
    pub odd: VecDeque<Odd>,
}

/// An answer that is right and says less than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Bounds without records: others took the room.
    Starved,
    /// Nothing at all: the broker enforces a quota (KAFKA-6946).
    Throttled,
    /// The first batch of each partition names another leader epoch: no checksum covers it.
    Epoch(i32),
    /// The broker knows of no such fetch session.
    NoSession,
}

/// A topic of a [`Cluster`].
#[derive(Clone, Debug, Default)]
pub struct ScriptedTopic {
    pub id: Option<TopicId>,
    /// It is listed with this code: in trouble.
    pub error: Option<i16>,
    pub configs: Configs,
    pub partitions: Vec<ScriptedPartition>,
}

/// A partition of a [`Cluster`].
#[derive(Clone, Debug, Default)]
pub struct ScriptedPartition {
    /// The broker that leads it.
    pub leader: i32,
    pub leader_epoch: i32,
    pub log_start: Offset,
    pub high_watermark: Offset,
    /// Whole batches in order of offsets.
    pub batches: Vec<Bytes>,
    /// Every fetch of it is answered with this code.
    pub error: Option<i16>,
    /// The question where it ends is answered with this code.
    pub end_error: Option<i16>,
}

impl ScriptedPartition {
    /// Offset after the last batch.
    pub fn end(&self) -> Offset {
        self.headers()
            .map(|header| header.next_offset())
            .last()
            .unwrap_or(self.log_start)
            .max(self.log_start)
    }

    /// Appends a batch of one record each for these values, at the end and in the present epoch;
    /// the high watermark follows.
    pub fn append(&mut self, values: &[&str]) {
        let start = BatchBuilder::new(1_000)
            .base_offset(self.end())
            .leader_epoch(BatchEpoch(self.leader_epoch));
        let batch = values.iter().fold(start, |batch, value| {
            batch.record(1_000, None, Some(value.as_bytes()), &[])
        });
        self.append_bytes(batch.build().expect("a batch of short values"));
    }

    /// Appends bytes as they are, and moves the high watermark after them.
    pub fn append_bytes(&mut self, batch: Bytes) {
        self.batches.push(batch);
        self.high_watermark = self.end();
    }

    /// Drops whole batches at and beyond `end`.
    pub fn truncate(&mut self, end: Offset) {
        self.batches
            .retain(|batch| header(batch).is_some_and(|header| header.next_offset() <= end));
        self.high_watermark = self.end();
    }

    fn headers(&self) -> impl Iterator<Item = BatchHeader> {
        self.batches.iter().filter_map(header)
    }

    /// The largest epoch at or below the one asked for, and where it ends.
    fn epoch_end(&self, asked: BatchEpoch) -> EpochEnd {
        if asked.0 > self.leader_epoch {
            return EpochEnd {
                epoch: BatchEpoch::NONE,
                end: -1,
            };
        }
        let next = self
            .headers()
            .find(|header| header.leader_epoch > asked)
            .map(|header| header.base_offset);
        let known = self
            .headers()
            .map(|header| header.leader_epoch)
            .filter(|epoch| *epoch <= asked)
            .last();
        match (known, next) {
            (_, None) if asked.0 == self.leader_epoch => EpochEnd {
                epoch: asked,
                end: self.end(),
            },
            (Some(epoch), next) => EpochEnd {
                epoch,
                end: next.unwrap_or(self.end()),
            },
            (None, _) => EpochEnd {
                epoch: BatchEpoch::NONE,
                end: -1,
            },
        }
    }
}

/// Records whose first batch names this epoch.
fn in_epoch(records: &Bytes, epoch: i32) -> Bytes {
    let mut records = records.to_vec();
    if let Some(field) = records.get_mut(12..16) {
        field.copy_from_slice(&epoch.to_be_bytes());
    }
    records.into()
}

fn header(batch: &Bytes) -> Option<BatchHeader> {
    BatchHeader::parse(batch).ok()
}

impl Scripted {
    /// An empty cluster of this id.
    pub fn new(cluster_id: &str) -> Scripted {
        let contact = Contact {
            cluster_id: Some(cluster_id.to_owned()),
            ..Contact::default()
        };
        let cluster = Mutex::new(Cluster {
            contact,
            ..Cluster::default()
        });
        Scripted(Arc::new(ScriptedCluster {
            cluster,
            changed: watch::Sender::new(0),
        }))
    }

    /// Changes anything; fetches that wait look again.
    pub fn set<R>(&self, change: impl FnOnce(&mut Cluster) -> R) -> R {
        let result = change(&mut self.0.cluster.lock());
        self.0.changed.send_modify(|version| *version += 1);
        result
    }

    /// A new topic of empty partitions, led by broker 0 in epoch 0.
    pub fn create(&self, topic: &str, id: TopicId, partitions: usize) {
        let made = ScriptedTopic {
            id: Some(id),
            error: None,
            configs: Configs::new(),
            partitions: vec![ScriptedPartition::default(); partitions],
        };
        self.set(|cluster| drop(cluster.topics.insert(topic.to_owned(), made)));
    }

    /// Changes one partition.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn partition<R>(
        &self,
        topic: &str,
        index: usize,
        change: impl FnOnce(&mut ScriptedPartition) -> R,
    ) -> R {
        self.set(|cluster| {
            change(
                &mut cluster
                    .topics
                    .get_mut(topic)
                    .expect("a topic of the script")
                    .partitions[index],
            )
        })
    }

    fn ask<R>(&self, question: impl FnOnce(&Cluster) -> R) -> Result<R, ClientError> {
        let cluster = self.0.cluster.lock();
        if cluster.down {
            Err(down())
        } else {
            Ok(question(&cluster))
        }
    }

    fn per_partition<W, R>(
        &self,
        wanted: &BTreeMap<TopicPartition, W>,
        answer: impl Fn(&ScriptedPartition, &W) -> R,
    ) -> PerPartition<R> {
        let one = |name: &TopicPartition, what: &W| {
            let found = self.ask(|cluster| {
                let partition = cluster
                    .topics
                    .get(&name.0)?
                    .partitions
                    .get(usize::try_from(name.1).ok()?)?;
                Some(answer(partition, what))
            })?;
            found.ok_or_else(|| refused(&name.0, ErrorCode::UnknownTopicOrPartition))
        };
        wanted
            .iter()
            .map(|(name, what)| (name.clone(), one(name, what)))
            .collect()
    }
}

fn down() -> ClientError {
    ClientError::Connect {
        address: "scripted:9092".to_owned(),
        why: "the script says so".to_owned(),
    }
}

fn refused(subject: &str, code: ErrorCode) -> ClientError {
    refused_with(subject, code.code())
}

fn refused_with(subject: &str, code: i16) -> ClientError {
    ClientError::Refused {
        api: "scripted",
        subject: subject.to_owned(),
        code,
        message: String::new(),
    }
}

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
            Ok(Box::new(ScriptedConnection {
                cluster: self.clone(),
                asked: None,
                told: BTreeMap::new(),
            }) as Box<dyn FetchConnection>)
        })
    }
}

struct PendingFetch {
    wanted: BTreeMap<FetchTarget, FetchPosition>,
    limits: FetchLimits,
    until: Instant,
}

struct ScriptedConnection {
    cluster: Scripted,
    asked: Option<PendingFetch>,
    /// High watermark and log start as told last: a session is silent about what stays the same.
    told: BTreeMap<FetchTarget, (Offset, Offset)>,
}

impl FetchConnection for ScriptedConnection {
    fn send<'a>(
        &'a mut self,
        wanted: &'a BTreeMap<FetchTarget, FetchPosition>,
        limits: FetchLimits,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(async move {
            self.cluster.ask(|_| ())?;
            self.cluster.0.cluster.lock().fetches += 1;
            self.told.retain(|target, _| wanted.contains_key(target));
            self.asked = Some(PendingFetch {
                wanted: wanted.clone(),
                limits,
                until: Instant::now() + limits.max_wait,
            });
            Ok(())
        })
    }

    fn receive(&mut self) -> BoxFuture<'_, Result<FetchedAll, ClientError>> {
        Box::pin(async move {
            let mut changed = self.cluster.0.changed.subscribe();
            loop {
                let Some(asked) = &self.asked else {
                    return pending().await;
                };
                let mut answer = self
                    .cluster
                    .ask(|cluster| answer(cluster, asked, &self.told))?;
                if !answer.is_empty() || Instant::now() >= asked.until {
                    if answer.iter().any(|fetched| !fetched.records.is_empty()) {
                        let arrives_after = self.cluster.0.cluster.lock().arrives_after;
                        sleep(arrives_after).await;
                    }
                    match self.cluster.0.cluster.lock().odd.pop_front() {
                        Some(Odd::Starved) => answer
                            .iter_mut()
                            .for_each(|fetched| fetched.records = Bytes::new()),
                        Some(Odd::Throttled) => answer.clear(),
                        Some(Odd::Epoch(epoch)) => answer.iter_mut().for_each(|fetched| {
                            fetched.records = in_epoch(&fetched.records, epoch)
                        }),
                        Some(Odd::NoSession) => {
                            self.asked = None;
                            return Err(refused("session", ErrorCode::FetchSessionIdNotFound));
                        }
                        None => {}
                    }
                    self.told.extend(
                        answer
                            .iter()
                            .map(|f| (f.target.clone(), (f.high_watermark, f.log_start_offset))),
                    );
                    self.asked = None;
                    return Ok(answer);
                }
                tokio::select! {
                    biased;
                    _ = changed.changed() => {}
                    () = sleep_until(asked.until) => {}
                }
            }
        })
    }
}

fn answer(
    cluster: &Cluster,
    asked: &PendingFetch,
    told: &BTreeMap<FetchTarget, (Offset, Offset)>,
) -> FetchedAll {
    let mut room = usize::try_from(asked.limits.max_bytes).unwrap_or(0);
    let mut answer = FetchedAll::new();
    for (target, position) in &asked.wanted {
        let fetched = fetch(
            cluster,
            target,
            position,
            room.min(usize::try_from(asked.limits.partition_max_bytes).unwrap_or(0)),
            room > 0,
        );
        room = room.saturating_sub(fetched.records.len());
        let bounds = (fetched.high_watermark, fetched.log_start_offset);
        let news =
            fetched.error.is_some() || fetched.diverging.is_some() || !fetched.records.is_empty();
        if news || asked.limits.whole || told.get(target) != Some(&bounds) {
            answer.push(fetched);
        }
    }
    answer
}

fn fetch(
    cluster: &Cluster,
    target: &FetchTarget,
    position: &FetchPosition,
    bytes_max: usize,
    at_least_one: bool,
) -> Fetched {
    let refused = |code: ErrorCode| Fetched {
        error: Some(code.code()),
        ..nothing(target)
    };
    let Some(topic) = cluster.topics.get(&*target.topic) else {
        return refused(ErrorCode::UnknownTopicOrPartition);
    };
    if topic.id.is_some_and(|id| id != target.topic_id) {
        return refused(ErrorCode::UnknownTopicId);
    }
    let partition = usize::try_from(target.partition)
        .ok()
        .and_then(|index| topic.partitions.get(index));
    let Some(partition) = partition else {
        return refused(ErrorCode::UnknownTopicOrPartition);
    };
    if let Some(code) = partition.error {
        return Fetched {
            error: Some(code),
            ..nothing(target)
        };
    }
    if position.current_leader_epoch != LeaderEpoch::NONE
        && position.current_leader_epoch.0 != partition.leader_epoch
    {
        let older = position.current_leader_epoch.0 < partition.leader_epoch;
        return refused(if older {
            ErrorCode::FencedLeaderEpoch
        } else {
            ErrorCode::UnknownLeaderEpoch
        });
    }
    if !(partition.log_start..=partition.end()).contains(&position.offset) {
        return refused(ErrorCode::OffsetOutOfRange);
    }
    let bounds = Fetched {
        high_watermark: partition.high_watermark,
        last_stable_offset: partition.high_watermark,
        log_start_offset: partition.log_start,
        ..nothing(target)
    };
    if position.last_fetched_epoch != BatchEpoch::NONE {
        let end = partition.epoch_end(position.last_fetched_epoch);
        if end.epoch != BatchEpoch::NONE
            && (end.epoch < position.last_fetched_epoch || end.end < position.offset)
        {
            return Fetched {
                diverging: Some((end.epoch, end.end)),
                ..bounds
            };
        }
    }
    let mut records = Vec::new();
    for batch in &partition.batches {
        let Some(header) = header(batch) else {
            continue;
        };
        let readable = header.next_offset() > position.offset
            && header.next_offset() <= partition.high_watermark;
        let fits = records.len() + batch.len() <= bytes_max || (records.is_empty() && at_least_one);
        if readable && fits {
            records.extend_from_slice(batch);
        } else if readable {
            break;
        }
    }
    Fetched {
        records: records.into(),
        ..bounds
    }
}

fn nothing(target: &FetchTarget) -> Fetched {
    Fetched {
        target: target.clone(),
        error: None,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        diverging: None,
        current_leader: None,
        records: Bytes::new(),
        aborted: Vec::new(),
    }
}

//! The cluster in memory, and everything that a test may set in it.

use crate::source::{Configs, Contact};
use bytes::Bytes;
use gnomon_client::{
    ClientError,
    offsets::{EpochEnd, PerPartition, TopicPartition},
};
use gnomon_links::plan_offsets::SourceCommit;
use gnomon_protocol::{
    batch::{BatchBuilder, BatchHeader},
    error_code::ErrorCode,
    ids::{BatchEpoch, Offset, TopicId},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// A cluster in memory. Clones are the same cluster.
#[derive(Clone)]
pub struct Scripted(pub(super) Arc<ClusterCell>);

pub(super) struct ClusterCell {
    pub(super) cluster: Mutex<Cluster>,
    pub(super) changed: watch::Sender<u64>,
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
    /// Offset behind the last batch.
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

    /// Appends bytes as they are, and moves the high watermark behind them.
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

    pub(super) fn headers(&self) -> impl Iterator<Item = BatchHeader> {
        self.batches.iter().filter_map(header)
    }

    /// The largest epoch at or below the one asked for, and where it ends.
    pub(super) fn epoch_end(&self, asked: BatchEpoch) -> EpochEnd {
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
pub(super) fn in_epoch(records: &Bytes, epoch: i32) -> Bytes {
    let mut records = records.to_vec();
    if let Some(field) = records.get_mut(12..16) {
        field.copy_from_slice(&epoch.to_be_bytes());
    }
    records.into()
}

pub(super) fn header(batch: &Bytes) -> Option<BatchHeader> {
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
        Scripted(Arc::new(ClusterCell {
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

    pub(super) fn ask<R>(&self, question: impl FnOnce(&Cluster) -> R) -> Result<R, ClientError> {
        let cluster = self.0.cluster.lock();
        if cluster.down {
            Err(down())
        } else {
            Ok(question(&cluster))
        }
    }

    pub(super) fn per_partition<W, R>(
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

pub(super) fn down() -> ClientError {
    ClientError::Connect {
        address: "scripted:9092".to_owned(),
        why: "the script says so".to_owned(),
    }
}

pub(super) fn refused(subject: &str, code: ErrorCode) -> ClientError {
    refused_with(subject, code.code())
}

pub(super) fn refused_with(subject: &str, code: i16) -> ClientError {
    ClientError::Refused {
        api: "scripted",
        subject: subject.to_owned(),
        code,
        message: String::new(),
    }
}

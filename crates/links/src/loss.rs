//! The loss by a failover, as far as is known: what the command shows before it asks, and all that
//! `--dry-run` does.
//!
//! Known means as of the last contact: what the source took later is unknown, and the text says so.
//! Nothing is asked for here: what partitions and groups know comes in.

use crate::{
    lag::{Lag, sum},
    status::{LinkStatus, OpenTransaction},
};
use gnomon_protocol::ids::Offset;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The loss by a failover of some topics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    pub link: String,
    /// Its source, as it is called in a sentence.
    pub source: String,
    /// Seconds since the source last answered; absent if it never did.
    #[serde(default)]
    pub last_contact_seconds: Option<f64>,
    /// The source answered when it was asked for this report: a failover would leave two sites that
    /// take writes.
    #[serde(default)]
    pub source_answers: bool,
    /// The topics asked for that would be failed over.
    pub topics: Vec<TopicLoss>,
    /// The topics asked for that need nothing or cannot be, with the reason.
    #[serde(default)]
    pub not_affected: Vec<NotAffected>,
    /// Knowledge of groups' offsets at the source.
    #[serde(default)]
    pub groups_read: GroupsRead,
    /// Groups that would go on from behind their position at the source.
    #[serde(default)]
    pub groups_behind: Vec<GroupBehind>,
    /// Groups that the link syncs and whose position here cannot be told at the moment.
    #[serde(default)]
    pub groups_unknown: Vec<String>,
    /// Transactions that would be aborted on partitions here though the source ended them
    /// elsewhere.
    #[serde(default)]
    pub half_copied: Vec<HalfCopied>,
}

/// The loss of one topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicLoss {
    pub topic: String,
    /// Its lag: records, bytes and seconds that would be lost; absent if the source never showed
    /// its end.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// Partitions that would lose something, or of which that is not known.
    pub partitions: Vec<PartitionLoss>,
}

/// The loss of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionLoss {
    pub partition: i32,
    /// Where it would be cut.
    pub end: Offset,
    /// Its lag; absent if the source never showed its end. At most this is lost: what is appended
    /// and not yet flushed here is kept.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// Copied transactions that are open: they would be aborted.
    #[serde(default)]
    pub open_transactions: Vec<OpenTransaction>,
}

/// A topic that was asked for and is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAffected {
    pub topic: String,
    pub reason: String,
}

/// Knowledge of groups' offsets at the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupsRead {
    /// The link syncs no groups.
    #[default]
    NotSynced,
    /// They were not read since this site started: groups would go on from what was synced before.
    NeverSinceStart,
    /// They were read so many seconds ago.
    SecondsAgo(f64),
}

/// A group that would go on from behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupBehind {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    /// Its position at the source, as last seen.
    pub source_offset: Offset,
    /// Where it would go on here; absent if it has no position.
    #[serde(default)]
    pub offset: Option<Offset>,
}

/// A transaction that is open on some partitions here and was ended on others: its atomicity is
/// lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfCopied {
    pub producer_id: i64,
    /// Where it would be aborted.
    pub open_on: Vec<(String, i32)>,
    /// Where it has ended as the source said.
    pub ended_on: Vec<(String, i32)>,
}

/// The end of a copied transaction, seen on one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedTransaction {
    pub topic: String,
    pub partition: i32,
    pub producer_id: i64,
    /// The producer's epoch in the transaction that ended.
    pub producer_epoch: i16,
    /// The producer's epoch in the marker: higher where the end of a transaction raises it
    /// (KIP-890, fencing).
    pub marker_epoch: i16,
    pub marker_timestamp_ms: i64,
}

impl EndedTransaction {
    /// Whether it is the end of a transaction that is open elsewhere, or of a later one of the same
    /// producer. A producer has one at a time, and its epoch never falls. A producer whose epoch no
    /// transaction raises is told by time: the marker is not older than the newest record that came
    /// of the open one. That is two clocks compared, the producer's and the source's.
    pub fn ends(&self, open: &OpenTransaction) -> bool {
        if self.producer_id != open.producer_id || self.producer_epoch < open.producer_epoch {
            return false;
        }
        let told_by_epoch =
            self.producer_epoch > open.producer_epoch || self.marker_epoch > self.producer_epoch;
        told_by_epoch
            || open
                .last_timestamp_ms
                .is_some_and(|newest| self.marker_timestamp_ms >= newest)
    }
}

/// The part of a [`Loss`] that is about groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupsLoss {
    /// See [`Loss::groups_read`].
    pub read: GroupsRead,
    /// See [`Loss::groups_behind`]; of topics that would not be failed over as well, they are left
    /// out.
    pub behind: Vec<GroupBehind>,
    /// See [`Loss::groups_unknown`].
    pub unknown: Vec<String>,
}

/// Reckons what a failover would lose. `topics` names the ones asked for; `None` is all of the
/// link. `ended`: the last end of a transaction of each producer on each partition of the link's
/// topics, as the source said it.
pub fn of(
    status: &LinkStatus,
    topics: Option<&[String]>,
    ended: &[EndedTransaction],
    groups: GroupsLoss,
    now_ms: i64,
) -> Loss {
    let named = topics.map(|topics| topics.iter().map(String::as_str).collect::<BTreeSet<_>>());
    let asked = |name: &str| named.as_ref().is_none_or(|named| named.contains(name));
    let mut loss = Loss {
        link: status.name.clone(),
        source: status.source.label(),
        last_contact_seconds: status
            .source
            .last_contact_ms
            .map(|at| now_ms.saturating_sub(at).max(0) as f64 / 1_000.0),
        source_answers: false,
        topics: Vec::new(),
        not_affected: Vec::new(),
        groups_read: groups.read,
        groups_behind: groups.behind,
        groups_unknown: groups.unknown,
        half_copied: half_copied(status, &asked, ended),
    };
    for topic in status.topics.iter().filter(|t| asked(&t.name)) {
        if topic.state.is_ours() {
            let reason = format!("it is {} already", topic.state);
            loss.not_affected.push(NotAffected {
                topic: topic.name.clone(),
                reason,
            });
            continue;
        }
        let partitions: Vec<PartitionLoss> = topic
            .partitions
            .iter()
            .filter(|p| p.lag.is_none_or(|lag| lag.records > 0) || !p.open_transactions.is_empty())
            .map(|p| PartitionLoss {
                partition: p.partition,
                end: p.end,
                lag: p.lag,
                open_transactions: p.open_transactions.clone(),
            })
            .collect();
        loss.topics.push(TopicLoss {
            topic: topic.name.clone(),
            lag: topic.lag(),
            partitions,
        });
    }
    let here: BTreeSet<&str> = status.topics.iter().map(|t| t.name.as_str()).collect();
    let mut told = BTreeSet::new();
    for name in topics.unwrap_or_default() {
        if here.contains(name.as_str()) || !told.insert(name.as_str()) {
            continue;
        }
        loss.not_affected.push(NotAffected {
            topic: name.clone(),
            reason: format!("link '{}' has no shadow of this name", status.name),
        });
    }
    let lost: BTreeSet<&str> = loss.topics.iter().map(|t| t.topic.as_str()).collect();
    loss.groups_behind
        .retain(|g| lost.contains(g.topic.as_str()));
    loss
}

fn half_copied(
    status: &LinkStatus,
    asked: &impl Fn(&str) -> bool,
    ended: &[EndedTransaction],
) -> Vec<HalfCopied> {
    let mut found: Vec<HalfCopied> = Vec::new();
    for topic in status
        .topics
        .iter()
        .filter(|t| asked(&t.name) && !t.state.is_ours())
    {
        for partition in &topic.partitions {
            for open in &partition.open_transactions {
                let ended_on: Vec<(String, i32)> = ended
                    .iter()
                    .filter(|e| e.ends(open))
                    .map(|e| (e.topic.clone(), e.partition))
                    .collect();
                if ended_on.is_empty() {
                    continue;
                }
                let place = (topic.name.clone(), partition.partition);
                match found.iter_mut().find(|h| h.producer_id == open.producer_id) {
                    Some(half) => {
                        half.open_on.push(place);
                        half.ended_on.extend(ended_on);
                    }
                    None => found.push(HalfCopied {
                        producer_id: open.producer_id,
                        open_on: vec![place],
                        ended_on,
                    }),
                }
            }
        }
    }
    for half in &mut found {
        half.ended_on.sort_unstable();
        half.ended_on.dedup();
    }
    found
}

impl Loss {
    /// The loss of all topics together; absent if of one of them it is not known.
    pub fn total(&self) -> Option<Lag> {
        sum(self.topics.iter().map(|t| t.lag))
    }
}

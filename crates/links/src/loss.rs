//! What a failover would lose, as far as is known: what the command shows before it asks, and all that `--dry-run` does.
//!
//! Known means as of the last contact: what the source took later is unknown, and the text says so.

use crate::{
    lag::{Lag, sum},
    status::{LinkStatus, OpenTransaction},
};
use gnomon_protocol::ids::Offset;
use serde::{Deserialize, Serialize};

/// What a failover of some topics would lose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The link.
    pub link: String,
    /// Its source, as it is called in a sentence.
    pub source: String,
    /// Seconds since the source last answered; absent if it never did.
    #[serde(default)]
    pub last_contact_seconds: Option<f64>,
    /// The topics asked for that would be failed over.
    pub topics: Vec<TopicLoss>,
    /// The topics asked for that need nothing or cannot be, with the reason.
    #[serde(default)]
    pub not_affected: Vec<NotAffected>,
    /// Groups whose position here is behind their position at the source.
    #[serde(default)]
    pub groups_behind: Vec<GroupBehind>,
    /// Transactions that would be aborted on partitions here though the source ended them elsewhere.
    #[serde(default)]
    pub half_copied: Vec<HalfCopied>,
}

/// What one topic would lose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicLoss {
    /// Its name.
    pub topic: String,
    /// Its lag: records, bytes and seconds that would be lost; absent if the source never showed its end.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// Partitions that would lose something, or of which that is not known.
    pub partitions: Vec<PartitionLoss>,
}

/// What one partition would lose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionLoss {
    /// Its number.
    pub partition: i32,
    /// Where it would be cut.
    pub end: Offset,
    /// Its lag; absent if the source never showed its end. At most this is lost: what is appended and not yet flushed here is kept.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// Copied transactions that are open: they would be aborted.
    #[serde(default)]
    pub open_transactions: Vec<OpenTransaction>,
}

/// A topic that was asked for and is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAffected {
    /// Its name.
    pub topic: String,
    /// Why.
    pub reason: String,
}

/// A group whose position here is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupBehind {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its position at the source, as last seen.
    pub source_offset: Offset,
    /// Its position here; absent if it has none.
    #[serde(default)]
    pub offset: Option<Offset>,
}

/// A transaction that is open on some partitions here and was ended on others: its atomicity is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfCopied {
    /// Its producer.
    pub producer_id: i64,
    /// Where it would be aborted.
    pub open_on: Vec<(String, i32)>,
    /// Where it has ended as the source said.
    pub ended_on: Vec<(String, i32)>,
}

/// The end of a copied transaction, seen on one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedTransaction {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its producer.
    pub producer_id: i64,
    /// Timestamp of the marker.
    pub marker_timestamp_ms: i64,
}

/// Reckons what a failover would lose. `topics` names the ones asked for; `None` is all of the link.
pub fn of(
    status: &LinkStatus,
    topics: Option<&[String]>,
    ended: &[EndedTransaction],
    groups_behind: Vec<GroupBehind>,
    now_ms: i64,
) -> Loss {
    let asked = |name: &str| topics.is_none_or(|topics| topics.iter().any(|t| t == name));
    let mut loss = Loss {
        link: status.name.clone(),
        source: status.source.label(),
        last_contact_seconds: status.source.last_contact_ms.map(|at| now_ms.saturating_sub(at).max(0) as f64 / 1_000.0),
        topics: Vec::new(),
        not_affected: Vec::new(),
        groups_behind,
        half_copied: half_copied(status, &asked, ended),
    };
    for topic in status.topics.iter().filter(|t| asked(&t.name)) {
        if topic.state.is_ours() {
            let reason = format!("it is {} already", topic.state);
            loss.not_affected.push(NotAffected { topic: topic.name.clone(), reason });
            continue;
        }
        let partitions: Vec<PartitionLoss> = topic
            .partitions
            .iter()
            .filter(|p| p.lag.is_none_or(|lag| lag.records > 0) || !p.open_transactions.is_empty())
            .map(|p| PartitionLoss { partition: p.partition, end: p.end, lag: p.lag, open_transactions: p.open_transactions.clone() })
            .collect();
        loss.topics.push(TopicLoss { topic: topic.name.clone(), lag: topic.lag(), partitions });
    }
    for name in topics.unwrap_or_default().iter().filter(|name| status.topic(name).is_none()) {
        loss.not_affected.push(NotAffected { topic: name.clone(), reason: format!("link '{}' has no shadow of this name", status.name) });
    }
    loss.groups_behind.retain(|g| loss.topics.iter().any(|t| t.topic == g.topic));
    loss
}

/// A producer has one transaction at a time, so a marker that is not older than the first record of the open one ended the same transaction.
fn half_copied(status: &LinkStatus, asked: &impl Fn(&str) -> bool, ended: &[EndedTransaction]) -> Vec<HalfCopied> {
    let mut found: Vec<HalfCopied> = Vec::new();
    for topic in status.topics.iter().filter(|t| asked(&t.name) && !t.state.is_ours()) {
        for partition in &topic.partitions {
            for open in &partition.open_transactions {
                let Some(began) = open.first_timestamp_ms else { continue };
                let mut ended_on: Vec<(String, i32)> = ended
                    .iter()
                    .filter(|e| e.producer_id == open.producer_id && e.marker_timestamp_ms >= began)
                    .map(|e| (e.topic.clone(), e.partition))
                    .collect();
                ended_on.sort_unstable();
                ended_on.dedup();
                if ended_on.is_empty() {
                    continue;
                }
                let place = (topic.name.clone(), partition.partition);
                match found.iter_mut().find(|h| h.producer_id == open.producer_id) {
                    Some(half) => half.open_on.push(place),
                    None => found.push(HalfCopied { producer_id: open.producer_id, open_on: vec![place], ended_on }),
                }
            }
        }
    }
    found
}

impl Loss {
    /// What all topics would lose together; absent if of one of them it is not known.
    pub fn total(&self) -> Option<Lag> {
        sum(self.topics.iter().map(|t| t.lag))
    }
}

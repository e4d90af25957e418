//! One topic, as the site knows it: identity, partitions, configuration overrides, and its bond to
//! a link, if it has or had one.

use gnomon_links::{TopicState, failover::Recorded, status::GapEvent};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, Offset, TopicId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use uuid::Uuid;

/// A link's identity; its name is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkId(pub Uuid);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Chosen at creation, never reused; folders are named by it.
    pub id: TopicId,
    /// Unique at any one time.
    pub name: String,
    /// Written by the site itself only (`__consumer_offsets`).
    #[serde(default)]
    pub internal: bool,
    /// Overrides only; see [`crate::TopicConfig`] for what is in force.
    #[serde(default)]
    pub configs: BTreeMap<String, String>,
    /// By partition index; never empty.
    pub partitions: Vec<Partition>,
    /// The link that copies it or did; kept after failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

impl Topic {
    /// Whether a link copies it or is being relieved of it: clients cannot write. False again after
    /// failover.
    pub fn is_shadow(&self) -> bool {
        self.shadow.as_ref().is_some_and(Shadow::bound)
    }

    /// Indexes of its partitions.
    pub fn indexes(&self) -> std::ops::Range<i32> {
        0..i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The durable part of its failover.
    pub fn failover(&self) -> Recorded {
        match &self.shadow {
            None => Recorded::Nothing,
            Some(shadow) if shadow.state.is_ours() => Recorded::Done,
            Some(shadow) if shadow.state != TopicState::FailingOver => Recorded::Nothing,
            Some(shadow) => match shadow.step {
                None | Some(FailoverStep::Fenced) => Recorded::Fenced,
                Some(FailoverStep::Cut) => Recorded::CutAndEpoch,
            },
        }
    }

    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    pub replicas: Vec<i32>,
    /// Broker ids, those in sync.
    pub isr: Vec<i32>,
    pub leader: i32,
    /// Never goes back. On a shadow never below the source's as last seen.
    #[serde(with = "leader_epoch")]
    pub leader_epoch: LeaderEpoch,
    /// Raised by every change of replicas, isr or leader.
    pub partition_epoch: i32,
    /// Where the copy ended, once it was failed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// The source got it when the topic was being copied already: there is nothing in it that the
    /// link was told to leave out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
}

/// Where a copied partition ended and its own history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The first offset that is not the source's.
    pub end: Offset,
    /// The source's epoch in the last copied batch, -1 if nothing was copied.
    #[serde(with = "batch_epoch")]
    pub last_epoch: BatchEpoch,
    /// The first leader epoch of this site: a multiple of 65,536, above every copied one. It stands
    /// as it was recorded; later incarnations, also before the failover is through, raise
    /// [`Partition::leader_epoch`] only. So batches from `end` on carry this epoch or a higher one.
    #[serde(with = "leader_epoch")]
    pub epoch: LeaderEpoch,
}

/// A topic's bond to its link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// The link, which may have been deleted since.
    pub link: LinkId,
    /// Its name at creation.
    pub link_name: String,
    /// The source cluster's id, `None` if it never told one.
    pub source_cluster_id: Option<String>,
    /// The topic's id there, `None` where sources have none.
    pub source_topic_id: Option<Uuid>,
    pub state: TopicState,
    /// Why it is FAULTED, or stuck in FAILING_OVER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Appends of the link must carry exactly this; raised when the link loses the topic.
    pub fence: u64,
    /// How far the failover got, while FAILING_OVER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<FailoverStep>,
    /// The source says that it has no such topic any more; data stays.
    #[serde(default)]
    pub source_missing: bool,
    /// Records of the source that never came and never will, as they were found, the last
    /// [`GAPS_KEPT_MAX`]. Kept after failover.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<GapEvent>,
}

/// Gaps that a topic remembers; beyond it the oldest goes.
pub const GAPS_KEPT_MAX: usize = 100;

impl Shadow {
    /// Whether the link (or its failover) still keeps clients from writing.
    pub fn bound(&self) -> bool {
        !self.state.is_ours()
    }

    /// Remembers a gap. One that begins where a known one does is the same, found again; it may
    /// have grown.
    pub(crate) fn note_gap(&mut self, gap: GapEvent) {
        match self
            .gaps
            .iter_mut()
            .find(|known| (known.partition, known.from) == (gap.partition, gap.from))
        {
            Some(known) => known.to = known.to.max(gap.to),
            None => self.gaps.push(gap),
        }
        let beyond = self.gaps.len().saturating_sub(GAPS_KEPT_MAX);
        self.gaps.drain(..beyond);
    }
}

/// The recorded steps of a failover: what a restart goes on from. Steps between them leave no
/// record, since doing them again does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailoverStep {
    /// (a) No late answer of the source can be appended any more. Next: stop, flush, find the cut.
    Fenced,
    /// (c) and (d) Cut and new leader epoch stand in the partitions. Next: abort markers, last
    /// group offsets, then FAILED_OVER.
    Cut,
}

/// `LeaderEpoch` as a plain number.
pub(crate) mod leader_epoch {
    use gnomon_protocol::ids::LeaderEpoch;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(epoch: &LeaderEpoch, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(epoch.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<LeaderEpoch, D::Error> {
        i32::deserialize(deserializer).map(LeaderEpoch)
    }
}

/// `BatchEpoch` as a plain number.
pub(crate) mod batch_epoch {
    use gnomon_protocol::ids::BatchEpoch;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(epoch: &BatchEpoch, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(epoch.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BatchEpoch, D::Error> {
        i32::deserialize(deserializer).map(BatchEpoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_few_and_each_is_told_once() {
        let mut shadow = Shadow {
            link: LinkId(Uuid::nil()),
            link_name: "from-a".to_owned(),
            source_cluster_id: None,
            source_topic_id: None,
            state: TopicState::Active,
            reason: None,
            fence: 1,
            step: None,
            source_missing: false,
            gaps: Vec::new(),
        };
        let gap = |from: Offset| GapEvent {
            partition: 0,
            from,
            to: from + 1,
            at_ms: from,
            reason: "lost".to_owned(),
        };
        for from in 0..500 {
            shadow.note_gap(gap(from));
            shadow.note_gap(GapEvent {
                at_ms: 9_999,
                ..gap(from)
            });
        }
        assert_eq!(shadow.gaps.len(), GAPS_KEPT_MAX);
        assert_eq!(
            (
                shadow.gaps[0].clone(),
                shadow.gaps[GAPS_KEPT_MAX - 1].clone()
            ),
            (gap(400), gap(499))
        );
    }
}

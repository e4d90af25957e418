//! Failovers under way: batches of topics that move in step, and the commands that wait for them.

use crate::{reply::Reply, topic::LinkId};
use gnomon_links::failover::{Recorded, Reported};
use gnomon_machine::ReplyToken;
use gnomon_protocol::ids::{BatchEpoch, Offset, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// Where a partition's copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub end: Offset,
    pub last_epoch: BatchEpoch,
    pub highest_seen: i32,
}

#[derive(Debug, Default)]
pub(crate) struct Failovers {
    pub(crate) batches: BTreeMap<u64, Batch>,
    /// The batch that a topic is in.
    pub(crate) batch_of: BTreeMap<TopicId, u64>,
    next_batch: u64,
    pub(crate) waiting: BTreeMap<ReplyToken, Waiting>,
}

/// Topics of one link that move in step.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) link: LinkId,
    pub(crate) topics: BTreeSet<TopicId>,
    pub(crate) recorded: Recorded,
    pub(crate) reported: Reported,
    /// Partitions whose report on the present step is not in.
    pub(crate) missing: BTreeSet<(TopicId, i32)>,
    pub(crate) reached: BTreeMap<(TopicId, i32), Reached>,
}

/// A command whose caller waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) link: LinkId,
    pub(crate) topics: Vec<TopicId>,
    /// Those that are neither through nor stuck.
    pub(crate) pending: BTreeSet<TopicId>,
}

impl Failovers {
    /// Whether a topic's failover is going on, not stuck.
    pub(crate) fn has(&self, topic: TopicId) -> bool {
        self.batch_of.contains_key(&topic)
    }

    pub(crate) fn resign(&mut self) -> Vec<(ReplyToken, Reply)> {
        std::mem::take(self)
            .waiting
            .into_keys()
            .map(|token| (token, Reply::NotLeader))
            .collect()
    }

    pub(crate) fn begin(
        &mut self,
        link: LinkId,
        recorded: Recorded,
        topics: BTreeSet<TopicId>,
    ) -> u64 {
        let number = self.next_batch;
        self.next_batch += 1;
        self.batch_of
            .extend(topics.iter().map(|topic| (*topic, number)));
        let batch = Batch {
            link,
            topics,
            recorded,
            reported: Reported::default(),
            missing: BTreeSet::new(),
            reached: BTreeMap::new(),
        };
        self.batches.insert(number, batch);
        number
    }
}

//! OffsetCommit.
//!
//! - A member commits with its generation, also while a join phase is open: with KIP-429 members
//!   commit the partitions that they give up at that time. It cannot commit while assignments are
//!   awaited.
//! - A commit without generation and member, an administrator's or a simple consumer's, is taken
//!   only if the group has no members.
//! - The first commit on a topic erases the group's offsets on an earlier topic of the same name. A
//!   commit on a topic that no longer has the name is refused.
//! - A commit on a paired topic marks the group local on it, in the same batch. One on a topic that
//!   a link has synced and that is not paired now erases the link's mark. Either way the link's
//!   other offsets on the topic count from now: a link writes an offset only when it changes, so
//!   they may be older than the retention.

use super::{date_from_now, forget_earlier};
use crate::{
    Commit, CommitOffset, Committed, Durable, GroupError, GroupState, Groups, NAME_BYTES_MAX, Name,
    Origin, PartitionOutcome, Record, Reply, Soft, classic::Turn,
};
use gnomon_machine::{Effects, Now, ReplyToken};
use std::collections::BTreeSet;

pub(crate) fn commit(
    durable: &Durable,
    soft: &mut Soft,
    now: Now,
    request: Commit,
    token: ReplyToken,
) -> Effects<Groups> {
    let mut effects = Effects::none();
    let validated = soft.with_group(now, &request.group, &mut effects, |turn| {
        turn.validate_commit(&request)
    });
    match validated {
        Some(Err(error)) => return Effects::reply(token, Reply::Refused(error)),
        None if request.generation >= 0 => {
            return Effects::reply(
                token,
                Reply::Refused(GroupError::IllegalGeneration {
                    requested: request.generation,
                    current: -1,
                }),
            );
        }
        Some(Ok(())) | None => {}
    }
    let mut taken = Taken {
        durable,
        now,
        metadata_bytes_max: soft.config.metadata_bytes_max.min(NAME_BYTES_MAX),
        group: request.group,
        retention_ms: request.retention_ms,
        topics: BTreeSet::new(),
        records: effects.records,
    };
    let outcomes = request.offsets.into_iter().map(|offset| {
        let (topic, partition) = (offset.topic.clone(), offset.partition);
        let result = taken.take(offset);
        PartitionOutcome {
            topic,
            partition,
            result,
        }
    });
    let reply = Reply::Committed(outcomes.collect());
    Effects {
        records: taken.records,
        replies: vec![(token, reply)],
        actions: Vec::new(),
    }
}

/// The offsets of one request that have been taken so far.
struct Taken<'a> {
    durable: &'a Durable,
    now: Now,
    metadata_bytes_max: usize,
    group: Name,
    retention_ms: Option<i64>,
    topics: BTreeSet<Name>,
    records: Vec<Record>,
}

impl Taken<'_> {
    fn take(&mut self, offset: CommitOffset) -> Result<(), GroupError> {
        if !offset.is_current {
            return Err(GroupError::TopicGone);
        }
        let (bytes, max) = (offset.metadata.len(), self.metadata_bytes_max);
        if bytes > max {
            return Err(GroupError::MetadataTooLarge { bytes, max });
        }
        let topic = offset.topic.clone();
        let mark = if self.topics.insert(topic.clone()) {
            self.new_mark(&offset)
        } else {
            None
        };
        let expires_at_ms = self
            .retention_ms
            .map(|kept_ms| self.now.wall.0.saturating_add(kept_ms.max(0)));
        // Kafka's record has room for the time of expiry or for the other two, not for all.
        let (leader_epoch, topic_id) = match expires_at_ms {
            Some(_) => (-1, None),
            None => (offset.leader_epoch, Some(offset.topic_id)),
        };
        self.records.push(Record::Offset {
            group: self.group.clone(),
            topic: topic.clone(),
            partition: offset.partition,
            value: Some(Committed {
                offset: offset.offset,
                leader_epoch,
                metadata: offset.metadata,
                committed_at_ms: self.now.wall.0,
                expires_at_ms,
                topic_id,
            }),
        });
        if let Some(value) = mark {
            self.records.push(Record::Origin {
                group: self.group.clone(),
                topic,
                value,
            });
        }
        Ok(())
    }

    /// Prepares a topic for the first offset that the request commits on it: erases the offsets on
    /// an earlier topic of the name, and takes the others from the link that brought them. Returns
    /// the mark of origin to write, if it changes.
    fn new_mark(&mut self, first: &CommitOffset) -> Option<Option<Origin>> {
        let (durable, topic) = (self.durable, &first.topic);
        let id = first.topic_id;
        if forget_earlier(durable, &self.group, topic, id, &mut self.records) {
            return first.paired.then_some(Some(Origin::Local));
        }
        let topics = durable.offsets.get(&self.group);
        let here = topics.and_then(|topics| topics.get(topic));
        match here.and_then(|here| here.origin.as_ref()) {
            Some(Origin::Local) => None,
            Some(Origin::Link(_)) => {
                let others = here.into_iter().flat_map(|here| &here.partitions);
                let others = others.filter(|(partition, _)| **partition != first.partition);
                date_from_now(self.now, &self.group, topic, others, &mut self.records);
                Some(first.paired.then_some(Origin::Local))
            }
            None => first.paired.then_some(Some(Origin::Local)),
        }
    }
}

impl Turn<'_> {
    /// Checks the right to commit. A commit of a member is a sign of life.
    fn validate_commit(&mut self, request: &Commit) -> Result<(), GroupError> {
        if request.generation < 0
            && self.group.members.is_empty()
            && self.group.state == GroupState::Empty
        {
            return Ok(());
        }
        self.group
            .validate(&request.member_id, request.instance_id.as_ref())?;
        self.group.validate_generation(request.generation)?;
        if self.group.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        self.renew_session(&request.member_id);
        Ok(())
    }
}

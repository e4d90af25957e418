//! OffsetCommit.
//!
//! - A member commits with its generation, also while members join again (KIP-429 lives on it), but
//!   not while assignments are awaited.
//! - A commit without generation and member, an administrator's or a simple consumer's, is taken
//!   only if the group has no members.
//! - The first commit on a topic erases what the group has on an earlier one of its name. A commit
//!   on a topic that no longer has the name is refused.
//! - A commit on a paired topic marks the group local on it, in the same batch; one on a topic that
//!   a link used to sync takes the link's mark away.

use super::forget_earlier;
use crate::{
    Commit, CommitOffset, Committed, Durable, GroupError, GroupState, Groups, NAME_BYTES_MAX,
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
    let validated = Turn::at(soft, now, &request.group, &mut effects, |turn| {
        turn.validate_commit(&request)
    });
    match validated {
        Some(Err(error)) => return Effects::reply(token, Reply::Refused(error)),
        None if request.generation >= 0 => {
            return Effects::reply(
                token,
                Reply::Refused(GroupError::IllegalGeneration {
                    asked: request.generation,
                    current: -1,
                }),
            );
        }
        Some(Ok(())) | None => {}
    }
    let mut outcomes = Vec::with_capacity(request.offsets.len());
    let mut topics = BTreeSet::new();
    for CommitOffset {
        topic,
        topic_id,
        is_current,
        partition,
        offset,
        leader_epoch,
        metadata,
        paired,
    } in request.offsets
    {
        if !is_current {
            outcomes.push(PartitionOutcome {
                topic,
                partition,
                result: Err(GroupError::TopicGone),
            });
            continue;
        }
        let (bytes, max) = (
            metadata.len(),
            soft.config.metadata_bytes_max.min(NAME_BYTES_MAX),
        );
        if bytes > max {
            outcomes.push(PartitionOutcome {
                topic,
                partition,
                result: Err(GroupError::MetadataTooLarge { bytes, max }),
            });
            continue;
        }
        let expires_at_ms = request
            .retention_ms
            .map(|kept_ms| now.wall.0.saturating_add(kept_ms.max(0)));
        let leader_epoch = if expires_at_ms.is_some() {
            -1
        } else {
            leader_epoch
        };
        let first = topics.insert(topic.clone());
        let anew = first
            && forget_earlier(
                durable,
                &request.group,
                &topic,
                topic_id,
                &mut effects.records,
            );
        let topic_id = expires_at_ms.is_none().then_some(topic_id);
        let committed = Committed {
            offset,
            leader_epoch,
            metadata,
            committed_at_ms: now.wall.0,
            expires_at_ms,
            topic_id,
        };
        effects.records.push(Record::Offset {
            group: request.group.clone(),
            topic: topic.clone(),
            partition,
            value: Some(committed),
        });
        let mark = match durable.origin(&request.group, &topic).filter(|_| !anew) {
            Some(Origin::Local) => None,
            Some(Origin::Link(_)) | None if paired => Some(Some(Origin::Local)),
            Some(Origin::Link(_)) => Some(None),
            None => None,
        };
        if let Some(value) = mark
            && first
        {
            effects.records.push(Record::Origin {
                group: request.group.clone(),
                topic: topic.clone(),
                value,
            });
        }
        outcomes.push(PartitionOutcome {
            topic,
            partition,
            result: Ok(()),
        });
    }
    effects.replies.push((token, Reply::Committed(outcomes)));
    effects
}

impl Turn<'_> {
    /// Whether this member, or nobody, may commit; a member's commit is a sign of life.
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

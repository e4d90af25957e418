//! The records of a failover: a topic and its link after each step.

use super::batches::Reached;
use crate::{
    image::{Image, Link},
    topic::{Cut, FailoverStep, LinkId, Topic},
};
use gnomon_links::{
    LinkState, TopicState,
    failover::{EpochPolicy, EpochsExhausted, next_epoch},
    topic_state,
};
use gnomon_protocol::ids::{LeaderEpoch, TopicId};
use std::collections::BTreeMap;

/// Step (a): the topic is FAILING_OVER under a new fence.
pub(super) fn fenced(topic: &Topic) -> Topic {
    let mut topic = topic.clone();
    if let Some(shadow) = &mut topic.shadow {
        debug_assert!(topic_state::step(shadow.state, TopicState::FailingOver).is_ok());
        shadow.state = TopicState::FailingOver;
        shadow.step = Some(FailoverStep::Fenced);
        shadow.reason = None;
        shadow.fence += 1;
    }
    topic
}

/// Steps (c) and (d): the cut of each partition, and the epoch that is above every copied one.
pub(super) fn cut(
    topic: &Topic,
    reached: &BTreeMap<(TopicId, i32), Reached>,
    policy: EpochPolicy,
) -> Result<Topic, EpochsExhausted> {
    let mut topic = topic.clone();
    for (partition, index) in topic.partitions.iter_mut().zip(0..) {
        let Some(reached) = reached.get(&(topic.id, index)) else {
            continue;
        };
        let highest = reached
            .highest_seen
            .max(reached.last_epoch.0)
            .max(partition.leader_epoch.0);
        let epoch = LeaderEpoch(next_epoch(highest, policy)?);
        partition.leader_epoch = epoch;
        partition.cut = Some(Cut {
            end: reached.end,
            last_epoch: reached.last_epoch,
            epoch,
        });
    }
    if let Some(shadow) = &mut topic.shadow {
        (shadow.step, shadow.reason) = (Some(FailoverStep::Cut), None);
    }
    Ok(topic)
}

/// Step (g): the topic is ours.
pub(super) fn done(topic: &Topic) -> Topic {
    let mut topic = topic.clone();
    if let Some(shadow) = &mut topic.shadow {
        debug_assert!(topic_state::step(shadow.state, TopicState::FailedOver).is_ok());
        (shadow.state, shadow.step, shadow.reason) = (TopicState::FailedOver, None, None);
    }
    topic
}

/// A link that was asked to end whole and has no shadow left, as FAILED_OVER.
pub(crate) fn ended(image: &Image, link: LinkId) -> Option<Link> {
    let link = image
        .link(link)
        .filter(|link| link.ending && link.state != LinkState::FailedOver)?;
    if image.topics_of(link.id).any(|topic| topic.is_shadow()) {
        return None;
    }
    Some(Link {
        state: LinkState::FailedOver,
        ending: false,
        ..link.as_ref().clone()
    })
}

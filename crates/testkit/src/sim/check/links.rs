//! R8, R11, R13: what operators are told of links.

use super::{Check, unless};
use crate::sim::model::{Kind, Topic};
use gnomon_links::{TopicState, status::TopicStatus};
use gnomon_protocol::ids::Offset;

/// R8: a name that a link claims, or that another site owns, is not made here by clients.
pub fn r8_one_owner(name: &str, site: &str, refused: bool) -> Check {
    unless(refused, "R8", || {
        format!("{name} was made at {site}, where a link claims the name")
    })
}

/// R11: a shadow whose source was deleted and made again does not go on; it says why.
pub fn r11_made_again_is_a_fault(status: &TopicStatus) -> Check {
    let told = status.state == TopicState::Faulted
        && status
            .reason
            .as_ref()
            .is_some_and(|reason| !reason.is_empty());
    unless(told || !status.state.is_shadow(), "R11", || {
        format!(
            "the source of {} was made again, and its shadow is {}: {:?}",
            status.name, status.state, status.reason
        )
    })
}

/// R11: only what is a fault is one. A source that was killed, that lost its power, or that was not
/// reached is none; a source that trims what was not copied yet leaves a gap.
pub fn r11_no_fault_without_reason(topic: &Topic, status: &TopicStatus) -> Check {
    let gap = status
        .reason
        .as_ref()
        .is_some_and(|reason| reason.contains("gap"));
    let may_be = topic.stale == Some(status.id) || topic.kind == Kind::Trimmed && gap;
    unless(status.state != TopicState::Faulted || may_be, "R11", || {
        format!("{} is FAULTED: {:?}", status.name, status.reason)
    })
}

/// R5: a failover goes one way: what was reported as done stays done.
pub fn r5_done_is_done(topic: &Topic, status: &TopicStatus) -> Check {
    let done = topic
        .failover
        .as_ref()
        .is_some_and(|failover| failover.done);
    unless(
        !done || status.state == TopicState::FailedOver,
        "R5",
        || {
            format!(
                "{} was failed over, and is {}: {:?}",
                status.name, status.state, status.reason
            )
        },
    )
}

/// R13: everything is healed, and a site answers its operators.
pub fn unanswered(site: &str, why: &str) -> Check {
    unless(false, "R13", || {
        format!("{site} does not show its links: {why}")
    })
}

/// R13: everything is healed, and the shadow has all of its source, or stands still for good
/// reason. `known`: what the source is known to have, by partition.
pub fn r13_level(topic: &Topic, status: Option<&TopicStatus>, known: &[Offset]) -> Check {
    let Some(status) = status else {
        return unless(false, "R13", || format!("{} has no shadow", topic.name));
    };
    let copies = match status.state {
        TopicState::Faulted => return Ok(()),
        TopicState::FailedOver if topic.failover.is_some() => return Ok(()),
        TopicState::Active => status.source_topic_id == topic.ids[topic.owner],
        _ => false,
    };
    unless(copies, "R13", || {
        format!(
            "the shadow of {} is {} of {:?}: {:?}",
            topic.name, status.state, status.source_topic_id, status.reason
        )
    })?;
    for (partition, known) in status.partitions.iter().zip(known) {
        let quick = partition
            .lag
            .as_ref()
            .is_some_and(|lag| lag.records == 0 && lag.seconds < 1.0);
        unless(quick && partition.high_watermark >= *known, "R13", || {
            format!(
                "{}-{} has {} of {known}, lag {:?}, {:?}",
                topic.name,
                partition.partition,
                partition.high_watermark,
                partition.lag,
                partition.error
            )
        })?;
    }
    Ok(())
}

//! Which offsets are too old to keep (KIP-211).
//!
//! - An empty group's offsets count from when it became empty, or from their commit if that was
//!   later.
//! - A stable group of consumers loses what nobody in it subscribes to any more, from the commit;
//!   any other group with members loses nothing.
//! - A group that only ever had offsets counts from the commit. A commit that named its own time of
//!   expiry is held to it.
//! - What a link brought does not expire here: see `sync.rs`.
//! - An empty group without offsets left is erased.

use super::{RECORDS_MAX, forget_topic, subscribed_topics};
use crate::{Committed, Durable, GroupState, Name, Origin, Record, Soft, classic::Group};
use gnomon_machine::Now;
use std::collections::BTreeSet;

/// The records that erase what has expired; and whether there may be more, for the next check,
/// which then comes soon.
pub(crate) fn expire(durable: &Durable, soft: &mut Soft, now: Now) -> (Vec<Record>, bool) {
    let mut records = Vec::new();
    let names: BTreeSet<&Name> = durable
        .groups
        .keys()
        .chain(durable.offsets.keys())
        .collect();
    for name in names {
        if records.len() >= RECORDS_MAX {
            return (records, true);
        }
        expire_group(durable, soft, now, name, &mut records);
    }
    (records, false)
}

fn expire_group(
    durable: &Durable,
    soft: &mut Soft,
    now: Now,
    name: &Name,
    records: &mut Vec<Record>,
) {
    let group = soft.groups.get(name);
    let Some(rule) = Rule::of(group) else { return };
    let retention_ms = i64::try_from(soft.config.offsets_retention_ms).unwrap_or(i64::MAX);
    let mut kept = false;
    for (topic, offsets) in durable.offsets.get(name).into_iter().flatten() {
        if matches!(offsets.origin, Some(Origin::Link(_))) {
            kept = true;
            continue;
        }
        let expired = |committed: &Committed| match committed.expires_at_ms {
            Some(at) => now.wall.0 >= at && rule.base(topic, committed).is_some(),
            None => rule
                .base(topic, committed)
                .is_some_and(|base| now.wall.0.saturating_sub(base) >= retention_ms),
        };
        kept |= !forget_topic(name, topic, offsets, expired, records);
    }
    if !kept && group.is_some_and(|group| group.is_idle()) {
        if durable.groups.contains_key(name) {
            records.push(Record::Group {
                group: name.clone(),
                value: None,
            });
        }
        soft.groups.remove(name);
    }
}

/// What a group's offsets count from.
enum Rule {
    /// It has been empty since then.
    Empty(i64),
    /// It has offsets and nothing else.
    Simple,
    /// Consumers with these subscriptions.
    Subscribed(BTreeSet<Name>),
}

impl Rule {
    /// `None`: nothing of it expires.
    fn of(group: Option<&Group>) -> Option<Rule> {
        let Some(group) = group else {
            return Some(Rule::Simple);
        };
        match group.state {
            GroupState::Empty => Some(Rule::Empty(group.since_ms)),
            GroupState::Stable if group.protocol_type.as_deref() == Some("consumer") => {
                let mut topics = BTreeSet::new();
                for member in group.members.values() {
                    topics.append(&mut subscribed_topics(&group.metadata_of(member))?);
                }
                Some(Rule::Subscribed(topics))
            }
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => None,
        }
    }

    fn base(&self, topic: &Name, committed: &Committed) -> Option<i64> {
        match self {
            Rule::Empty(since_ms) => Some(committed.committed_at_ms.max(*since_ms)),
            Rule::Simple => Some(committed.committed_at_ms),
            Rule::Subscribed(topics) => {
                (!topics.contains(topic)).then_some(committed.committed_at_ms)
            }
        }
    }
}

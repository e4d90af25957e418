//! Expiry of offsets (KIP-211). The retention of an offset is counted from
//!
//! - the moment at which the group became empty, or the commit if that was later, in an empty
//!   group;
//! - the commit, for a topic to which no member subscribes, in a stable group of consumers;
//! - the commit, in a group that has only offsets.
//!
//! In other groups with members nothing expires, because nobody knows their subscriptions. A commit
//! that named its own time of expiry expires then. Offsets that a link brought do not expire here:
//! see `sync.rs`. An empty group without offsets is erased.

use super::{RECORDS_MAX, Room, forget_topic, subscribed_topics};
use crate::{Committed, Durable, GroupState, Name, Origin, Record, Soft, classic::Group};
use gnomon_machine::Now;
use std::collections::BTreeSet;

/// The records that erase expired offsets, and whether there may be more: then the next check comes
/// soon.
pub(crate) fn expire(durable: &Durable, soft: &mut Soft, now: Now) -> (Vec<Record>, bool) {
    let (mut records, room) = (Vec::new(), Room::new());
    let names: BTreeSet<&Name> = durable
        .groups
        .keys()
        .chain(durable.offsets.keys())
        .collect();
    for name in names {
        if records.len() >= RECORDS_MAX || room.was_short() {
            return (records, true);
        }
        expire_group(durable, soft, now, name, &room, &mut records);
    }
    (records, room.was_short())
}

fn expire_group(
    durable: &Durable,
    soft: &mut Soft,
    now: Now,
    name: &Name,
    room: &Room,
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
        let fits = |committed: &Committed| expired(committed) && room.take(name, topic);
        kept |= !forget_topic(name, topic, offsets, fits, records);
    }
    if !kept && group.is_some_and(|group| group.is_idle()) {
        if durable.groups.contains_key(name) {
            if !room.take(name, "") {
                return;
            }
            records.push(Record::Group {
                group: name.clone(),
                value: None,
            });
        }
        soft.groups.remove(name);
    }
}

/// The moment from which the retention of a group's offsets is counted.
enum Rule {
    /// Empty since this wall time in milliseconds.
    Empty(i64),
    /// A group that has offsets and never had a member.
    Simple,
    /// A stable group of consumers with these subscriptions.
    Subscribed(BTreeSet<Name>),
}

impl Rule {
    /// `None` if none of its offsets expires.
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

//! Committed offsets: commit, fetch, sync from a link, expiry, deletion.
//!
//! Who may commit is the living group's to say; what is committed is `Durable`'s. A topic's mark of origin goes with its last offset.

mod commit;
mod expire;
mod fetch;
mod subscription;
mod sync;

pub(crate) use commit::commit;
pub(crate) use expire::expire;
pub(crate) use fetch::fetch;
pub(crate) use subscription::subscribed_topics;
pub(crate) use sync::{sync, sync_ended};

use crate::{Durable, Name, Record, durable::TopicOffsets};

/// The group, its offsets and marks are erased.
pub(crate) fn forget_group(durable: &Durable, group: &Name) -> Vec<Record> {
    let mut records = Vec::new();
    for (topic, offsets) in durable.offsets.get(group).into_iter().flatten() {
        forget_topic(group, topic, offsets, &mut records);
    }
    if durable.groups.contains_key(group) {
        records.push(Record::Group { group: group.clone(), value: None });
    }
    records
}

/// Topics that are gone take their offsets along, in every group.
pub(crate) fn forget_topics(durable: &Durable, topics: &[Name]) -> Vec<Record> {
    let mut records = Vec::new();
    for (group, by_topic) in &durable.offsets {
        for topic in topics {
            if let Some(offsets) = by_topic.get(topic) {
                forget_topic(group, topic, offsets, &mut records);
            }
        }
    }
    records
}

fn forget_topic(group: &Name, topic: &Name, offsets: &TopicOffsets, records: &mut Vec<Record>) {
    for partition in offsets.partitions.keys() {
        records.push(Record::Offset { group: group.clone(), topic: topic.clone(), partition: *partition, value: None });
    }
    if offsets.origin.is_some() {
        records.push(Record::Origin { group: group.clone(), topic: topic.clone(), value: None });
    }
}

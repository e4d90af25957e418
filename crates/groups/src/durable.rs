//! The durable state of groups and offsets; only [`Durable::apply`] changes it.
//!
//! A topic's mark of origin has records of its own. The code that erases the last offset of a topic
//! must erase the mark as well.

use crate::{Committed, GroupValue, Name, Origin, Record};
use gnomon_protocol::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// Groups and committed offsets of one partition of `__consumer_offsets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    pub(crate) groups: BTreeMap<Name, GroupValue>,
    pub(crate) offsets: BTreeMap<Name, BTreeMap<Name, TopicOffsets>>,
}

/// A group's positions on one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicOffsets {
    pub partitions: BTreeMap<i32, Committed>,
    pub origin: Option<Origin>,
}

impl Durable {
    /// A group as last written; a group that only has offsets is not here.
    pub fn group(&self, group: &str) -> Option<&GroupValue> {
        self.groups.get(group)
    }

    /// The committed offset of a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.offsets
            .get(group)?
            .get(topic)?
            .partitions
            .get(&partition)
    }

    /// The origin of the group's offsets on this topic; `None` if nothing marks it.
    pub fn origin(&self, group: &str, topic: &str) -> Option<&Origin> {
        self.offsets.get(group)?.get(topic)?.origin.as_ref()
    }

    /// The topics on which any group has offsets, each once: name, and id if it is known.
    pub fn committed_on(&self) -> BTreeSet<(&Name, Option<TopicId>)> {
        let topics = self.offsets.values().flatten();
        topics
            .flat_map(|(topic, offsets)| {
                offsets
                    .partitions
                    .values()
                    .map(move |committed| (topic, committed.topic_id))
            })
            .collect()
    }

    /// Every group and topic with offsets, with the mark of origin, in order; for tests.
    #[doc(hidden)]
    pub fn topics(&self) -> impl Iterator<Item = (&Name, &Name, Option<&Origin>)> {
        self.offsets.iter().flat_map(|(group, topics)| {
            topics
                .iter()
                .map(move |(topic, offsets)| (group, topic, offsets.origin.as_ref()))
        })
    }

    /// Checks, for tests, that no group has offsets on two topics that had one name.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (group, topics) in &self.offsets {
            for (topic, offsets) in topics {
                let on: BTreeSet<_> = offsets
                    .partitions
                    .values()
                    .filter_map(|committed| committed.topic_id)
                    .collect();
                if on.len() > 1 {
                    return Err(format!(
                        "group {group} has offsets on several topics that had the name {topic}"
                    ));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Group {
                group,
                value: Some(value),
            } => {
                self.groups.insert(group.clone(), value.clone());
            }
            Record::Group { group, value: None } => {
                self.groups.remove(group);
            }
            Record::Offset {
                group,
                topic,
                partition,
                value: Some(value),
            } => {
                self.topic_mut(group, topic)
                    .partitions
                    .insert(*partition, value.clone());
            }
            Record::Offset {
                group,
                topic,
                partition,
                value: None,
            } => {
                self.topic_mut(group, topic).partitions.remove(partition);
                self.drop_if_empty(group, topic);
            }
            Record::Origin {
                group,
                topic,
                value,
            } => {
                self.topic_mut(group, topic).origin = value.clone();
                self.drop_if_empty(group, topic);
            }
        }
    }

    pub(crate) fn snapshot(&self) -> Vec<Record> {
        let mut records: Vec<_> = self
            .groups
            .iter()
            .map(|(group, value)| Record::Group {
                group: group.clone(),
                value: Some(value.clone()),
            })
            .collect();
        for (group, topics) in &self.offsets {
            for (topic, offsets) in topics {
                let (group, topic) = (group.clone(), topic.clone());
                records.extend(offsets.partitions.iter().map(|(partition, value)| {
                    Record::Offset {
                        group: group.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        value: Some(value.clone()),
                    }
                }));
                if let Some(origin) = &offsets.origin {
                    records.push(Record::Origin {
                        group,
                        topic,
                        value: Some(origin.clone()),
                    });
                }
            }
        }
        records
    }

    fn topic_mut(&mut self, group: &Name, topic: &Name) -> &mut TopicOffsets {
        self.offsets
            .entry(group.clone())
            .or_default()
            .entry(topic.clone())
            .or_default()
    }

    fn drop_if_empty(&mut self, group: &Name, topic: &Name) {
        let Some(topics) = self.offsets.get_mut(group) else {
            return;
        };
        if topics
            .get(topic)
            .is_some_and(|offsets| offsets.partitions.is_empty() && offsets.origin.is_none())
        {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.offsets.remove(group);
        }
    }
}

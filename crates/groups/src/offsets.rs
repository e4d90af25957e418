//! Committed offsets: commit, fetch, sync from a link, expiry, deletion.
//!
//! The living group decides whether a member may commit; `Durable` holds the offsets. A topic's
//! mark of origin is erased with its last offset. The offsets on a topic are erased before anything
//! is written for a later topic of the same name: a group never has offsets on two topics of one
//! name. The later topic is the one that has the name in the metadata; ids have no order.

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

use crate::{
    Committed, DeletedTopic, Durable, Name, Record, Reply, admit::OFFSET_BYTES,
    durable::TopicOffsets,
};
use gnomon_machine::Now;
use gnomon_protocol::ids::TopicId;
use std::cell::Cell;

/// The number of records after which `TopicsDeleted`, `SyncEnded` and expiry stop, to go on in
/// another step: a batch must fit into the log, and other requests must run between.
pub(crate) const RECORDS_MAX: usize = 5_000;

/// The room for tombstones in one batch. A record repeats the group's name, which a client chooses:
/// a number of records alone does not bound a batch, and a batch that the log refuses makes the
/// coordinator resign, for all groups of the partition. The tombstones of marks are not counted: they
/// at most double the batch.
pub(crate) struct Room {
    left: Cell<usize>,
    was_short: Cell<bool>,
}

impl Room {
    /// Far below the batch that the log of groups takes, so that requests run between.
    const BYTES: usize = 1 << 20;

    pub fn new() -> Room {
        Room {
            left: Cell::new(Room::BYTES),
            was_short: Cell::new(false),
        }
    }

    /// Takes room for a tombstone with these names, if there is enough.
    pub fn take(&self, group: &Name, topic: &str) -> bool {
        let bytes = OFFSET_BYTES + group.len() + topic.len();
        match self.left.get().checked_sub(bytes) {
            Some(left) => self.left.set(left),
            None => self.was_short.set(true),
        }
        !self.was_short.get()
    }

    /// Whether something did not fit, and has to wait for the next batch.
    pub fn was_short(&self) -> bool {
        self.was_short.get()
    }
}

/// Erases a group with its offsets and marks, as far as there is room; returns whether nothing is
/// left of it.
pub(crate) fn forget_group(
    durable: &Durable,
    group: &Name,
    room: &Room,
    records: &mut Vec<Record>,
) -> bool {
    for (topic, offsets) in durable.offsets.get(group).into_iter().flatten() {
        let fits = |_: &Committed| room.take(group, topic);
        if !forget_topic(group, topic, offsets, fits, records) {
            return false;
        }
    }
    if !durable.groups.contains_key(group) {
        return true;
    }
    let fits = room.take(group, "");
    if fits {
        records.push(Record::Group {
            group: group.clone(),
            value: None,
        });
    }
    fits
}

/// The records that erase the offsets on deleted topics, in every group.
pub(crate) fn forget_topics(durable: &Durable, topics: &[DeletedTopic]) -> (Vec<Record>, Reply) {
    let (mut records, room) = (Vec::new(), Room::new());
    for (group, by_topic) in &durable.offsets {
        for DeletedTopic { name, id } in topics {
            let on = |committed: &Committed| committed.is_on(*id);
            let Some(offsets) = by_topic
                .get(name)
                .filter(|offsets| offsets.partitions.values().any(on))
            else {
                continue;
            };
            if records.len() >= RECORDS_MAX {
                return (records, Reply::DoneInPart);
            }
            let fits = |committed: &Committed| on(committed) && room.take(group, name);
            forget_topic(group, name, offsets, fits, &mut records);
            if room.was_short() {
                return (records, Reply::DoneInPart);
            }
        }
    }
    (records, Reply::Done)
}

/// Erases the offsets that a group has on an earlier topic of this name, with their mark; returns
/// whether there were any. `id` MUST be the topic that has the name now: then any other is earlier.
fn forget_earlier(
    durable: &Durable,
    group: &Name,
    topic: &Name,
    id: TopicId,
    records: &mut Vec<Record>,
) -> bool {
    let here = durable
        .offsets
        .get(group)
        .and_then(|topics| topics.get(topic));
    let earlier = here.filter(|offsets| {
        offsets
            .partitions
            .values()
            .any(|committed| !committed.is_on(Some(id)))
    });
    if let Some(offsets) = earlier {
        forget_topic(group, topic, offsets, |_| true, records);
    }
    earlier.is_some()
}

/// Erases the offsets of a group on a topic for which `such` holds; returns whether none is left.
fn forget_topic(
    group: &Name,
    topic: &Name,
    offsets: &TopicOffsets,
    such: impl Fn(&Committed) -> bool,
    records: &mut Vec<Record>,
) -> bool {
    let mut all = true;
    for (partition, committed) in &offsets.partitions {
        if such(committed) {
            records.push(Record::Offset {
                group: group.clone(),
                topic: topic.clone(),
                partition: *partition,
                value: None,
            });
        } else {
            all = false;
        }
    }
    if all && offsets.origin.is_some() {
        records.push(Record::Origin {
            group: group.clone(),
            topic: topic.clone(),
            value: None,
        });
    }
    all
}

/// Writes offsets that a link brought with the present time. The link wrote each when it changed at
/// the source, perhaps long ago; without it they expire, and have a whole retention first.
fn date_from_now<'a>(
    now: Now,
    group: &Name,
    topic: &Name,
    offsets: impl Iterator<Item = (&'a i32, &'a Committed)>,
    records: &mut Vec<Record>,
) {
    records.extend(offsets.map(|(partition, before)| Record::Offset {
        group: group.clone(),
        topic: topic.clone(),
        partition: *partition,
        value: Some(Committed {
            committed_at_ms: now.wall.0,
            ..before.clone()
        }),
    }));
}

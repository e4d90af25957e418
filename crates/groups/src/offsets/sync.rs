//! Offsets that a link brings from its source, and the end of that.
//!
//! - A group with live members here keeps its offsets, and so does a topic that is marked local: a
//!   client has committed on it here.
//! - An offset whose topic no longer has its name is skipped: it must not erase the offsets on the
//!   topic that has the name now.
//! - Otherwise the source's offset is written, whether higher or lower. The same offset is not
//!   written again, so that an idle link writes nothing.
//! - A topic that a link syncs is marked with the link's name, and its offsets do not expire: the
//!   source knows whether they are still wanted. When the source no longer has them, or the link
//!   ends, the mark is erased and the retention starts *now*, so that a group that was idle for
//!   long does not lose its offsets in a failover.
//!
//! Not here: the groups and topics that a link selects, limiting offsets to the copied records,
//! waiting for records; the link's task does that before it sends the event.

use super::{RECORDS_MAX, Room, date_from_now, forget_earlier};
use crate::{
    Committed, Durable, Name, Origin, Record, Reply, SkipReason, Soft, SyncEnded, SyncOffset,
    SyncOffsets, SyncOutcome, SyncedPartition, admit::OFFSET_BYTES, durable::TopicOffsets,
};
use gnomon_machine::Now;
use std::collections::{BTreeMap, BTreeSet};

/// The records that take the offsets over, and the reply; no records if the request only asks for
/// the reply.
pub(crate) fn sync(
    durable: &Durable,
    soft: &Soft,
    now: Now,
    request: SyncOffsets,
) -> (Vec<Record>, Reply) {
    let live = soft
        .groups
        .get(&request.group)
        .is_some_and(|group| !group.members.is_empty());
    let mut plan = SyncPlan::new(durable, now, request.group, request.link);
    let (mut named, mut outdated) = (BTreeSet::new(), BTreeSet::new());
    let mut outcomes = Vec::with_capacity(request.offsets.len());
    for offset in request.offsets {
        let (topic, topic_id, partition) =
            (offset.topic.clone(), offset.topic_id, offset.partition);
        named.insert(topic.clone());
        let brought = offset.offset;
        if !offset.is_current {
            outdated.insert(topic.clone());
        }
        let outcome = if !offset.is_current {
            SyncOutcome::Skipped(SkipReason::TopicGone)
        } else if live {
            SyncOutcome::Skipped(SkipReason::LiveMembers)
        } else {
            plan.take(offset)
        };
        let stands = match outcome {
            SyncOutcome::Applied | SyncOutcome::Unchanged => Some(brought),
            SyncOutcome::Skipped(_) => durable
                .committed(&plan.group, &topic, partition)
                .filter(|here| here.is_on(Some(topic_id)))
                .map(|here| here.offset),
        };
        outcomes.push(SyncedPartition {
            topic,
            partition,
            outcome,
            stands,
        });
    }
    if request.complete {
        plan.release(|topic| !named.contains(topic));
    }
    if request.last {
        plan.release(|topic| named.contains(topic) && !outdated.contains(topic));
    }
    let records = if request.validate_only {
        Vec::new()
    } else {
        plan.records
    };
    (records, Reply::OffsetsSynced(outcomes))
}

/// The records that release a link's offsets, in every group.
pub(crate) fn sync_ended(durable: &Durable, now: Now, request: &SyncEnded) -> (Vec<Record>, Reply) {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for group in durable.offsets.keys() {
        let mut plan = SyncPlan::new(durable, now, group.clone(), request.link.clone());
        plan.release(|topic| {
            request
                .topics
                .as_ref()
                .is_none_or(|topics| topics.contains(topic))
        });
        // A group is released at once: a part of it could not be told from the rest, since the mark
        // is the topic's.
        let plan_bytes: usize = plan.records.iter().map(record_bytes).sum();
        let too_many = records.len() + plan.records.len() > RECORDS_MAX;
        if !records.is_empty() && (too_many || bytes + plan_bytes > Room::BYTES) {
            return (records, Reply::DoneInPart);
        }
        bytes += plan_bytes;
        records.append(&mut plan.records);
    }
    (records, Reply::Done)
}

/// The size of a plan's record in a batch, in bytes, estimated from above.
fn record_bytes(record: &Record) -> usize {
    match record {
        Record::Group { group, .. } => OFFSET_BYTES + group.len(),
        Record::Origin { group, topic, .. } => OFFSET_BYTES + group.len() + topic.len(),
        Record::Offset {
            group,
            topic,
            value,
            ..
        } => {
            let metadata = value.as_ref().map_or(0, |value| value.metadata.len());
            OFFSET_BYTES + group.len() + topic.len() + metadata
        }
    }
}

/// The changes of one step to one group's offsets.
struct SyncPlan<'a> {
    durable: &'a Durable,
    now: Now,
    group: Name,
    link: Name,
    records: Vec<Record>,
    /// Offsets that this step has written; `durable` does not have them yet.
    written: BTreeMap<Name, BTreeMap<i32, Committed>>,
    /// Topics whose offsets in `durable` are erased by this step: they were an earlier topic's.
    replaced: BTreeSet<Name>,
}

impl<'a> SyncPlan<'a> {
    fn new(durable: &'a Durable, now: Now, group: Name, link: Name) -> SyncPlan<'a> {
        SyncPlan {
            durable,
            now,
            group,
            link,
            records: Vec::new(),
            written: BTreeMap::new(),
            replaced: BTreeSet::new(),
        }
    }

    /// The offsets on a topic before this step.
    fn before(&self, topic: &Name) -> Option<&'a TopicOffsets> {
        if self.replaced.contains(topic) {
            None
        } else {
            self.durable.offsets.get(&self.group)?.get(topic)
        }
    }

    fn take(&mut self, offset: SyncOffset) -> SyncOutcome {
        let SyncOffset {
            topic,
            topic_id,
            is_current: _,
            partition,
            offset,
            leader_epoch,
            metadata,
        } = offset;
        if !self.written.contains_key(&topic)
            && forget_earlier(
                self.durable,
                &self.group,
                &topic,
                topic_id,
                &mut self.records,
            )
        {
            self.replaced.insert(topic.clone());
        }
        let before = self.before(&topic);
        let origin = before.and_then(|before| before.origin.as_ref());
        if origin == Some(&Origin::Local) {
            return SyncOutcome::Skipped(SkipReason::Local);
        }
        let ours = origin == Some(&Origin::Link(self.link.clone()));
        if !ours && !self.written.contains_key(&topic) {
            let value = Some(Origin::Link(self.link.clone()));
            self.records.push(Record::Origin {
                group: self.group.clone(),
                topic: topic.clone(),
                value,
            });
        }
        let here = self
            .written
            .get(&topic)
            .and_then(|partitions| partitions.get(&partition));
        let here = here.or_else(|| before?.partitions.get(&partition));
        let unchanged = here.is_some_and(|here| {
            here.offset == offset && here.leader_epoch == leader_epoch && here.metadata == metadata
        });
        let partitions = self.written.entry(topic.clone()).or_default();
        if unchanged {
            return SyncOutcome::Unchanged;
        }
        let committed = Committed {
            offset,
            leader_epoch,
            metadata,
            committed_at_ms: self.now.wall.0,
            expires_at_ms: None,
            topic_id: Some(topic_id),
        };
        partitions.insert(partition, committed.clone());
        self.records.push(Record::Offset {
            group: self.group.clone(),
            topic,
            partition,
            value: Some(committed),
        });
        SyncOutcome::Applied
    }

    /// Erases this link's mark from the selected topics: their offsets expire like any from now on.
    fn release(&mut self, selects: impl Fn(&Name) -> bool) {
        let empty = TopicOffsets::default();
        let by_topic = self.durable.offsets.get(&self.group);
        let topics: BTreeSet<&Name> = by_topic
            .into_iter()
            .flat_map(BTreeMap::keys)
            .chain(self.written.keys())
            .filter(|topic| selects(topic))
            .collect();
        let mut records = Vec::new();
        for topic in topics {
            let here = self.before(topic).unwrap_or(&empty);
            if !self.written.contains_key(topic)
                && here.origin != Some(Origin::Link(self.link.clone()))
            {
                continue;
            }
            let written = self.written.get(topic);
            // Offsets that this step wrote have the present time already.
            let others = here.partitions.iter().filter(|(partition, _)| {
                written.is_none_or(|written| !written.contains_key(partition))
            });
            date_from_now(self.now, &self.group, topic, others, &mut records);
            records.push(Record::Origin {
                group: self.group.clone(),
                topic: topic.clone(),
                value: None,
            });
        }
        self.records.extend(records);
    }
}

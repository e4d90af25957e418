//! The state of both sites by the answers that clients got, and the invariants that each new answer
//! is compared with.
//!
//! Nothing here looks into a broker. The first broken invariant ends the run.

mod commits;

use super::{
    check::{
        Check, Violation,
        groups::Commits,
        records::{self, Ack},
        shadows::{self, Cut},
        txns,
    },
    log::{AckedRecord, Marks, PartitionLog, SeenBatch},
    trace::Trace,
    work::committed::Committed,
};
use gnomon_protocol::ids::{Offset, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// The sites, by number.
pub const SITES: [&str; 2] = ["a", "b"];

/// A partition of one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId {
    pub site: usize,
    /// The topic's id there.
    pub topic: TopicId,
    pub partition: i32,
}

/// The purpose of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keeps everything.
    Plain,
    /// Old segments go after seconds.
    Trimmed,
    /// Keeps everything; transactions are written into it while its site is down.
    Transactional,
}

/// How a transaction stands at the site that it was written at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Undecided.
    Open,
    /// Decided.
    Ended {
        /// Committed, or aborted.
        commit: bool,
        /// Where its marker stands.
        marker: Offset,
    },
}

/// A transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Txn {
    /// Offset of its first record.
    pub first: Offset,
    /// How it stands.
    pub fate: Fate,
    pub records: u64,
}

/// A topic, from its creation by a client to its deletion.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    /// Rises with every topic made, also under the same name.
    pub generation: u64,
    /// The site that made it.
    pub owner: usize,
    /// How many partitions.
    pub partitions: i32,
    /// Its purpose.
    pub kind: Kind,
    /// Its id at each site, once known.
    pub ids: [Option<TopicId>; 2],
    /// At the site that shadows it: what is known of a failover.
    pub failover: Option<Failover>,
    /// Somebody began to delete it: nothing is promised of it any more.
    pub retired: bool,
    /// A topic of this name was deleted before: its id at the site that shadowed it. An answer that
    /// is under way may speak of it long after its end.
    pub former: Option<TopicId>,
    /// At the site that shadows it: what still stands there from before it was made again under its
    /// name.
    pub stale: Option<TopicId>,
}

/// A failover of one topic, from the moment that somebody may have asked for it.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    /// By partition, once reported.
    pub cuts: BTreeMap<i32, Cut>,
    /// High watermarks that readers of the shadow had been told before.
    pub seen: BTreeMap<i32, Offset>,
    /// It was reported as done.
    pub done: bool,
}

/// One fetch of one partition, answered.
#[derive(Clone, Debug)]
pub struct ObservedFetch {
    /// The offset that was asked for.
    pub from: Offset,
    /// The marks that were known when the request was sent.
    pub floor: Marks,
    /// As answered.
    pub marks: Marks,
    /// Whole batches.
    pub batches: Vec<SeenBatch>,
}

/// One produce, answered well.
#[derive(Clone, Debug)]
pub struct Written {
    /// As answered.
    pub base: Offset,
    /// The records.
    pub values: Vec<String>,
    /// acks=all.
    pub durable: bool,
    /// The epoch that the producer believed in, if the site was the same process from the question
    /// to the answer.
    pub epoch: Option<i32>,
    /// High watermark known before the first attempt; `None` if the batch may have come by a link.
    pub end_before: Option<Offset>,
    /// How often the site had lost its power when the batch was sent.
    pub power_losses: u64,
}

/// Everything known.
#[derive(Debug, Default)]
pub struct Model {
    /// The story.
    pub trace: Trace,
    /// The first broken invariant.
    pub broken: Option<Violation>,
    /// By name: those that are there now, retired ones included until they are gone.
    pub topics: BTreeMap<String, Topic>,
    /// The partitions of each site.
    pub logs: BTreeMap<LogId, PartitionLog>,
    /// By site, group and partition.
    pub commits: BTreeMap<(usize, String, (String, i32)), Commits>,
    /// By number, as in their values.
    pub txns: BTreeMap<u32, Txn>,
    /// Commits tried.
    pub attempts: u64,
    /// By producer: records it has sent, whatever came of them.
    pub sent: BTreeMap<u32, u64>,
    /// Producers whose records lie in the order in which they were sent: idempotent, and never
    /// without their sequence.
    pub in_order: BTreeSet<u32>,
    /// By site: processes started.
    pub lives: [u64; 2],
    /// By site: how often the power went.
    pub power_losses: [u64; 2],
    /// By site: its disk fails, and what it has been given without a promise may not be there.
    pub doubted: [bool; 2],
}

/// A value is `topic#generation/partition:producer.number`.
pub fn value(topic: &str, generation: u64, partition: i32, producer: u32, number: u64) -> String {
    format!("{topic}#{generation}/{partition}:{producer}.{number}")
}

/// The producer and its number.
pub fn producer_of(value: &str) -> Option<(u32, u64)> {
    let (producer, number) = value.rsplit_once(':')?.1.split_once('.')?;
    Some((producer.parse().ok()?, number.parse().ok()?))
}

impl Model {
    /// A partition's log, if the topic's id there is known.
    pub fn id(&self, site: usize, topic: &str, partition: i32) -> Option<LogId> {
        Some(LogId {
            site,
            topic: self.topics.get(topic)?.ids[site]?,
            partition,
        })
    }

    /// The known marks of a partition, before a request about it.
    pub fn marks(&self, id: LogId) -> Marks {
        self.logs.get(&id).map_or(Marks::default(), |log| log.marks)
    }

    /// The topic with this id at a site, unless it was retired.
    pub fn topic(&self, site: usize, id: TopicId) -> Option<&Topic> {
        self.topics
            .values()
            .find(|topic| topic.ids[site] == Some(id) && !topic.retired)
    }

    /// The power went at a site.
    pub fn lost_power(&mut self, site: usize) {
        self.power_losses[site] += 1;
        self.logs
            .iter_mut()
            .filter(|(id, _)| id.site == site)
            .for_each(|(_, log)| log.lost_power());
    }

    /// A reader is answered.
    pub fn read(&mut self, id: LogId, told: ObservedFetch) -> Check {
        let Some(topic) = self.topic(id.site, id.topic).cloned() else {
            return Ok(());
        };
        let source = (topic.owner != id.site).then(|| {
            topic.ids[topic.owner].map(|source| LogId {
                site: topic.owner,
                topic: source,
                ..id
            })
        });
        records::l2_watermark_rises(told.floor, told.marks.high_watermark)?;
        records::l2_dense(told.from, &told.batches, told.marks.high_watermark)?;
        let empty = PartitionLog::default();
        for batch in told.batches {
            let log = self.logs.get(&id).unwrap_or(&empty);
            self.nothing_invented(&topic, id.partition, &batch)?;
            records::l2_same_bytes(log, &batch)?;
            records::l2_not_reused(log, &batch)?;
            records::l1_once(log, &batch)?;
            records::l1_acked_is_there(log, &batch)?;
            let cut = topic
                .failover
                .as_ref()
                .and_then(|failover| failover.cuts.get(&id.partition))
                .copied();
            match (source.flatten(), cut) {
                (None, _) => {}
                (Some(_), Some(cut)) if batch.base >= cut.end => {
                    shadows::r5_nothing_late(cut, &batch)?
                }
                (Some(source), cut) => {
                    cut.map_or(Ok(()), |cut| shadows::r5_nothing_late(cut, &batch))?;
                    // While a failover runs, what is written after the cut cannot be told from
                    // what was copied until the cut is known.
                    if topic.failover.is_none() || cut.is_some() {
                        shadows::r1_same_bytes(self.logs.get(&source).unwrap_or(&empty), &batch)?;
                    }
                }
            }
            self.logs.entry(id).or_default().saw(batch);
        }
        let marks = &mut self.logs.entry(id).or_default().marks;
        marks.high_watermark = marks.high_watermark.max(told.marks.high_watermark);
        marks.log_start = marks.log_start.max(told.marks.log_start);
        Ok(())
    }

    /// L2: every value that is read was sent by somebody, to this partition.
    fn nothing_invented(&self, topic: &Topic, partition: i32, batch: &SeenBatch) -> Check {
        for (offset, value) in &batch.values {
            let prefix = format!("{}#", topic.name);
            let place = value
                .strip_prefix(&prefix)
                .and_then(|rest| rest.split_once(':'))
                .and_then(|(place, _)| place.split_once('/'));
            let here = place.is_some_and(|(_, to)| to.parse() == Ok(partition));
            let sent = producer_of(value).is_some_and(|(producer, number)| {
                self.sent.get(&producer).is_some_and(|sent| number < *sent)
            });
            if !here || !sent {
                let what = format!(
                    "{value} is read at offset {offset} of {}-{partition}, and nobody wrote it there",
                    topic.name
                );
                return Err(Violation {
                    invariant: "L2",
                    what,
                });
            }
        }
        Ok(())
    }

    /// A producer is answered.
    pub fn written(&mut self, id: LogId, written: Written) -> Check {
        let Some(topic) = self.topic(id.site, id.topic).cloned() else {
            return Ok(());
        };
        if topic.owner != id.site {
            let cut = topic
                .failover
                .as_ref()
                .and_then(|failover| failover.cuts.get(&id.partition))
                .copied();
            shadows::r4_not_written(topic.failover.is_some(), cut, written.base)?;
        }
        let log = self.logs.entry(id).or_default();
        let ack = Ack {
            base: written.base,
            values: &written.values,
            durable: written.durable,
            end_before: written.end_before,
        };
        records::l6_right_offset(log, &ack)?;
        let lost = !written.durable
            && (written.power_losses != self.power_losses[id.site] || self.doubted[id.site]);
        let end = written.base + written.values.len() as i64;
        for (offset, value) in (written.base..).zip(written.values) {
            let seen = log.places.contains_key(&value);
            let into = if lost && !seen {
                &mut log.doubtful
            } else {
                &mut log.acked
            };
            into.insert(
                offset,
                AckedRecord {
                    value,
                    durable: written.durable,
                    epoch: written.epoch,
                },
            );
        }
        if written.durable {
            log.marks.high_watermark = log.marks.high_watermark.max(end);
        }
        Ok(())
    }

    /// Somebody is about to ask for a failover of a topic.
    pub fn failover_asked(&mut self, name: &str) {
        let Some(topic) = self
            .topics
            .get(name)
            .filter(|topic| topic.failover.is_none())
        else {
            return;
        };
        let shadow = 1 - topic.owner;
        let seen = (0..topic.partitions).filter_map(|partition| {
            let id = self.id(shadow, name, partition)?;
            Some((partition, self.marks(id).high_watermark))
        });
        let failover = Failover {
            seen: seen.collect(),
            ..Failover::default()
        };
        if let Some(topic) = self.topics.get_mut(name) {
            topic.failover = Some(failover);
        }
    }

    /// A failover of a topic is reported as done, with its cuts.
    pub fn failed_over(&mut self, name: &str, cuts: &[(i32, Cut)]) -> Check {
        // Records from before the topic was created again are not of this topic.
        let Some(topic) = self
            .topics
            .get(name)
            .filter(|topic| !topic.retired && topic.stale.is_none())
            .cloned()
        else {
            return Ok(());
        };
        let before = topic.failover.clone().unwrap_or_default();
        for (partition, cut) in cuts {
            shadows::r7_cut_stands(before.cuts.get(partition).copied(), *cut)?;
            shadows::r7_cut_holds_what_was_seen(
                *cut,
                before.seen.get(partition).copied().unwrap_or(0),
            )?;
            let Some(id) = self.id(1 - topic.owner, name, *partition) else {
                continue;
            };
            for batch in self
                .logs
                .get(&id)
                .into_iter()
                .flat_map(|log| log.batches.values())
            {
                shadows::r5_nothing_late(*cut, batch)?;
            }
        }
        if let Some(topic) = self.topics.get_mut(name) {
            let failover = topic.failover.get_or_insert_default();
            failover.cuts.extend(cuts.iter().copied());
            failover.done = true;
        }
        Ok(())
    }

    /// Somebody was told where a partition ends.
    pub fn marked(&mut self, id: LogId, floor: Marks, end: Offset) -> Check {
        if self.topic(id.site, id.topic).is_none() {
            return Ok(());
        }
        let marks = &mut self.logs.entry(id).or_default().marks;
        marks.high_watermark = marks.high_watermark.max(end);
        records::l2_watermark_rises(floor, end)
    }

    /// A partition was read whole, from its log start to its end, while nobody wrote.
    pub fn read_whole(&mut self, id: LogId, start: Offset, end: Offset) -> Check {
        let Some(log) = self.logs.get(&id) else {
            return Ok(());
        };
        records::l1_nothing_is_missing(log, start, end)?;
        records::l1_in_order(log, |value| {
            producer_of(value).filter(|(producer, _)| self.in_order.contains(producer))
        })
    }

    /// A partition was read by a read_committed consumer, from its log start to its last stable
    /// offset, while nobody wrote.
    pub fn read_committed(&self, id: LogId, start: Offset, read: &Committed) -> Check {
        let (Some(topic), Some(log)) = (self.topic(id.site, id.topic), self.logs.get(&id)) else {
            return Ok(());
        };
        let failed_over = topic.failover.as_ref().filter(|_| topic.owner != id.site);
        let cut = failed_over
            .and_then(|failover| failover.cuts.get(&id.partition))
            .map(|cut| cut.end);
        if failed_over.is_some() && cut.is_none() {
            return Ok(());
        }
        txns::l6_all_or_nothing(
            log,
            &self.txns,
            cut,
            (start, read.last_stable),
            &read.records,
        )?;
        let here = |txn: &&Txn| {
            txn.fate == Fate::Open
                && cut.is_none()
                && log
                    .batch_at(txn.first)
                    .is_some_and(|batch| self.is_of(batch, txn))
        };
        let open = self.txns.values().filter(here).map(|txn| txn.first);
        txns::l6_stable_offset(open, read.last_stable, read.high_watermark)
    }

    /// Whether a batch is the first one of a transaction: offsets of other partitions are other
    /// transactions'.
    fn is_of(&self, batch: &SeenBatch, txn: &Txn) -> bool {
        let first = batch
            .values
            .first()
            .and_then(|(_, value)| producer_of(value));
        first.is_some_and(|(number, _)| self.txns.get(&number) == Some(txn))
    }
}

//! How a partition's copy begins, or begins again: where does our log end, and does the source
//! agree with what we have?

use super::{Part, Phase, Replicator};
use crate::{
    assign::Key,
    position::{
        BELOW_US_FOR_GOOD, Bounds, History, START_PASSED_US, below, diverged, gap, judge_bounds,
        judge_history, on_follow,
    },
};
use gnomon_client::{
    ClientError,
    offsets::{EARLIEST, EpochEnd, LATEST, PerPartition, TopicPartition},
};
use gnomon_links::Start;
use gnomon_partition::FollowError;
use gnomon_protocol::ids::{BatchEpoch, Offset};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// A second look at a history that disagreed comes so much later.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// The source's bounds said that our position is inside after all.
const SOON: Duration = Duration::from_millis(100);

impl Part {
    fn name(&self) -> TopicPartition {
        (self.target.topic.to_string(), self.target.partition)
    }

    /// Our log's end and the epoch before it, as the handle says: the only place a position comes
    /// from.
    fn read_on(&mut self) {
        if let Some(handle) = &self.handle {
            self.next = (handle.offsets().end, handle.latest_epoch());
            self.empty_tail = None;
            self.phase = Phase::Reading;
        }
    }
}

/// The query to the source that decides where a copy begins.
enum StartQuery {
    /// It is empty: where to begin.
    Start,
    /// It has batches: does their history agree.
    History(BatchEpoch),
    /// Our position was refused: what is there.
    Bounds,
    Nothing,
}

/// As ListOffsets asks for it.
fn timestamp_of(start: Start) -> i64 {
    match start {
        Start::Earliest => EARLIEST,
        Start::Latest => LATEST,
        Start::TimestampMs(at) => at,
    }
}

impl Replicator {
    /// Begins every partition whose time has come: one question of each kind for all of them.
    pub(super) async fn begin_due(&mut self) {
        let (mut starts, mut histories, mut bounds) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (key, question) in self.questions() {
            let Some(part) = self.parts.get_mut(&key) else {
                continue;
            };
            match question {
                StartQuery::Start => drop(starts.insert(part.name(), key)),
                StartQuery::History(epoch) => drop(histories.insert(part.name(), (key, epoch))),
                StartQuery::Bounds => drop(bounds.insert(part.name(), key)),
                StartQuery::Nothing => part.read_on(),
            }
        }
        self.begin_empty(starts).await;
        self.compare_histories(histories).await;
        self.ask_bounds(bounds).await;
    }

    fn questions(&mut self) -> Vec<(Key, StartQuery)> {
        let now = Instant::now();
        let due = self
            .parts
            .iter()
            .filter_map(|(key, part)| match part.phase {
                Phase::Begin { at, bounds } if at <= now => Some((*key, bounds)),
                Phase::Begin { .. } | Phase::Reading | Phase::Ended => None,
            });
        let mut questions = Vec::new();
        for (key, bounds) in due.collect::<Vec<_>>() {
            match self.link.site.handle(key.0, key.1) {
                Ok(handle) => {
                    let (new, epoch) = (
                        handle.offsets().end == 0 && !handle.copier().has_begun(),
                        handle.latest_epoch(),
                    );
                    let question = match (bounds, epoch) {
                        (true, _) => StartQuery::Bounds,
                        (false, BatchEpoch::NONE) if new => StartQuery::Start,
                        (false, BatchEpoch::NONE) => StartQuery::Nothing,
                        (false, epoch) => StartQuery::History(epoch),
                    };
                    if let Some(part) = self.parts.get_mut(&key) {
                        part.handle = Some(handle);
                    }
                    questions.push((key, question));
                }
                Err(unavailable) => self.set_aside(key, &unavailable.to_string()),
            }
        }
        questions
    }

    /// Empty partitions begin where the link says.
    async fn begin_empty(&mut self, parts: BTreeMap<TopicPartition, Key>) {
        if parts.is_empty() {
            return;
        }
        let asked = parts
            .iter()
            .map(|(name, key)| (name.clone(), timestamp_of(self.start_of(*key))))
            .collect();
        let mut found = self.link.source.offsets(&asked).await;
        // No record is that late: begin at the end.
        let late: BTreeMap<_, _> = found
            .iter()
            .filter(|(_, offset)| matches!(offset, Ok(offset) if *offset < 0))
            .map(|(name, _)| (name.clone(), LATEST))
            .collect();
        if !late.is_empty() {
            found.extend(self.link.source.offsets(&late).await);
        }
        for (name, key) in parts {
            match taken(&mut found, &name) {
                Ok(start) => self.begin_at(key, start).await,
                Err(why) => self.look_again(key, &why),
            }
        }
    }

    /// The link's rule for topics holds for the partitions that they had when it found them.
    fn start_of(&self, key: Key) -> Start {
        let added = self
            .parts
            .get(&key)
            .is_some_and(|part| part.assigned.job.added);
        if added {
            Start::Earliest
        } else {
            self.link.config.topics.start
        }
    }

    async fn begin_at(&mut self, key: Key, start: Offset) {
        let Some(part) = self.parts.get(&key) else {
            return;
        };
        let Some(handle) = &part.handle else { return };
        // The source's start can be asked for again; its end would be a later one.
        let begun = match self.start_of(key) {
            Start::Earliest => handle.copier().follow_source_start(part.fence(), start),
            Start::Latest | Start::TimestampMs(_) => {
                handle.copier().begin_copy_at(part.fence(), start)
            }
        };
        match begun {
            Ok(_) => self.read_on(key),
            Err(error) => self.refused(key, on_follow(&error)).await,
        }
    }

    /// Partitions that have batches go on only if the source has the same ones.
    async fn compare_histories(&mut self, parts: BTreeMap<TopicPartition, (Key, BatchEpoch)>) {
        if parts.is_empty() {
            return;
        }
        let asked = parts
            .iter()
            .map(|(name, (_, epoch))| (name.clone(), *epoch))
            .collect();
        let mut found = self.link.source.epoch_ends(&asked).await;
        for (name, (key, epoch)) in parts {
            match found.remove(&name) {
                Some(Ok(end)) => self.compare_history(key, epoch, end).await,
                // Old sources do not know the question: the fetch itself will tell.
                Some(Err(ClientError::NotOffered { .. } | ClientError::NoCommonVersion { .. })) => {
                    self.read_on(key)
                }
                Some(Err(error)) => self.look_again(key, &error.to_string()),
                None => self.look_again(key, "the source did not answer for it"),
            }
        }
    }

    async fn compare_history(&mut self, key: Key, ours: BatchEpoch, source: EpochEnd) {
        let Some(part) = self.parts.get_mut(&key) else {
            return;
        };
        let Some(our_end) = part.handle.as_ref().map(|handle| handle.offsets().end) else {
            return;
        };
        match judge_history(ours, our_end, source) {
            History::Same | History::Unknown => part.read_on(),
            History::Diverged { epoch, end } => self.doubt(key, ours, our_end, epoch, end).await,
        }
    }

    /// The source says that its history parts from ours. Said twice, it counts.
    pub(super) async fn doubt(
        &mut self,
        key: Key,
        ours: BatchEpoch,
        our_end: Offset,
        epoch: BatchEpoch,
        end: Offset,
    ) {
        let Some(part) = self.parts.get_mut(&key) else {
            return;
        };
        part.doubts += 1;
        let reason = diverged(key.1, ours, our_end, epoch, end);
        if part.doubts >= 2 {
            self.fault(key, reason).await;
        } else {
            part.progress.failed(reason);
            part.again_in(SECOND_LOOK, false);
        }
    }

    /// Partitions whose position the source refused.
    async fn ask_bounds(&mut self, parts: BTreeMap<TopicPartition, Key>) {
        if parts.is_empty() {
            return;
        }
        let all = |timestamp| {
            parts
                .keys()
                .map(|name| (name.clone(), timestamp))
                .collect::<BTreeMap<_, _>>()
        };
        let mut starts = self.link.source.offsets(&all(EARLIEST)).await;
        let mut ends = self.link.source.offsets(&all(LATEST)).await;
        for (name, key) in parts {
            match (taken(&mut starts, &name), taken(&mut ends, &name)) {
                (Ok(start), Ok(end)) => self.judge_position(key, start, end).await,
                (Err(why), _) | (_, Err(why)) => self.look_again(key, &why),
            }
        }
    }

    async fn judge_position(&mut self, key: Key, source_start: Offset, source_end: Offset) {
        let Some(part) = self.parts.get_mut(&key) else {
            return;
        };
        let Some(handle) = part.handle.clone() else {
            return;
        };
        let our_end = handle.offsets().end;
        match judge_bounds(our_end, source_start, source_end) {
            Bounds::Inside => {
                part.below_since = None;
                part.again_in(SOON, false);
            }
            // What never held a batch just begins later; anything else has lost records.
            Bounds::Gap { source_start } => {
                match handle
                    .copier()
                    .follow_source_start(part.fence(), source_start)
                {
                    Ok(_) => part.read_on(),
                    Err(FollowError::Gap { end, source_start }) => {
                        self.fault(key, gap(key.1, end, source_start, START_PASSED_US))
                            .await
                    }
                    Err(
                        error @ (FollowError::Fenced(_)
                        | FollowError::Closed { .. }
                        | FollowError::Storage(_)),
                    ) => {
                        self.refused(key, on_follow(&error)).await;
                    }
                }
            }
            Bounds::Beyond { source_end } => {
                let since = *part.below_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= BELOW_US_FOR_GOOD {
                    self.fault(key, below(key.1, our_end, source_end)).await;
                } else {
                    part.progress.failed(format!(
                        "the source ends at {source_end}, below our end {our_end}; waiting for it"
                    ));
                    part.again_in(SECOND_LOOK, false);
                }
            }
        }
    }

    fn read_on(&mut self, key: Key) {
        if let Some(part) = self.parts.get_mut(&key) {
            part.read_on();
        }
    }

    /// It could not be asked: later, and perhaps elsewhere.
    pub(super) fn look_again(&mut self, key: Key, why: &str) {
        self.link.look.notify_one();
        self.set_aside(key, why);
    }
}

fn taken(found: &mut PerPartition<Offset>, name: &TopicPartition) -> Result<Offset, String> {
    match found.remove(name) {
        Some(Ok(offset)) if offset >= 0 => Ok(offset),
        Some(Ok(offset)) => Err(format!("the source names offset {offset}")),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the source did not answer for it".to_owned()),
    }
}

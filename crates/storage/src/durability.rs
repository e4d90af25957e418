//! The durable part of a log, and its checkpoints.
//!
//! Invariants: `flushed` rises only when a sync has succeeded, and falls before bytes are taken
//! back; a checkpoint made here says nothing that is not so at that moment, and stays true
//! (`checkpoint.rs`). Only this file changes these values. Not here: syncing (`flush.rs`), writing
//! the checkpoint's file.

use crate::{
    checkpoint::{Checkpoint, CheckpointExtra, Gap, Summary},
    options::LogOptions,
};
use gnomon_protocol::ids::Offset;

/// Offsets up to which a power loss takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durable {
    /// Everything below it survives.
    pub flushed: Offset,
    /// The end of the batches below `flushed`: lower when the end was moved without a batch.
    pub flushed_data: Offset,
}

impl Durable {
    /// Both at the same offset.
    pub fn at(offset: Offset) -> Durable {
        Durable {
            flushed: offset,
            flushed_data: offset,
        }
    }

    /// Everything that one or the other knows to be durable.
    pub fn max(self, other: Durable) -> Durable {
        Durable {
            flushed: self.flushed.max(other.flushed),
            flushed_data: self.flushed_data.max(other.flushed_data),
        }
    }

    /// The durable part of a log that ends at `end`, and its batches at `data_end`.
    pub fn min(self, end: Offset, data_end: Offset) -> Durable {
        Durable {
            flushed: self.flushed.min(end),
            flushed_data: self.flushed_data.min(data_end),
        }
    }
}

/// Writes since the last checkpoint.
#[derive(Debug, Default)]
struct Unvouched {
    bytes: u64,
    batches: u64,
    /// A segment was sealed, or a log start could not be noted.
    sealed: bool,
}

/// The durable part of a log, and its next checkpoint.
#[derive(Debug)]
pub(crate) struct Durability {
    durable: Durable,
    /// Where the end was last moved without a batch: checkpoints say so until a batch that was
    /// written after it is durable, and says it itself.
    gap: Option<Gap>,
    extra: CheckpointExtra,
    /// Summaries of the sealed segments, in their order; `None` where the indexes could not be
    /// written.
    summaries: Vec<Option<Summary>>,
    /// The part of the active segment that its index files cover.
    covered: Option<Summary>,
    sequence: u64,
    unvouched: Unvouched,
}

impl Durability {
    pub fn new(durable: Durable, summaries: Vec<Option<Summary>>) -> Durability {
        Durability {
            durable,
            gap: None,
            extra: CheckpointExtra::default(),
            summaries,
            covered: None,
            sequence: 0,
            unvouched: Unvouched::default(),
        }
    }

    /// Takes over what the last checkpoint of an opened log said.
    pub fn recalled(mut self, gap: Option<Gap>, extra: CheckpointExtra) -> Durability {
        (self.gap, self.extra) = (gap, extra);
        self
    }

    pub fn durable(&self) -> Durable {
        self.durable
    }

    pub fn extra(&self) -> &CheckpointExtra {
        &self.extra
    }

    /// Sets the partition's part of the checkpoints that come.
    pub fn set_extra(&mut self, extra: CheckpointExtra) {
        self.extra = extra;
    }

    /// A sync has made everything up to there durable.
    pub fn synced(&mut self, to: Durable) {
        self.durable = self.durable.max(to);
    }

    pub fn written(&mut self, bytes: u64, batches: u64) {
        self.unvouched.bytes += bytes;
        self.unvouched.batches += batches;
    }

    /// The active segment was sealed.
    pub fn sealed(&mut self, summary: Option<Summary>) {
        self.summaries.push(summary);
        self.covered = None;
        self.unvouched.sealed = true;
    }

    /// The log start moved and no checkpoint could note it: the next one is due at once.
    pub fn start_not_noted(&mut self) {
        self.unvouched.sealed = true;
    }

    /// The last move of the end, if no durable batch after it tells of it.
    pub fn unsettled_gap(&self) -> Option<Gap> {
        self.gap
            .filter(|gap| self.durable.flushed_data <= gap.after)
    }

    /// The end is moved without a batch; returns the move before it, to be restored if this one
    /// cannot be noted.
    pub fn move_end(&mut self, gap: Option<Gap>) -> Option<Gap> {
        std::mem::replace(&mut self.gap, gap)
    }

    /// Before batches are taken back: the log ends at `end`, its batches at `data_end`, and only
    /// `segments` of its sealed segments can be relied on.
    pub fn truncate(&mut self, end: Offset, data_end: Offset, segments: usize) {
        self.durable = self.durable.min(end, data_end);
        self.extra.truncate(end);
        self.gap = (end > data_end).then_some(Gap {
            after: data_end,
            to: end,
        });
        self.summaries.truncate(segments);
        self.covered = None;
    }

    /// Before everything is taken back: the log will be empty, and begin and end at `at`. Nothing
    /// is less durable before the checkpoint says so: without it a reopening looks for batches up
    /// to `at`.
    pub fn forget_segments(&mut self, at: Offset) {
        self.summaries.clear();
        (self.covered, self.gap) = (None, None);
        self.extra.truncate(at);
    }

    /// The log is empty, and the checkpoint says so.
    pub fn restarted(&mut self, at: Offset) {
        self.durable = Durable::at(at);
    }

    /// The oldest `count` sealed segments are gone.
    pub fn trimmed(&mut self, count: usize) {
        self.summaries.drain(..count);
    }

    /// Index files that were written again have other summaries: `summaries` names each that has.
    pub fn indexed(
        &mut self,
        rewritten: impl Iterator<Item = Option<Summary>>,
        covered: Option<Summary>,
    ) {
        for (summary, rewritten) in self.summaries.iter_mut().zip(rewritten) {
            *summary = rewritten.or(*summary);
        }
        self.covered = covered;
        self.unvouched = Unvouched::default();
    }

    /// Whether so much was written since the last checkpoint that a start would take long.
    pub fn checkpoint_due(&self, options: &LogOptions) -> bool {
        self.unvouched.sealed
            || self.unvouched.bytes >= options.checkpoint_bytes
            || self.unvouched.batches >= options.checkpoint_batches
    }

    /// The next checkpoint of a log that starts at `start`, with its number.
    pub fn checkpoint(&mut self, start: Offset) -> (u64, Checkpoint) {
        self.sequence += 1;
        let content = Checkpoint {
            start,
            flushed: self.durable.flushed,
            flushed_data: self.durable.flushed_data,
            gap: self.unsettled_gap(),
            extra: self.extra.clone(),
            segments: self
                .summaries
                .iter()
                .copied()
                .flatten()
                .chain(self.covered)
                .collect(),
        };
        (self.sequence, content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::ids::BatchEpoch;

    fn summary(base: Offset, sealed: bool) -> Summary {
        Summary {
            base,
            end: base + 10,
            len: 100,
            first_timestamp: 0,
            max_timestamp: 0,
            offset_entries: 0,
            time_entries: 0,
            offset_crc: 0,
            time_crc: 0,
            sealed,
        }
    }

    /// Two sealed segments, everything durable, epochs from 0 and 15 on.
    fn log() -> Durability {
        let summaries = vec![Some(summary(0, true)), Some(summary(10, true))];
        let extra = CheckpointExtra {
            epochs: vec![(BatchEpoch(1), 0), (BatchEpoch(2), 15)],
            producer_snapshot_at: 20,
        };
        Durability::new(Durable::at(25), summaries).recalled(None, extra)
    }

    fn bases(checkpoint: &Checkpoint) -> Vec<Offset> {
        checkpoint.segments.iter().map(|s| s.base).collect()
    }

    #[test]
    fn durable_offsets_rise_by_a_sync_and_fall_by_a_truncation_only() {
        let mut log = log();
        log.synced(Durable::at(30));
        log.synced(Durable::at(28));
        assert_eq!(log.durable(), Durable::at(30));
        log.truncate(22, 22, 2);
        assert_eq!(log.durable(), Durable::at(22));
    }

    #[test]
    fn a_truncation_takes_back_what_it_removes_before_the_checkpoint_is_made() {
        let mut log = log();
        log.truncate(12, 12, 1);
        let (_, checkpoint) = log.checkpoint(0);
        assert_eq!(checkpoint.flushed, 12);
        assert_eq!(bases(&checkpoint), [0]);
        assert_eq!(checkpoint.extra.epochs, [(BatchEpoch(1), 0)]);
        assert_eq!(checkpoint.extra.producer_snapshot_at, -1, "it covered more");
    }

    #[test]
    fn an_end_inside_a_batch_that_goes_is_a_move_without_a_batch() {
        let mut log = log();
        log.truncate(19, 17, 2);
        let gap = Some(Gap { after: 17, to: 19 });
        assert_eq!(log.checkpoint(0).1.gap, gap);
    }

    #[test]
    fn a_move_of_the_end_is_noted_until_a_batch_after_it_is_durable() {
        let mut log = log();
        let gap = Some(Gap { after: 25, to: 40 });
        assert_eq!(log.move_end(gap), None);
        assert_eq!(log.checkpoint(0).1.gap, gap);
        log.synced(Durable {
            flushed: 40,
            flushed_data: 25,
        });
        assert_eq!(log.checkpoint(0).1.gap, gap, "no batch tells of it");
        log.synced(Durable::at(41));
        assert_eq!(log.checkpoint(0).1.gap, None);
    }

    #[test]
    fn an_emptied_log_is_durable_at_its_start_only_when_the_checkpoint_says_so() {
        let mut log = log();
        log.forget_segments(50);
        assert_eq!(log.durable(), Durable::at(25));
        assert!(bases(&log.checkpoint(50).1).is_empty());
        log.restarted(50);
        assert_eq!(log.durable(), Durable::at(50));
    }

    #[test]
    fn checkpoints_are_numbered_and_name_the_segments_that_are_left() {
        let mut log = log();
        log.indexed([None, None].into_iter(), Some(summary(20, false)));
        let (first, checkpoint) = log.checkpoint(0);
        assert_eq!(bases(&checkpoint), [0, 10, 20]);
        log.trimmed(1);
        let (second, checkpoint) = log.checkpoint(10);
        assert_eq!(bases(&checkpoint), [10, 20]);
        assert!(second > first);
        // A sealed segment is no longer covered by the indexes of the active one.
        log.sealed(None);
        assert_eq!(bases(&log.checkpoint(10).1), [10]);
    }

    #[test]
    fn a_checkpoint_is_due_after_bytes_batches_or_a_sealed_segment() {
        let options = LogOptions {
            checkpoint_bytes: 1_000,
            checkpoint_batches: 10,
            ..LogOptions::default()
        };
        let due = |change: &dyn Fn(&mut Durability)| {
            let mut log = log();
            change(&mut log);
            let due = log.checkpoint_due(&options);
            log.indexed(std::iter::empty(), None);
            assert!(!log.checkpoint_due(&options), "one was made");
            due
        };
        assert!(!due(&|log| log.written(999, 9)));
        assert!(due(&|log| log.written(1_000, 1)));
        assert!(due(&|log| log.written(1, 10)));
        assert!(due(&|log| log.sealed(None)));
        assert!(due(&|log| log.start_not_noted()));
    }
}

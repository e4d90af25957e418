//! Leader epoch -> the offset it began at (KIP-101, KIP-279, KIP-320), pure.
//!
//! Two sources: the batches' own epochs (`entries`, all that counts on a shadow), and the start of
//! the present leadership, which counts before its first append, so that after a failover a
//! position from an epoch that never came here is answered with the cut. Invariant: entries rise
//! strictly in epoch and never fall in offset; they are trimmed with the log. Requests are not
//! fenced here.

use gnomon_protocol::ids::{BatchEpoch, Offset};

/// Where an epoch ends, for OffsetForLeaderEpoch and for fetches that say what they read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochEnd {
    /// The largest epoch not above the requested one, and the (exclusive) offset where it ended.
    Known {
        epoch: BatchEpoch,
        /// The first offset that is not its own.
        end: Offset,
    },
    /// A shadow's newest copied epoch: the source may hold more of it than we do, and where it ends
    /// has not been heard.
    Open { epoch: BatchEpoch },
    /// On a shadow: newer than everything copied. Not here yet (OFFSET_NOT_AVAILABLE), not
    /// truncated.
    NotYet,
    /// Nothing is known of it: `-1, -1` on the wire.
    Unknown,
}

impl EpochEnd {
    /// The pair as the wire has it, `(-1, -1)` if there is none. An open end is the greatest there
    /// is, so that it throws no reader back: the question names no position, and a fetch at one
    /// that is not here is judged by itself.
    pub fn pair(self) -> (BatchEpoch, Offset) {
        match self {
            EpochEnd::Known { epoch, end } => (epoch, end),
            EpochEnd::Open { epoch } => (epoch, Offset::MAX),
            EpochEnd::NotYet | EpochEnd::Unknown => (BatchEpoch::NONE, -1),
        }
    }
}

/// The history of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    entries: Vec<(BatchEpoch, Offset)>,
    leadership: Option<(BatchEpoch, Offset)>,
}

impl EpochHistory {
    /// From what a checkpoint kept.
    pub fn from_entries(entries: Vec<(BatchEpoch, Offset)>) -> EpochHistory {
        let mut history = EpochHistory::default();
        for (epoch, start) in entries {
            history.record(epoch, start);
        }
        history
    }

    /// The batches' history: `(epoch, first offset)`, rising.
    pub fn entries(&self) -> &[(BatchEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch that a batch carries.
    pub fn latest(&self) -> BatchEpoch {
        self.entries
            .last()
            .map_or(BatchEpoch::NONE, |(epoch, _)| *epoch)
    }

    /// A batch of this epoch begins at `start`. Epochs that do not rise change nothing.
    pub fn record(&mut self, epoch: BatchEpoch, start: Offset) {
        if epoch <= self.latest() {
            return;
        }
        debug_assert!(
            self.entries.last().is_none_or(|(_, last)| *last <= start),
            "epoch {} starts below its predecessor",
            epoch.0
        );
        // An epoch that got no batch (its entry comes from a checkpoint whose tail was lost) is
        // replaced.
        self.entries.retain(|(_, last)| *last < start);
        self.entries.push((epoch, start));
    }

    /// The present leadership began at `start`: it counts from now on, with or without a batch.
    pub fn lead(&mut self, epoch: BatchEpoch, start: Offset) {
        self.leadership = Some((epoch, start));
    }

    /// No leadership of ours counts (the partition is a shadow, or led elsewhere).
    pub fn follow(&mut self) {
        self.leadership = None;
    }

    /// The present leadership's epoch and start.
    pub fn leadership(&self) -> Option<(BatchEpoch, Offset)> {
        self.leadership
    }

    /// The log now starts at `log_start`: the epoch that it lies in begins there, older ones are
    /// gone.
    pub fn trim_to(&mut self, log_start: Offset) {
        let below = self
            .entries
            .iter()
            .take_while(|(_, start)| *start <= log_start)
            .count();
        if below > 0 {
            self.entries.drain(..below - 1);
            self.entries[0].1 = self.entries[0].1.max(log_start);
        }
    }

    /// The epoch that a record at `offset` has.
    pub fn epoch_at(&self, offset: Offset) -> BatchEpoch {
        self.entries
            .iter()
            .rev()
            .find(|(_, start)| *start <= offset)
            .map_or(BatchEpoch::NONE, |(epoch, _)| *epoch)
    }

    /// Where `requested` ended, in a log that ends at `end`. `awaits_source`: the log is a shadow
    /// whose source may add to it.
    pub fn end_for(&self, requested: BatchEpoch, end: Offset, awaits_source: bool) -> EpochEnd {
        if requested < BatchEpoch(0) {
            return EpochEnd::Unknown;
        }
        let leadership = self
            .leadership
            .filter(|(epoch, _)| !awaits_source && *epoch > self.latest());
        let newest = leadership.map_or(self.latest(), |(epoch, _)| epoch);
        let all = || self.entries.iter().copied().chain(leadership);
        if requested > newest {
            return if awaits_source {
                EpochEnd::NotYet
            } else {
                EpochEnd::Unknown
            };
        }
        if requested == newest {
            return match awaits_source {
                true => EpochEnd::Open { epoch: requested },
                false => EpochEnd::Known {
                    epoch: requested,
                    end,
                },
            };
        }
        // `requested` is below the newest, so an entry above it exists; where that one starts,
        // `requested` or what came before it ended.
        let above = all()
            .find(|(epoch, _)| *epoch > requested)
            .map_or(end, |(_, start)| start);
        let epoch = all()
            .take_while(|(epoch, _)| *epoch <= requested)
            .last()
            .map_or(requested, |(epoch, _)| epoch);
        EpochEnd::Known { epoch, end: above }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(epoch: i32, end: Offset) -> EpochEnd {
        EpochEnd::Known {
            epoch: BatchEpoch(epoch),
            end,
        }
    }

    fn history(entries: &[(i32, Offset)]) -> EpochHistory {
        EpochHistory::from_entries(
            entries
                .iter()
                .map(|(epoch, start)| (BatchEpoch(*epoch), *start))
                .collect(),
        )
    }

    #[test]
    fn a_leader_answers_like_kafka() {
        let epochs = history(&[(1, 0), (3, 10), (7, 25)]);
        let rows = [
            (-1, EpochEnd::Unknown),
            (0, known(0, 0)),
            (1, known(1, 10)),
            (2, known(1, 10)),
            (3, known(3, 25)),
            (6, known(3, 25)),
            (7, known(7, 40)),
            (8, EpochEnd::Unknown),
        ];
        for (requested, expected) in rows {
            assert_eq!(
                epochs.end_for(BatchEpoch(requested), 40, false),
                expected,
                "epoch {requested}"
            );
        }
    }

    #[test]
    fn after_a_failover_an_epoch_that_never_came_is_answered_with_the_cut() {
        let mut epochs = history(&[(1, 0), (3, 10)]);
        assert_eq!(epochs.end_for(BatchEpoch(5), 20, true), EpochEnd::NotYet);
        assert_eq!(
            epochs.end_for(BatchEpoch(3), 20, true),
            EpochEnd::Open {
                epoch: BatchEpoch(3)
            }
        );
        epochs.lead(BatchEpoch(65_536), 20);
        assert_eq!(
            epochs.end_for(BatchEpoch(5), 20, true),
            EpochEnd::NotYet,
            "until the failover is complete"
        );
        assert_eq!(epochs.end_for(BatchEpoch(5), 20, false), known(3, 20));
        epochs.record(BatchEpoch(65_536), 20);
        assert_eq!(epochs.end_for(BatchEpoch(5), 33, false), known(3, 20));
        assert_eq!(
            epochs.end_for(BatchEpoch(65_536), 33, false),
            known(65_536, 33)
        );
    }

    #[test]
    fn an_empty_log_knows_its_leadership() {
        let mut epochs = EpochHistory::default();
        assert_eq!(epochs.end_for(BatchEpoch(0), 0, false), EpochEnd::Unknown);
        epochs.lead(BatchEpoch(4), 0);
        assert_eq!(epochs.end_for(BatchEpoch(4), 0, false), known(4, 0));
        assert_eq!(epochs.end_for(BatchEpoch(2), 0, false), known(2, 0));
    }

    #[test]
    fn trimmed_with_the_log() {
        let mut epochs = history(&[(1, 0), (3, 10), (7, 25)]);
        epochs.trim_to(12);
        assert_eq!(
            epochs.entries(),
            &[(BatchEpoch(3), 12), (BatchEpoch(7), 25)]
        );
        assert_eq!(epochs.epoch_at(12), BatchEpoch(3));
        assert_eq!(epochs.epoch_at(11), BatchEpoch::NONE);
        epochs.trim_to(40);
        assert_eq!(
            epochs.entries(),
            &[(BatchEpoch(7), 40)],
            "an emptied log remembers its epoch"
        );
    }
}

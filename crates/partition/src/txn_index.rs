//! Aborted transactions: which ones a read_committed fetch must be told of. Kept in memory by
//! offset and written with each snapshot.
//!
//! Invariant: entries rise in `last`. Each carries the first offset that was undecided once it was
//! closed, so that a lookup can stop there: nothing after it can reach further down (the same
//! trick as in Kafka's `.txnindex`).

use gnomon_protocol::ids::{Offset, ProducerId};

/// One aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// Whose.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first: Offset,
    /// Offset of its marker.
    pub last: Offset,
    /// First offset that was still undecided when the marker was appended.
    pub undecided_from: Offset,
}

/// All aborted transactions of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortedIndex {
    entries: Vec<Aborted>,
}

impl AbortedIndex {
    /// Adds one; markers come in offset order.
    pub fn push(&mut self, aborted: Aborted) {
        debug_assert!(
            self.entries
                .last()
                .is_none_or(|last| last.last < aborted.last),
            "markers out of order"
        );
        self.entries.push(aborted);
    }

    /// All entries, rising in `last`.
    pub fn entries(&self) -> &[Aborted] {
        &self.entries
    }

    /// `(producer id, first offset)` of all that overlap `[from, upper)`.
    pub fn overlapping(&self, from: Offset, upper: Offset) -> Vec<(ProducerId, Offset)> {
        let first = self.entries.partition_point(|aborted| aborted.last < from);
        let mut found = Vec::new();
        for aborted in &self.entries[first..] {
            if aborted.first < upper {
                found.push((aborted.producer_id, aborted.first));
            }
            if aborted.undecided_from >= upper {
                break;
            }
        }
        found
    }

    /// The log now starts at `log_start`.
    pub fn trim_to(&mut self, log_start: Offset) {
        let gone = self
            .entries
            .partition_point(|aborted| aborted.last < log_start);
        self.entries.drain(..gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_and_early_stop() {
        let mut index = AbortedIndex::default();
        // Producer 1 wrote 0..=40 and was open throughout; producer 2 aborted twice meanwhile.
        index.push(Aborted {
            producer_id: 2,
            first: 10,
            last: 15,
            undecided_from: 0,
        });
        index.push(Aborted {
            producer_id: 2,
            first: 20,
            last: 25,
            undecided_from: 0,
        });
        index.push(Aborted {
            producer_id: 1,
            first: 0,
            last: 40,
            undecided_from: 41,
        });
        index.push(Aborted {
            producer_id: 3,
            first: 50,
            last: 60,
            undecided_from: 61,
        });
        assert_eq!(index.overlapping(0, 12), vec![(2, 10), (1, 0)]);
        assert_eq!(index.overlapping(16, 30), vec![(2, 20), (1, 0)]);
        assert_eq!(index.overlapping(41, 50), vec![]);
        assert_eq!(index.overlapping(60, 61), vec![(3, 50)]);
        index.trim_to(26);
        assert_eq!(index.entries().len(), 2);
    }
}

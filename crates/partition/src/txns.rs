//! Open and decided transactions, as the log's own batches and markers tell it, pure.
//!
//! Invariant: the first unstable offset is the smallest first offset of a transaction that is open,
//! or whose marker is not yet below the high watermark: a decision that a power cut can take back
//! is no decision. Sequences are in `producer.rs`, who may write a marker in `admit.rs`.

use crate::txn_index::{Aborted, AbortedIndex};
use gnomon_protocol::ids::{Offset, ProducerId};
use std::collections::{BTreeMap, VecDeque};

/// The open and the aborted transactions of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txns {
    open: BTreeMap<ProducerId, Offset>,
    firsts: BTreeMap<Offset, ProducerId>,
    /// Closed, marker at or above the high watermark: (first offset, marker's offset), rising in
    /// the marker.
    undecided: VecDeque<(Offset, Offset)>,
    aborted: AbortedIndex,
}

impl Txns {
    /// Puts back what a snapshot kept.
    pub fn restore(
        open: impl IntoIterator<Item = (ProducerId, Offset)>,
        aborted: AbortedIndex,
    ) -> Txns {
        let open: BTreeMap<_, _> = open.into_iter().collect();
        let firsts = open.iter().map(|(id, first)| (*first, *id)).collect();
        Txns {
            open,
            firsts,
            undecided: VecDeque::new(),
            aborted,
        }
    }

    /// A transactional data batch of `producer_id` begins at `base_offset`.
    pub fn wrote(&mut self, producer_id: ProducerId, base_offset: Offset) {
        if self.open.contains_key(&producer_id) {
            return;
        }
        self.open.insert(producer_id, base_offset);
        self.firsts.insert(base_offset, producer_id);
    }

    /// A marker of `producer_id` stands at `marker`. Without an open transaction it decides
    /// nothing.
    pub fn decided(&mut self, producer_id: ProducerId, marker: Offset, commit: bool) {
        let Some(first) = self.open.remove(&producer_id) else {
            return;
        };
        self.firsts.remove(&first);
        self.undecided.push_back((first, marker));
        if !commit {
            let undecided_from = self
                .firsts
                .first_key_value()
                .map_or(marker + 1, |(first, _)| *first);
            self.aborted.push(Aborted {
                producer_id,
                first,
                last: marker,
                undecided_from,
            });
        }
    }

    /// Below the high watermark everything closed is decided.
    pub fn reached(&mut self, high_watermark: Offset) {
        while self
            .undecided
            .front()
            .is_some_and(|(_, marker)| *marker < high_watermark)
        {
            self.undecided.pop_front();
        }
    }

    /// The first offset that read_committed may not pass, if a transaction holds it up.
    pub fn first_unstable(&self) -> Option<Offset> {
        let open = self.firsts.first_key_value().map(|(first, _)| *first);
        let closed = self.undecided.iter().map(|(first, _)| *first).min();
        open.into_iter().chain(closed).min()
    }

    /// First offset of the producer's open transaction.
    pub fn open_since(&self, producer_id: ProducerId) -> Option<Offset> {
        self.open.get(&producer_id).copied()
    }

    /// All open ones: producer id and first offset.
    pub fn open(&self) -> impl Iterator<Item = (ProducerId, Offset)> {
        self.open.iter().map(|(id, first)| (*id, *first))
    }

    /// The aborted ones.
    pub fn aborted(&self) -> &AbortedIndex {
        &self.aborted
    }

    /// The log now starts at `log_start`.
    pub fn trim_to(&mut self, log_start: Offset) {
        self.aborted.trim_to(log_start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_open_transaction_holds_readers_up() {
        let mut txns = Txns::default();
        txns.wrote(1, 10);
        txns.wrote(2, 20);
        txns.wrote(1, 30);
        assert_eq!(txns.first_unstable(), Some(10));
        txns.decided(2, 40, true);
        txns.reached(50);
        assert_eq!(txns.first_unstable(), Some(10));
        txns.decided(1, 50, false);
        assert_eq!(
            txns.first_unstable(),
            Some(10),
            "the marker itself is not below the watermark yet"
        );
        txns.reached(51);
        assert_eq!(txns.first_unstable(), None);
        assert_eq!(txns.aborted().overlapping(0, 100), vec![(1, 10)]);
    }

    #[test]
    fn a_marker_without_a_transaction_decides_nothing() {
        let mut txns = Txns::default();
        txns.decided(1, 5, false);
        assert_eq!(txns, Txns::default());
    }
}

//! Batches of idempotent producers that were refused with an error after which clients send them
//! again: per producer the earliest one that has not come again. Pure.
//!
//! A producer has up to five batches in flight. When the first of them are refused and the
//! partition becomes writable before the others arrive, the others may not be appended: the refused
//! ones would then be out of order for ever. The sequence rules alone do not see that, where they
//! accept a gap (`producer.rs`: a producer that is not known, a lost tail). Kafka remembers the same
//! for transactions that are being verified (`VerificationStateEntry`, KIP-890).
//!
//! Invariant: at most one entry a producer and [`PRODUCERS_MAX`] in all. An entry ends when a batch
//! of its producer is appended, when it expires, and when a link takes the partition. It is not
//! written to the disk: requests in flight end with their connection, and thus with the process.

use crate::producer::follows;
use gnomon_protocol::{batch::BatchHeader, ids::ProducerId};
use std::collections::BTreeMap;

/// Producers that are remembered in one partition, about 200 KB of them. Beyond that the one whose
/// refusal is the oldest is forgotten.
const PRODUCERS_MAX: usize = 4_096;

/// A producer's earliest batch that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Earliest {
    pub(crate) epoch: i16,
    /// Sequence of its first record.
    pub(crate) sequence: i32,
    /// When a batch of the producer was last refused, by our clock, milliseconds.
    pub(crate) refused_ms: i64,
}

/// The refused batches of a partition.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    earliest: BTreeMap<ProducerId, Earliest>,
}

impl Refused {
    /// A client's batch was refused, and its client will send it again.
    pub(crate) fn note(&mut self, header: &BatchHeader, now_ms: i64) {
        let well_formed =
            header.has_producer() && header.producer_epoch >= 0 && header.base_sequence >= 0;
        if well_formed && !header.is_control() && !refusals_forgotten() {
            let refused = Earliest {
                epoch: header.producer_epoch,
                sequence: header.base_sequence,
                refused_ms: now_ms,
            };
            self.remember(header.producer_id, refused);
        }
    }

    /// Keeps the earlier of `refused` and the one that is remembered. A higher producer epoch
    /// begins again.
    pub(crate) fn remember(&mut self, id: ProducerId, refused: Earliest) {
        if let Some(known) = self.earliest.get_mut(&id) {
            known.refused_ms = known.refused_ms.max(refused.refused_ms);
            let earlier = refused.epoch == known.epoch && follows(refused.sequence, known.sequence);
            if refused.epoch > known.epoch || earlier {
                (known.epoch, known.sequence) = (refused.epoch, refused.sequence);
            }
            return;
        }
        if self.earliest.len() >= PRODUCERS_MAX {
            self.forget_oldest();
        }
        self.earliest.insert(id, refused);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.earliest.iter().min_by_key(|(_, it)| it.refused_ms);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.earliest.remove(&id);
        }
    }

    /// Sequence of the earliest refused batch that the producer sent under `epoch`.
    pub(crate) fn earliest(&self, id: ProducerId, epoch: i16) -> Option<i32> {
        let earliest = self.earliest.get(&id)?;
        (earliest.epoch == epoch).then_some(earliest.sequence)
    }

    /// A client's batch was appended: from here on the producer's state in the log decides. Not for
    /// markers, which say nothing about the batches in flight.
    pub(crate) fn appended(&mut self, header: &BatchHeader) {
        if let Some(earliest) = self.earliest.get(&header.producer_id)
            && earliest.epoch <= header.producer_epoch
        {
            self.earliest.remove(&header.producer_id);
        }
    }

    /// Forgets producers that were last refused `expiration_ms` ago or earlier.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.earliest
            .retain(|_, earliest| now_ms.saturating_sub(earliest.refused_ms) < expiration_ms);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.earliest.clear();
    }
}

/// Planted fault for tests of pipelining producers: refused batches are not remembered.
fn refusals_forgotten() -> bool {
    gnomon_failpoints::fail_point!("forget_refused_batches", |_| true);
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_headers::data;

    fn note(refused: &mut Refused, producer: ProducerId, epoch: i16, sequence: i32, now_ms: i64) {
        refused.note(&data(0, 1, producer, epoch, sequence), now_ms);
    }

    #[test]
    fn the_earliest_batch_of_the_newest_epoch_is_remembered() {
        let mut refused = Refused::default();
        for sequence in [12, 10, 14] {
            note(&mut refused, 7, 3, sequence, 0);
        }
        assert_eq!(refused.earliest(7, 3), Some(10));
        assert_eq!(
            (refused.earliest(7, 4), refused.earliest(8, 3)),
            (None, None)
        );
        note(&mut refused, 7, 2, 0, 0);
        assert_eq!(refused.earliest(7, 3), Some(10), "of an epoch that is over");
        note(&mut refused, 7, 4, 20, 0);
        assert_eq!(refused.earliest(7, 4), Some(20));
        assert_eq!(refused.earliest(7, 3), None);
    }

    #[test]
    fn the_last_sequence_is_earlier_than_the_first_one_after_it() {
        let mut refused = Refused::default();
        note(&mut refused, 7, 0, 0, 0);
        note(&mut refused, 7, 0, i32::MAX - 1, 0);
        note(&mut refused, 7, 0, 1, 0);
        assert_eq!(refused.earliest(7, 0), Some(i32::MAX - 1));
    }

    #[test]
    fn an_appended_batch_of_the_same_or_a_higher_epoch_ends_it() {
        for (epoch, ends) in [(2, false), (3, true), (4, true)] {
            let mut refused = Refused::default();
            note(&mut refused, 7, 3, 10, 0);
            refused.appended(&data(0, 1, 7, epoch, 0));
            assert_eq!(refused.earliest(7, 3).is_none(), ends, "epoch {epoch}");
        }
    }

    #[test]
    fn batches_without_a_sequence_are_not_remembered() {
        let mut refused = Refused::default();
        note(&mut refused, -1, -1, -1, 0);
        note(&mut refused, 7, 0, -1, 0);
        note(&mut refused, 7, -1, 0, 0);
        assert!(refused.earliest.is_empty());
    }

    #[test]
    fn made_up_producers_do_not_grow_it_beyond_its_maximum() {
        let mut refused = Refused::default();
        let producers = PRODUCERS_MAX as i64;
        for producer in 0..producers {
            note(&mut refused, producer, 0, 0, producer);
        }
        // One that goes on trying stays.
        note(&mut refused, 0, 0, 0, producers);
        note(&mut refused, producers, 0, 0, producers);
        assert_eq!(refused.earliest.len(), PRODUCERS_MAX);
        assert_eq!(refused.earliest(0, 0), Some(0));
        assert_eq!(refused.earliest(1, 0), None, "the oldest goes");
    }

    #[test]
    fn a_producer_that_does_not_come_again_expires() {
        let mut refused = Refused::default();
        note(&mut refused, 7, 0, 5, 1_000);
        note(&mut refused, 8, 0, 5, 1_500);
        refused.expire(2_000, 1_000);
        assert_eq!(
            (refused.earliest(7, 0), refused.earliest(8, 0)),
            (None, Some(5))
        );
    }
}

//! Sequences of idempotent producers: duplicates, gaps, fenced epochs (KIP-98, KIP-360), pure.
//!
//! Per producer id: its epoch and its last five batches. An exact repeat of one of them is answered
//! with its first offset and not appended; otherwise the next sequence must follow the last one
//! (2^31-1 is followed by 0), a higher epoch must begin at 0, a lower one is fenced, and a producer
//! that we know nothing of may begin anywhere (KIP-360).
//!
//! Producers copied from a lost source are different after a failover: the tail of what they wrote
//! may never have come here, so that their first new batch is accepted at any higher sequence.
//! "Copied" is no flag: it is a last data batch below the cut.
//!
//! A batch that is accepted in spite of a gap must not lie above one of the same producer that was
//! refused and will come again (`refused.rs`).
//!
//! Invariant: the state changes by [`Producers::apply`] and [`Producers::mark`] only, after the
//! append; a refused batch changes nothing. Transactions are not here (`txns.rs`).

use gnomon_protocol::{
    batch::BatchHeader,
    ids::{Offset, ProducerId},
};
use std::collections::{BTreeMap, VecDeque};
use thiserror::Error;

/// How many batches of a producer are remembered: as many as a client may have in flight.
pub const WINDOW: usize = 5;

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp, milliseconds.
    pub timestamp_ms: i64,
}

/// A producer's last transaction marker: the end of its last transaction here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastMarker {
    pub offset: Offset,
    /// Its time, by the clock of the broker that wrote it, milliseconds.
    pub timestamp_ms: i64,
    /// The producer's epoch in the marker.
    pub epoch: i16,
    /// The producer's epoch until then: the ended transaction's. Below `epoch` where the end of a
    /// transaction raises it (KIP-890, fencing).
    pub ended_epoch: i16,
}

/// The state of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its newest epoch.
    pub epoch: i16,
    /// Its last batches under that epoch, oldest first, at most [`WINDOW`].
    pub batches: VecDeque<Remembered>,
    /// Coordinator epoch of its last marker, `-1` before one.
    pub coordinator_epoch: i32,
    pub last_marker: Option<LastMarker>,
    /// Offset of its last data record under any epoch, `-1` if only markers came.
    pub last_data_offset: Offset,
    /// When it was last seen, by our clock, milliseconds; `None` if that was a copied batch or one
    /// read back, until the next [`Producers::expire`] says what time it is. Timestamps of records
    /// are no measure: they may be years old.
    pub seen_ms: Option<i64>,
}

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            batches: VecDeque::with_capacity(WINDOW),
            coordinator_epoch: -1,
            last_marker: None,
            last_data_offset: -1,
            seen_ms: None,
        }
    }

    /// The sequence that must come next, under the present epoch.
    pub fn expected_sequence(&self) -> i32 {
        self.batches.back().map_or(0, |last| {
            if last.last_sequence == i32::MAX {
                0
            } else {
                last.last_sequence + 1
            }
        })
    }
}

/// A batch that the sequence rules let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    New,
    /// It repeats this one exactly.
    Repeat(Remembered),
}

/// Why a batch breaks the sequence rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// A gap, or a repeat of something older than the window.
    #[error("producer {producer_id} epoch {epoch} sent sequence {found}, expected {expected}")]
    OutOfOrder {
        producer_id: ProducerId,
        epoch: i16,
        expected: i32,
        found: i32,
    },
    /// The producer was fenced.
    #[error("producer {producer_id} sent epoch {found}, its epoch is {current}")]
    StaleEpoch {
        producer_id: ProducerId,
        current: i16,
        found: i16,
    },
}

/// All producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    known: BTreeMap<ProducerId, Producer>,
}

impl Producers {
    /// The state of a producer, if it is known.
    pub fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.known.get(&id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.known.iter().map(|(id, producer)| (*id, producer))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Puts back what a snapshot kept.
    pub fn restore(&mut self, id: ProducerId, producer: Producer) {
        self.known.insert(id, producer);
    }

    /// Judges a data batch of an idempotent producer. `copied_to`: the cut of a failed-over
    /// partition, `0` elsewhere. `refused`: the sequence of the earliest batch that the producer
    /// sent under the same epoch, that was refused, and that will come again.
    pub fn check(
        &self,
        header: &BatchHeader,
        copied_to: Offset,
        refused: Option<i32>,
    ) -> Result<Sequence, SequenceError> {
        let (producer_id, found) = (header.producer_id, header.base_sequence);
        let out_of_order = |expected| SequenceError::OutOfOrder {
            producer_id,
            epoch: header.producer_epoch,
            expected,
            found,
        };
        let Some(producer) = self.known.get(&producer_id) else {
            return match refused {
                Some(first) if precedes(first, found) => Err(out_of_order(first)),
                Some(_) | None => Ok(Sequence::New),
            };
        };
        if header.producer_epoch < producer.epoch {
            return Err(SequenceError::StaleEpoch {
                producer_id,
                current: producer.epoch,
                found: header.producer_epoch,
            });
        }
        let same_epoch = header.producer_epoch == producer.epoch;
        if same_epoch
            && let Some(repeat) = producer
                .batches
                .iter()
                .find(|b| b.first_sequence == found && b.last_sequence == header.last_sequence())
        {
            return Ok(Sequence::Repeat(*repeat));
        }
        let expected = if same_epoch {
            producer.expected_sequence()
        } else {
            0
        };
        if found == expected {
            return Ok(Sequence::New);
        }
        let tail_may_be_lost =
            producer.last_data_offset >= 0 && producer.last_data_offset < copied_to;
        if !tail_may_be_lost || same_epoch && !follows(expected, found) {
            return Err(out_of_order(expected));
        }
        match refused {
            // It is in the log: it was copied, and its acknowledgement was lost. The batches sent
            // after it are not acknowledged either, so that none of them is missing here.
            Some(first) if same_epoch && precedes(first, expected) => Err(out_of_order(expected)),
            Some(first) if precedes(first, found) => Err(out_of_order(first)),
            Some(_) | None => Ok(Sequence::New),
        }
    }

    /// A data batch was appended, ours or copied. `now_ms`: our clock, or `None` when it is copied
    /// or read back.
    pub fn apply(&mut self, header: &BatchHeader, now_ms: Option<i64>) {
        if !header.has_producer() {
            return;
        }
        let producer = self
            .known
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == WINDOW {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp_ms: header.max_timestamp,
        });
        producer.last_data_offset = header.last_offset();
        producer.seen_ms = now_ms;
    }

    /// A transaction marker was appended, ours or copied. A marker may raise the producer's epoch
    /// (fencing; KIP-890).
    pub fn mark(&mut self, header: &BatchHeader, coordinator_epoch: i32, now_ms: Option<i64>) {
        let producer = self
            .known
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        producer.last_marker = Some(LastMarker {
            offset: header.base_offset,
            timestamp_ms: header.max_timestamp,
            epoch: header.producer_epoch,
            ended_epoch: producer.epoch,
        });
        if header.producer_epoch > producer.epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.coordinator_epoch = producer.coordinator_epoch.max(coordinator_epoch);
        producer.seen_ms = now_ms;
    }

    /// Forgets producers that were not seen for `expiration_ms`, save those that `in_transaction`
    /// names. Returns how many went.
    pub fn expire(
        &mut self,
        now_ms: i64,
        expiration_ms: i64,
        in_transaction: impl Fn(ProducerId) -> bool,
    ) -> usize {
        let before = self.known.len();
        self.known.retain(|id, producer| {
            let seen_ms = *producer.seen_ms.get_or_insert(now_ms);
            now_ms.saturating_sub(seen_ms) < expiration_ms || in_transaction(*id)
        });
        before - self.known.len()
    }
}

/// Whether `found` is `expected`, or ahead of it on the circle of sequences by less than half of
/// it.
pub(crate) fn follows(expected: i32, found: i32) -> bool {
    let distance = (i64::from(found) - i64::from(expected)).rem_euclid(1 << 31);
    distance < 1 << 30
}

/// Whether `found` is ahead of `first`.
fn precedes(first: i32, found: i32) -> bool {
    first != found && follows(first, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_headers::data;

    fn after(batches: &[(i16, i32, i32)]) -> Producers {
        let mut producers = Producers::default();
        let mut offset = 100;
        for (epoch, sequence, records) in batches {
            producers.apply(&data(offset, *records, 7, *epoch, *sequence), Some(1_000));
            offset += i64::from(*records);
        }
        producers
    }

    fn check(
        producers: &Producers,
        epoch: i16,
        sequence: i32,
        records: i32,
    ) -> Result<Sequence, SequenceError> {
        producers.check(&data(0, records, 7, epoch, sequence), 0, None)
    }

    #[test]
    fn in_order_and_out_of_order() {
        let producers = after(&[(0, 0, 10), (0, 10, 5)]);
        assert_eq!(check(&producers, 0, 15, 1), Ok(Sequence::New));
        for found in [14, 16, 0, i32::MAX] {
            assert_eq!(
                check(&producers, 0, found, 1),
                Err(SequenceError::OutOfOrder {
                    producer_id: 7,
                    epoch: 0,
                    expected: 15,
                    found
                })
            );
        }
        assert_eq!(
            check(&Producers::default(), 3, 77, 1),
            Ok(Sequence::New),
            "unknown producers begin anywhere (KIP-360)"
        );
    }

    #[test]
    fn five_batches_are_remembered() {
        let producers = after(&[
            (0, 0, 1),
            (0, 1, 1),
            (0, 2, 1),
            (0, 3, 1),
            (0, 4, 1),
            (0, 5, 2),
        ]);
        for sequence in 1..5 {
            let Ok(Sequence::Repeat(repeat)) = check(&producers, 0, sequence, 1) else {
                panic!("sequence {sequence} is a repeat")
            };
            assert_eq!(repeat.base_offset, 100 + i64::from(sequence));
        }
        assert!(check(&producers, 0, 0, 1).is_err(), "older than the window");
        assert!(
            check(&producers, 0, 5, 1).is_err(),
            "same first sequence, other length: no exact repeat"
        );
        assert!(
            matches!(check(&producers, 0, 5, 2), Ok(Sequence::Repeat(r)) if r.base_offset == 105 && r.last_offset == 106)
        );
    }

    #[test]
    fn sequences_wrap() {
        let producers = after(&[(0, i32::MAX - 1, 2)]);
        assert_eq!(check(&producers, 0, 0, 4), Ok(Sequence::New));
        let producers = after(&[(0, i32::MAX, 3)]);
        assert_eq!(producers.get(7).unwrap().batches[0].last_sequence, 1);
        assert_eq!(check(&producers, 0, 2, 1), Ok(Sequence::New));
        assert!(matches!(
            check(&producers, 0, i32::MAX, 3),
            Ok(Sequence::Repeat(_))
        ));
    }

    #[test]
    fn epochs_fence_and_begin_at_zero() {
        let producers = after(&[(4, 0, 10)]);
        assert_eq!(
            check(&producers, 3, 10, 1),
            Err(SequenceError::StaleEpoch {
                producer_id: 7,
                current: 4,
                found: 3
            })
        );
        assert_eq!(check(&producers, 5, 0, 1), Ok(Sequence::New));
        assert_eq!(
            check(&producers, 5, 10, 1),
            Err(SequenceError::OutOfOrder {
                producer_id: 7,
                epoch: 5,
                expected: 0,
                found: 10
            })
        );
    }

    #[test]
    fn a_marker_with_a_higher_epoch_restarts_the_sequence() {
        let mut producers = after(&[(4, 0, 10)]);
        producers.mark(&data(110, 1, 7, 5, -1), 12, Some(2_000));
        assert_eq!(check(&producers, 5, 0, 1), Ok(Sequence::New));
        assert!(check(&producers, 5, 10, 1).is_err());
        assert!(matches!(
            check(&producers, 4, 10, 1),
            Err(SequenceError::StaleEpoch { .. })
        ));
        let producer = producers.get(7).unwrap();
        assert_eq!(producer.coordinator_epoch, 12);
        let marker = producer.last_marker.unwrap();
        assert_eq!(
            (marker.offset, marker.epoch, marker.ended_epoch),
            (110, 5, 4)
        );
    }

    #[test]
    fn a_copied_producer_goes_on_at_any_higher_sequence_once() {
        let cut = 115;
        let mut producers = after(&[(0, 0, 10), (0, 10, 5)]);
        let at = |producers: &Producers, epoch, sequence, records| {
            producers.check(&data(0, records, 7, epoch, sequence), cut, None)
        };
        assert!(
            matches!(at(&producers, 0, 10, 5), Ok(Sequence::Repeat(r)) if r.base_offset == 110)
        );
        assert_eq!(at(&producers, 0, 15, 1), Ok(Sequence::New));
        assert_eq!(at(&producers, 0, 40, 1), Ok(Sequence::New));
        assert_eq!(
            at(&producers, 1, 40, 1),
            Ok(Sequence::New),
            "the epoch's beginning may be lost as well"
        );
        assert!(
            at(&producers, 0, 5, 1).is_err(),
            "lower is an old repeat, not a lost tail"
        );
        producers.apply(&data(cut, 3, 7, 0, 40), Some(3_000));
        assert_eq!(at(&producers, 0, 43, 1), Ok(Sequence::New));
        assert!(
            at(&producers, 0, 50, 1).is_err(),
            "from its first batch here on, the ordinary rule holds"
        );
    }

    #[test]
    fn a_gap_is_accepted_up_to_the_earliest_refused_batch() {
        const CUT: Offset = 115;
        const TOP: i32 = i32::MAX;
        // Sequences 0 to 14 of epoch 3 were copied.
        let copied = after(&[(3, 0, 10), (3, 10, 5)]);
        // The same, 15 sequences before they wrap.
        let near_the_top = after(&[(3, TOP - 29, 15)]);
        let unknown = Producers::default();
        // producers, epoch, earliest refused sequence, found sequence, expected one if not New
        let rows = [
            (&copied, 3, None, 40, None),
            (&copied, 3, Some(40), 40, None),
            (&copied, 3, Some(40), 39, None),
            (&copied, 3, Some(40), 41, Some(40)),
            (&copied, 3, Some(40), 15, None),
            (&copied, 3, Some(5), 15, None),
            (&copied, 3, Some(5), 20, Some(15)),
            (&copied, 4, Some(0), 0, None),
            (&copied, 4, Some(0), 10, Some(0)),
            (&copied, 4, Some(10), 20, Some(10)),
            (&copied, 4, None, 20, None),
            (&near_the_top, 3, Some(TOP - 1), 1, Some(TOP - 1)),
            (&near_the_top, 3, Some(1), TOP - 1, None),
            (&unknown, 3, None, 77, None),
            (&unknown, 3, Some(77), 77, None),
            (&unknown, 3, Some(77), 76, None),
            (&unknown, 3, Some(77), 78, Some(77)),
            (&unknown, 3, Some(TOP), 0, Some(TOP)),
            (&unknown, 3, Some(0), TOP, None),
        ];
        for (producers, epoch, refused, found, expected) in rows {
            let judged = producers.check(&data(0, 1, 7, epoch, found), CUT, refused);
            let wanted = expected.map_or(Ok(Sequence::New), |expected| {
                Err(SequenceError::OutOfOrder {
                    producer_id: 7,
                    epoch,
                    expected,
                    found,
                })
            });
            assert_eq!(
                judged, wanted,
                "epoch {epoch}, {refused:?} refused, {found}"
            );
        }
        let repeat = copied.check(&data(0, 5, 7, 3, 10), CUT, Some(5));
        assert!(matches!(repeat, Ok(Sequence::Repeat(_))), "as ever");
    }

    #[test]
    fn idle_producers_expire_unless_in_a_transaction() {
        let mut producers = after(&[(0, 0, 1)]);
        producers.apply(&data(200, 1, 8, 0, 0), Some(1_000));
        assert_eq!(producers.expire(1_500, 1_000, |_| false), 0);
        assert_eq!(producers.expire(2_000, 1_000, |id| id == 8), 1);
        assert!(producers.get(7).is_none() && producers.get(8).is_some());
        producers.apply(&data(201, 1, 9, 0, 0), None);
        assert_eq!(
            producers.expire(90_000, 1_000, |_| false),
            1,
            "one that was read back counts from now"
        );
        assert_eq!(producers.expire(91_000, 1_000, |_| false), 1);
    }
}

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
#[path = "producer_tests.rs"]
mod tests;

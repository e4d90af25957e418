//! The answers that clients got about one partition of one site, over all lives of the site.

use gnomon_protocol::{
    batch::{BatchView, HEADER_BYTES, records},
    ids::Offset,
};
use std::collections::BTreeMap;

/// Bytes that a batch of a simulation may unpack to.
const UNPACKED_BYTES_MAX: usize = 4 << 20;

/// A batch as a reader got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenBatch {
    /// Offset of its first record.
    pub base: Offset,
    /// Offset of its last one.
    pub last: Offset,
    /// Leader epoch in its header.
    pub epoch: i32,
    /// Producer id and sequence of its first record, -1 for none.
    pub producer: (i64, i32),
    /// A marker of a transaction: no records for consumers.
    pub control: bool,
    /// Part of a transaction.
    pub transactional: bool,
    /// Checksum of its header, whose CRC stands for the rest: it was checked when the batch was
    /// taken apart.
    pub sum: u64,
    /// Its records' values.
    pub values: Vec<(Offset, String)>,
}

impl SeenBatch {
    /// Takes a batch apart; the error is a sentence.
    pub fn of(view: &BatchView) -> Result<SeenBatch, String> {
        let header = view.header();
        let mut values = Vec::new();
        if !header.is_control() {
            for record in records(view, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())? {
                let record = record.map_err(|error| error.to_string())?;
                let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default())
                    .into_owned();
                // What follows a blank is there to make the record large.
                values.push((
                    record.offset,
                    value.split(' ').next().unwrap_or_default().to_owned(),
                ));
            }
        }
        Ok(SeenBatch {
            base: header.base_offset,
            last: header.last_offset(),
            epoch: header.leader_epoch.0,
            producer: (header.producer_id, header.base_sequence),
            control: header.is_control(),
            transactional: header.is_transactional(),
            sum: sum(&view.bytes()[..HEADER_BYTES]),
            values,
        })
    }
}

/// FNV-1a: enough to tell two batches of a test apart.
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A record that a producer was told is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckedRecord {
    pub value: String,
    /// Whether it was promised to survive power loss (acks=all).
    pub durable: bool,
    /// The leader epoch that it was written under, where the producer knew.
    pub epoch: Option<i32>,
}

/// Offsets that never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// First readable offset.
    pub log_start: Offset,
    /// Where consumers stop.
    pub high_watermark: Offset,
}

#[derive(Clone, Debug, Default)]
pub struct PartitionLog {
    /// By base offset: everything that readers got.
    pub batches: BTreeMap<Offset, SeenBatch>,
    /// Where each value was seen.
    pub places: BTreeMap<String, Offset>,
    /// By offset: what producers were told is written, and nothing may have taken.
    pub acked: BTreeMap<Offset, AckedRecord>,
    /// Records acknowledged with acks=1 before a power loss that may have taken them.
    pub doubtful: BTreeMap<Offset, AckedRecord>,
    /// As last told.
    pub marks: Marks,
}

impl PartitionLog {
    /// The batch that holds an offset, if it was seen.
    pub fn batch_at(&self, offset: Offset) -> Option<&SeenBatch> {
        self.batches
            .range(..=offset)
            .next_back()
            .map(|(_, batch)| batch)
            .filter(|batch| batch.last >= offset)
    }

    /// The value seen at an offset.
    pub fn value_at(&self, offset: Offset) -> Option<&str> {
        let batch = self.batch_at(offset)?;
        batch
            .values
            .iter()
            .find(|(at, _)| *at == offset)
            .map(|(_, value)| value.as_str())
    }

    /// Notes a batch that passed every check.
    pub fn saw(&mut self, batch: SeenBatch) {
        for (offset, value) in &batch.values {
            self.places.insert(value.clone(), *offset);
        }
        self.batches.insert(batch.base, batch);
    }

    /// The power was lost: what was not promised to survive it, and nobody saw, may be gone.
    pub fn lost_power(&mut self) {
        let seen = &self.batches;
        let seen_at = |offset: &Offset| {
            seen.range(..=*offset)
                .next_back()
                .is_some_and(|(_, batch)| batch.last >= *offset)
        };
        let doubtful: Vec<Offset> = self
            .acked
            .iter()
            .filter(|(offset, acked)| !acked.durable && !seen_at(offset))
            .map(|(offset, _)| *offset)
            .collect();
        for offset in doubtful {
            if let Some(acked) = self.acked.remove(&offset) {
                self.doubtful.insert(offset, acked);
            }
        }
    }
}

//! L1, L2, L6: what producers and readers of one partition of one site were told fits together.

use super::{Check, unless};
use crate::sim::log::{AckedRecord, Marks, PartitionLog, SeenBatch};
use gnomon_protocol::ids::Offset;

/// An acknowledgement to a producer.
#[derive(Clone, Debug)]
pub struct Ack<'a> {
    /// Offset of the first record.
    pub base: Offset,
    /// The records.
    pub values: &'a [String],
    /// acks=all.
    pub durable: bool,
    /// Where the log ended at least, when the batch was sent for the first time; `None` if it may
    /// have been there already (copied by a link).
    pub end_before: Option<Offset>,
}

/// L1: what was acknowledged is readable at its offset.
pub fn l1_acked_is_there(log: &PartitionLog, batch: &SeenBatch) -> Check {
    for (offset, acked) in log.acked.range(batch.base..=batch.last) {
        let found = batch
            .values
            .iter()
            .find(|(at, _)| at == offset)
            .map(|(_, value)| value.as_str());
        unless(found == Some(&acked.value), "L1", || {
            format!(
                "{} was acknowledged at offset {offset}, where {found:?} is read",
                acked.value
            )
        })?;
    }
    Ok(())
}

/// L1: nothing is there twice. Every value of a simulation is written by one request, or by repeats
/// of one sequence.
pub fn l1_once(log: &PartitionLog, batch: &SeenBatch) -> Check {
    for (offset, value) in &batch.values {
        let before = log.places.get(value);
        let again = batch
            .values
            .iter()
            .filter(|(_, other)| other == value)
            .count()
            > 1;
        unless(before.is_none_or(|at| at == offset) && !again, "L1", || {
            format!(
                "{value} is read at offset {offset} and at {}",
                before.unwrap_or(offset)
            )
        })?;
    }
    Ok(())
}

/// L1: a whole reading from the log start to the end has all that was acknowledged, and all that
/// was ever seen.
pub fn l1_nothing_is_missing(log: &PartitionLog, start: Offset, end: Offset) -> Check {
    if let Some((offset, acked)) = log.acked.range(start.max(end)..).next() {
        return unless(false, "L1", || {
            format!(
                "{} was acknowledged at offset {offset}, and the log ends at {end}",
                acked.value
            )
        });
    }
    let beyond = log
        .batches
        .values()
        .next_back()
        .filter(|batch| batch.last >= end && batch.last >= start);
    unless(beyond.is_none(), "L1", || {
        let (base, last) = beyond.map_or((0, 0), |batch| (batch.base, batch.last));
        format!("offsets {base} to {last} were read once, and the log ends at {end}")
    })
}

/// L1: the records of one idempotent producer lie in the order in which it sent them. `number`
/// reads a value.
pub fn l1_in_order(log: &PartitionLog, number: impl Fn(&str) -> Option<(u32, u64)>) -> Check {
    let mut last = std::collections::BTreeMap::new();
    for (offset, value) in log.batches.values().flat_map(|batch| &batch.values) {
        let Some((producer, number)) = number(value) else {
            continue;
        };
        if let Some((before, at)) = last.insert(producer, (number, *offset)) {
            unless(before < number, "L1", || {
                format!(
                    "{value} at offset {offset} was sent before record {before} of the same producer at {at}"
                )
            })?;
        }
    }
    Ok(())
}

/// L2: an offset never has other bytes than those that were read there once.
pub fn l2_same_bytes(log: &PartitionLog, batch: &SeenBatch) -> Check {
    let overlapping = log
        .batches
        .range(..=batch.last)
        .next_back()
        .map(|(_, known)| known)
        .filter(|known| known.last >= batch.base);
    unless(overlapping.is_none_or(|known| known == batch), "L2", || {
        let known = overlapping.expect("it is the reason");
        format!(
            "offsets {} to {} read {known:?} before, and {batch:?} now",
            batch.base, batch.last
        )
    })
}

/// L2: an offset that power loss took back is not used again under the same epoch.
pub fn l2_not_reused(log: &PartitionLog, batch: &SeenBatch) -> Check {
    for (offset, AckedRecord { value, epoch, .. }) in log.doubtful.range(batch.base..=batch.last) {
        let found = batch
            .values
            .iter()
            .find(|(at, _)| at == offset)
            .map(|(_, value)| value);
        unless(
            *epoch != Some(batch.epoch) || found == Some(value),
            "L2",
            || {
                format!(
                    "{value} was acknowledged at offset {offset} under epoch {}, under which {found:?} is there now",
                    batch.epoch
                )
            },
        )?;
    }
    Ok(())
}

/// L2: what one fetch returns is whole batches, dense, holding the offset that was asked for, and
/// below the watermark.
pub fn l2_dense(from: Offset, batches: &[SeenBatch], high_watermark: Offset) -> Check {
    let mut next = from;
    for (index, batch) in batches.iter().enumerate() {
        let fits = if index == 0 {
            batch.base <= next && batch.last >= next
        } else {
            batch.base == next
        };
        unless(fits, "L2", || {
            format!(
                "offset {next} was asked for, and a batch of offsets {} to {} came",
                batch.base, batch.last
            )
        })?;
        unless(batch.last < high_watermark, "L2", || {
            format!(
                "offsets {} to {} were shown at a high watermark of {high_watermark}",
                batch.base, batch.last
            )
        })?;
        unless(
            batch.control || batch.values.len() as i64 == batch.last - batch.base + 1,
            "L2",
            || {
                format!(
                    "offsets {} to {} hold {} records",
                    batch.base,
                    batch.last,
                    batch.values.len()
                )
            },
        )?;
        next = batch.last + 1;
    }
    Ok(())
}

/// L2: the high watermark never goes back; what was acknowledged with acks=all is below it. `floor`
/// is what was known when the question was put.
pub fn l2_watermark_rises(floor: Marks, high_watermark: Offset) -> Check {
    unless(high_watermark >= floor.high_watermark, "L2", || {
        format!(
            "the high watermark was {} at least, and is {high_watermark} now",
            floor.high_watermark
        )
    })
}

/// L6, R6: a batch that is new gets a new offset; one that was sent before is acknowledged with its
/// first.
pub fn l6_right_offset(log: &PartitionLog, ack: &Ack<'_>) -> Check {
    if let Some(end) = ack.end_before {
        unless(ack.base >= end, "L6", || {
            format!(
                "{} was acknowledged at offset {}, and the log ended at {end} before it was sent first",
                ack.values[0], ack.base
            )
        })?;
    }
    for (offset, value) in (ack.base..).zip(ack.values) {
        let seen = log.places.get(value);
        unless(seen.is_none_or(|at| *at == offset), "L6", || {
            format!(
                "{value} was acknowledged at offset {offset}, and was read at {}",
                seen.unwrap_or(&offset)
            )
        })?;
        let there = log.value_at(offset);
        unless(
            log.batch_at(offset).is_none() || there == Some(value),
            "L1",
            || format!("{value} was acknowledged at offset {offset}, where {there:?} was read"),
        )?;
        let other = log.acked.get(&offset).filter(|acked| acked.value != *value);
        unless(other.is_none(), "L1", || {
            format!(
                "{value} was acknowledged at offset {offset}, and so was {}",
                other.map_or("", |acked| &acked.value)
            )
        })?;
    }
    Ok(())
}

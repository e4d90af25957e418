//! R1 to R7: a shadow and its source, and what a failover makes of it.

use super::{Check, unless};
use crate::sim::log::{PartitionLog, SeenBatch};
use gnomon_protocol::ids::Offset;
use std::collections::BTreeSet;

/// Where a failover cut a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First offset that is not the source's.
    pub end: Offset,
    /// The leader epoch that this site went on with.
    pub epoch: i32,
}

/// R1: a shadow's bytes are its source's.
pub fn r1_same_bytes(source: &PartitionLog, batch: &SeenBatch) -> Check {
    let there = source
        .batches
        .range(..=batch.last)
        .next_back()
        .map(|(_, known)| known)
        .filter(|known| known.last >= batch.base);
    unless(there.is_none_or(|known| known == batch), "R1", || {
        format!(
            "the shadow has {batch:?} where the source has {:?}",
            there.expect("it is the reason")
        )
    })
}

/// R1: whole logs, over the offsets that both have.
pub fn r1_same_logs(source: &PartitionLog, shadow: &PartitionLog, below: Offset) -> Check {
    shadow
        .batches
        .values()
        .take_while(|batch| batch.last < below)
        .try_for_each(|batch| r1_same_bytes(source, batch))
}

/// R2: the shadow has nothing beyond its source's end.
pub fn r2_not_ahead(shadow_end: Offset, source_end: Offset) -> Check {
    unless(shadow_end <= source_end, "R2", || {
        format!("the shadow ends at {shadow_end}, its source at {source_end}")
    })
}

/// R3: a shadow that has caught up begins where its source begins.
pub fn r3_same_start(shadow_start: Offset, source_start: Offset) -> Check {
    unless(shadow_start == source_start, "R3", || {
        format!("the shadow starts at {shadow_start}, its source at {source_start}")
    })
}

/// R4: a client cannot write to a shadow, also not while it is being promoted.
pub fn r4_not_written(asked: bool, cut: Option<Cut>, base: Offset) -> Check {
    unless(asked, "R4", || {
        format!(
            "a client's batch was acknowledged at offset {base} of a shadow that nobody failed over"
        )
    })?;
    let end = cut.map_or(0, |cut| cut.end);
    unless(base >= end, "R4", || {
        format!(
            "a client's batch was acknowledged at offset {base}, and the shadow was cut at {end}"
        )
    })
}

/// R5: what stands at or after the cut was written here, under the new epoch; what stands before
/// it came from the source.
pub fn r5_nothing_late(cut: Cut, batch: &SeenBatch) -> Check {
    let holds = if batch.base >= cut.end {
        batch.epoch >= cut.epoch
    } else {
        batch.last < cut.end && batch.epoch < cut.epoch
    };
    unless(holds, "R5", || {
        format!(
            "the cut is at {} with epoch {}, and {batch:?} stands there",
            cut.end, cut.epoch
        )
    })
}

/// R7: the reported cut holds all that readers of the shadow had seen before the failover was asked
/// for.
pub fn r7_cut_holds_what_was_seen(cut: Cut, high_watermark: Offset) -> Check {
    unless(cut.end >= high_watermark, "R7", || {
        format!(
            "the high watermark was {high_watermark} before the failover, which reports a cut at {}",
            cut.end
        )
    })
}

/// R7: a cut that was reported stands.
pub fn r7_cut_stands(before: Option<Cut>, now: Cut) -> Check {
    unless(before.is_none_or(|before| before == now), "R7", || {
        format!("the cut was reported as {before:?}, and now as {now:?}")
    })
}

/// R5: after the cut no epoch of the two sites is the same: else a reader that moves could not
/// tell their logs apart.
pub fn r5_epochs_part(source: &PartitionLog, shadow: &PartitionLog, cut: Offset) -> Check {
    let behind = |log: &PartitionLog| {
        log.batches
            .range(cut..)
            .map(|(_, batch)| batch.epoch)
            .collect::<BTreeSet<i32>>()
    };
    let both: Vec<i32> = behind(source)
        .intersection(&behind(shadow))
        .copied()
        .collect();
    unless(both.is_empty(), "R5", || {
        format!("behind the cut at {cut} both sites have written under epoch {both:?}")
    })
}

/// R13: when everything is healed the shadow comes to have all that its source has.
pub fn r13_same_end(shadow_end: Offset, source_end: Offset) -> Check {
    unless(shadow_end >= source_end, "R13", || {
        format!(
            "the shadow ends at {shadow_end} though all is well, and its source at {source_end}"
        )
    })
}

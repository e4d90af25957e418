//! L6 and R10: of transactions a read_committed reader is shown all or nothing, in each partition,
//! at both sites, before and after a failover.

use super::{Check, unless};
use crate::sim::{
    log::PartitionLog,
    model::{Fate, Txn, producer_of},
};
use gnomon_protocol::ids::Offset;
use std::collections::BTreeMap;

/// How a transaction stands at a site: `cut` is where it failed over, if it did.
fn fate(txn: &Txn, cut: Option<Offset>) -> Fate {
    match (txn.fate, cut) {
        // What the source decided after the cut never came here: this site has aborted it.
        (Fate::Ended { marker, .. }, Some(cut)) if marker >= cut => Fate::Ended {
            commit: false,
            marker: cut,
        },
        (Fate::Open, Some(cut)) => Fate::Ended {
            commit: false,
            marker: cut,
        },
        (fate, _) => fate,
    }
}

/// The records shown as committed, from `start` on, are all records below the last stable offset
/// except the aborted ones.
pub fn l6_all_or_nothing(
    log: &PartitionLog,
    txns: &BTreeMap<u32, Txn>,
    cut: Option<Offset>,
    bounds: (Offset, Offset),
    shown: &[(Offset, String)],
) -> Check {
    let (start, last_stable) = bounds;
    let committed = |value: &str| {
        let txn = producer_of(value).and_then(|(producer, _)| txns.get(&producer));
        txn.is_none_or(|txn| matches!(fate(txn, cut), Fate::Ended { commit: true, .. }))
    };
    let below = log
        .batches
        .values()
        .flat_map(|batch| &batch.values)
        .filter(|(offset, _)| (start..last_stable).contains(offset));
    let expected: Vec<&(Offset, String)> = below.filter(|(_, value)| committed(value)).collect();
    let differs = expected
        .iter()
        .map(|pair| Some(*pair))
        .chain(std::iter::repeat(None))
        .zip(shown.iter().map(Some).chain(std::iter::repeat(None)));
    let first = differs
        .take(expected.len().max(shown.len()))
        .find(|(expected, shown)| expected != shown);
    unless(first.is_none(), "L6", || {
        let (expected, shown) = first.unwrap_or_default();
        format!(
            "below the last stable offset {last_stable}, {expected:?} is to be shown as committed, and {shown:?} is"
        )
    })
}

/// The last stable offset is where the oldest open transaction begins, or the high watermark where
/// none is open.
pub fn l6_stable_offset(
    open: impl Iterator<Item = Offset>,
    last_stable: Offset,
    high_watermark: Offset,
) -> Check {
    let expected = open.min().unwrap_or(high_watermark).min(high_watermark);
    unless(last_stable == expected, "L6", || {
        format!("the last stable offset is {last_stable}, and {expected} is where it belongs")
    })
}

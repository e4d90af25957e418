//! The one definition of lag, for the CLI, the API and the metrics.
//!
//! *Our end* is the local high watermark: what a reader here can see. Records are offsets between
//! the source's end and ours, bytes are estimated from the mean size of a copied record, seconds
//! are now minus the last moment at which our end was at or past the source end known then; 0 when
//! caught up. Before the first contact there is no lag, not a -1.

use gnomon_protocol::ids::Offset;
use serde::{Deserialize, Serialize};

/// How far a shadow partition, a topic or a link is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Records behind the source's high watermark.
    pub records: i64,
    /// Records behind the source's last stable offset.
    pub records_stable: i64,
    /// Bytes behind, estimated; `None` while no record of it was copied since we started, unless it
    /// is caught up.
    pub bytes: Option<u64>,
    /// Seconds behind.
    pub seconds: f64,
}

/// The source's ends as last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEnds {
    /// High watermark.
    pub high_watermark: Offset,
    /// Last stable offset.
    pub last_stable: Offset,
}

/// Remembers when a partition was last caught up. Times are milliseconds of one clock that does not
/// go back.
///
/// Feed it every time the source's end or ours becomes known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    state: Option<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// The source end known, and ours.
    source_end: Offset,
    our_end: Offset,
    /// Last moment known caught up; the first contact until there was one.
    last_ms: u64,
}

impl CaughtUp {
    /// The source's end and ours are these now.
    pub fn observe(&mut self, now_ms: u64, source_end: Offset, our_end: Offset) {
        let last_ms = match self.state {
            None => now_ms,
            // It was caught up with what was known until this moment, or is now.
            Some(seen) if seen.our_end >= seen.source_end || our_end >= source_end => {
                now_ms.max(seen.last_ms)
            }
            Some(seen) => seen.last_ms,
        };
        self.state = Some(Seen {
            source_end,
            our_end,
            last_ms,
        });
    }

    /// Our end has moved; the source's is as it was last seen.
    pub fn observe_ours(&mut self, now_ms: u64, our_end: Offset) {
        if let Some(seen) = self.state {
            self.observe(now_ms, seen.source_end, our_end);
        }
    }

    /// Seconds behind: absent before the first contact, 0 when caught up, else since the last
    /// moment at which it was; where it never was, since the first contact.
    pub fn seconds(&self, now_ms: u64) -> Option<f64> {
        self.state.map(|seen| {
            if seen.our_end >= seen.source_end {
                0.0
            } else {
                now_ms.saturating_sub(seen.last_ms) as f64 / 1_000.0
            }
        })
    }

    /// The last moment at which it was caught up; `now` if it is. Absent before the first contact.
    pub fn last_ms(&self, now_ms: u64) -> Option<u64> {
        self.state.map(|seen| {
            if seen.our_end >= seen.source_end {
                now_ms.max(seen.last_ms)
            } else {
                seen.last_ms
            }
        })
    }
}

/// The lag of one partition; absent before the first contact. `copied` counts records and bytes
/// copied, for the mean.
pub fn of(
    source: Option<SourceEnds>,
    our_end: Offset,
    caught_up: &CaughtUp,
    copied: (u64, u64),
    now_ms: u64,
) -> Option<Lag> {
    let (source, seconds) = (source?, caught_up.seconds(now_ms)?);
    let records = source.high_watermark.saturating_sub(our_end).max(0);
    Some(Lag {
        records,
        records_stable: source.last_stable.saturating_sub(our_end).max(0),
        bytes: estimate_bytes(records, copied),
        seconds: if records == 0 { 0.0 } else { seconds },
    })
}

/// Bytes of so many records by the mean of what was copied; 0 records are 0 bytes, and without a
/// mean there is no estimate.
fn estimate_bytes(records: i64, (copied_records, copied_bytes): (u64, u64)) -> Option<u64> {
    match (records, copied_records) {
        (0, _) => Some(0),
        (_, 0) => None,
        (_, _) => Some(
            (u128::from(records.unsigned_abs()) * u128::from(copied_bytes)
                / u128::from(copied_records)) as u64,
        ),
    }
}

/// Lags summed: records and bytes add up, seconds are the worst one's. Nothing to sum is no lag at
/// all; a part before its first contact leaves the sum unknown.
pub fn sum(parts: impl IntoIterator<Item = Option<Lag>>) -> Option<Lag> {
    let mut total = Lag {
        bytes: Some(0),
        ..Lag::default()
    };
    for part in parts {
        let part = part?;
        total.records = total.records.saturating_add(part.records);
        total.records_stable = total.records_stable.saturating_add(part.records_stable);
        total.bytes = total
            .bytes
            .zip(part.bytes)
            .map(|(a, b)| a.saturating_add(b));
        total.seconds = total.seconds.max(part.seconds);
    }
    Some(total)
}

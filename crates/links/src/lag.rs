//! The one definition of lag, for the CLI, the API and the metrics.
//!
//! *Our end* is the local high watermark: what a reader here can see. The source is *heard* of a
//! partition when an answer that names the partition's end, or says that nothing is new, has come
//! in whole: an answer of many megabytes that is still arriving is not heard yet.
//!
//! - Records are the offsets between the source's end as last heard and ours; bytes are estimated
//!   from the mean size of a copied record.
//! - Seconds are now minus the last moment of which it is known that our end was at or past the
//!   source's end. They are 0 when our end is there and the source was heard just now. A source
//!   that is silent for longer than an answer may take ([`GRACE_MS`] beside the time that a request
//!   may wait) has perhaps written since: then the last moment that is known is the one at which it
//!   was heard, and seconds grow, although the records known are 0.
//! - Before the first contact there is no lag, not a -1.

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
    pub high_watermark: Offset,
    pub last_stable: Offset,
}

/// How much longer than its wait an answer of the source may take, in milliseconds, before the
/// source counts as silent.
pub const GRACE_MS: u64 = 5_000;

/// Remembers when a partition was last caught up. Times are milliseconds of one clock that does not
/// go back.
///
/// Feed it every time the source's end or ours becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// A source that was not heard for longer is silent.
    silence_ms: u64,
    state: Option<Seen>,
}

impl Default for CaughtUp {
    fn default() -> CaughtUp {
        CaughtUp::new(GRACE_MS)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// The source end known, and ours.
    source_end: Offset,
    our_end: Offset,
    /// Last moment known caught up; the first contact until there was one.
    last_ms: u64,
    /// When the source was last heard.
    heard_ms: u64,
}

impl Seen {
    fn is_level(&self) -> bool {
        self.our_end >= self.source_end
    }

    /// Up to which moment our end is known to have been at the source's, given that it is at the
    /// end last heard.
    fn level_until(&self, now_ms: u64, silence_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.heard_ms) <= silence_ms {
            now_ms.max(self.last_ms)
        } else {
            self.heard_ms.max(self.last_ms)
        }
    }
}

impl CaughtUp {
    /// Nothing is known yet. A source that is not heard for longer than `silence_ms` is silent.
    pub fn new(silence_ms: u64) -> CaughtUp {
        CaughtUp {
            silence_ms,
            state: None,
        }
    }

    /// Changes how long the source may be unheard.
    pub fn set_silence_ms(&mut self, silence_ms: u64) {
        self.silence_ms = silence_ms;
    }

    /// The source was heard: its end and ours are these now.
    pub fn observe(&mut self, now_ms: u64, source_end: Offset, our_end: Offset) {
        let last_ms = match self.state {
            None => now_ms,
            Some(seen) if our_end >= source_end => now_ms.max(seen.last_ms),
            // It was caught up with what was known until this moment.
            Some(seen) if seen.is_level() => seen.level_until(now_ms, self.silence_ms),
            Some(seen) => seen.last_ms,
        };
        self.state = Some(Seen {
            source_end,
            our_end,
            last_ms,
            heard_ms: now_ms,
        });
    }

    /// The source was heard: it has nothing beyond the end that is known.
    pub fn heard(&mut self, now_ms: u64) {
        if let Some(seen) = self.state {
            self.observe(now_ms, seen.source_end, seen.our_end);
        }
    }

    /// Our end has moved; the source's is as it was last heard.
    pub fn observe_ours(&mut self, now_ms: u64, our_end: Offset) {
        if let Some(seen) = &mut self.state {
            if seen.is_level() && our_end < seen.source_end {
                // A log that lost its tail.
                seen.last_ms = seen.level_until(now_ms, self.silence_ms);
            }
            seen.our_end = our_end;
        }
    }

    /// Seconds behind: absent before the first contact, else since the last moment at which it is
    /// known to have been caught up; where it never was, since the first contact.
    pub fn seconds(&self, now_ms: u64) -> Option<f64> {
        self.last_ms(now_ms)
            .map(|last_ms| now_ms.saturating_sub(last_ms) as f64 / 1_000.0)
    }

    /// The last moment at which it is known to have been caught up. Absent before the first
    /// contact.
    pub fn last_ms(&self, now_ms: u64) -> Option<u64> {
        self.state.map(|seen| {
            if seen.is_level() {
                seen.level_until(now_ms, self.silence_ms)
            } else {
                seen.last_ms
            }
        })
    }

    /// For how many milliseconds the source has been silent; `None` while it is heard, or never
    /// was.
    pub fn silent_ms(&self, now_ms: u64) -> Option<u64> {
        let silent_ms = now_ms.saturating_sub(self.state?.heard_ms);
        (silent_ms > self.silence_ms).then_some(silent_ms)
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
        seconds,
    })
}

/// Bytes of so many records by the mean of what was copied; 0 records are 0 bytes, and without a
/// mean there is no estimate.
fn estimate_bytes(records: i64, (copied_records, copied_bytes): (u64, u64)) -> Option<u64> {
    match (records, copied_records) {
        (0, _) => Some(0),
        (_, 0) => None,
        (_, _) => {
            let bytes = u128::from(records.unsigned_abs()) * u128::from(copied_bytes)
                / u128::from(copied_records);
            Some(u64::try_from(bytes).unwrap_or(u64::MAX))
        }
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

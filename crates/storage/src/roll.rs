//! When a segment is full. Pure: facts in, reason out.

use crate::options::LogOptions;
use gnomon_protocol::ids::Offset;

/// The active segment.
#[derive(Clone, Copy, Debug)]
pub struct Active {
    pub base: Offset,
    pub bytes: u64,
    /// Timestamp of its first batch, if it has one.
    pub first_timestamp: Option<i64>,
    /// Bytes of its offset index.
    pub index_bytes: u64,
}

/// The batch that is to come.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// Its size.
    pub bytes: u64,
    pub last_offset: Offset,
    /// Its largest timestamp, -1 for none.
    pub max_timestamp: i64,
}

/// Why a segment is followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It would outgrow `segment.bytes`, or the 31 bits of an index position.
    Bytes,
    /// It spans more than `segment.ms`.
    Age,
    /// Its index has its full size.
    Index,
    /// The offset is too far from its base for the index's 31 bits.
    Offset,
}

/// An active segment whose first batch has no timestamp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeless {
    pub base: Offset,
    /// When it was first seen to be one, in milliseconds since 1970.
    pub since_ms: i64,
}

/// Whether the batch must go to a new segment. An empty segment takes a batch of any size.
pub fn must_roll(active: &Active, incoming: &Incoming, options: &LogOptions) -> Option<Why> {
    if incoming.last_offset - active.base > i64::from(i32::MAX) {
        return Some(Why::Offset);
    }
    if active.bytes == 0 {
        return None;
    }
    if active.bytes + incoming.bytes > options.segment_bytes.min(i32::MAX as u64) {
        return Some(Why::Bytes);
    }
    if let (Some(limit), Some(first)) = (options.segment_ms, active.first_timestamp)
        && first >= 0
        && incoming.max_timestamp.saturating_sub(first) > limit
    {
        return Some(Why::Age);
    }
    if active.index_bytes + 8 > u64::from(options.index_bytes_max) {
        return Some(Why::Index);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_by_itself() {
        let active = Active {
            base: 100,
            bytes: 900,
            first_timestamp: Some(5_000),
            index_bytes: 16,
        };
        let batch = Incoming {
            bytes: 100,
            last_offset: 150,
            max_timestamp: 6_000,
        };
        let options = LogOptions {
            segment_bytes: 1000,
            segment_ms: Some(1000),
            index_bytes_max: 24,
            ..LogOptions::default()
        };
        assert_eq!(must_roll(&active, &batch, &options), None);
        assert_eq!(
            must_roll(
                &active,
                &Incoming {
                    bytes: 101,
                    ..batch
                },
                &options
            ),
            Some(Why::Bytes)
        );
        assert_eq!(
            must_roll(
                &active,
                &Incoming {
                    max_timestamp: 6_001,
                    ..batch
                },
                &options
            ),
            Some(Why::Age)
        );
        assert_eq!(
            must_roll(
                &Active {
                    index_bytes: 17,
                    ..active
                },
                &batch,
                &options
            ),
            Some(Why::Index)
        );
        let far = Incoming {
            last_offset: 100 + i64::from(i32::MAX) + 1,
            ..batch
        };
        assert_eq!(must_roll(&active, &far, &options), Some(Why::Offset));
    }

    #[test]
    fn an_empty_segment_takes_a_batch_of_any_size_and_age() {
        let empty = Active {
            base: 0,
            bytes: 0,
            first_timestamp: None,
            index_bytes: 0,
        };
        let batch = Incoming {
            bytes: 1 << 20,
            last_offset: 0,
            max_timestamp: 99,
        };
        assert_eq!(
            must_roll(
                &empty,
                &batch,
                &LogOptions {
                    segment_bytes: 10,
                    ..LogOptions::default()
                }
            ),
            None
        );
    }
}

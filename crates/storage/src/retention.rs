//! Which of the oldest segments may go. Pure: facts in, a count out.

use crate::options::RetentionLimits;
use gnomon_protocol::ids::Offset;

/// A segment that may go.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Offset after its last batch.
    pub end: Offset,
    /// Bytes of batches.
    pub bytes: u64,
    /// The largest timestamp of its records, or when its file was last written if none has one
    /// (`age.rs`). Milliseconds.
    pub newest_ms: i64,
}

/// How many of `segments` (oldest first, the active one last) may be removed: from the front only,
/// none that reaches above `not_above`. When it is all of them, the active one included, the caller
/// begins a new segment first.
///
/// Kafka's rules: by age when the newest record of a segment is too old, by size as long as what is
/// left still has `bytes`; the active segment goes by age only.
pub fn removable(segments: &[Candidate], limits: RetentionLimits, not_above: Offset) -> usize {
    let mut left: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut count = 0;
    for segment in segments {
        let active = count + 1 == segments.len();
        // An empty one is of no age: it goes with those around it, but the active one stays.
        let empty = segment.bytes == 0;
        let old = |before| {
            if empty {
                !active
            } else {
                segment.newest_ms < before
            }
        };
        let too_old = limits.before_timestamp.is_some_and(old);
        let too_much = !active
            && limits
                .bytes
                .is_some_and(|bytes| left - segment.bytes >= bytes);
        if segment.end > not_above || !(too_old || too_much) {
            break;
        }
        left -= segment.bytes;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Vec<Candidate> {
        (0..4)
            .map(|i| Candidate {
                end: i * 10 + 10,
                bytes: 100,
                newest_ms: i * 1000,
            })
            .collect()
    }

    #[test]
    fn by_age_up_to_the_first_young_one() {
        let limits = RetentionLimits {
            bytes: None,
            before_timestamp: Some(1001),
        };
        assert_eq!(removable(&segments(), limits, 40), 2);
        let mut out_of_order = segments();
        out_of_order[0].newest_ms = 9000;
        assert_eq!(removable(&out_of_order, limits, 40), 0);
        assert_eq!(
            removable(
                &segments(),
                RetentionLimits {
                    bytes: None,
                    before_timestamp: Some(i64::MAX)
                },
                40
            ),
            4
        );
    }

    #[test]
    fn by_size_never_below_the_limit_and_never_the_active_one() {
        let keep = |bytes| {
            removable(
                &segments(),
                RetentionLimits {
                    bytes: Some(bytes),
                    before_timestamp: None,
                },
                40,
            )
        };
        assert_eq!(
            (keep(400), keep(301), keep(300), keep(299), keep(0)),
            (0, 0, 1, 1, 3)
        );
    }

    #[test]
    fn nothing_above_the_bound() {
        let limits = RetentionLimits {
            bytes: None,
            before_timestamp: Some(i64::MAX),
        };
        assert_eq!(removable(&segments(), limits, 25), 2);
    }
}

//! The largest timestamp of a batch, for indexes and retention, where its header cannot be believed.
//!
//! A broker writes the maximum timestamp into the batches that it takes from producers, and copies
//! batches of other brokers byte for byte. Some producers leave the field at -1 or 0 (Sarama does),
//! and not every source that speaks Kafka's protocol sets it right. Invariant: what
//! [`max_timestamp`] returns depends on the bytes of the batch alone, so that an index that is made
//! again says what the first one said.

use super::{BatchHeader, BatchView, Effort, Facts, Offsets, check_records};

/// Bytes of a copied batch that may be unpacked for its timestamps. Beyond it the header's word
/// stands.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

impl BatchHeader {
    /// Whether the maximum timestamp can be right: it is a time, and not before the time of the
    /// first record. (The base timestamp is another time where compaction says in it until when
    /// tombstones stay, KIP-534.)
    pub fn max_timestamp_is_plausible(&self) -> bool {
        self.log_append_time()
            || self.record_count == 0
            || self.max_timestamp > 0
                && (self.max_timestamp >= self.base_timestamp
                    || self.attributes.has_delete_horizon())
    }
}

/// The header's maximum timestamp if that is plausible, else that of the records; the header's, too,
/// if they cannot be read.
pub fn max_timestamp(view: &BatchView) -> i64 {
    if let Some(known) = view.known_max_timestamp() {
        return known;
    }
    let header = view.header();
    let effort = Effort::up_to(UNPACKED_BYTES_MAX);
    check_records(view, Offsets::Within, effort, |_| {}).map_or(header.max_timestamp, |facts| {
        max_timestamp_of(header, &facts)
    })
}

/// The same, after the records were looked at.
pub(super) fn max_timestamp_of(header: &BatchHeader, facts: &Facts) -> i64 {
    if header.max_timestamp_is_plausible() || facts.unpacked > UNPACKED_BYTES_MAX {
        header.max_timestamp
    } else {
        facts.max_timestamp
    }
}

//! Settings of a log. Defaults are Kafka's topic defaults.

/// Settings of one log; can be changed while it is open, and hold for what is written from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment is followed by another one before it would grow beyond this (`segment.bytes`); at
    /// most 2^31 - 1.
    pub segment_bytes: u64,
    /// A segment is followed by another one when a batch is this much younger than its first
    /// (`segment.ms`).
    pub segment_ms: Option<i64>,
    /// Bytes of log per index entry (`index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// A segment is followed by another one when its index is this large (`segment.index.bytes`).
    pub index_bytes_max: u32,
    /// Space that is always reserved ahead of the end, as far as there is any: writes into it go on
    /// when the disk is full.
    pub reserve_bytes: u64,
    /// After this many bytes [`crate::Log::checkpoint_due`] says that a checkpoint is due: what a
    /// start after a power loss verifies.
    pub checkpoint_bytes: u64,
    /// The same after so many batches: what a start after a kill goes over.
    pub checkpoint_batches: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 1 << 30,
            segment_ms: Some(7 * 24 * 3_600_000),
            index_interval_bytes: 4096,
            index_bytes_max: 10 << 20,
            reserve_bytes: 0,
            checkpoint_bytes: 1 << 30,
            checkpoint_batches: 100_000,
        }
    }
}

/// Limits beyond which retention removes segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Keep at least this much (`retention.bytes`); `None` for everything.
    pub bytes: Option<u64>,
    /// Segments whose largest timestamp is below this may go (now less `retention.ms`); `None` for
    /// never.
    pub before_timestamp: Option<i64>,
}

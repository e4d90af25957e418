//! The settings of the group coordinator, with Kafka's names and defaults where Kafka has them.
//!
//! They come with [`Soft`](crate::Soft), because they belong to the broker and may change at a
//! restart; no durable state depends on them.

/// The settings. Each names the setting of the broker that it comes from, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How long an empty group waits for more members before its first generation
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay_ms: u64,
    /// The shortest session timeout a member may ask for (`group.min.session.timeout.ms`).
    pub session_timeout_min_ms: i32,
    /// The longest one (`group.max.session.timeout.ms`).
    pub session_timeout_max_ms: i32,
    /// How many members a group may have (`group.max.size`).
    pub members_max: usize,
    /// The maximum number of ids of a group that were given out and not yet used (KIP-394).
    pub pending_members_max: usize,
    /// The maximum memory of such ids, of all groups of a partition, in bytes.
    pub pending_bytes_max: usize,
    /// The longest metadata text of a committed offset, in bytes (`offset.metadata.max.bytes`).
    pub metadata_bytes_max: usize,
    /// The maximum size, in bytes, of the records of one request, and of the metadata and
    /// assignments of all members of a group. Kafka bounds the same by the message size of
    /// `__consumer_offsets`, 1 MiB by default.
    pub batch_bytes_max: usize,
    /// How long offsets outlive their group's last member or subscription
    /// (`offsets.retention.minutes`).
    pub offsets_retention_ms: u64,
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub offsets_check_interval_ms: u64,
    /// The maximum wait of a new member for the answer to its first join. Kafka has the same fixed
    /// time.
    pub new_member_join_timeout_ms: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            initial_rebalance_delay_ms: 3_000,
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 30 * 60_000,
            members_max: i32::MAX as usize,
            pending_members_max: 1_000,
            pending_bytes_max: 2 << 20,
            metadata_bytes_max: 4_096,
            batch_bytes_max: 16 << 20,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_check_interval_ms: 10 * 60_000,
            new_member_join_timeout_ms: 5 * 60_000,
        }
    }
}

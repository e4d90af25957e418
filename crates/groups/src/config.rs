//! The settings of the group coordinator, with Kafka's defaults and names.
//!
//! They come in with [`Soft`](crate::Soft), because they are the broker's and may change at a
//! restart; nothing durable depends on them.

/// Settings; the broker's setting is named behind each.
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
    /// How many members of a group may have been told an id and not have joined with it.
    pub pending_members_max: usize,
    /// How much memory such members of all groups of a partition may take, in bytes.
    pub pending_bytes_max: usize,
    /// The longest metadata text of a committed offset, in bytes (`offset.metadata.max.bytes`).
    pub metadata_bytes_max: usize,
    /// The most that one request may write, and that a group's members may say and be assigned
    /// together, in bytes. Kafka bounds the same by the message size of `__consumer_offsets`, 1 MiB
    /// by default.
    pub batch_bytes_max: usize,
    /// How long offsets outlive their group's last member or subscription
    /// (`offsets.retention.minutes`).
    pub offsets_retention_ms: u64,
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub offsets_check_interval_ms: u64,
    /// How long a member that has never had an answer to its join may wait for one; Kafka has the
    /// same fixed time.
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

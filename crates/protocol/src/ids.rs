//! The numbers that Kafka's protocol names things by, each a type of its own where mixing two up
//! would be a bug.
//!
//! Offsets stay plain `i64`: arithmetic on them is everywhere. The two kinds of epoch do not: the
//! one that fences requests ([`LeaderEpoch`]) and the one that orders a log ([`BatchEpoch`]) are
//! equal on an ordinary leader and differ on a shadow.

pub use uuid::Uuid;

/// Position of a record in a partition.
pub type Offset = i64;

/// Position of a producer: `-1` for none (KIP-98).
pub type ProducerId = i64;

/// A topic's identity beyond its name (KIP-516).
pub type TopicId = Uuid;

/// The leader epoch that Metadata names and that requests are fenced by (KIP-320). `-1` when a
/// client does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// The epoch of a client that does not know or care.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

/// The leader epoch in a record batch's header: it orders the history of a log (KIP-101, KIP-279).
/// On a shadow it is the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchEpoch(pub i32);

impl BatchEpoch {
    /// No epoch is known.
    pub const NONE: BatchEpoch = BatchEpoch(-1);
}

//! The names of a partition: by id inside a site, by name in log lines.

use gnomon_protocol::ids::TopicId;
use std::{fmt, sync::Arc};

/// A partition of this site. It has no text: log lines name partitions by [`PartitionName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The topic's id on this site.
    pub topic_id: TopicId,
    /// Its index in the topic.
    pub index: i32,
}

/// A partition as operators know it, for log lines: `orders-7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionName {
    pub topic: Arc<str>,
    /// Its index in the topic.
    pub index: i32,
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

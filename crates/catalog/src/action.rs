//! The work that the metadata machine asks of the site: at least once, in any order of topics, each
//! harmless when repeated.

use crate::topic::{Cut, LinkId};
use gnomon_protocol::ids::TopicId;

/// One action. The image in which it is due has been published before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Failover (b) and (c): no replicator of these partitions runs any more, flush what is dirty,
    /// find the end. Answered per partition by `Event::CutReached` or `Event::CutFailed`.
    Cut {
        link: LinkId,
        /// The topic; FAILING_OVER.
        topic: TopicId,
        name: String,
        /// The fence that is in force now: appends with an older one fail.
        fence: u64,
        partitions: Vec<i32>,
    },
    /// Failover (d) and (e): the history goes on with this epoch at this cut; abort what is open
    /// there. Answered per partition by `Event::MarkersWritten` or `Event::MarkersFailed`.
    AbortOpen {
        link: LinkId,
        /// The topic; FAILING_OVER.
        topic: TopicId,
        name: String,
        /// All of its partitions with their cuts.
        partitions: Vec<(i32, Cut)>,
    },
    /// Failover (g): write the group offsets that the link fetched last for these topics. Answered
    /// by `Event::OffsetsApplied`.
    ApplyOffsets {
        link: LinkId,
        /// The topics; FAILING_OVER.
        topics: Vec<TopicId>,
    },
    /// Delete a topic's data: it is no longer in the image.
    DropTopic {
        id: TopicId,
        name: String,
        /// How many partitions it had.
        partitions: i32,
    },
}

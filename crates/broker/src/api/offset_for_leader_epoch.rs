//! OffsetForLeaderEpoch, key 23, versions 2-4 (KIP-279, KIP-320).
//!
//! Behaviour
//! - The end of the largest epoch at or below the one asked for; -1 and -1 when there is none.
//! - On a shadow an epoch newer than what was copied is OFFSET_NOT_AVAILABLE: it may exist at the source, the client asks again.
//!   After a failover it is answered with the cut.

use crate::{
    error_code::{self, Refusal},
    site::Site,
};
use gnomon_partition::EpochEnd;
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset},
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

/// Answers where epochs end.
pub fn handle(site: &Site, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let response = EpochEndOffset::default().with_partition(partition.partition);
            match find(site, &topic.topic.0, partition) {
                Ok((epoch, end)) => response.with_leader_epoch(epoch.0).with_end_offset(end),
                Err(code) => response.with_error_code(code.code()).with_leader_epoch(-1).with_end_offset(-1),
            }
        });
        OffsetForLeaderTopicResult::default().with_partitions(partitions.collect()).with_topic(topic.topic.clone())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn find(site: &Site, topic: &str, asked: &OffsetForLeaderPartition) -> Result<(BatchEpoch, Offset), ErrorCode> {
    let handle = site.partitions.by_name(topic, asked.partition).map_err(|error| error_code::unavailable(&error))?;
    handle.check_current_epoch(LeaderEpoch(asked.current_leader_epoch)).map_err(|error| error.code())?;
    match handle.end_for_epoch(BatchEpoch(asked.leader_epoch)) {
        EpochEnd::NotYet => Err(ErrorCode::OffsetNotAvailable),
        known => Ok(known.pair()),
    }
}

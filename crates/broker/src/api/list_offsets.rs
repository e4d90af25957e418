//! ListOffsets, key 2, versions 1-10.
//!
//! Behaviour
//! - -1 is the end that the isolation level may see, -2 the log start, -3 the record with the
//!   largest timestamp, a time the first record not older than it, to the record. -4 (earliest
//!   local) is the log start, -5 (latest tiered) nothing: there are no tiers.
//! - Nothing found is offset -1 without an error.
//! - The same partition twice in a request is INVALID_REQUEST.

use super::Pace;
use crate::{
    context::RequestContext,
    error_code::{self, Refusal},
};
use gnomon_partition::{ByTime, Isolation, ReadError, TimedOffset};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset},
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};
use std::collections::HashSet;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

const READ_COMMITTED: i8 = 1;
const ISOLATION_SINCE: i16 = 2;
const EPOCH_SINCE: i16 = 4;

/// Answers offsets by time.
pub async fn handle(context: RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation =
        match context.version >= ISOLATION_SINCE && request.isolation_level == READ_COMMITTED {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        };
    let (mut seen, mut pace) = (HashSet::new(), Pace::default());
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        pace.step().await;
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            pace.step().await;
            let once = seen.insert((topic.name.clone(), partition.partition_index));
            let found = if once {
                find(&context, &topic.name.0, partition, isolation).await
            } else {
                Err(ErrorCode::InvalidRequest)
            };
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index);
            partitions.push(match found {
                Ok((offset, timestamp, epoch)) => {
                    let epoch = if context.version >= EPOCH_SINCE {
                        epoch
                    } else {
                        -1
                    };
                    response
                        .with_offset(offset)
                        .with_timestamp(timestamp)
                        .with_leader_epoch(epoch)
                }
                Err(code) => response
                    .with_error_code(code.code())
                    .with_offset(-1)
                    .with_timestamp(-1)
                    .with_leader_epoch(-1),
            });
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions)
                .with_name(topic.name),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// Offset, timestamp, leader epoch; each -1 where there is none. Whatever looks at records or goes
/// over batches does so where it holds nobody up.
async fn find(
    context: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<(Offset, i64, i32), ErrorCode> {
    let handle = context
        .services
        .partitions
        .open_by_name(topic, asked.partition_index)
        .await
        .map_err(|error| error_code::unavailable(&error))?;
    handle
        .check_current_epoch(LeaderEpoch(asked.current_leader_epoch))
        .map_err(|error| error.code())?;
    let offsets = handle.offsets();
    let LeaderEpoch(epoch) = handle.leader_epoch();
    match asked.timestamp {
        LATEST if isolation == Isolation::ReadCommitted => Ok((offsets.last_stable, -1, epoch)),
        LATEST => Ok((offsets.high_watermark, -1, epoch)),
        EARLIEST | EARLIEST_LOCAL => {
            Ok((offsets.log_start, -1, handle.epoch_at(offsets.log_start).0))
        }
        MAX_TIMESTAMP => record(handle.find_by_time(ByTime::Newest, isolation).await),
        LATEST_TIERED => Ok((-1, -1, -1)),
        time if time >= 0 => record(
            handle
                .find_by_time(ByTime::AtOrAfter(time), isolation)
                .await,
        ),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn record(
    found: Option<Result<Option<TimedOffset>, ReadError>>,
) -> Result<(Offset, i64, i32), ErrorCode> {
    match found {
        Some(Ok(Some(found))) => Ok((found.offset, found.timestamp_ms, found.epoch.0)),
        Some(Ok(None)) => Ok((-1, -1, -1)),
        Some(Err(error)) => Err(error_code::read(&error)),
        // The site stops.
        None => Err(ErrorCode::NotLeaderOrFollower),
    }
}

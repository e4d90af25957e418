//! ListOffsets, key 2, versions 1-10.
//!
//! Behaviour
//! - -1 is the end that the isolation level may see, -2 the log start, -3 the record with the
//!   largest timestamp, a time the first record not older than it, to the record. -4 (earliest
//!   local) is the log start, -5 (latest tiered) nothing: there are no tiers.
//! - A negative time is one of those, from the version that introduced it; any other, and one asked
//!   for too early, is UNSUPPORTED_VERSION of its partition.
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

/// The first version in which a negative time may be asked for; `None` if it has no meaning yet.
fn supported_since(time: i64) -> Option<i16> {
    match time {
        LATEST | EARLIEST => Some(1),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        _ => None,
    }
}

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
            let time = partition.timestamp;
            let supported = time >= 0
                || supported_since(time).is_some_and(|version| context.version >= version);
            let found = match (once, supported) {
                (false, _) => Err(ErrorCode::InvalidRequest),
                (true, false) => Err(ErrorCode::UnsupportedVersion),
                (true, true) => find(&context, &topic.name.0, partition, isolation).await,
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
        .reader()
        .check_current_epoch(LeaderEpoch(asked.current_leader_epoch))
        .map_err(|error| error.code())?;
    let offsets = handle.offsets();
    let LeaderEpoch(epoch) = handle.leader_epoch();
    match asked.timestamp {
        LATEST if isolation == Isolation::ReadCommitted => Ok((offsets.last_stable, -1, epoch)),
        LATEST => Ok((offsets.high_watermark, -1, epoch)),
        EARLIEST | EARLIEST_LOCAL => Ok((
            offsets.log_start,
            -1,
            handle.reader().epoch_at(offsets.log_start).0,
        )),
        MAX_TIMESTAMP => record(
            handle
                .reader()
                .find_by_time(ByTime::Newest, isolation)
                .await,
        ),
        LATEST_TIERED => Ok((-1, -1, -1)),
        time if time >= 0 => record(
            handle
                .reader()
                .find_by_time(ByTime::AtOrAfter(time), isolation)
                .await,
        ),
        _ => Err(ErrorCode::UnsupportedVersion),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        test_broker::{context, create_topic, start},
        topic_name,
    };
    use gnomon_protocol::messages::list_offsets_request::ListOffsetsTopic;

    #[tokio::test]
    async fn a_time_that_the_version_does_not_know_is_unsupported() {
        let broker = start().await;
        create_topic(&broker, "t").await;
        let (known, unknown) = (0, ErrorCode::UnsupportedVersion.code());
        for (version, time, code) in [
            (1, LATEST, known),
            (1, EARLIEST, known),
            (6, MAX_TIMESTAMP, unknown),
            (7, MAX_TIMESTAMP, known),
            (7, EARLIEST_LOCAL, unknown),
            (8, EARLIEST_LOCAL, known),
            (8, LATEST_TIERED, unknown),
            (9, LATEST_TIERED, known),
            (10, -6, unknown),
            (10, -7, unknown),
            (10, i64::MIN, unknown),
        ] {
            let partition = ListOffsetsPartition::default().with_timestamp(time);
            let topic = ListOffsetsTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic]);
            let response = handle(context(&broker, version), request).await;
            let found = &response.topics[0].partitions[0];
            assert_eq!(found.error_code, code, "{time} in version {version}");
            if code != known {
                assert_eq!((found.offset, found.timestamp), (-1, -1));
            }
        }
        broker.stop().await;
    }
}

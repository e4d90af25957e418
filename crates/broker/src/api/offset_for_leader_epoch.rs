//! OffsetForLeaderEpoch, key 23, versions 2-4 (KIP-279, KIP-320).
//!
//! Behaviour
//! - The end of the largest epoch at or below the one asked for; -1 and -1 when there is none.
//! - On a shadow the end of the newest copied epoch, and of newer ones, is its source's to tell: it
//!   is asked, and the request waits for its word a moment. Without it an epoch newer than what was
//!   copied is OFFSET_NOT_AVAILABLE (it may exist at the source, the client asks again), and the
//!   newest copied one ends at the greatest offset there is: the request names no position, and a
//!   shorter end would throw a consumer back that is ahead. After a failover both are answered with
//!   the cut.
//! - A partition that is named twice is answered once.

use super::Pace;
use crate::{
    config::limits::SOURCE_ANSWER_WAIT_MAX,
    context::RequestContext,
    error_code::{self, Refusal},
    reader_queries::RequestQueries,
};
use gnomon_host::Partitions;
use gnomon_partition::{EpochEnd, PartitionId, Waiter};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset},
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};
use std::{collections::HashSet, sync::Arc};
use tokio::time::{Instant, timeout_at};

/// One request that is being answered.
struct EpochsRequest<'a> {
    partitions: &'a Arc<Partitions>,
    queries: RequestQueries<'a, BatchEpoch>,
    pace: Pace,
    /// A source is being asked and answers.
    open: bool,
}

/// Answers where epochs end.
pub async fn handle(
    context: RequestContext,
    mut request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut pace = Pace::default();
    name_once(&mut request, &mut pace).await;
    let until = Instant::now() + SOURCE_ANSWER_WAIT_MAX;
    let services = &context.services;
    let ask_source = |id| services.links.ask_source(id);
    let queries = RequestQueries::new(&ask_source, &context.connection.queries.epochs);
    let mut epochs = EpochsRequest {
        partitions: &services.partitions,
        queries,
        pace,
        open: false,
    };
    let waiter = Waiter::new();
    let mut watched = false;
    loop {
        let response = epochs.answer(&request).await;
        if !epochs.open {
            return response;
        }
        if !watched {
            // What comes between the look above and the registration must not be missed: look once
            // more after it.
            watch(&services.partitions, &request, &waiter);
            watched = true;
        } else if timeout_at(until, waiter.changed()).await.is_err() {
            return response;
        }
    }
}

/// Leaves each partition in once: what is looked at several times, and watched, grows with the
/// partitions that there are.
async fn name_once(request: &mut OffsetForLeaderEpochRequest, pace: &mut Pace) {
    let mut seen = HashSet::new();
    for topic in &mut request.topics {
        pace.step().await;
        let mut once = Vec::new();
        for partition in std::mem::take(&mut topic.partitions) {
            pace.step().await;
            if seen.insert((topic.topic.clone(), partition.partition)) {
                once.push(partition);
            }
        }
        topic.partitions = once;
    }
}

fn watch(partitions: &Partitions, request: &OffsetForLeaderEpochRequest, waiter: &Waiter) {
    for topic in &request.topics {
        let Ok(topic_id) = partitions.id(&topic.topic.0) else {
            continue;
        };
        let ids = topic.partitions.iter().map(|partition| PartitionId {
            topic_id,
            index: partition.partition,
        });
        for handle in ids.filter_map(|id| partitions.if_open(id)) {
            handle.reader().watch(waiter);
        }
    }
}

impl EpochsRequest<'_> {
    async fn answer(
        &mut self,
        request: &OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        self.open = false;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            self.pace.step().await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                self.pace.step().await;
                let response = EpochEndOffset::default().with_partition(partition.partition);
                partitions.push(match self.find(&topic.topic.0, partition).await {
                    Ok((epoch, end)) => response.with_leader_epoch(epoch.0).with_end_offset(end),
                    Err(code) => response
                        .with_error_code(code.code())
                        .with_leader_epoch(-1)
                        .with_end_offset(-1),
                });
            }
            topics.push(
                OffsetForLeaderTopicResult::default()
                    .with_partitions(partitions)
                    .with_topic(topic.topic.clone()),
            );
        }
        OffsetForLeaderEpochResponse::default().with_topics(topics)
    }

    async fn find(
        &mut self,
        topic: &str,
        asked: &OffsetForLeaderPartition,
    ) -> Result<(BatchEpoch, Offset), ErrorCode> {
        let handle = self.partitions.open_by_name(topic, asked.partition).await;
        let handle = handle.map_err(|error| error_code::unavailable(&error))?;
        handle
            .reader()
            .check_current_epoch(LeaderEpoch(asked.current_leader_epoch))
            .map_err(|error| error.code())?;
        let epoch = BatchEpoch(asked.leader_epoch);
        let (end, answers) = self.queries.judge(&handle, epoch);
        self.open |= answers;
        match end {
            EpochEnd::NotYet => Err(ErrorCode::OffsetNotAvailable),
            known => Ok(known.pair()),
        }
    }
}

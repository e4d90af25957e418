//! Produce, key 0, versions 0-13.
//!
//! Behaviour
//! - One batch for each partition, appended in the order of arrival; only the waiting for acks=all
//!   overlaps with later requests of the connection. They wait while a partition is opened for its
//!   first write, and while a request of very many partitions is written in parts.
//! - Records that are much work to check are checked off the async workers; later requests of the
//!   connection wait for that, too.
//! - acks=1 is answered at append, acks=all when the high watermark has passed the batch, within
//!   `timeout_ms`.
//! - acks=0 has no response; an error closes the connection, so that the client looks up the
//!   leader again.
//! - A write to a shadow topic is POLICY_VIOLATION, with a message that names link, source and what
//!   to do.
//! - A transactional id is refused: there is no coordinator yet.
//!
//! Version notes
//! - Versions 0-2 are advertised because older clients look for them (KAFKA-18659), and answered
//!   with UNSUPPORTED_VERSION.
//! - zstd from version 7 (KIP-110); error messages from version 8 (KIP-467); current leader from
//!   version 10 (KIP-951); topic ids from version 13 (KIP-516).

mod many;
mod plan;

use super::{kept_text, leader_endpoints, text};
use crate::{
    config::limits::WAIT_MAX,
    context::RequestContext,
    dispatch::{encode, respond},
    error_code::Refusal,
    net::answer::{Answer, Outgoing, close},
};
use bytes::Bytes;
use gnomon_partition::{Handle, Origin};
use gnomon_protocol::{
    api::keys,
    batch::BatchView,
    error_code::ErrorCode,
    header::RequestHeader,
    ids::{Offset, Uuid},
    messages::{
        BrokerId, ProduceResponse, TopicName,
        produce_response::{
            LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    produce::{ProduceRequest, decode_produce, encode_unsupported},
    wire::StrBytes,
};
use plan::ProducePlan;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, timeout_at};

/// First version whose batches may be compressed by zstd.
const ZSTD_SINCE: i16 = 7;

/// First version that is understood.
const UNDERSTOOD_SINCE: i16 = 3;

const ACKS_NONE: i16 = 0;
const ACKS_LEADER: i16 = 1;
const ACKS_ALL: i16 = -1;

const NO_TRANSACTIONS: &str = "transactions are not supported by this version of Gnomon";

/// One partition's result, and what must be durable before it may be sent.
struct Appended {
    response: PartitionProduceResponse,
    awaits: Option<(Handle, Offset)>,
    /// Not appended yet: checking its records is much work.
    heavy: Option<Box<(Handle, BatchView)>>,
}

/// One topic's results.
struct TopicAppended {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<Appended>,
}

/// Appends everything at once, if the partitions are open; the rest is waiting.
pub fn begin(mut context: RequestContext, mut header: RequestHeader, body: Bytes) -> Answer {
    let request = match decode_produce(header.api_version, body) {
        Ok(request) => request,
        Err(error) => return close(format!("Produce version {}: {error}", header.api_version)),
    };
    if header.api_version < UNDERSTOOD_SINCE {
        return unsupported(&header, &request);
    }
    // Nothing that waits may be a slice of the frame: all its records would stay in memory until
    // they are durable.
    (context.client_id, header.client_id) = (None, None);
    let waits = Waits {
        acks: request.acks,
        timeout: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0))
            .min(WAIT_MAX),
    };
    if many::are_in(&request) {
        return Answer::Exclusive(Box::pin(many::write(context, header, waits, request)));
    }
    let mut plan = ProducePlan::of(&context.services.partitions, request);
    if !plan.has_unopened() {
        return write(context, header, waits, plan);
    }
    Answer::Exclusive(Box::pin(async move {
        plan.open(&context.services.partitions).await;
        match write(context, header, waits, plan) {
            Answer::Now(outgoing) => outgoing,
            Answer::Waiting(later) | Answer::Exclusive(later) => later.await,
        }
    }))
}

/// The conditions that a request waits for before it is answered.
#[derive(Clone, Copy)]
struct Waits {
    acks: i16,
    timeout: Duration,
}

fn unsupported(header: &RequestHeader, request: &ProduceRequest) -> Answer {
    let version = header.api_version;
    match request.acks {
        ACKS_NONE => close(format!("Produce version {version} is not supported")),
        _ => Answer::Now(Outgoing::Bytes(
            encode_unsupported(version, header.correlation_id, request).freeze(),
        )),
    }
}

/// Appends everything, and answers when `waits` is over.
fn write(
    context: RequestContext,
    header: RequestHeader,
    waits: Waits,
    plan: ProducePlan,
) -> Answer {
    let mut topics = append(&context, plan);
    let mut partitions = topics.iter().flat_map(|topic| &topic.partitions);
    if !partitions.any(|partition| partition.heavy.is_some()) {
        return finish(context, header, waits, topics);
    }
    Answer::Exclusive(Box::pin(async move {
        append_heavy(&context, &mut topics).await;
        match finish(context, header, waits, topics) {
            Answer::Now(outgoing) => outgoing,
            Answer::Waiting(later) | Answer::Exclusive(later) => later.await,
        }
    }))
}

/// Everything is appended: answers when `waits` is over.
fn finish(
    context: RequestContext,
    header: RequestHeader,
    waits: Waits,
    topics: Vec<TopicAppended>,
) -> Answer {
    if waits.acks == ACKS_NONE {
        return Answer::Now(unanswered(&context, &topics));
    }
    let mut partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let all_durable = !partitions.any(|partition| partition.awaits.is_some());
    if waits.acks != ACKS_ALL || all_durable {
        let response = assemble(&context, topics);
        return respond(&header, header.api_version, &response);
    }
    Answer::Waiting(Box::pin(async move {
        let topics = wait_all(topics, Instant::now() + waits.timeout).await;
        encode(&header, header.api_version, &assemble(&context, topics))
    }))
}

/// Appends every batch whose records are little work to check.
fn append(context: &RequestContext, plan: ProducePlan) -> Vec<TopicAppended> {
    let services = &context.services;
    plan.append(
        origin(context),
        services.clock.now().wall.0,
        services.config.broker_id,
        &services.traffic,
    )
}

/// Appends the batches that [`append`] left, in order.
async fn append_heavy(context: &RequestContext, topics: &mut [TopicAppended]) {
    let services = &context.services;
    let now_ms = services.clock.now().wall.0;
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Some(heavy) = partition.heavy.take() else {
            continue;
        };
        let (handle, batch) = *heavy;
        let result = handle
            .appender()
            .append_elsewhere(batch, origin(context), now_ms)
            .await;
        let index = partition.response.index;
        let broker_id = services.config.broker_id;
        *partition = plan::appended(&handle, index, result, broker_id, &services.traffic);
    }
}

fn origin(context: &RequestContext) -> Origin {
    Origin::Client {
        zstd_allowed: context.version >= ZSTD_SINCE,
    }
}

/// The end of a request with acks=0.
fn unanswered(context: &RequestContext, topics: &[TopicAppended]) -> Outgoing {
    count_errors(context, topics);
    match first_error(topics) {
        Some(code) => Outgoing::Close(format!("a produce with acks=0 failed: {}", code.name())),
        None => Outgoing::Nothing,
    }
}

/// A partition to which nothing was written.
fn failed(index: i32, code: ErrorCode, message: Option<String>) -> Appended {
    let response = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
        .with_error_message(message.map(StrBytes::from_string));
    Appended {
        response,
        awaits: None,
        heavy: None,
    }
}

fn first_error(topics: &[TopicAppended]) -> Option<ErrorCode> {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .filter_map(|partition| ErrorCode::from_code(partition.response.error_code))
        .find(|code| !code.is_none())
}

async fn wait_all(mut topics: Vec<TopicAppended>, deadline: Instant) -> Vec<TopicAppended> {
    for partition in topics
        .iter_mut()
        .flat_map(|topic| topic.partitions.iter_mut())
    {
        let Some((handle, end)) = partition.awaits.take() else {
            continue;
        };
        let code = match timeout_at(deadline, handle.appender().durable(end)).await {
            Ok(Ok(())) => continue,
            Ok(Err(lost)) => lost.code(),
            Err(_) => ErrorCode::RequestTimedOut,
        };
        *partition = failed(partition.response.index, code, None);
    }
    topics
}

fn count_errors(context: &RequestContext, topics: &[TopicAppended]) {
    let api = context.services.traffic.api(keys::PRODUCE);
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        api.count_error(partition.response.error_code);
    }
}

fn assemble(context: &RequestContext, topics: Vec<TopicAppended>) -> ProduceResponse {
    count_errors(context, &topics);
    let unknown = LeaderIdAndEpoch::default();
    let leaders: BTreeSet<i32> = topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .filter(|partition| partition.response.current_leader != unknown)
        .map(|partition| partition.response.current_leader.leader_id.0)
        .collect();
    let endpoints = leader_endpoints(context, &leaders).map(|(id, endpoint)| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(id))
            .with_host(text(endpoint.host))
            .with_port(i32::from(endpoint.port))
    });
    let endpoints = endpoints.collect();
    let topic = |topic: TopicAppended| {
        let partitions = topic.partitions.into_iter();
        TopicProduceResponse::default()
            .with_name(TopicName(topic.name))
            .with_topic_id(topic.id)
            .with_partition_responses(partitions.map(|partition| partition.response).collect())
    };
    ProduceResponse::default()
        .with_responses(topics.into_iter().map(topic).collect())
        .with_node_endpoints(endpoints)
}

#[cfg(test)]
mod tests;

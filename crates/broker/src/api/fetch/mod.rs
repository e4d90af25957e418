//! Fetch, key 1, versions 4-18.
//!
//! Behaviour
//! - Whole batches, from the one that contains the offset asked for; the client skips what it has.
//!   Limits are soft: the first batch of the first partition that has any is sent whatever its size
//!   (KIP-74).
//! - Consumers read to the high watermark, or to the last stable offset with the aborted
//!   transactions in between.
//! - Waits until `min_bytes` are there or `max_wait_ms` are over; an error or a divergence is
//!   answered at once.
//! - Sessions in `session.rs` (KIP-227).
//! - On a shadow a position that has not been copied yet is OFFSET_NOT_AVAILABLE: the consumer
//!   waits. It is out of range, or its history has parted, only once the source, asked after the
//!   request came, named a lower end or epoch; its word ends a long poll (`asks.rs`).
//!
//! Version notes
//! - Version 12 asks where logs diverge (KIP-595); version 13 names topics by id (KIP-516); version
//!   16 tells the current leader (KIP-951).

mod read;

use crate::{
    api::{kept_text, leader_endpoints, text},
    asks::Asking,
    config::limits::{FETCH_BYTES_MAX, WAIT_MAX},
    context::RequestContext,
    fetch_sessions::{Asked, Fetch, Key, Named},
    net::answer::{Answer, Outgoing, Records, close},
};
use bytes::Bytes;
use gnomon_host::Partitions;
use gnomon_partition::{Isolation, Waiter};
use gnomon_protocol::{
    api::keys,
    error_code::ErrorCode,
    fetch::{FetchResponse, FetchTopic, NodeEndpoint, encode_fetch},
    header::RequestHeader,
    ids::{BatchEpoch, LeaderEpoch},
    messages::FetchRequest,
    request,
};
use gnomon_storage::FileRange;
use read::{PartitionRead, read_all};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

/// A fetch waits at least so long for partitions to be opened: what needs no recovery is open by
/// then.
const OPEN_WAIT_MIN: Duration = Duration::from_secs(1);

/// Read committed, on the wire.
const READ_COMMITTED: i8 = 1;

/// Begins a fetch.
pub fn begin(context: RequestContext, header: RequestHeader, body: Bytes) -> Answer {
    let request = match request::decode_body(&header, body) {
        Ok(request) => request,
        Err(error) => return close(error.to_string()),
    };
    Answer::Exclusive(Box::pin(async move {
        let response = handle(&context, request).await;
        count_errors(&context, &response);
        Outgoing::Chunks(encode_fetch(
            context.version,
            header.correlation_id,
            response,
        ))
    }))
}

fn count_errors(context: &RequestContext, response: &FetchResponse<Records>) {
    let api = context.services.traffic.api(keys::FETCH);
    api.count_error(response.error.code());
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        api.count_error(partition.error.code());
    }
}

async fn handle(context: &RequestContext, request: FetchRequest) -> FetchResponse<Records> {
    let named = Named {
        id: request.session_id,
        epoch: request.session_epoch,
    };
    let bytes_max = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(FETCH_BYTES_MAX);
    let max_wait =
        Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let limits = Limits {
        bytes_max,
        isolation: if request.isolation_level == READ_COMMITTED {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        // More than the answer can hold never comes.
        bytes_min: usize::try_from(request.min_bytes)
            .unwrap_or(0)
            .min(bytes_max),
        wait: max_wait,
        open_until: Instant::now() + max_wait.max(OPEN_WAIT_MIN),
        broker_id: context.services.config.broker_id,
    };
    let (asked, forgotten) = partitions(request);
    let sessions = &context.services.fetch_sessions;
    match sessions.begin(named, asked, &forgotten, Instant::now()) {
        Ok(fetch) => {
            let read = wait(context, &fetch, &limits).await;
            read_ahead(&context.services.partitions, &read).await;
            respond(context, fetch, read)
        }
        Err(error) => FetchResponse {
            throttle_ms: 0,
            error,
            session_id: 0,
            topics: Vec::new(),
            node_endpoints: Vec::new(),
        },
    }
}

/// What bounds a fetch.
struct Limits {
    bytes_max: usize,
    bytes_min: usize,
    isolation: Isolation,
    wait: Duration,
    /// For partitions that have to be opened first.
    open_until: Instant,
    /// Our own broker id, to name leaders.
    broker_id: i32,
}

fn partitions(request: FetchRequest) -> (Vec<Asked>, Vec<Key>) {
    let asked = request.topics.into_iter().flat_map(|topic| {
        // A session keeps the name.
        let (name, id) = (kept_text(&topic.topic.0), topic.topic_id);
        topic.partitions.into_iter().map(move |partition| Asked {
            topic: name.clone(),
            topic_id: id,
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            last_fetched_epoch: BatchEpoch(partition.last_fetched_epoch),
            bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
        })
    });
    let forgotten = request.forgotten_topics_data.into_iter().flat_map(|topic| {
        let (name, id) = (topic.topic.0, topic.topic_id);
        topic
            .partitions
            .into_iter()
            .map(move |partition| (name.clone(), id, partition))
    });
    (asked.collect(), forgotten.collect())
}

/// Reads until there is enough, or something to say, or no more time.
async fn wait(context: &RequestContext, fetch: &Fetch, limits: &Limits) -> Vec<PartitionRead> {
    let deadline = Instant::now() + limits.wait;
    let waiter = Waiter::new();
    let mut watched = false;
    let partitions = &context.services.partitions;
    let ask_source = |id| context.services.links.ask_source(id);
    let mut asking = Asking::new(&ask_source, &context.connection.asks.positions);
    loop {
        let read = read_all(partitions, &mut asking, &fetch.asked, limits).await;
        let bytes: usize = read.iter().map(PartitionRead::bytes).sum();
        // What stops short of what may be read, at the end of a segment or of a limit, does not
        // grow by waiting.
        let enough = bytes >= limits.bytes_min
            || limits.wait.is_zero()
            || fetch.asked.is_empty()
            || read
                .iter()
                .any(|read| read.urgent() || read.stops_short(limits.isolation));
        if enough {
            return read;
        }
        if !watched {
            // What happens between the read above and the registration must not be missed: read
            // once more after it.
            watch(partitions, &fetch.asked, &waiter);
            watched = true;
            continue;
        }
        if timeout_at(deadline, waiter.changed()).await.is_err() {
            return read_all(partitions, &mut asking, &fetch.asked, limits).await;
        }
    }
}

/// Records that have left the page cache are brought back where that holds nobody up: `sendfile`
/// would wait for the disk on a thread that serves others.
async fn read_ahead(partitions: &Partitions, read: &[PartitionRead]) {
    let cold: Vec<_> = read
        .iter()
        .filter_map(PartitionRead::range)
        .filter(|range| !range.is_resident())
        .cloned()
        .collect();
    if cold.is_empty() {
        return;
    }
    let ahead = partitions
        .blocking(move || cold.iter().try_for_each(FileRange::read_ahead))
        .await;
    if let Err(error) = ahead.and_then(|read| read) {
        // Sending meets the same error, and ends the connection.
        debug!("records cannot be read ahead: {error}");
    }
}

fn watch(partitions: &Partitions, asked: &[Asked], waiter: &Waiter) {
    for asked in asked {
        if let Some(handle) = read::id(partitions, asked)
            .ok()
            .and_then(|id| partitions.if_open(id))
        {
            handle.watch(waiter);
        }
    }
}

fn respond(
    context: &RequestContext,
    fetch: Fetch,
    read: Vec<PartitionRead>,
) -> FetchResponse<Records> {
    let told: Vec<_> = read
        .iter()
        .map(|read| (read.told(), read.urgent() || read.bytes() > 0))
        .collect();
    let changed = fetch.changed(&told);
    let mut leaders = BTreeSet::new();
    let mut topics: Vec<FetchTopic<Records>> = Vec::new();
    for ((asked, read), changed) in fetch.asked.into_iter().zip(read).zip(changed) {
        if !changed {
            continue;
        }
        let partition = read.into_response(asked.partition);
        leaders.extend(partition.current_leader.map(|(leader, _)| leader));
        match topics.last_mut() {
            Some(topic) if topic.name == asked.topic && topic.id == asked.topic_id => {
                topic.partitions.push(partition)
            }
            _ => topics.push(FetchTopic {
                name: asked.topic,
                id: asked.topic_id,
                partitions: vec![partition],
            }),
        }
    }
    let endpoints = leader_endpoints(context, &leaders).map(|(node_id, endpoint)| NodeEndpoint {
        node_id,
        host: text(endpoint.host),
        port: i32::from(endpoint.port),
        rack: None,
    });
    FetchResponse {
        throttle_ms: 0,
        error: ErrorCode::None,
        session_id: fetch.session_id,
        node_endpoints: endpoints.collect(),
        topics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::{
        messages::{
            TopicName,
            fetch_request::{FetchPartition, FetchTopic},
        },
        wire::StrBytes,
    };

    #[test]
    fn what_a_session_remembers_keeps_no_request_in_memory() {
        let frame = Bytes::from(b"orders".to_vec());
        let topic = TopicName(StrBytes::from_utf8(frame.clone()).expect("text"));
        let topic = FetchTopic::default()
            .with_topic(topic)
            .with_partitions(vec![FetchPartition::default()]);
        let (asked, _) = partitions(FetchRequest::default().with_topics(vec![topic]));
        assert_eq!(&*asked[0].topic, "orders");
        assert!(frame.is_unique());
    }
}

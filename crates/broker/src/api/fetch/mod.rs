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
//! - A partition that is named twice is read once, as the last one says; so does Kafka.
//! - Sessions in `fetch_sessions.rs` (KIP-227).
//! - While a fetch of very many partitions waits, it does not read them all again for every change
//!   of one.
//! - On a shadow a position that has not been copied yet is OFFSET_NOT_AVAILABLE: the consumer
//!   waits. It is out of range, or its history has parted, only once the source, asked after the
//!   request came, named a lower end or epoch; its word ends a long poll (`queries.rs`).
//!
//! Version notes
//! - Version 12 asks where logs diverge (KIP-595); version 13 names topics by id (KIP-516); version
//!   16 tells the current leader (KIP-951).

mod read;

use crate::{
    api::{Pace, kept_text, leader_endpoints, text},
    config::limits::{DECODE_HERE_BYTES_MAX, FETCH_BYTES_MAX, FETCH_PARTITIONS_PER_MS, WAIT_MAX},
    context::RequestContext,
    fetch_sessions::{Fetch, Key, Named, RequestedPartition},
    net::answer::{Answer, Outgoing, Records, close},
    reader_queries::RequestQueries,
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
use std::{
    collections::{BTreeSet, HashMap, hash_map},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

/// A fetch waits at least so long for partitions to be opened: what needs no recovery is open by
/// then.
const OPEN_WAIT_MIN: Duration = Duration::from_secs(1);

/// Read committed, on the wire.
const READ_COMMITTED: i8 = 1;

/// Begins a fetch.
pub fn begin(context: RequestContext, header: RequestHeader, body: Bytes) -> Answer {
    if body.len() > DECODE_HERE_BYTES_MAX {
        return Answer::Exclusive(Box::pin(answer_large(context, header, body)));
    }
    let request = match request::decode_body(&header, body) {
        Ok(request) => request,
        Err(error) => return close(error.to_string()),
    };
    Answer::Exclusive(Box::pin(async move {
        let response = handle(&context, request).await;
        encode(&context, header.correlation_id, response)
    }))
}

fn encode(
    context: &RequestContext,
    correlation_id: i32,
    response: FetchResponse<Records>,
) -> Outgoing {
    count_errors(context, &response);
    Outgoing::Chunks(encode_fetch(context.version, correlation_id, response))
}

fn count_errors(context: &RequestContext, response: &FetchResponse<Records>) {
    let api = context.services.traffic.api(keys::FETCH);
    api.count_error(response.error.code());
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        api.count_error(partition.error.code());
    }
}

/// A fetch that may name very many partitions: the parts that cannot yield are done on a thread for
/// blocking work.
async fn answer_large(context: RequestContext, header: RequestHeader, body: Bytes) -> Outgoing {
    let stopping = || Outgoing::Close("the site stops".to_owned());
    let correlation_id = header.correlation_id;
    let partitions = context.services.partitions.clone();
    let decoded = partitions.blocking(move || request::decode_body(&header, body));
    let request = match decoded.await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return Outgoing::Close(error.to_string()),
        Err(_) => return stopping(),
    };
    let response = handle(&context, request).await;
    let encoded = partitions.blocking(move || encode(&context, correlation_id, response));
    encoded.await.unwrap_or_else(|_| stopping())
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
    let (asked, forgotten) = partitions(request).await;
    let sessions = &context.services.fetch_sessions;
    match sessions.begin(named, asked, &forgotten, Instant::now()) {
        Ok(fetch) => {
            let read = wait(context, &fetch, &limits).await;
            read_ahead(&context.services.partitions, &read).await;
            respond(context, fetch, read).await
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

/// The bounds of a fetch.
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

/// The partitions that a request names, each once, and those that its session is to forget.
async fn partitions(request: FetchRequest) -> (Vec<RequestedPartition>, Vec<Key>) {
    let mut pace = Pace::default();
    let mut asked: Vec<RequestedPartition> = Vec::new();
    let mut topics = HashMap::new();
    let mut places: HashMap<(usize, i32), usize> = HashMap::new();
    for topic in request.topics {
        pace.step().await;
        // A session keeps the name.
        let (name, id) = (kept_text(&topic.topic.0), topic.topic_id);
        let next = topics.len();
        let topic_number = *topics.entry((name.clone(), id)).or_insert(next);
        for partition in topic.partitions {
            pace.step().await;
            let one = RequestedPartition {
                topic: name.clone(),
                topic_id: id,
                partition: partition.partition,
                fetch_offset: partition.fetch_offset,
                current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
                last_fetched_epoch: BatchEpoch(partition.last_fetched_epoch),
                bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            };
            match places.entry((topic_number, partition.partition)) {
                hash_map::Entry::Occupied(place) => asked[*place.get()] = one,
                hash_map::Entry::Vacant(place) => {
                    place.insert(asked.len());
                    asked.push(one);
                }
            }
        }
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data {
        pace.steps(1 + topic.partitions.len()).await;
        let (name, id) = (topic.topic.0, topic.topic_id);
        let keys = topic.partitions.into_iter();
        forgotten.extend(keys.map(|partition| (name.clone(), id, partition)));
    }
    (asked, forgotten)
}

/// Reads until there is enough, or something to say, or no more time.
async fn wait(context: &RequestContext, fetch: &Fetch, limits: &Limits) -> Vec<PartitionRead> {
    let deadline = Instant::now() + limits.wait;
    let waiter = Waiter::new();
    let mut watched = false;
    let partitions = &context.services.partitions;
    let ask_source = |id| context.services.links.ask_source(id);
    let mut queries = RequestQueries::new(&ask_source, &context.connection.queries.positions);
    loop {
        let read = read_all(partitions, &mut queries, &fetch.asked, limits).await;
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
            watch(partitions, &fetch.asked, &waiter).await;
            watched = true;
            continue;
        }
        let soonest = pause(fetch.asked.len()).map(|pause| Instant::now() + pause);
        if timeout_at(deadline, waiter.changed()).await.is_err() {
            return read_all(partitions, &mut queries, &fetch.asked, limits).await;
        }
        if let Some(soonest) = soonest {
            sleep_until(soonest.min(deadline)).await;
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

/// The shortest time between two reads of all partitions of a fetch. Each of them may change all the
/// time: without a pause a fetch of many partitions would keep a core busy. `None` for few of them:
/// a sleep of no time would end with the next millisecond of the timer only, and every record would
/// be that much later.
fn pause(partitions: usize) -> Option<Duration> {
    let pause_ms = partitions / FETCH_PARTITIONS_PER_MS;
    (pause_ms > 0).then(|| Duration::from_millis(pause_ms as u64))
}

async fn watch(partitions: &Partitions, asked: &[RequestedPartition], waiter: &Waiter) {
    let mut pace = Pace::default();
    for asked in asked {
        pace.step().await;
        if let Some(handle) = read::id(partitions, asked)
            .ok()
            .and_then(|id| partitions.if_open(id))
        {
            handle.reader().watch(waiter);
        }
    }
}

async fn respond(
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
    let mut pace = Pace::default();
    for ((asked, read), changed) in fetch.asked.into_iter().zip(read).zip(changed) {
        pace.step().await;
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

    #[tokio::test]
    async fn what_a_session_remembers_keeps_no_request_in_memory() {
        let frame = Bytes::from(b"orders".to_vec());
        let topic = TopicName(StrBytes::from_utf8(frame.clone()).expect("text"));
        let topic = FetchTopic::default()
            .with_topic(topic)
            .with_partitions(vec![FetchPartition::default()]);
        let (asked, _) = partitions(FetchRequest::default().with_topics(vec![topic])).await;
        assert_eq!(&*asked[0].topic, "orders");
        assert!(frame.is_unique());
    }

    #[tokio::test]
    async fn a_partition_that_is_named_twice_is_read_once_as_the_last_one_says() {
        let id = gnomon_protocol::ids::TopicId::from_u128(7);
        let topic = |id, partitions: &[(i32, i64)]| {
            let partition = |(index, offset): &(i32, i64)| {
                FetchPartition::default()
                    .with_partition(*index)
                    .with_fetch_offset(*offset)
            };
            FetchTopic::default()
                .with_topic_id(id)
                .with_partitions(partitions.iter().map(partition).collect())
        };
        let other = gnomon_protocol::ids::TopicId::from_u128(8);
        let topics = vec![
            topic(id, &[(1, 10), (0, 20), (1, 30)]),
            topic(other, &[(1, 40)]),
            topic(id, &[(0, 50)]),
        ];
        let (asked, _) = partitions(FetchRequest::default().with_topics(topics)).await;
        let named: Vec<_> = asked
            .iter()
            .map(|asked| (asked.topic_id, asked.partition, asked.fetch_offset))
            .collect();
        assert_eq!(named, [(id, 1, 30), (id, 0, 50), (other, 1, 40)]);
    }
}

//! Produce, key 0, versions 0-13.
//!
//! Behaviour
//! - One batch a partition, appended in the order of arrival; only the waiting for acks=all
//!   overlaps with later requests. Later ones of the connection wait while a partition is opened
//!   for its first write.
//! - acks=1 is answered at append, acks=all when the high watermark has passed the batch, within
//!   `timeout_ms`.
//! - acks=0 has no response; an error closes the connection, so that the client looks for the
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

use super::{kept_text, text};
use crate::{
    config::limits::WAIT_MAX,
    context::Context,
    dispatch::{close, respond},
    error_code::{self, Refusal},
    net::answer::{Answer, Outgoing},
    partitions::Unavailable,
    site::Site,
};
use bytes::Bytes;
use gnomon_partition::{AppendError, Handle, Origin, PartitionId};
use gnomon_protocol::{
    batch::BatchView,
    error_code::ErrorCode,
    header::RequestHeader,
    ids::{LeaderEpoch, Offset, Uuid},
    messages::{
        BrokerId, ProduceResponse, ResponseKind, TopicName,
        produce_response::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
            TopicProduceResponse,
        },
    },
    produce::{ProducePartition, ProduceRequest, ProduceTopic, decode_produce, encode_unsupported},
    request::encode_response,
    wire::StrBytes,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// First version whose batches may be compressed by zstd.
const ZSTD_SINCE: i16 = 7;

/// First version that is understood.
const UNDERSTOOD_SINCE: i16 = 3;

const ACKS_NONE: i16 = 0;
const ACKS_LEADER: i16 = 1;
const ACKS_ALL: i16 = -1;

const NO_TRANSACTIONS: &str = "transactions are not supported by this version of Gnomon";

/// A partition's result, and what must become durable before it may be told.
struct Appended {
    response: PartitionProduceResponse,
    awaits: Option<(Handle, Offset)>,
}

/// Appends everything at once, if the partitions are open; what remains is waiting.
pub fn begin(site: &Arc<Site>, context: Context, header: &RequestHeader, body: Bytes) -> Answer {
    let request = match decode_produce(header.api_version, body) {
        Ok(request) => request,
        Err(error) => return close(format!("Produce version {}: {error}", header.api_version)),
    };
    if header.api_version < UNDERSTOOD_SINCE {
        return match request.acks {
            ACKS_NONE => close(format!(
                "Produce version {} is not supported",
                header.api_version
            )),
            _ => Answer::Now(Outgoing::Bytes(
                encode_unsupported(header.api_version, header.correlation_id, &request).freeze(),
            )),
        };
    }
    let unopened = if refusal(&request).is_some() {
        Vec::new()
    } else {
        unopened(site, &request)
    };
    if unopened.is_empty() {
        return write(site, context, header, request, &[]);
    }
    let header = RequestHeader {
        client_id: None,
        ..*header
    };
    let context = Context {
        client_id: None,
        ..context
    };
    let site = site.clone();
    Answer::Exclusive(Box::pin(async move {
        let mut failures = Vec::new();
        for id in unopened {
            if let Err(unavailable) = site.partitions.open_by_id(id.topic_id, id.index).await {
                failures.push((id, unavailable));
            }
        }
        match write(&site, context, &header, request, &failures) {
            Answer::Now(outgoing) => outgoing,
            Answer::Waiting(later) | Answer::Exclusive(later) => later.await,
        }
    }))
}

/// The partitions that have to be opened first.
fn unopened(site: &Site, request: &ProduceRequest) -> Vec<PartitionId> {
    let mut unopened = Vec::new();
    for topic in &request.topics {
        let named = || {
            topic
                .name
                .as_ref()
                .and_then(|name| site.partitions.id(name).ok())
        };
        let Some(topic_id) = topic.topic_id.or_else(named) else {
            continue;
        };
        let ids = topic.partitions.iter().map(|partition| PartitionId {
            topic_id,
            index: partition.index,
        });
        unopened.extend(ids.filter(|id| site.partitions.if_open(*id).is_none()));
    }
    unopened
}

/// Appends everything. `failures`: of partitions that could not be opened.
fn write(
    site: &Arc<Site>,
    context: Context,
    header: &RequestHeader,
    request: ProduceRequest,
    failures: &[(PartitionId, Unavailable)],
) -> Answer {
    let acks = request.acks;
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(WAIT_MAX);
    let topics = append_all(site, &context, request, failures);
    match acks {
        ACKS_NONE => match first_error(&topics) {
            Some(code) => close(format!("a produce with acks=0 failed: {}", code.name())),
            None => Answer::Now(Outgoing::Nothing),
        },
        ACKS_ALL
            if topics.iter().any(|topic| {
                topic
                    .partitions
                    .iter()
                    .any(|partition| partition.awaits.is_some())
            }) =>
        {
            // Nothing that waits may be a slice of the frame: all its records would stay in memory
            // until they are durable.
            let header = RequestHeader {
                client_id: None,
                ..*header
            };
            let context = Context {
                client_id: None,
                ..context
            };
            let site = site.clone();
            Answer::Waiting(Box::pin(async move {
                let response = wait_all(&site, &context, topics, Instant::now() + wait).await;
                match encode_response(
                    header.api_key,
                    header.api_version,
                    header.correlation_id,
                    &ResponseKind::Produce(response),
                ) {
                    Ok(frame) => Outgoing::Bytes(frame.freeze()),
                    Err(error) => Outgoing::Close(format!(
                        "no response for Produce version {}: {error}",
                        header.api_version
                    )),
                }
            }))
        }
        _ => {
            let response = assemble(site, &context, topics);
            respond(header, header.api_version, ResponseKind::Produce(response))
        }
    }
}

/// One topic's results.
struct TopicAppended {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<Appended>,
}

/// Why nothing of a request is written.
fn refusal(request: &ProduceRequest) -> Option<(ErrorCode, &'static str)> {
    if !matches!(request.acks, ACKS_NONE | ACKS_LEADER | ACKS_ALL) {
        Some((
            ErrorCode::InvalidRequiredAcks,
            "acks must be 0, 1 or -1 (all)",
        ))
    } else if request.transactional_id.is_some() {
        Some((
            ErrorCode::TransactionalIdAuthorizationFailed,
            NO_TRANSACTIONS,
        ))
    } else {
        None
    }
}

fn append_all(
    site: &Site,
    context: &Context,
    request: ProduceRequest,
    failures: &[(PartitionId, Unavailable)],
) -> Vec<TopicAppended> {
    let refused = refusal(&request);
    let now_ms = site.clock.now().wall.0;
    let origin = Origin::Client {
        zstd_allowed: context.version >= ZSTD_SINCE,
    };
    let topic = |topic: ProduceTopic| {
        let partitions = topic.partitions.into_iter().map(|partition| match refused {
            Some((code, why)) => failed(partition.index, code, Some(why.to_owned())),
            None => match find(
                site,
                topic.name.as_ref(),
                topic.topic_id,
                partition.index,
                failures,
            ) {
                Ok(handle) => append(site, &handle, partition, origin, now_ms),
                Err(code) => failed(partition.index, code, None),
            },
        });
        TopicAppended {
            partitions: partitions.collect(),
            id: topic.topic_id.unwrap_or_default(),
            name: topic.name.as_ref().map(kept_text).unwrap_or_default(),
        }
    };
    request.topics.into_iter().map(topic).collect()
}

fn find(
    site: &Site,
    name: Option<&StrBytes>,
    id: Option<Uuid>,
    index: i32,
    failures: &[(PartitionId, Unavailable)],
) -> Result<Handle, ErrorCode> {
    let code = |unavailable: &Unavailable| error_code::unavailable(unavailable);
    let topic_id = match (name, id) {
        (_, Some(id)) => id,
        (Some(name), None) => site
            .partitions
            .id(name)
            .map_err(|unavailable| code(&unavailable))?,
        (None, None) => return Err(ErrorCode::InvalidRequest),
    };
    if let Some((_, unavailable)) = failures
        .iter()
        .find(|(failed, _)| *failed == PartitionId { topic_id, index })
    {
        return Err(code(unavailable));
    }
    // Open, unless it was made anew meanwhile under its name.
    site.partitions
        .by_id(topic_id, index)
        .map_err(|unavailable| code(&unavailable))
}

fn append(
    site: &Site,
    handle: &Handle,
    partition: ProducePartition,
    origin: Origin,
    now_ms: i64,
) -> Appended {
    let index = partition.index;
    let mut records = partition.records.unwrap_or_default();
    let batch = match BatchView::parse_first(&mut records) {
        Ok(Some(batch)) if records.is_empty() => batch,
        Ok(Some(_)) => {
            return failed(
                index,
                ErrorCode::InvalidRecord,
                Some("more than one batch for a partition".into()),
            );
        }
        Ok(None) if records.is_empty() => {
            return failed(
                index,
                ErrorCode::InvalidRecord,
                Some("no batch for a partition".into()),
            );
        }
        Ok(None) => {
            return failed(
                index,
                ErrorCode::CorruptMessage,
                Some("no whole batch for a partition".into()),
            );
        }
        Err(error) => return failed(index, error_code::batch(&error), Some(error.to_string())),
    };
    if batch.header().is_transactional() {
        return failed(
            index,
            ErrorCode::InvalidTxnState,
            Some(NO_TRANSACTIONS.to_owned()),
        );
    }
    match handle.append(batch, origin, now_ms) {
        Ok(appended) => Appended {
            response: PartitionProduceResponse::default()
                .with_index(index)
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.log_append_time_ms)
                .with_log_start_offset(appended.log_start),
            awaits: Some((handle.clone(), appended.last_offset + 1)),
        },
        Err(error) => {
            let code = error.code();
            let mut appended = failed(index, code, Some(error.to_string()));
            if let AppendError::InvalidRecord { indices, .. } = &error {
                // Clients blame these records, and not the others of the batch (KIP-467). The
                // message is the same for all.
                appended.response.record_errors = indices
                    .iter()
                    .map(|at| BatchIndexAndErrorMessage::default().with_batch_index(*at))
                    .collect();
            }
            if matches!(
                code,
                ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
            ) {
                let LeaderEpoch(epoch) = handle.leader_epoch();
                appended.response.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(site.config.broker_id))
                    .with_leader_epoch(epoch);
            }
            appended
        }
    }
}

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
    }
}

fn first_error(topics: &[TopicAppended]) -> Option<ErrorCode> {
    let codes = topics.iter().flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|partition| partition.response.error_code)
    });
    codes
        .filter_map(ErrorCode::from_code)
        .find(|code| !code.is_none())
}

async fn wait_all(
    site: &Site,
    context: &Context,
    mut topics: Vec<TopicAppended>,
    deadline: Instant,
) -> ProduceResponse {
    for partition in topics
        .iter_mut()
        .flat_map(|topic| topic.partitions.iter_mut())
    {
        let Some((handle, end)) = partition.awaits.take() else {
            continue;
        };
        let code = match timeout_at(deadline, handle.durable(end)).await {
            Ok(Ok(())) => continue,
            Ok(Err(lost)) => lost.code(),
            Err(_) => ErrorCode::RequestTimedOut,
        };
        *partition = failed(partition.response.index, code, None);
    }
    assemble(site, context, topics)
}

fn assemble(site: &Site, context: &Context, topics: Vec<TopicAppended>) -> ProduceResponse {
    let unknown = LeaderIdAndEpoch::default();
    let names_leader = topics.iter().any(|topic| {
        topic
            .partitions
            .iter()
            .any(|partition| partition.response.current_leader != unknown)
    });
    let endpoint = NodeEndpoint::default()
        .with_node_id(BrokerId(site.config.broker_id))
        .with_host(text(&context.advertise.host))
        .with_port(i32::from(context.advertise.port));
    let topic = |topic: TopicAppended| {
        TopicProduceResponse::default()
            .with_name(TopicName(topic.name))
            .with_topic_id(topic.id)
            .with_partition_responses(
                topic
                    .partitions
                    .into_iter()
                    .map(|partition| partition.response)
                    .collect(),
            )
    };
    ProduceResponse::default()
        .with_responses(topics.into_iter().map(topic).collect())
        .with_node_endpoints(if names_leader {
            vec![endpoint]
        } else {
            Vec::new()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Broker, RawConfig, World, context::Connection, dispatch::dispatch};
    use gnomon_catalog::{CreateTopics, Event, NewTopic};
    use gnomon_partition::Blocking;
    use gnomon_protocol::{
        api::keys,
        batch::BatchBuilder,
        messages::{
            self, RequestKind, produce_request::PartitionProduceData,
            produce_request::TopicProduceData,
        },
        request::encode_request,
    };
    use gnomon_storage::MemDisk;
    use std::{future::poll_fn, task::Poll};

    const VERSION: i16 = 9;

    /// A frame without its size, as it comes off a connection.
    fn frame(records: Bytes) -> Bytes {
        let partition = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_partition_data(vec![partition]);
        let request = messages::ProduceRequest::default()
            .with_acks(ACKS_ALL)
            .with_timeout_ms(1_000)
            .with_topic_data(vec![topic]);
        let client_id = Some(StrBytes::from_static_str("writer"));
        let header = RequestHeader {
            api_key: keys::PRODUCE,
            api_version: VERSION,
            correlation_id: 1,
            client_id,
        };
        let encoded = encode_request(&header, &RequestKind::Produce(request)).expect("encoded");
        encoded.freeze().slice(4..)
    }

    #[tokio::test]
    async fn what_waits_for_the_disk_does_not_keep_the_frame_in_memory() {
        let raw = RawConfig {
            data: Some("/data".into()),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            ..RawConfig::default()
        };
        // Inline: the flusher is a task of this thread, so that nothing is flushed before the first
        // await.
        let world = World {
            blocking: Blocking::Inline {
                flush: Duration::ZERO,
            },
            ..World::real(Arc::new(MemDisk::new()))
        };
        let broker = Broker::start(raw.check().expect("valid"), world)
            .await
            .expect("started");
        let site = broker.site();
        let topics = vec![NewTopic {
            partitions: 1,
            ..NewTopic::named("t", site.fresh_id())
        }];
        let create = CreateTopics {
            topics,
            origin: gnomon_catalog::Origin::AutoCreate,
            validate_only: false,
        };
        site.catalog
            .submit(Event::CreateTopics(create))
            .await
            .expect("made");

        let batch = BatchBuilder::new(0)
            .record(0, None, Some(&[7; 4096]), &[])
            .build()
            .expect("a batch");
        let frame = frame(batch);
        let advertise = crate::Endpoint {
            host: "127.0.0.1".into(),
            port: 9092,
        };
        let connection = Connection {
            peer: ([127, 0, 0, 1], 1).into(),
            advertise,
            asks: Arc::default(),
        };
        let Answer::Exclusive(mut first) = dispatch(site, &connection, frame.clone()) else {
            panic!("the partition is to be opened")
        };
        let until_appended = poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(_) => panic!("answered before it is durable"),
            Poll::Pending if frame.is_unique() => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        });
        tokio::time::timeout(Duration::from_secs(20), until_appended)
            .await
            .expect("somebody still holds the frame");
        assert!(matches!(first.await, Outgoing::Bytes(_)));

        let Answer::Waiting(later) = dispatch(site, &connection, frame.clone()) else {
            panic!("acks=all waits for the disk")
        };
        assert!(frame.is_unique(), "somebody else still holds the frame");
        assert!(matches!(later.await, Outgoing::Bytes(_)));
        broker.stop().await;
    }
}

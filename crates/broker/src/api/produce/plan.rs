//! Which partition each batch of a request goes to, or why it is refused: decided once, before
//! anything is appended.

use super::{
    ACKS_ALL, ACKS_LEADER, ACKS_NONE, Appended, NO_TRANSACTIONS, TopicAppended, failed, kept_text,
};
use crate::{
    api::current_leader,
    error_code::{self, Refusal},
    traffic::{Traffic, WriteRefusal},
};
use bytes::Bytes;
use gnomon_host::{Partitions, Unavailable};
use gnomon_partition::{AppendError, Begun, Handle, LightWork, Origin, PartitionId};
use gnomon_protocol::{
    batch::BatchView,
    error_code::ErrorCode,
    ids::{TopicId, Uuid},
    messages::{
        BrokerId,
        produce_response::{BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse},
    },
    produce::{ProducePartition, ProduceRequest},
    wire::StrBytes,
};
use std::sync::Arc;

/// Refused partitions that are looked at between two yields to other tasks.
const YIELD_EVERY: usize = 256;

/// Every partition of a request, in its order.
pub struct ProducePlan {
    topics: Vec<PlannedTopic>,
}

struct PlannedTopic {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<Planned>,
}

struct Planned {
    index: i32,
    records: Bytes,
    target: Target,
}

/// Where a batch goes.
enum Target {
    Open(Handle),
    /// The partition exists, and must be opened first.
    Unopened(PartitionId),
    Refused(ErrorCode, Option<String>),
}

impl ProducePlan {
    /// Finds the partitions of a request.
    pub fn of(partitions: &Partitions, request: ProduceRequest) -> ProducePlan {
        let refusal = refusal(&request);
        let topics = request.topics.into_iter().map(|topic| {
            let topic_id = match (&topic.name, topic.topic_id) {
                (_, Some(id)) => Ok(id),
                (Some(name), None) => partitions
                    .id(name)
                    .map_err(|unknown| error_code::unavailable(&unknown)),
                (None, None) => Err(ErrorCode::InvalidRequest),
            };
            let planned = topic.partitions.into_iter().map(|partition| {
                let ProducePartition { index, records } = partition;
                let target = match (refusal, topic_id) {
                    (Some((code, why)), _) => Target::Refused(code, Some(why.to_owned())),
                    (None, Err(code)) => Target::Refused(code, None),
                    (None, Ok(topic_id)) => find(partitions, topic_id, index),
                };
                Planned {
                    index,
                    records: records.unwrap_or_default(),
                    target,
                }
            });
            PlannedTopic {
                partitions: planned.collect(),
                id: topic.topic_id.unwrap_or_default(),
                name: topic.name.as_ref().map(kept_text).unwrap_or_default(),
            }
        });
        ProducePlan {
            topics: topics.collect(),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Planned> {
        self.topics
            .iter_mut()
            .flat_map(|topic| topic.partitions.iter_mut())
    }

    /// Whether a partition must be opened first.
    pub fn has_unopened(&mut self) -> bool {
        self.all()
            .any(|planned| matches!(planned.target, Target::Unopened(_)))
    }

    /// Opens the partitions that are not open.
    pub async fn open(&mut self, partitions: &Arc<Partitions>) {
        for (count, planned) in self.all().enumerate() {
            if count % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
            if let Target::Unopened(id) = planned.target {
                planned.target = match partitions.open_by_id(id.topic_id, id.index).await {
                    Ok(handle) => Target::Open(handle),
                    Err(unavailable) => refused(&unavailable),
                };
            }
        }
    }

    /// Appends every batch that has a partition.
    pub fn append(
        self,
        origin: Origin,
        now_ms: i64,
        broker_id: i32,
        traffic: &Traffic,
    ) -> Vec<TopicAppended> {
        let refuse = |index, code, why| {
            traffic.count_refused_write(WriteRefusal::of_code(code));
            failed(index, code, why)
        };
        let mut light = LightWork::default();
        let mut partition = |planned: Planned| {
            let index = planned.index;
            match planned.target {
                Target::Open(handle) => match batch(planned.records) {
                    Ok(batch) => match handle
                        .appender()
                        .begin_append(batch, origin, now_ms, &mut light)
                    {
                        Begun::Done(result) => appended(&handle, index, result, broker_id, traffic),
                        Begun::Elsewhere(batch) => Appended {
                            response: PartitionProduceResponse::default().with_index(index),
                            awaits: None,
                            heavy: Some(Box::new((handle, batch))),
                        },
                    },
                    Err((code, why)) => refuse(index, code, Some(why)),
                },
                Target::Refused(code, why) => refuse(index, code, why),
                Target::Unopened(_) => refuse(index, ErrorCode::NotLeaderOrFollower, None),
            }
        };
        let topic = |topic: PlannedTopic| TopicAppended {
            name: topic.name,
            id: topic.id,
            partitions: topic.partitions.into_iter().map(&mut partition).collect(),
        };
        self.topics.into_iter().map(topic).collect()
    }
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

fn find(partitions: &Partitions, topic_id: TopicId, index: i32) -> Target {
    let id = PartitionId { topic_id, index };
    match partitions.if_open(id) {
        Some(handle) => Target::Open(handle),
        None => match partitions.exists(id) {
            Ok(()) => Target::Unopened(id),
            Err(unavailable) => refused(&unavailable),
        },
    }
}

fn refused(unavailable: &Unavailable) -> Target {
    Target::Refused(error_code::unavailable(unavailable), None)
}

/// The one batch that a client may send for a partition.
fn batch(mut records: Bytes) -> Result<BatchView, (ErrorCode, String)> {
    let invalid = |code, why: &str| Err((code, why.to_owned()));
    let batch = match BatchView::parse_first(&mut records) {
        Ok(Some(batch)) if records.is_empty() => batch,
        Ok(Some(_)) => {
            return invalid(
                ErrorCode::InvalidRecord,
                "more than one batch for a partition",
            );
        }
        Ok(None) if records.is_empty() => {
            return invalid(ErrorCode::InvalidRecord, "no batch for a partition");
        }
        Ok(None) => return invalid(ErrorCode::CorruptMessage, "no whole batch for a partition"),
        Err(error) => return Err((error_code::batch(&error), error.to_string())),
    };
    match batch.header().is_transactional() {
        true => invalid(ErrorCode::InvalidTxnState, NO_TRANSACTIONS),
        false => Ok(batch),
    }
}

/// A partition's result as it is sent.
pub fn appended(
    handle: &Handle,
    index: i32,
    result: Result<gnomon_partition::Appended, AppendError>,
    broker_id: i32,
    traffic: &Traffic,
) -> Appended {
    let error = match result {
        Ok(appended) => {
            return Appended {
                response: PartitionProduceResponse::default()
                    .with_index(index)
                    .with_base_offset(appended.base_offset)
                    .with_log_append_time_ms(appended.log_append_time_ms)
                    .with_log_start_offset(appended.log_start),
                awaits: Some((handle.clone(), appended.last_offset + 1)),
                heavy: None,
            };
        }
        Err(error) => error,
    };
    traffic.count_refused_write((&error).into());
    let code = error.code();
    let mut refused = failed(index, code, Some(error.to_string()));
    if let AppendError::InvalidRecord { indices, .. } = &error {
        // Clients blame these records, and not the others of the batch (KIP-467). The message is
        // the same for all.
        refused.response.record_errors = indices
            .iter()
            .map(|at| BatchIndexAndErrorMessage::default().with_batch_index(*at))
            .collect();
    }
    if matches!(
        code,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
    ) {
        let (leader, epoch) = current_leader(handle, broker_id);
        refused.response.current_leader = LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch.0);
    }
    refused
}

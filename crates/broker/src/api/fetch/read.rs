//! One pass over the partitions of a fetch: what each would answer now.

use super::Limits;
use crate::{
    api::{Pace, current_leader},
    error_code::{self, Refusal},
    fetch_sessions::{LastResponse, RequestedPartition},
    net::answer::Records,
    reader_queries::RequestQueries,
};
use gnomon_host::{Partitions, Unavailable};
use gnomon_partition::{
    Handle, Isolation, Offsets, PartitionId, Position, PositionState, Read, ReadError,
};
use gnomon_protocol::{
    error_code::ErrorCode,
    fetch::FetchPartition,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use gnomon_storage::FileRange;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// The broker that leads a partition, and its epoch.
type Leader = (i32, LeaderEpoch);

/// The result for one partition.
pub enum PartitionRead {
    /// Records, or none yet.
    Records(Box<Read>),
    /// The client's log and this one part here.
    Diverging(Offsets, BatchEpoch, Offset),
    /// An error, with the offsets and the leader where the partition is known.
    Error(ErrorCode, Option<(Offsets, Leader)>),
}

/// The id of the partition that is asked for.
pub fn id(partitions: &Partitions, asked: &RequestedPartition) -> Result<PartitionId, Unavailable> {
    let topic_id = if asked.topic_id.is_nil() {
        partitions.id(&asked.topic)?
    } else {
        asked.topic_id
    };
    Ok(PartitionId {
        topic_id,
        index: asked.partition,
    })
}

/// Its handle. One that is being recovered does not hold up the others for longer than until
/// `until`.
async fn open(
    partitions: &Arc<Partitions>,
    asked: &RequestedPartition,
    until: Instant,
) -> Result<Handle, Unavailable> {
    if let Some(handle) = partitions.if_open(id(partitions, asked)?) {
        return Ok(handle);
    }
    let opened = async {
        match asked.topic_id.is_nil() {
            true => partitions.open_by_name(&asked.topic, asked.partition).await,
            false => partitions.open_by_id(asked.topic_id, asked.partition).await,
        }
    };
    timeout_at(until, opened)
        .await
        .unwrap_or(Err(Unavailable::Opening))
}

/// Reads all partitions in order, within the limits. `queries`: for positions that only a shadow's
/// source can judge.
pub async fn read_all(
    partitions: &Arc<Partitions>,
    queries: &mut RequestQueries<'_, Position>,
    asked: &[RequestedPartition],
    limits: &Limits,
) -> Vec<PartitionRead> {
    let mut bytes_left = limits.bytes_max;
    let mut empty = true;
    let mut all = Vec::with_capacity(asked.len());
    let mut pace = Pace::default();
    for asked in asked {
        pace.step().await;
        let read = read_one(partitions, queries, asked, limits, bytes_left, empty).await;
        bytes_left = bytes_left.saturating_sub(read.bytes());
        empty &= read.bytes() == 0;
        all.push(read);
    }
    all
}

async fn read_one(
    partitions: &Arc<Partitions>,
    queries: &mut RequestQueries<'_, Position>,
    asked: &RequestedPartition,
    limits: &Limits,
    bytes_left: usize,
    at_least_one: bool,
) -> PartitionRead {
    let handle = match open(partitions, asked, limits.open_until).await {
        Ok(handle) => handle,
        Err(unavailable) => {
            return PartitionRead::Error(error_code::unavailable(&unavailable), None);
        }
    };
    let known =
        |handle: &Handle| Some((handle.offsets(), current_leader(handle, limits.broker_id)));
    if let Err(refusal) = handle
        .reader()
        .check_current_epoch(asked.current_leader_epoch)
    {
        return PartitionRead::Error(refusal.code(), known(&handle));
    }
    let position = Position {
        offset: asked.fetch_offset,
        last_epoch: asked.last_fetched_epoch,
    };
    // Only what our own log cannot decide is a query for the source.
    let mut state = || match handle.reader().position_state(position) {
        PositionState::NotYet => queries.judge(&handle, position).0,
        decided => {
            queries.settled(&handle);
            decided
        }
    };
    let mut elsewhere = || not_here(state(), &handle, known(&handle));
    // Consumers do not send the epoch of their last record, and the read itself finds whether their
    // offset is here. Only a client that sends it is compared first (KIP-595).
    if position.last_epoch >= BatchEpoch(0)
        && let Some(elsewhere) = elsewhere()
    {
        return elsewhere;
    }
    let bytes_max = asked.bytes_max.min(bytes_left);
    match read_up_to(
        &handle,
        asked.fetch_offset,
        bytes_max,
        limits.isolation,
        at_least_one,
    )
    .await
    {
        Ok(read) => {
            queries.settled(&handle);
            PartitionRead::Records(Box::new(read))
        }
        // If the position is here now, it was copied after the read: the next pass reads it.
        Err(error @ ReadError::NotYet { .. }) => elsewhere()
            .unwrap_or_else(|| PartitionRead::Error(error_code::read(&error), known(&handle))),
        Err(error) => PartitionRead::Error(error_code::read(&error), known(&handle)),
    }
}

/// The answer about a position that cannot be read from here; `None` if it can. `known`: what an
/// error says of the partition.
fn not_here(
    state: PositionState,
    handle: &Handle,
    known: Option<(Offsets, (i32, LeaderEpoch))>,
) -> Option<PartitionRead> {
    match state {
        PositionState::Here => None,
        PositionState::Diverging { epoch, end } => {
            Some(PartitionRead::Diverging(handle.offsets(), epoch, end))
        }
        PositionState::OutOfRange => Some(PartitionRead::Error(ErrorCode::OffsetOutOfRange, known)),
        PositionState::NotYet => Some(PartitionRead::Error(ErrorCode::OffsetNotAvailable, known)),
    }
}

/// Reads from the page cache on this thread, and from the disk on a thread for blocking work.
async fn read_up_to(
    handle: &Handle,
    from: Offset,
    bytes_max: usize,
    isolation: Isolation,
    at_least_one: bool,
) -> Result<Read, ReadError> {
    if let Some(read) = handle
        .reader()
        .read_now(from, bytes_max, isolation, at_least_one)?
    {
        return Ok(read);
    }
    let read = handle
        .blocking(move |handle| {
            handle
                .reader()
                .read(from, bytes_max, isolation, at_least_one)
        })
        .await;
    // The runtime ends: nothing is read any more, and the connection is about to go.
    read.unwrap_or_else(|| {
        Ok(Read {
            range: None,
            offsets: handle.offsets(),
            aborted: None,
        })
    })
}

impl PartitionRead {
    /// The records, if there are any.
    pub fn range(&self) -> Option<&FileRange> {
        match self {
            PartitionRead::Records(read) => read.range.as_ref(),
            PartitionRead::Diverging(..) | PartitionRead::Error(..) => None,
        }
    }

    /// Bytes of records.
    pub fn bytes(&self) -> usize {
        self.range().map_or(0, |range| range.len)
    }

    /// Whether there are records, and more after them that may be read.
    pub fn stops_short(&self, isolation: Isolation) -> bool {
        match self {
            PartitionRead::Records(read) => {
                let bound = match isolation {
                    Isolation::ReadCommitted => read.offsets.last_stable,
                    Isolation::ReadUncommitted | Isolation::LogEnd => read.offsets.high_watermark,
                };
                read.range
                    .as_ref()
                    .is_some_and(|range| range.next_offset < bound)
            }
            PartitionRead::Diverging(..) | PartitionRead::Error(..) => false,
        }
    }

    /// Whether the client must hear of it at once. A position that is not here yet is worth waiting
    /// for.
    pub fn urgent(&self) -> bool {
        match self {
            PartitionRead::Records(..) => false,
            PartitionRead::Diverging(..) => true,
            PartitionRead::Error(code, _) => *code != ErrorCode::OffsetNotAvailable,
        }
    }

    /// Whether the answer tells who leads (KIP-951).
    fn names_leader(&self) -> bool {
        matches!(
            self,
            PartitionRead::Error(
                ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch,
                Some(_)
            )
        )
    }

    /// The result, as the session remembers it.
    pub fn told(&self) -> LastResponse {
        let offsets = |offsets: &Offsets, error| LastResponse {
            high_watermark: offsets.high_watermark,
            log_start: offsets.log_start,
            error,
        };
        match self {
            PartitionRead::Records(read) => offsets(&read.offsets, false),
            PartitionRead::Diverging(known, ..) => offsets(known, false),
            PartitionRead::Error(_, Some((known, _))) => offsets(known, true),
            PartitionRead::Error(_, None) => LastResponse {
                high_watermark: -1,
                log_start: -1,
                error: true,
            },
        }
    }

    /// The partition's part of the response.
    pub fn into_response(self, index: i32) -> FetchPartition<Records> {
        let nothing = |error, offsets: Option<Offsets>| FetchPartition {
            index,
            error,
            high_watermark: offsets.map_or(-1, |offsets| offsets.high_watermark),
            last_stable_offset: offsets.map_or(-1, |offsets| offsets.last_stable),
            log_start_offset: offsets.map_or(-1, |offsets| offsets.log_start),
            diverging_epoch: None,
            current_leader: None,
            aborted: None,
            preferred_read_replica: -1,
            records: Records::Empty,
        };
        let names_leader = self.names_leader();
        match self {
            PartitionRead::Records(read) => FetchPartition {
                aborted: read.aborted,
                records: read.range.map_or(Records::Empty, Records::File),
                ..nothing(ErrorCode::None, Some(read.offsets))
            },
            PartitionRead::Diverging(offsets, epoch, end) => FetchPartition {
                diverging_epoch: Some((epoch, end)),
                ..nothing(ErrorCode::None, Some(offsets))
            },
            PartitionRead::Error(code, known) => FetchPartition {
                current_leader: known.filter(|_| names_leader).map(|(_, leader)| leader),
                ..nothing(code, known.map(|(offsets, _)| offsets))
            },
        }
    }
}

//! Fetching from one broker over one connection of its own, with a fetch session, as a reader of
//! whole batches.
//!
//! What comes back are raw record bytes as slices of the receive buffer: nothing is copied, checked
//! or decompressed here, and the last batch may be cut off. One request is in flight at most; the
//! next one may be sent as soon as the answer is here, before anything is done with its data.
//!
//! Not here: where to go on reading, and what an error of a partition means.

use crate::{Answer, Call, ClientError, Conn, fetch_session::FetchSession, metadata};
use bytes::Bytes;
use gnomon_protocol::{
    ids::{BatchEpoch, LeaderEpoch, Offset, TopicId},
    messages::{
        BrokerId, FetchRequest, FetchResponse, TopicName,
        fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
        fetch_response::PartitionData,
    },
    wire::StrBytes,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Since this version topics are named by id only (KIP-516).
const FIRST_BY_ID: i16 = 13;
const SESSION_ID_NOT_FOUND: i16 = 70;

/// Sizes and waits of one fetcher; the names are those of Kafka's consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// How long the broker may hold the request when there is less than `min_bytes`.
    pub max_wait: Duration,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    pub isolation: Isolation,
    /// The answer is to speak of every partition that has one at all: the session, which is silent
    /// about what did not change, starts again.
    pub whole: bool,
    /// On top of `max_wait`.
    pub request_timeout: Duration,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            isolation: Isolation::ReadUncommitted,
            whole: false,
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// The transactions to be seen (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    /// As requests carry it.
    pub fn level(self) -> i8 {
        match self {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }
}

/// One partition of the peer. The id is nil when the peer has no topic ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchTarget {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partition: i32,
}

/// Where to read on, and which history we believe in (KIP-320, KIP-595).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    pub offset: Offset,
    pub current_leader_epoch: LeaderEpoch,
    /// Epoch of the batch before `offset`; asks the broker for a diverging epoch.
    pub last_fetched_epoch: BatchEpoch,
}

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub target: FetchTarget,
    pub error: Option<i16>,
    /// `-1` when the broker does not know, or with an error.
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    /// The broker's history ends for our `last_fetched_epoch` at this epoch and offset.
    pub diverging: Option<(BatchEpoch, Offset)>,
    /// The present leader, when that is why the broker refused (KIP-951).
    pub current_leader: Option<(i32, LeaderEpoch)>,
    /// Whole batches, the first one perhaps beginning before the position, the last one perhaps cut
    /// off.
    pub records: Bytes,
    /// With read committed: producers whose records from this offset on are to be left out, up to
    /// their abort marker.
    pub aborted: Vec<(i64, Offset)>,
}

/// An answer to one fetch: only partitions that have something to say, in a session.
pub type FetchedAll = Vec<Fetched>;

/// Fetches over one connection. Not shared: one request at a time.
pub struct Fetcher {
    conn: Conn,
    options: FetchOptions,
    session: FetchSession<FetchTarget, FetchPosition>,
    /// How answers name topics, to how we do: by id, and by name with the id we believe in.
    by_id: BTreeMap<TopicId, Arc<str>>,
    by_name: BTreeMap<Arc<str>, TopicId>,
    in_flight: Option<Answer<FetchRequest>>,
}

impl Fetcher {
    /// A fetcher that owns this connection: long polls on it hold up whatever is asked after them.
    pub fn new(conn: Conn, options: FetchOptions) -> Fetcher {
        Fetcher {
            conn,
            options,
            session: FetchSession::default(),
            by_id: BTreeMap::new(),
            by_name: BTreeMap::new(),
            in_flight: None,
        }
    }

    /// Sizes may change between two requests.
    pub fn options_mut(&mut self) -> &mut FetchOptions {
        &mut self.options
    }

    /// The connection in use.
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Sends one request for exactly these partitions; what was in flight is given up, and with it
    /// the session.
    pub async fn send(
        &mut self,
        wanted: &BTreeMap<FetchTarget, FetchPosition>,
    ) -> Result<(), ClientError> {
        if self.in_flight.take().is_some() || self.options.whole {
            self.session.lost(false);
        }
        let mut version = self.conn.version::<FetchRequest>()?;
        if wanted.keys().any(|target| target.topic_id.is_nil()) {
            version = version.min(FIRST_BY_ID - 1);
        }
        let plan = self.session.plan(wanted);
        for (target, _) in &plan.named {
            self.by_id.insert(target.topic_id, target.topic.clone());
            self.by_name.insert(target.topic.clone(), target.topic_id);
        }
        let mut request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(self.options.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.options.min_bytes)
            .with_max_bytes(self.options.max_bytes)
            .with_isolation_level(self.options.isolation.level());
        // Versions before 7 know no sessions and name everything each time, which is what an
        // unopened session does.
        if version >= 7 {
            request = request
                .with_session_id(plan.session_id)
                .with_session_epoch(plan.session_epoch);
        }
        request.topics = topics(plan.named, self.options.partition_max_bytes, version);
        request.forgotten_topics_data = forgotten(plan.forgotten, version);
        let deadline = self.options.request_timeout + self.options.max_wait;
        self.in_flight = Some(self.conn.start_raw(request, version, deadline).await?);
        Ok(())
    }

    /// Whether an answer is awaited.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The answer to what was sent last; waits for ever if nothing was. An error concerns the whole
    /// request; after a session error ([`is_session_error`]) the caller just sends again, which
    /// opens a new session. Cancel safe.
    pub async fn receive(&mut self) -> Result<FetchedAll, ClientError> {
        let Some(answer) = self.in_flight.as_mut() else {
            return std::future::pending().await;
        };
        let response = answer.wait().await;
        self.in_flight = None;
        match response {
            Ok(response) => self.accept(response),
            Err(error) => {
                self.session.lost(false);
                Err(error)
            }
        }
    }

    fn accept(&mut self, response: FetchResponse) -> Result<FetchedAll, ClientError> {
        if response.error_code != 0 {
            self.session
                .lost(response.error_code == SESSION_ID_NOT_FOUND);
            return Err(ClientError::refused(
                FetchRequest::NAME,
                self.conn.address(),
                response.error_code,
                None,
            ));
        }
        let mut fetched = Vec::new();
        for topic in response.responses {
            let named = if topic.topic.0.is_empty() {
                self.by_id
                    .get(&topic.topic_id)
                    .map(|name| (name.clone(), topic.topic_id))
            } else {
                self.by_name
                    .get_key_value(topic.topic.0.as_str())
                    .map(|(name, id)| (name.clone(), *id))
            };
            let Some((name, topic_id)) = named else {
                continue;
            };
            for partition in topic.partitions {
                let target = FetchTarget {
                    topic: name.clone(),
                    topic_id,
                    partition: partition.partition_index,
                };
                // A partition that was given up between two requests: its data is not wanted any
                // more.
                if self.session.sent().contains_key(&target) {
                    fetched.push(read(target, partition));
                }
            }
        }
        self.session.answered(response.session_id);
        Ok(fetched)
    }
}

/// Whether an error of a whole fetch only means that a new session is needed.
pub fn is_session_error(error: &ClientError) -> bool {
    matches!(error.code(), Some(70 | 71 | 106))
}

fn read(target: FetchTarget, data: PartitionData) -> Fetched {
    let diverging = (data.diverging_epoch.epoch >= 0 || data.diverging_epoch.end_offset >= 0)
        .then_some((
            BatchEpoch(data.diverging_epoch.epoch),
            data.diverging_epoch.end_offset,
        ));
    let leader = data.current_leader;
    Fetched {
        target,
        error: metadata::error(data.error_code),
        high_watermark: data.high_watermark,
        last_stable_offset: data.last_stable_offset,
        log_start_offset: data.log_start_offset,
        diverging,
        current_leader: (leader.leader_id.0 >= 0)
            .then_some((leader.leader_id.0, LeaderEpoch(leader.leader_epoch))),
        records: data.records.unwrap_or_default(),
        aborted: data
            .aborted_transactions
            .unwrap_or_default()
            .iter()
            .map(|a| (a.producer_id.0, a.first_offset))
            .collect(),
    }
}

fn topics(
    named: Vec<(FetchTarget, FetchPosition)>,
    partition_max_bytes: i32,
    version: i16,
) -> Vec<FetchTopic> {
    let mut topics: Vec<(FetchTarget, FetchTopic)> = Vec::new();
    for (target, position) in named {
        let partition = FetchPartition::default()
            .with_partition(target.partition)
            .with_fetch_offset(position.offset)
            .with_current_leader_epoch(if version >= 9 {
                position.current_leader_epoch.0
            } else {
                -1
            })
            .with_last_fetched_epoch(if version >= 12 {
                position.last_fetched_epoch.0
            } else {
                -1
            })
            .with_log_start_offset(-1)
            .with_partition_max_bytes(partition_max_bytes);
        match topics.last_mut() {
            Some((last, topic))
                if last.topic == target.topic && last.topic_id == target.topic_id =>
            {
                topic.partitions.push(partition)
            }
            Some(_) | None => {
                let topic = FetchTopic::default().with_partitions(vec![partition]);
                let topic = if version >= FIRST_BY_ID {
                    topic.with_topic_id(target.topic_id)
                } else {
                    topic.with_topic(name(&target.topic))
                };
                topics.push((target, topic));
            }
        }
    }
    topics.into_iter().map(|(_, topic)| topic).collect()
}

fn forgotten(targets: Vec<FetchTarget>, version: i16) -> Vec<ForgottenTopic> {
    let one = |target: FetchTarget| {
        let topic = ForgottenTopic::default().with_partitions(vec![target.partition]);
        if version >= FIRST_BY_ID {
            topic.with_topic_id(target.topic_id)
        } else {
            topic.with_topic(name(&target.topic))
        }
    };
    targets.into_iter().map(one).collect()
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

//! Fetch responses as chunks for one vectored write: our bytes, with the records between them
//! untouched.
//!
//! Records are a [`Payload`]: shared bytes, or a range of a file that the broker sends without
//! reading it. The frame's size is known from their lengths alone. Versions 4 to 18. Fields that a
//! version does not have are left out, so a caller fills in what it knows. Not here: sessions,
//! limits, what a partition answers.

use crate::{
    api::keys,
    compact::{put_compact_string, put_varint},
    error_code::ErrorCode,
    frame,
    ids::{BatchEpoch, LeaderEpoch, Offset, ProducerId},
    request::start_response,
    wire::StrBytes,
};
use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// First version with compact types, diverging epochs and current leaders (KIP-595, KIP-482).
const FLEXIBLE_FROM: i16 = 12;
/// First version that names topics by id (KIP-516).
const TOPIC_ID_FROM: i16 = 13;
/// First version that names the leader's address (KIP-951).
const ENDPOINTS_FROM: i16 = 16;

/// Something that is sent as it is.
pub trait Payload {
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Payload for Bytes {
    fn len(&self) -> usize {
        Bytes::len(self)
    }
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponse<P> {
    /// How long the client was throttled (KIP-219).
    pub throttle_ms: i32,
    /// The session's error, from version 7.
    pub error: ErrorCode,
    /// 0 for none, from version 7 (KIP-227).
    pub session_id: i32,
    /// In the order to be sent.
    pub topics: Vec<FetchTopic<P>>,
    /// Addresses of the leaders named in partitions, from version 16 (KIP-951).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic of it: by name below version 13, by id from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic<P> {
    pub name: StrBytes,
    pub id: Uuid,
    pub partitions: Vec<FetchPartition<P>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition<P> {
    pub index: i32,
    pub error: ErrorCode,
    /// -1 when not known.
    pub high_watermark: Offset,
    /// -1 when not known.
    pub last_stable_offset: Offset,
    /// -1 when not known; from version 5.
    pub log_start_offset: Offset,
    /// The largest epoch and its end from which the reader's history differs; from version 12.
    pub diverging_epoch: Option<(BatchEpoch, Offset)>,
    /// Leader and its epoch for a reader that is wrong about them; from version 12.
    pub current_leader: Option<(i32, LeaderEpoch)>,
    /// Aborted transactions in what is read, as producer and first offset; `None` for
    /// read_uncommitted.
    pub aborted: Option<Vec<(ProducerId, Offset)>>,
    /// -1 for none; from version 11 (KIP-392).
    pub preferred_read_replica: i32,
    /// Whole batches; empty for none.
    pub records: P,
}

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: StrBytes,
    pub port: i32,
    pub rack: Option<StrBytes>,
}

/// A piece of a frame, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk<P> {
    /// Our bytes; the first chunk starts with the frame's size.
    Head(Bytes),
    /// Records as the partition gave them, never empty.
    Payload(P),
}

impl<P: Payload> Chunk<P> {
    pub fn len(&self) -> usize {
        match self {
            Chunk::Head(bytes) => bytes.len(),
            Chunk::Payload(payload) => payload.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Encodes a response of version 4 to 18. The frame must stay below 2 GiB, which the caller's limit
/// on fetched bytes sees to.
///
/// # Panics
/// When the frame is beyond what its size prefix can say.
pub fn encode_fetch<P: Payload>(
    version: i16,
    correlation_id: i32,
    response: FetchResponse<P>,
) -> Vec<Chunk<P>> {
    let mut encoder = Encoder {
        version,
        compact: version >= FLEXIBLE_FROM,
        out: BytesMut::new(),
        heads: Vec::new(),
        total: 0,
    };
    start_response(&mut encoder.out, keys::FETCH, version, correlation_id);
    encoder.response(response);
    encoder.finish()
}

struct Encoder<P> {
    version: i16,
    compact: bool,
    /// All of our bytes, cut apart in the end: payloads go in at the marked places.
    out: BytesMut,
    heads: Vec<(usize, P)>,
    total: usize,
}

impl<P: Payload> Encoder<P> {
    fn response(&mut self, response: FetchResponse<P>) {
        self.out.put_i32(response.throttle_ms);
        if self.version >= 7 {
            self.out.put_i16(response.error.code());
            self.out.put_i32(response.session_id);
        }
        self.length(Some(response.topics.len()));
        for topic in response.topics {
            self.topic(topic);
        }
        if !self.compact {
            return;
        }
        if self.version < ENDPOINTS_FROM || response.node_endpoints.is_empty() {
            return self.out.put_u8(0);
        }
        let mut endpoints = BytesMut::new();
        put_varint(&mut endpoints, response.node_endpoints.len() as u32 + 1);
        for endpoint in &response.node_endpoints {
            endpoints.put_i32(endpoint.node_id);
            put_compact_string(&mut endpoints, Some(&*endpoint.host));
            endpoints.put_i32(endpoint.port);
            put_compact_string(&mut endpoints, endpoint.rack.as_deref());
            endpoints.put_u8(0);
        }
        put_varint(&mut self.out, 1);
        self.tag(0, &endpoints);
    }

    fn topic(&mut self, topic: FetchTopic<P>) {
        if self.version >= TOPIC_ID_FROM {
            self.out.put_slice(topic.id.as_bytes());
        } else if self.compact {
            put_compact_string(&mut self.out, Some(&*topic.name));
        } else {
            self.out.put_i16(topic.name.len() as i16);
            self.out.put_slice(topic.name.as_bytes());
        }
        self.length(Some(topic.partitions.len()));
        for partition in topic.partitions {
            self.partition(partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, partition: FetchPartition<P>) {
        self.out.put_i32(partition.index);
        self.out.put_i16(partition.error.code());
        self.out.put_i64(partition.high_watermark);
        self.out.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.out.put_i64(partition.log_start_offset);
        }
        self.length(partition.aborted.as_ref().map(Vec::len));
        for (producer_id, first_offset) in partition.aborted.into_iter().flatten() {
            self.out.put_i64(producer_id);
            self.out.put_i64(first_offset);
            self.no_tags();
        }
        if self.version >= 11 {
            self.out.put_i32(partition.preferred_read_replica);
        }
        self.length(Some(partition.records.len()));
        if !partition.records.is_empty() {
            self.total += partition.records.len();
            self.heads.push((self.out.len(), partition.records));
        }
        if self.compact {
            self.partition_tags(partition.diverging_epoch, partition.current_leader);
        }
    }

    fn partition_tags(
        &mut self,
        diverging: Option<(BatchEpoch, Offset)>,
        leader: Option<(i32, LeaderEpoch)>,
    ) {
        put_varint(
            &mut self.out,
            u32::from(diverging.is_some()) + u32::from(leader.is_some()),
        );
        if let Some((epoch, end_offset)) = diverging {
            let mut value = BytesMut::new();
            value.put_i32(epoch.0);
            value.put_i64(end_offset);
            value.put_u8(0);
            self.tag(0, &value);
        }
        if let Some((leader_id, epoch)) = leader {
            let mut value = BytesMut::new();
            value.put_i32(leader_id);
            value.put_i32(epoch.0);
            value.put_u8(0);
            self.tag(1, &value);
        }
    }

    /// Length of an array or of bytes, `None` for null.
    fn length(&mut self, length: Option<usize>) {
        match (self.compact, length) {
            (true, length) => {
                put_varint(&mut self.out, length.map_or(0, |length| length as u32 + 1))
            }
            (false, length) => self.out.put_i32(length.map_or(-1, |length| length as i32)),
        }
    }

    fn no_tags(&mut self) {
        if self.compact {
            self.out.put_u8(0);
        }
    }

    fn tag(&mut self, tag: u32, value: &[u8]) {
        put_varint(&mut self.out, tag);
        put_varint(&mut self.out, value.len() as u32);
        self.out.put_slice(value);
    }

    fn finish(mut self) -> Vec<Chunk<P>> {
        let size = i32::try_from(self.out.len() - frame::PREFIX_BYTES + self.total)
            .expect("fetched bytes are limited far below 2 GiB");
        self.out[..frame::PREFIX_BYTES].copy_from_slice(&size.to_be_bytes());
        let mut rest = self.out.freeze();
        let mut chunks = Vec::with_capacity(self.heads.len() * 2 + 1);
        let mut cut = 0;
        for (at, payload) in self.heads {
            chunks.push(Chunk::Head(rest.split_to(at - cut)));
            chunks.push(Chunk::Payload(payload));
            cut = at;
        }
        if !rest.is_empty() {
            chunks.push(Chunk::Head(rest));
        }
        chunks
    }
}

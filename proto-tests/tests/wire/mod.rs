//! Kafka's protocol spoken by hand, for what no client lets a test see: valid frames of every
//! version to spoil, and the bytes of record batches as they lie in the log. Messages by the
//! `kafka-protocol` crate, headers and batches by us.

#![allow(
    dead_code,
    reason = "each test file that includes this uses a part of it"
)]

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, MetadataRequest, OffsetForLeaderEpochRequest, RequestHeader,
    RequestKind, ResponseHeader, ResponseKind, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Version for our own questions: old enough to name topics, new enough to be there in Kafka 4.
const FETCH: i16 = 12;
const METADATA: i16 = 12;

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A whole frame, its length in front.
pub fn frame(key: ApiKey, version: i16, correlation: i32, request: &RequestKind) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(text("wire")));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    header
        .encode(&mut frame, key.request_header_version(version))
        .unwrap_or_else(|error| panic!("header of {key:?} {version}: {error}"));
    request
        .encode(&mut frame, version)
        .unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
    let length = i32::try_from(frame.len() - 4).expect("a frame of a test is small");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Reads one frame, without its length.
pub fn read_frame(socket: &mut impl Read) -> io::Result<Bytes> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok(body.into())
}

/// Correlation id and message; an error when bytes are left over.
pub fn decode(key: ApiKey, version: i16, mut body: Bytes) -> Result<(i32, ResponseKind), String> {
    let header = ResponseHeader::decode(&mut body, key.response_header_version(version))
        .map_err(|error| format!("header: {error}"))?;
    let response =
        ResponseKind::decode(key, &mut body, version).map_err(|error| format!("body: {error}"))?;
    if body.is_empty() {
        Ok((header.correlation_id, response))
    } else {
        Err(format!("{} bytes left over", body.len()))
    }
}

/// One connection.
pub struct Wire(pub TcpStream);

impl Wire {
    pub fn connect(address: &str) -> Wire {
        let socket = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("connect {address}: {error}"));
        socket.set_nodelay(true).expect("an option");
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("an option");
        Wire(socket)
    }

    pub fn call(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> Result<ResponseKind, String> {
        self.0
            .write_all(&frame(key, version, 7, request))
            .map_err(|error| format!("{key:?} {version}: write: {error}"))?;
        let body =
            read_frame(&mut self.0).map_err(|error| format!("{key:?} {version}: read: {error}"))?;
        let (correlation, response) =
            decode(key, version, body).map_err(|error| format!("{key:?} {version}: {error}"))?;
        if correlation == 7 {
            Ok(response)
        } else {
            Err(format!("{key:?} {version}: correlation id {correlation}"))
        }
    }

    /// One fetch of one partition. `epochs`: current leader epoch, last fetched epoch; -1 for
    /// neither. A wait of 0 is answered at once.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        epochs: (i32, i32),
        wait_ms: i32,
    ) -> Fetched {
        let asked = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_current_leader_epoch(epochs.0)
            .with_last_fetched_epoch(epochs.1)
            .with_partition_max_bytes(1 << 20);
        let request = FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(topic_name(topic))
                    .with_partitions(vec![asked]),
            ]);
        let answer = self
            .call(ApiKey::Fetch, FETCH, &RequestKind::Fetch(request))
            .unwrap_or_else(|error| panic!("{topic}: {error}"));
        let ResponseKind::Fetch(answer) = answer else {
            panic!("not a fetch response")
        };
        let found = &answer.responses[0].partitions[0];
        Fetched {
            error: found.error_code,
            high_watermark: found.high_watermark,
            log_start: found.log_start_offset,
            diverging: (
                found.diverging_epoch.epoch,
                found.diverging_epoch.end_offset,
            ),
            records: found.records.clone().unwrap_or_default(),
        }
    }

    /// OffsetForLeaderEpoch: error code, the epoch found, and where it ends.
    pub fn epoch_end(&mut self, topic: &str, partition: i32, epoch: i32) -> (i16, i32, i64) {
        let asked = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_leader_epoch(epoch);
        let asked = OffsetForLeaderTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![asked]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![asked]);
        let answer = self
            .call(
                ApiKey::OffsetForLeaderEpoch,
                4,
                &RequestKind::OffsetForLeaderEpoch(request),
            )
            .unwrap_or_else(|error| panic!("{topic}: {error}"));
        let ResponseKind::OffsetForLeaderEpoch(answer) = answer else {
            panic!("not an answer about epochs")
        };
        let found = &answer.topics[0].partitions[0];
        (found.error_code, found.leader_epoch, found.end_offset)
    }
}

/// Topic id, and each partition's leader epoch.
pub fn metadata(address: &str, topic: &str) -> Result<([u8; 16], Vec<i32>), String> {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    let answer =
        Wire::connect(address).call(ApiKey::Metadata, METADATA, &RequestKind::Metadata(request))?;
    let ResponseKind::Metadata(metadata) = answer else {
        return Err("not metadata".into());
    };
    let found = metadata
        .topics
        .first()
        .filter(|found| found.error_code == 0)
        .ok_or_else(|| format!("{topic}: {:?}", metadata.topics))?;
    let mut epochs: Vec<(i32, i32)> = found
        .partitions
        .iter()
        .map(|partition| (partition.partition_index, partition.leader_epoch))
        .collect();
    epochs.sort_unstable();
    Ok((
        *found.topic_id.as_bytes(),
        epochs.into_iter().map(|(_, epoch)| epoch).collect(),
    ))
}

/// The response to a fetch of one partition: error code, high watermark, log start, and the
/// batches' bytes.
pub struct Fetched {
    pub error: i16,
    pub high_watermark: i64,
    pub log_start: i64,
    pub diverging: (i32, i64),
    pub records: Bytes,
}

/// One fetch on a connection of its own, answered at once. `epochs`: current leader epoch, last
/// fetched epoch; -1 for neither.
pub fn fetch(
    address: &str,
    topic: &str,
    partition: i32,
    offset: i64,
    epochs: (i32, i32),
) -> Fetched {
    Wire::connect(address).fetch(topic, partition, offset, epochs, 0)
}

/// OffsetForLeaderEpoch on a connection of its own: error code, the epoch found, and where it ends.
pub fn epoch_end(address: &str, topic: &str, partition: i32, epoch: i32) -> (i16, i32, i64) {
    Wire::connect(address).epoch_end(topic, partition, epoch)
}

/// All whole batches of a partition, byte for byte, from its log start to its high watermark.
pub fn batches(address: &str, topic: &str, partition: i32) -> Vec<Bytes> {
    let mut all = Vec::new();
    let mut offset = fetch(address, topic, partition, i64::MAX, (-1, -1))
        .log_start
        .max(0);
    loop {
        let fetched = fetch(address, topic, partition, offset, (-1, -1));
        assert_eq!(fetched.error, 0, "{topic}-{partition} at {offset}");
        let mut left = fetched.records;
        let mut progress = false;
        while let Some(length) = left.get(8..12) {
            let total = 12 + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if left.len() < total {
                break;
            }
            let batch = left.split_to(total);
            let base = i64::from_be_bytes(batch[..8].try_into().expect("eight bytes"));
            offset =
                base + i64::from(i32::from_be_bytes(
                    batch[23..27].try_into().expect("four bytes"),
                )) + 1;
            all.push(batch);
            progress = true;
        }
        if !progress || offset >= fetched.high_watermark {
            return all;
        }
    }
}

/// CRC-32C by the bit: slow, short, and nobody else's.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0x82F6_3B78
            } else {
                crc >> 1
            }
        })
    })
}

/// A batch of one record (`key` = `value`), with its CRC.
#[expect(
    clippy::disallowed_methods,
    reason = "real brokers keep records by real time"
)]
pub fn batch(producer: (i64, i16, i32)) -> BytesMut {
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(0);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(0);
    batch.put_i16(0);
    batch.put_i32(0);
    // Of now: retention takes what is old.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a time after 1970")
        .as_millis() as i64;
    batch.put_i64(now);
    batch.put_i64(now);
    batch.put_i64(producer.0);
    batch.put_i16(producer.1);
    batch.put_i32(producer.2);
    batch.put_i32(1);
    // Length 14, attributes, two deltas, key and value of three and five bytes, no headers: zigzag
    // varints.
    batch.put_slice(&[28, 0, 0, 0, 6]);
    batch.put_slice(b"key");
    batch.put_u8(10);
    batch.put_slice(b"value");
    batch.put_u8(0);
    seal(&mut batch);
    batch
}

/// Sets length and CRC.
pub fn seal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - 12).expect("a batch of a test is small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

//! Produce requests without a copy: names and records are slices of the receive buffer.
//!
//! Versions 0 to 13 are read. Kafka 4 serves none below 3, but advertises them for old librdkafkas
//! (KAFKA-18659), so a request of version 0 to 2 is read as well, for [`encode_unsupported`] to
//! answer every partition with UNSUPPORTED_VERSION. Not here: what the records are;
//! [`crate::batch::BatchView`] takes them.

use crate::{
    api::{self, keys},
    error_code::ErrorCode,
    layout::{Damage, REQUEST_ELEMENTS_MAX},
    read::{ReadError, Reader},
    request::{DecodeError, start_response},
    wire::StrBytes,
};
use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

const NAME: &str = "Produce";
/// First version with a transactional id (KIP-98).
const TRANSACTIONAL_FROM: i16 = 3;
/// First version that names topics by id (KIP-516).
const TOPIC_ID_FROM: i16 = 13;

/// A whole request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceRequest {
    /// The id of a transactional producer.
    pub transactional_id: Option<StrBytes>,
    /// 0: no answer; 1: when appended; -1: when durable. Others are the caller's to refuse.
    pub acks: i16,
    /// How long -1 may take.
    pub timeout_ms: i32,
    /// As sent: a topic may come twice.
    pub topics: Vec<ProduceTopic>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceTopic {
    /// Below version 13.
    pub name: Option<StrBytes>,
    /// From version 13.
    pub topic_id: Option<Uuid>,
    /// As sent.
    pub partitions: Vec<ProducePartition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducePartition {
    pub index: i32,
    /// Record batches, one in all that follow the rules.
    pub records: Option<Bytes>,
}

/// Decodes the body that [`crate::header::peek`] left, version 0 to 13. Bytes after it are
/// ignored.
pub fn decode_produce(version: i16, body: Bytes) -> Result<ProduceRequest, DecodeError> {
    let api = api::api(keys::PRODUCE).ok_or(DecodeError::UnknownApi { key: keys::PRODUCE })?;
    if !(api.min..=api.max).contains(&version) {
        return Err(DecodeError::UnsupportedVersion {
            key: api.key,
            name: NAME,
            version,
        });
    }
    let mut decoder = Decoder {
        reader: Reader::new(&body),
        version,
        compact: api.is_flexible(version),
        field: "transactional_id",
        elements_left: REQUEST_ELEMENTS_MAX,
    };
    decoder.request().map_err(|why| {
        let damage = Damage {
            field: decoder.field,
            why,
        };
        DecodeError::Damaged {
            name: NAME,
            version,
            damage,
        }
    })
}

struct Decoder<'a> {
    reader: Reader<'a>,
    version: i16,
    compact: bool,
    /// The field that is being read, for the error.
    field: &'static str,
    elements_left: usize,
}

impl Decoder<'_> {
    fn request(&mut self) -> Result<ProduceRequest, ReadError> {
        let transactional_id = if self.version >= TRANSACTIONAL_FROM {
            self.reader.string(self.compact)?
        } else {
            None
        };
        self.field = "acks";
        let acks = self.reader.i16()?;
        self.field = "timeout_ms";
        let timeout_ms = self.reader.i32()?;
        let topics = self.array("topic_data", Self::topic)?;
        self.tags()?;
        Ok(ProduceRequest {
            transactional_id,
            acks,
            timeout_ms,
            topics,
        })
    }

    fn topic(&mut self) -> Result<ProduceTopic, ReadError> {
        self.field = "topic";
        let (name, topic_id) = if self.version >= TOPIC_ID_FROM {
            (None, Some(self.reader.uuid()?))
        } else {
            let at = self.reader.at();
            (
                Some(
                    self.reader
                        .string(self.compact)?
                        .ok_or(ReadError::Null { at })?,
                ),
                None,
            )
        };
        let partitions = self.array("partition_data", Self::partition)?;
        self.tags()?;
        Ok(ProduceTopic {
            name,
            topic_id,
            partitions,
        })
    }

    fn partition(&mut self) -> Result<ProducePartition, ReadError> {
        self.field = "index";
        let index = self.reader.i32()?;
        self.field = "records";
        let records = self.reader.bytes(self.compact)?;
        self.tags()?;
        Ok(ProducePartition { index, records })
    }

    /// An array whose room is reserved only as far as the bytes left could fill it.
    fn array<T>(
        &mut self,
        field: &'static str,
        element: impl Fn(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        self.field = field;
        let at = self.reader.at();
        // A topic takes at least a name or an id and an array, a partition its index and a length.
        let element_bytes_min = if self.compact { 3 } else { 6 };
        let count = self
            .reader
            .count(self.compact, element_bytes_min)?
            .ok_or(ReadError::Null { at })?;
        let left = self.elements_left.checked_sub(count);
        self.elements_left = left.ok_or(ReadError::Elements {
            max: REQUEST_ELEMENTS_MAX,
        })?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    fn tags(&mut self) -> Result<(), ReadError> {
        self.field = "tagged fields";
        if self.compact {
            self.reader.skip_tags()
        } else {
            Ok(())
        }
    }
}

/// The answer to a request of version 0 to 2, as a frame: UNSUPPORTED_VERSION for every partition
/// of it. The message crate has no such versions any more.
pub fn encode_unsupported(version: i16, correlation_id: i32, request: &ProduceRequest) -> BytesMut {
    let mut frame = BytesMut::new();
    start_response(&mut frame, keys::PRODUCE, version, correlation_id);
    frame.put_i32(request.topics.len() as i32);
    for topic in &request.topics {
        let name = topic.name.as_deref().unwrap_or_default();
        frame.put_i16(name.len() as i16);
        frame.put_slice(name.as_bytes());
        frame.put_i32(topic.partitions.len() as i32);
        for partition in &topic.partitions {
            frame.put_i32(partition.index);
            frame.put_i16(ErrorCode::UnsupportedVersion.code());
            frame.put_i64(-1);
            if version >= 2 {
                frame.put_i64(-1);
            }
        }
    }
    if version >= 1 {
        frame.put_i32(0);
    }
    let size = (frame.len() - crate::frame::PREFIX_BYTES) as i32;
    frame[..crate::frame::PREFIX_BYTES].copy_from_slice(&size.to_be_bytes());
    frame
}

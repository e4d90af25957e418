//! Kafka's protocol by hand, over one blocking connection: for what no client library lets a bench
//! time exactly (the first answer of a starting broker, ten thousand partitions, thousands of
//! connections) and for preparing runs.
//!
//! Versions are fixed: old enough to name topics, new enough to be there in Kafka 4. It talks to
//! the address it was given and follows no leaders: for brokers that are alone, and for creating
//! and deleting topics anywhere.

use crate::failure::Failure;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, BrokerId, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest,
        ListOffsetsRequest, MetadataRequest, ProduceRequest, RequestHeader, ResponseHeader,
        TopicName,
        create_topics_request::CreatableTopic,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        metadata_response::MetadataResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
    records::{
        Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record, RecordBatchEncoder,
        RecordEncodeOptions, TimestampType,
    },
};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How long a broker may take over what it was asked, as it is told.
const TIMEOUT_MS: i32 = 50_000;

/// Largest answer that is believed.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Topic already exists: what a retried creation is told.
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// A connection.
pub struct Wire {
    socket: TcpStream,
    address: String,
    correlation_id: i32,
}

impl Wire {
    pub fn connect(address: &str) -> Result<Wire, Failure> {
        let failed = |error: io::Error| format!("cannot connect to {address}: {error}");
        let first = address
            .to_socket_addrs()
            .map_err(failed)?
            .next()
            .ok_or_else(|| format!("{address} is no address"))?;
        let socket = TcpStream::connect_timeout(&first, ANSWER_MAX).map_err(failed)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Wire {
            socket,
            address: address.to_owned(),
            correlation_id: 0,
        })
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Failure> {
        self.exchange(request, version).map_err(|failure| {
            format!(
                "request {} version {version} to {}: {failure}",
                R::KEY,
                self.address
            )
            .into()
        })
    }

    fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Failure> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text("gnomon-bench")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        header
            .encode(&mut frame, R::header_version(version))
            .map_err(|error| error.to_string())?;
        request
            .encode(&mut frame, version)
            .map_err(|error| error.to_string())?;
        let length = i32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.socket.write_all(&frame)?;
        let mut body = self.read_frame()?;
        let header = ResponseHeader::decode(&mut body, R::Response::header_version(version))
            .map_err(|error| format!("answer's header: {error}"))?;
        if header.correlation_id != self.correlation_id {
            return Err(format!(
                "answer {} to question {}",
                header.correlation_id, self.correlation_id
            )
            .into());
        }
        R::Response::decode(&mut body, version).map_err(|error| format!("answer: {error}").into())
    }

    fn read_frame(&mut self) -> Result<Bytes, Failure> {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))
            .ok()
            .filter(|&length| length <= ANSWER_BYTES_MAX);
        let mut body = vec![0; length.ok_or("an answer of an impossible length")?];
        self.socket.read_exact(&mut body)?;
        Ok(body.into())
    }

    /// The least that a broker can be asked.
    pub fn api_versions(&mut self) -> Result<(), Failure> {
        let answer = self.call(&ApiVersionsRequest::default(), 0)?;
        error("ApiVersions", answer.error_code)
    }

    /// Creates topics in one request, with the broker's own replication factor. One that exists is
    /// no error.
    pub fn create_topics(&mut self, topics: &[(String, i32)]) -> Result<(), Failure> {
        let new = |(name, partitions): &(String, i32)| {
            CreatableTopic::default()
                .with_name(topic_name(name))
                .with_num_partitions(*partitions)
                .with_replication_factor(-1)
        };
        let request = CreateTopicsRequest::default()
            .with_topics(topics.iter().map(new).collect())
            .with_timeout_ms(TIMEOUT_MS);
        for topic in self.call(&request, 5)?.topics {
            if topic.error_code != TOPIC_ALREADY_EXISTS {
                let why = topic.error_message.as_deref().unwrap_or("no reason given");
                error(
                    &format!("creating {}: {why}", topic.name.as_str()),
                    topic.error_code,
                )?;
            }
        }
        Ok(())
    }

    pub fn delete_topics(&mut self, names: &[String]) -> Result<(), Failure> {
        let names = names.iter().map(|name| topic_name(name)).collect();
        let request = DeleteTopicsRequest::default()
            .with_topic_names(names)
            .with_timeout_ms(TIMEOUT_MS);
        for topic in self.call(&request, 4)?.responses {
            error("deleting a topic", topic.error_code)?;
        }
        Ok(())
    }

    /// The metadata of one topic, or of none.
    pub fn metadata(&mut self, topic: Option<&str>) -> Result<MetadataResponse, Failure> {
        let asked =
            topic.map(|topic| MetadataRequestTopic::default().with_name(Some(topic_name(topic))));
        let request = MetadataRequest::default()
            .with_topics(Some(asked.into_iter().collect()))
            .with_allow_auto_topic_creation(false);
        self.call(&request, 9)
    }

    /// How many partitions of a topic have a leader; 0 when it is not there.
    pub fn led(&mut self, topic: &str) -> Result<i32, Failure> {
        let metadata = self.metadata(Some(topic))?;
        let topic = metadata
            .topics
            .first()
            .filter(|topic| topic.error_code == 0);
        let led = |partition: &&kafka_protocol::messages::metadata_response::MetadataResponsePartition| {
            partition.error_code == 0 && partition.leader_id.0 >= 0
        };
        Ok(topic.map_or(0, |topic| topic.partitions.iter().filter(led).count()) as i32)
    }

    /// Writes one record with acks=all and returns its offset.
    pub fn produce(&mut self, topic: &str, partition: i32, value: &[u8]) -> Result<i64, Failure> {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch(value)?));
        let data = TopicProduceData::default()
            .with_name(topic_name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![data]);
        let answer = self.call(&request, 9)?;
        let found = answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first())
            .ok_or("an answer about no partition")?;
        error(&format!("writing to {topic}-{partition}"), found.error_code)?;
        Ok(found.base_offset)
    }

    /// Bytes of records from an offset on, answered at once.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bytes_max: i32,
    ) -> Result<usize, Failure> {
        let asked = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(bytes_max);
        let asked = FetchTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![asked]);
        let request = FetchRequest::default()
            .with_min_bytes(1)
            .with_max_bytes(bytes_max)
            .with_session_epoch(-1)
            .with_topics(vec![asked]);
        let answer = self.call(&request, 11)?;
        error("fetching", answer.error_code)?;
        let found = answer
            .responses
            .first()
            .and_then(|topic| topic.partitions.first())
            .ok_or("an answer about no partition")?;
        error(&format!("fetching {topic}-{partition}"), found.error_code)?;
        Ok(found.records.as_ref().map_or(0, Bytes::len))
    }

    /// The high watermarks of a topic's partitions together.
    pub fn high_watermarks(&mut self, topic: &str, partitions: i32) -> Result<i64, Failure> {
        /// ListOffsets: the offset after the last.
        const LATEST: i64 = -1;
        let asked = |partition| {
            ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_timestamp(LATEST)
        };
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions((0..partitions).map(asked).collect());
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![asked]);
        let mut sum = 0;
        for partition in self
            .call(&request, 5)?
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
        {
            error(
                &format!("offsets of {topic}-{}", partition.partition_index),
                partition.error_code,
            )?;
            sum += partition.offset;
        }
        Ok(sum)
    }
}

fn error(what: &str, code: i16) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        code => {
            let name = kafka_protocol::ResponseError::try_from_code(code)
                .map_or(String::new(), |error| error.to_string());
            Err(format!("{what}: Kafka error {code}, {name}").into())
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// One record as a batch, uncompressed, from no idempotent producer.
fn batch(value: &[u8]) -> Result<Bytes, Failure> {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64,
        key: None,
        value: Some(Bytes::copy_from_slice(value)),
        headers: Default::default(),
    };
    let mut encoded = BytesMut::new();
    RecordBatchEncoder::encode(
        &mut encoded,
        [&record],
        &RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        },
    )
    .map_err(|error| error.to_string())?;
    Ok(encoded.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::ApiVersionsResponse;
    use std::{net::TcpListener, thread};

    #[test]
    fn an_error_code_has_its_name() {
        assert!(error("creating", 0).is_ok());
        for (code, name) in [(36, "AlreadyExists"), (12345, "Unknown")] {
            let said = error("creating", code).expect_err("an error").to_string();
            assert!(
                said.starts_with(&format!("creating: Kafka error {code}, ")) && said.contains(name),
                "{said}"
            );
        }
    }

    #[test]
    fn one_record_is_one_batch_of_the_present_format() {
        let batch = batch(b"value").expect("it is encoded");
        assert_eq!(
            (batch[16], &batch[batch.len() - 6..batch.len() - 1]),
            (2, &b"value"[..])
        );
    }

    #[test]
    fn a_question_gets_its_own_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let broker = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            for correlation_id in [1, 7] {
                let mut length = [0; 4];
                socket.read_exact(&mut length).expect("a question");
                io::copy(
                    &mut (&mut socket).take(u32::from_be_bytes(length).into()),
                    &mut io::sink(),
                )
                .expect("a question");
                let mut answer = BytesMut::new();
                ResponseHeader::default()
                    .with_correlation_id(correlation_id)
                    .encode(&mut answer, 0)
                    .expect("a header");
                ApiVersionsResponse::default()
                    .encode(&mut answer, 0)
                    .expect("a body");
                socket
                    .write_all(&(answer.len() as u32).to_be_bytes())
                    .expect("an answer");
                socket.write_all(&answer).expect("an answer");
            }
        });
        let mut wire = Wire::connect(&address).expect("it listens");
        wire.api_versions().expect("an answer");
        let said = wire
            .api_versions()
            .expect_err("another's answer")
            .to_string();
        assert!(said.contains("answer 7 to question 2"), "{said}");
        broker.join().expect("it ends");
    }
}

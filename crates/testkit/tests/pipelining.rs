//! Requests of one connection are answered in their order, however they are cut into packets and
//! whatever waits for the disk meanwhile.
//!
//! Behind a produce that nobody answers (acks=0) the connection has nothing to send and must still
//! go on with what it has read.

use bytes::{Buf, Bytes};
use gnomon_protocol::{
    api::keys,
    batch::BatchBuilder,
    header::RequestHeader,
    messages::{
        ApiVersionsRequest, MetadataRequest, ProduceRequest, RequestKind, TopicName,
        metadata_request::MetadataRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    request::encode_request,
    wire::StrBytes,
};
use gnomon_testkit::{MemDisk, Site};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const TOPIC: &str = "pipelined";

/// Longer than any answer takes; a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

fn framed(key: i16, version: i16, correlation_id: i32, request: RequestKind) -> Bytes {
    let header = RequestHeader {
        api_key: key,
        api_version: version,
        correlation_id,
        client_id: None,
    };
    encode_request(&header, &request).expect("encoded").freeze()
}

fn produce(correlation_id: i32, acks: i16, bytes: usize) -> Bytes {
    let batch = BatchBuilder::new(0)
        .record(0, None, Some(&vec![b'x'; bytes]), &[])
        .build()
        .expect("a batch");
    let partition = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic())
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    framed(
        keys::PRODUCE,
        9,
        correlation_id,
        RequestKind::Produce(request),
    )
}

fn metadata(correlation_id: i32) -> Bytes {
    let topics = vec![MetadataRequestTopic::default().with_name(Some(topic()))];
    let request = MetadataRequest::default()
        .with_topics(Some(topics))
        .with_allow_auto_topic_creation(true);
    framed(
        keys::METADATA,
        9,
        correlation_id,
        RequestKind::Metadata(request),
    )
}

fn api_versions(correlation_id: i32) -> Bytes {
    framed(
        keys::API_VERSIONS,
        0,
        correlation_id,
        RequestKind::ApiVersions(ApiVersionsRequest::default()),
    )
}

fn answer(stream: &mut TcpStream) -> i32 {
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("the size of an answer");
    let mut frame = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut frame).expect("an answer");
    (&frame[..]).get_i32()
}

/// A stream of requests, and the correlation ids of those that are answered.
fn requests(rounds: i32) -> (Vec<u8>, Vec<i32>) {
    let mut bytes = Vec::new();
    let mut answered = Vec::new();
    let mut next = 1;
    let mut push = |make: &dyn Fn(i32) -> Bytes, is_answered: bool| {
        bytes.extend_from_slice(&make(next));
        if is_answered {
            answered.push(next);
        }
        next += 1;
    };
    for round in 0..rounds {
        // More than may wait at once.
        for _ in 0..100 {
            push(&|id| produce(id, -1, 10), true);
        }
        push(&|id| produce(id, 0, 10), false);
        push(&metadata, true);
        push(&|id| produce(id, 0, 10), false);
        push(&|id| produce(id, 0, 200_000), false);
        push(&|id| produce(id, 1, 10), true);
        push(&|id| produce(id, -1, 100_000), true);
        push(&|id| produce(id, 0, 10), false);
        push(&api_versions, true);
        if round % 2 == 0 {
            push(&|id| produce(id, 0, 10), false);
        }
    }
    (bytes, answered)
}

#[test]
fn answers_keep_the_order_of_requests_however_they_are_cut() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    for cut in [usize::MAX, 8_191, 37] {
        let mut stream = TcpStream::connect(site.kafka()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        stream.write_all(&metadata(0)).expect("sent");
        assert_eq!(answer(&mut stream), 0);

        let (bytes, expected) = requests(if cut < 100 { 1 } else { 4 });
        let mut sender = stream.try_clone().expect("the other half");
        let sending = std::thread::spawn(move || {
            bytes
                .chunks(cut.min(bytes.len()))
                .for_each(|chunk| sender.write_all(chunk).expect("sent"))
        });
        let answers: Vec<i32> = expected.iter().map(|_| answer(&mut stream)).collect();
        assert_eq!(answers, expected, "cut into {cut}");
        sending.join().expect("all sent");

        // The connection is as good as new.
        stream.write_all(&api_versions(-7)).expect("sent");
        assert_eq!(answer(&mut stream), -7);
    }
    site.stop();
}

//! The hand-written Fetch encoder against the message crate's, byte for byte, for every version.

use super::rng::Rng;
use bytes::{Bytes, BytesMut};
use gnomon_protocol::{
    ErrorCode,
    api::keys,
    fetch::{Chunk, FetchPartition, FetchResponse, FetchTopic, NodeEndpoint, encode_fetch},
    ids::{BatchEpoch, LeaderEpoch, Uuid},
    messages::{self, BrokerId, ResponseKind, TopicName, fetch_response as theirs},
    request,
    wire::StrBytes,
};

fn by_chance(rng: &mut Rng) -> FetchResponse<Bytes> {
    let mut response = FetchResponse {
        throttle_ms: rng.below(3) as i32,
        error: [ErrorCode::None, ErrorCode::FetchSessionIdNotFound][rng.below(2) as usize],
        session_id: rng.below(100) as i32,
        topics: Vec::new(),
        node_endpoints: Vec::new(),
    };
    for topic in 0..rng.below(4) {
        let mut partitions = Vec::new();
        for index in 0..rng.below(4) {
            partitions.push(partition(rng, index as i32));
        }
        let name = StrBytes::from_string(format!("topic-{topic}").repeat(1 + 30 * topic as usize));
        response.topics.push(FetchTopic {
            name,
            id: Uuid::from_u128(u128::from(topic) << 70 | 5),
            partitions,
        });
    }
    for node in 0..rng.below(3) {
        response.node_endpoints.push(NodeEndpoint {
            node_id: node as i32,
            host: StrBytes::from_static_str("broker.example"),
            port: 9092,
            rack: (rng.below(2) == 0).then(|| StrBytes::from_static_str("r1")),
        });
    }
    response
}

fn partition(rng: &mut Rng, index: i32) -> FetchPartition<Bytes> {
    let aborted = (0..rng.below(3))
        .map(|n| (i64::from(n), i64::from(n) * 10))
        .collect();
    FetchPartition {
        index,
        error: [ErrorCode::None, ErrorCode::OffsetOutOfRange][rng.below(2) as usize],
        high_watermark: i64::from(rng.below(1000)) - 1,
        last_stable_offset: i64::from(rng.below(1000)) - 1,
        log_start_offset: i64::from(rng.below(1000)) - 1,
        diverging_epoch: (rng.below(3) == 0).then_some((BatchEpoch(3), 77)),
        current_leader: (rng.below(3) == 0).then_some((2, LeaderEpoch(9))),
        aborted: (rng.below(2) == 0).then_some(aborted),
        preferred_read_replica: -1,
        records: Bytes::from(vec![0xab; [0, 1, 200, 70_000][rng.below(4) as usize]]),
    }
}

fn as_theirs(version: i16, ours: &FetchResponse<Bytes>) -> messages::FetchResponse {
    let mut response = messages::FetchResponse::default().with_throttle_time_ms(ours.throttle_ms);
    if version >= 7 {
        response = response
            .with_error_code(ours.error.code())
            .with_session_id(ours.session_id);
    }
    response.responses = ours
        .topics
        .iter()
        .map(|topic| topic_as_theirs(version, topic))
        .collect();
    if version >= 16 {
        let endpoint = |node: &NodeEndpoint| {
            theirs::NodeEndpoint::default()
                .with_node_id(BrokerId(node.node_id))
                .with_host(node.host.clone())
                .with_port(node.port)
                .with_rack(node.rack.clone())
        };
        response.node_endpoints = ours.node_endpoints.iter().map(endpoint).collect();
    }
    response
}

fn topic_as_theirs(version: i16, ours: &FetchTopic<Bytes>) -> theirs::FetchableTopicResponse {
    let mut topic = theirs::FetchableTopicResponse::default();
    match version {
        13.. => topic.topic_id = ours.id,
        _ => topic.topic = TopicName(ours.name.clone()),
    }
    for ours in &ours.partitions {
        let mut partition = theirs::PartitionData::default()
            .with_partition_index(ours.index)
            .with_error_code(ours.error.code())
            .with_high_watermark(ours.high_watermark)
            .with_last_stable_offset(ours.last_stable_offset)
            .with_preferred_read_replica(BrokerId(ours.preferred_read_replica))
            .with_records(Some(ours.records.clone()));
        if version >= 5 {
            partition.log_start_offset = ours.log_start_offset;
        }
        let aborted = |&(producer, first): &(i64, i64)| {
            theirs::AbortedTransaction::default()
                .with_producer_id(producer.into())
                .with_first_offset(first)
        };
        partition.aborted_transactions = ours
            .aborted
            .as_ref()
            .map(|list| list.iter().map(aborted).collect());
        if version >= 12 {
            if let Some((epoch, end)) = ours.diverging_epoch {
                partition.diverging_epoch = theirs::EpochEndOffset::default()
                    .with_epoch(epoch.0)
                    .with_end_offset(end);
            }
            if let Some((leader, epoch)) = ours.current_leader {
                partition.current_leader = theirs::LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(leader))
                    .with_leader_epoch(epoch.0);
            }
        }
        topic.partitions.push(partition);
    }
    topic
}

#[test]
fn byte_for_byte_in_every_version() {
    for version in 4..=18 {
        for seed in 0..200 {
            let ours = by_chance(&mut Rng::new(seed));
            let theirs = ResponseKind::Fetch(as_theirs(version, &ours));
            let theirs =
                request::encode_response(keys::FETCH, version, 11, &theirs).expect("valid");
            let chunks = encode_fetch(version, 11, ours);
            let mut whole = BytesMut::new();
            for chunk in &chunks {
                assert!(!chunk.is_empty());
                match chunk {
                    Chunk::Head(bytes) | Chunk::Payload(bytes) => whole.extend_from_slice(bytes),
                }
            }
            assert_eq!(whole, theirs, "v{version} seed {seed}");
            assert!(matches!(chunks[0], Chunk::Head(_)), "starts with the size");
        }
    }
}

#[test]
fn empty_records_are_empty_and_not_null() {
    let mut partition = partition(&mut Rng::new(1), 0);
    partition.records = Bytes::new();
    let topic = FetchTopic {
        name: "t".into(),
        id: Uuid::nil(),
        partitions: vec![partition],
    };
    let response = FetchResponse {
        throttle_ms: 0,
        error: ErrorCode::None,
        session_id: 0,
        topics: vec![topic],
        node_endpoints: vec![],
    };
    let chunks = encode_fetch(4, 1, response);
    let [Chunk::Head(frame)] = chunks.as_slice() else {
        panic!("{chunks:?}")
    };
    let (_, decoded) = request::decode_response(keys::FETCH, 4, frame.slice(4..)).expect("valid");
    let ResponseKind::Fetch(decoded) = decoded else {
        panic!("{decoded:?}")
    };
    assert_eq!(
        decoded.responses[0].partitions[0].records,
        Some(Bytes::new())
    );
}

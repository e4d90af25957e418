//! A connection against a peer that a test plays by hand, over an in-memory stream with paused
//! time.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

use bytes::{Buf, Bytes};
use gnomon_client::{BoxFuture, Client, ClientError, Config, Conn, Net, Stream, offsets::EpochEnd};
use gnomon_protocol::{
    header,
    ids::BatchEpoch,
    messages::{
        ApiVersionsResponse, BrokerId, ListOffsetsResponse, MetadataRequest, MetadataResponse,
        OffsetForLeaderEpochResponse, RequestKind, ResponseKind, TopicName,
        api_versions_response::ApiVersion,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
    request::{self, encode_response},
    wire::StrBytes,
};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

/// Hands out one end of a pipe, once.
struct Pipe(Mutex<Option<DuplexStream>>);

impl Net for Pipe {
    fn connect<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let stream = self.0.lock().unwrap().take();
        Box::pin(async {
            stream
                .map(|s| Box::new(s) as Box<dyn Stream>)
                .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
        })
    }
}

struct Peer(DuplexStream);

impl Peer {
    /// One request: key, version, correlation id.
    async fn request(&mut self) -> (i16, i16, i32) {
        let length = self.0.read_i32().await.unwrap();
        let mut frame = vec![0; length as usize];
        self.0.read_exact(&mut frame).await.unwrap();
        let header = header::peek(&mut Bytes::from(frame)).unwrap();
        (header.api_key, header.api_version, header.correlation_id)
    }

    async fn answer(
        &mut self,
        key: i16,
        version: i16,
        correlation_id: i32,
        response: ResponseKind,
    ) {
        let frame = encode_response(key, version, correlation_id, &response).unwrap();
        self.0.write_all(&frame).await.unwrap();
    }

    /// ApiVersions, offering Metadata up to 12.
    async fn handshake(&mut self) {
        let (key, version, id) = self.request().await;
        assert_eq!(key, 18);
        self.answer(key, version, id, versions(0)).await;
    }
}

fn versions(error: i16) -> ResponseKind {
    let offer = |key, min, max| {
        ApiVersion::default()
            .with_api_key(key)
            .with_min_version(min)
            .with_max_version(max)
    };
    ApiVersionsResponse::default()
        .with_error_code(error)
        .with_api_keys(vec![offer(3, 0, 12), offer(18, 0, 3)])
        .into()
}

fn cluster(id: &str) -> ResponseKind {
    MetadataResponse::default()
        .with_cluster_id(Some(StrBytes::from_string(id.to_owned())))
        .into()
}

fn pipe() -> (Pipe, Peer) {
    let (ours, theirs) = duplex(1 << 16);
    (Pipe(Mutex::new(Some(ours))), Peer(theirs))
}

async fn open(net: Pipe) -> Result<Conn, ClientError> {
    Conn::open(&net, "peer:9092", &Config::default()).await
}

#[tokio::test(start_paused = true)]
async fn requests_are_pipelined_and_answers_find_their_way() {
    let (net, mut peer) = pipe();
    let (conn, ()) = tokio::join!(open(net), peer.handshake());
    let conn = conn.unwrap();
    let wait = Duration::from_secs(5);
    let mut first = conn.start(MetadataRequest::default(), wait).await.unwrap();
    let mut second = conn.start(MetadataRequest::default(), wait).await.unwrap();
    let (one, two) = (peer.request().await, peer.request().await);
    assert_eq!(
        (one.0, one.1, two.1),
        (3, 12, 12),
        "the highest version of both sides"
    );
    // Answers out of order still find their requests.
    peer.answer(3, 12, two.2, cluster("second")).await;
    peer.answer(3, 12, one.2, cluster("first")).await;
    assert_eq!(&*second.wait().await.unwrap().cluster_id.unwrap(), "second");
    assert_eq!(&*first.wait().await.unwrap().cluster_id.unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_old_versions_is_asked_again_at_version_0() {
    let (net, mut peer) = pipe();
    let script = async {
        let (key, _, id) = peer.request().await;
        peer.answer(key, 0, id, versions(35)).await;
        let (key, version, id) = peer.request().await;
        assert_eq!((key, version), (18, 0));
        peer.answer(key, 0, id, versions(0)).await;
    };
    let (conn, ()) = tokio::join!(open(net), script);
    assert_eq!(conn.unwrap().version::<MetadataRequest>().unwrap(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_ends_the_connection_and_everybody_on_it() {
    let (net, mut peer) = pipe();
    let (conn, ()) = tokio::join!(open(net), peer.handshake());
    let conn = conn.unwrap();
    let began = Instant::now();
    let mut patient = conn
        .start(MetadataRequest::default(), Duration::from_secs(60))
        .await
        .unwrap();
    let hasty = conn
        .call(MetadataRequest::default(), Duration::from_secs(2))
        .await;
    assert!(
        matches!(
            hasty,
            Err(ClientError::Deadline {
                api: "Metadata",
                after_ms: 2000,
                ..
            })
        ),
        "{hasty:?}"
    );
    let patient = patient.wait().await;
    assert!(
        matches!(&patient, Err(ClientError::Disconnected { why, .. }) if why.contains("no answer to Metadata within 2000 ms")),
        "{patient:?}"
    );
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(conn.is_closed());
    assert!(
        conn.call(MetadataRequest::default(), Duration::from_secs(2))
            .await
            .unwrap_err()
            .is_connection()
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_or_lies_about_lengths_fails_what_waits() {
    for frame in [
        &[][..],
        &[0xff; 4],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 5, 0, 0, 0, 99, 0],
    ] {
        let (net, mut peer) = pipe();
        let (conn, ()) = tokio::join!(open(net), peer.handshake());
        let conn = conn.unwrap();
        let mut waiting = conn
            .start(MetadataRequest::default(), Duration::from_secs(60))
            .await
            .unwrap();
        peer.request().await;
        peer.0.write_all(frame).await.unwrap();
        if frame.is_empty() {
            drop(peer);
        }
        let error = waiting.wait().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Disconnected { .. }),
            "{frame:?}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_garbled_answer_is_malformed_and_the_connection_goes_on() {
    let (net, mut peer) = pipe();
    let (conn, ()) = tokio::join!(open(net), peer.handshake());
    let conn = conn.unwrap();
    let mut waiting = conn
        .start(MetadataRequest::default(), Duration::from_secs(60))
        .await
        .unwrap();
    let (_, _, id) = peer.request().await;
    let mut frame = vec![0, 0, 0, 6];
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(&[0xff, 0xff]);
    assert_eq!((&frame[..]).get_i32(), 6);
    peer.0.write_all(&frame).await.unwrap();
    assert!(matches!(
        waiting.wait().await,
        Err(ClientError::Malformed {
            api: "Metadata",
            version: 12,
            ..
        })
    ));
    assert!(!conn.is_closed());
}

/// Topic `t`, led by this peer: partition 0 under epoch 5, partition 1 under epoch 6.
fn led() -> ResponseKind {
    let partition = |index, epoch| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_epoch(epoch)
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(name()))
        .with_partitions(vec![partition(0, 5), partition(1, 6)]);
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(0))
        .with_host(StrBytes::from_static_str("peer"))
        .with_port(9092);
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_topics(vec![topic])
        .into()
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

/// Answers one question about ends, and says under which epochs it was put: partition 1 has another
/// leader since.
fn end(request: &RequestKind) -> (ResponseKind, Vec<i32>) {
    match request {
        RequestKind::ListOffsets(request) => {
            let asked = &request.topics[0].partitions;
            let answer = |index| {
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
                if index == 0 {
                    answer.with_offset(40)
                } else {
                    answer.with_error_code(74)
                }
            };
            let partitions = asked.iter().map(|p| answer(p.partition_index)).collect();
            let topic = ListOffsetsTopicResponse::default()
                .with_name(name())
                .with_partitions(partitions);
            (
                ListOffsetsResponse::default()
                    .with_topics(vec![topic])
                    .into(),
                asked.iter().map(|p| p.current_leader_epoch).collect(),
            )
        }
        RequestKind::OffsetForLeaderEpoch(request) => {
            let asked = &request.topics[0].partitions;
            assert_eq!(
                asked
                    .iter()
                    .map(|p| (p.partition, p.leader_epoch))
                    .collect::<Vec<_>>(),
                [(0, 3)]
            );
            let end = EpochEndOffset::default()
                .with_partition(0)
                .with_leader_epoch(2)
                .with_end_offset(33);
            let topic = OffsetForLeaderTopicResult::default()
                .with_topic(name())
                .with_partitions(vec![end]);
            (
                OffsetForLeaderEpochResponse::default()
                    .with_topics(vec![topic])
                    .into(),
                asked.iter().map(|p| p.current_leader_epoch).collect(),
            )
        }
        other => panic!("{other:?} was not to be asked"),
    }
}

#[tokio::test(start_paused = true)]
async fn ends_are_asked_of_who_leads_now_under_its_epoch() {
    let (net, mut peer) = pipe();
    let client = Client::new(Config::to(["peer:9092".to_owned()]), Arc::new(net));
    let script = async {
        let (key, version, id) = peer.request().await;
        let offer = |key, max| {
            ApiVersion::default()
                .with_api_key(key)
                .with_min_version(0)
                .with_max_version(max)
        };
        let offers = vec![offer(2, 6), offer(3, 9), offer(18, 3), offer(23, 4)];
        peer.answer(
            key,
            version,
            id,
            ApiVersionsResponse::default().with_api_keys(offers).into(),
        )
        .await;
        let (key, version, id) = peer.request().await;
        peer.answer(key, version, id, led()).await;
        for _ in 0..2 {
            let length = peer.0.read_i32().await.unwrap();
            let mut frame = vec![0; length as usize];
            peer.0.read_exact(&mut frame).await.unwrap();
            let mut frame = Bytes::from(frame);
            let header = header::peek(&mut frame).unwrap();
            let (answer, epochs) = end(&request::decode(&header, frame).unwrap());
            assert_eq!(
                epochs,
                if epochs.len() == 1 {
                    vec![5]
                } else {
                    vec![5, 6]
                }
            );
            peer.answer(
                header.api_key,
                header.api_version,
                header.correlation_id,
                answer,
            )
            .await;
        }
    };
    let wanted = BTreeMap::from([
        (("t".to_owned(), 0), Some(BatchEpoch(3))),
        (("t".to_owned(), 1), None),
    ]);
    let (found, ()) = tokio::join!(client.log_ends(&wanted), script);
    let end = found[&("t".to_owned(), 0)].as_ref().unwrap();
    assert_eq!(
        (end.high_watermark, end.epoch_end),
        (
            40,
            Some(EpochEnd {
                epoch: BatchEpoch(2),
                end: 33
            })
        )
    );
    let refused = found[&("t".to_owned(), 1)].as_ref().unwrap_err();
    assert_eq!(
        refused.code(),
        Some(74),
        "a broker that does not lead under that epoch has no word"
    );
}

//! A connection against a peer that a test plays by hand, over an in-memory stream with paused time.

use bytes::{Buf, Bytes};
use gnomon_client::{BoxFuture, ClientError, Config, Conn, Net, Stream};
use gnomon_protocol::{
    header,
    messages::{ApiVersionsResponse, MetadataRequest, MetadataResponse, ResponseKind, api_versions_response::ApiVersion},
    request::encode_response,
    wire::StrBytes,
};
use std::{io, sync::Mutex, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

/// Hands out one end of a pipe, once.
struct Pipe(Mutex<Option<DuplexStream>>);

impl Net for Pipe {
    fn connect<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let stream = self.0.lock().unwrap().take();
        Box::pin(async { stream.map(|s| Box::new(s) as Box<dyn Stream>).ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) })
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

    async fn answer(&mut self, key: i16, version: i16, correlation_id: i32, response: ResponseKind) {
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
    let offer = |key, min, max| ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max);
    ApiVersionsResponse::default().with_error_code(error).with_api_keys(vec![offer(3, 0, 12), offer(18, 0, 3)]).into()
}

fn cluster(id: &str) -> ResponseKind {
    MetadataResponse::default().with_cluster_id(Some(StrBytes::from_string(id.to_owned()))).into()
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
    assert_eq!((one.0, one.1, two.1), (3, 12, 12), "the highest version of both sides");
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
    let mut patient = conn.start(MetadataRequest::default(), Duration::from_secs(60)).await.unwrap();
    let hasty = conn.call(MetadataRequest::default(), Duration::from_secs(2)).await;
    assert!(matches!(hasty, Err(ClientError::Deadline { api: "Metadata", after_ms: 2000, .. })), "{hasty:?}");
    let patient = patient.wait().await;
    assert!(
        matches!(&patient, Err(ClientError::Disconnected { why, .. }) if why.contains("no answer to Metadata within 2000 ms")),
        "{patient:?}"
    );
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(conn.is_closed());
    assert!(conn.call(MetadataRequest::default(), Duration::from_secs(2)).await.unwrap_err().is_connection());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_or_lies_about_lengths_fails_what_waits() {
    for frame in [&[][..], &[0xff; 4], &[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 5, 0, 0, 0, 99, 0]] {
        let (net, mut peer) = pipe();
        let (conn, ()) = tokio::join!(open(net), peer.handshake());
        let conn = conn.unwrap();
        let mut waiting = conn.start(MetadataRequest::default(), Duration::from_secs(60)).await.unwrap();
        peer.request().await;
        peer.0.write_all(frame).await.unwrap();
        if frame.is_empty() {
            drop(peer);
        }
        let error = waiting.wait().await.unwrap_err();
        assert!(matches!(error, ClientError::Disconnected { .. }), "{frame:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_garbled_answer_is_malformed_and_the_connection_goes_on() {
    let (net, mut peer) = pipe();
    let (conn, ()) = tokio::join!(open(net), peer.handshake());
    let conn = conn.unwrap();
    let mut waiting = conn.start(MetadataRequest::default(), Duration::from_secs(60)).await.unwrap();
    let (_, _, id) = peer.request().await;
    let mut frame = vec![0, 0, 0, 6];
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(&[0xff, 0xff]);
    assert_eq!((&frame[..]).get_i32(), 6);
    peer.0.write_all(&frame).await.unwrap();
    assert!(matches!(waiting.wait().await, Err(ClientError::Malformed { api: "Metadata", version: 12, .. })));
    assert!(!conn.is_closed());
}

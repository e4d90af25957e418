//! One TCP connection to one broker: requests pipelined by correlation id, each with a deadline.
//!
//! Invariants: a request that was started is either answered, or fails when the connection ends; it
//! never waits longer than its deadline. A deadline that passes ends the whole connection, because
//! answers come in order and everything after a lost one is lost too. Requests reach the wire in
//! the order in which `start` returned.
//!
//! Not here: finding brokers, reconnecting, retrying.

use crate::{Call, ClientError, Config, Net, Stream, Versions, handshake};
use bytes::{Buf, Bytes, BytesMut};
use gnomon_protocol::{header::RequestHeader, request, wire::StrBytes};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

/// Read ahead of a size prefix: small answers come with one system call.
const READ_AHEAD_BYTES: usize = 16 * 1024;

/// A connection after its version handshake. Clones are the same connection; the last one dropped
/// closes it.
#[derive(Clone)]
pub struct Conn(Arc<ConnState>);

struct ConnState {
    shared: Arc<Shared>,
    client_id: StrBytes,
    versions: OnceLock<Versions>,
    outbox: mpsc::Sender<Bytes>,
    correlation: AtomicI32,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for ConnState {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Shared {
    address: String,
    state: Mutex<ConnPhase>,
}

#[derive(Default)]
struct ConnPhase {
    waiting: BTreeMap<i32, oneshot::Sender<Bytes>>,
    ended: Option<String>,
}

impl Shared {
    fn end(&self, why: impl FnOnce() -> String) {
        let mut state = self.state.lock();
        if state.ended.is_none() {
            state.ended = Some(why());
        }
        state.waiting.clear();
    }

    fn disconnected(&self) -> ClientError {
        let why = self
            .state
            .lock()
            .ended
            .clone()
            .unwrap_or_else(|| "closed here".to_owned());
        ClientError::Disconnected {
            address: self.address.clone(),
            why,
        }
    }
}

impl Conn {
    /// Connects and settles versions, within `connect_timeout` each.
    pub async fn open(net: &dyn Net, address: &str, config: &Config) -> Result<Conn, ClientError> {
        let stream = match timeout(config.connect_timeout, net.connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(ClientError::Connect {
                    address: address.to_owned(),
                    why: error.to_string(),
                });
            }
            Err(_) => {
                return Err(ClientError::ConnectTimeout {
                    address: address.to_owned(),
                    after_ms: config.connect_timeout.as_millis() as u64,
                });
            }
        };
        let (reader, writer) = tokio::io::split(stream);
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            state: Mutex::default(),
        });
        let (outbox, inbox) = mpsc::channel(config.in_flight_max.max(1));
        let tasks = [
            tokio::spawn(read_answers(
                reader,
                shared.clone(),
                config.response_bytes_max,
            )),
            tokio::spawn(write_requests(writer, shared.clone(), inbox)),
        ];
        let client_id = StrBytes::from_string(config.client_id.clone());
        let conn = Conn(Arc::new(ConnState {
            shared,
            client_id,
            versions: OnceLock::new(),
            outbox,
            correlation: AtomicI32::new(0),
            tasks,
        }));
        let versions = handshake::negotiate(&conn, config.connect_timeout).await?;
        conn.0.versions.set(versions).expect("set once, here");
        Ok(conn)
    }

    /// `host:port` as it was dialled.
    pub fn address(&self) -> &str {
        &self.0.shared.address
    }

    /// Whether the connection has ended; a later call then fails at once.
    pub fn is_closed(&self) -> bool {
        self.0.shared.state.lock().ended.is_some()
    }

    /// The version this connection uses for an API.
    pub fn version<C: Call>(&self) -> Result<i16, ClientError> {
        self.0
            .versions
            .get()
            .expect("a connection is handed out after its handshake")
            .pick::<C>(self.address())
    }

    /// Asks and waits. Cancel safe: an answer nobody waits for any more is dropped when it comes.
    pub async fn call<C: Call>(
        &self,
        request: C,
        deadline: Duration,
    ) -> Result<C::Response, ClientError> {
        self.start(request, deadline).await?.wait().await
    }

    /// Asks: when this returns, the request has its place on the wire. Cancel safe: nothing is sent
    /// by a call that did not return.
    pub async fn start<C: Call>(
        &self,
        request: C,
        deadline: Duration,
    ) -> Result<Answer<C>, ClientError> {
        let version = self.version::<C>()?;
        self.start_raw(request, version, deadline).await
    }

    /// As [`start`](Conn::start), at a version the caller chose because the message must fit it.
    pub(crate) async fn start_raw<C: Call>(
        &self,
        request: C,
        version: i16,
        deadline: Duration,
    ) -> Result<Answer<C>, ClientError> {
        let expires = Instant::now() + deadline;
        let place = match timeout_at(expires, self.0.outbox.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(self.0.shared.disconnected()),
            Err(_) => return Err(self.expired::<C>(deadline)),
        };
        let correlation_id = self.0.correlation.fetch_add(1, Ordering::Relaxed);
        let header = RequestHeader {
            api_key: C::KEY,
            api_version: version,
            correlation_id,
            client_id: Some(self.0.client_id.clone()),
        };
        let frame = request::encode_request(&header, &request.into()).map_err(|error| {
            ClientError::Encode {
                api: C::NAME,
                version,
                why: error.to_string(),
            }
        })?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.0.shared.state.lock();
            if state.ended.is_some() {
                drop(state);
                return Err(self.0.shared.disconnected());
            }
            state.waiting.insert(correlation_id, sender);
        }
        place.send(frame.freeze());
        Ok(Answer {
            conn: self.clone(),
            version,
            deadline,
            expires,
            receiver,
            call: PhantomData,
        })
    }

    pub(crate) fn decode<C: Call>(
        &self,
        version: i16,
        body: Bytes,
    ) -> Result<C::Response, ClientError> {
        let malformed = |why: String| ClientError::Malformed {
            address: self.address().to_owned(),
            api: C::NAME,
            version,
            why,
        };
        let (_, kind) = request::decode_response(C::KEY, version, body)
            .map_err(|error| malformed(error.to_string()))?;
        C::response(kind).ok_or_else(|| malformed("it is another API's".to_owned()))
    }

    fn expired<C: Call>(&self, deadline: Duration) -> ClientError {
        let after_ms = deadline.as_millis() as u64;
        self.0
            .shared
            .end(|| format!("no answer to {} within {after_ms} ms", C::NAME));
        self.0.tasks.iter().for_each(JoinHandle::abort);
        ClientError::Deadline {
            address: self.address().to_owned(),
            api: C::NAME,
            after_ms,
        }
    }
}

/// An answer on its way.
#[must_use = "an answer that nobody waits for has no deadline"]
pub struct Answer<C> {
    conn: Conn,
    version: i16,
    deadline: Duration,
    expires: Instant,
    receiver: oneshot::Receiver<Bytes>,
    call: PhantomData<fn() -> C>,
}

impl<C: Call> Answer<C> {
    /// The version the request was written in.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The answer, or why there is none; once. Not longer than the deadline given at the start.
    /// Cancel safe: a wait that was given up may be taken up again.
    pub async fn wait(&mut self) -> Result<C::Response, ClientError> {
        let body = self.raw().await?;
        self.conn.decode::<C>(self.version, body)
    }

    /// The answer's bytes from the correlation id on.
    pub(crate) async fn raw(&mut self) -> Result<Bytes, ClientError> {
        match timeout_at(self.expires, &mut self.receiver).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err(self.conn.0.shared.disconnected()),
            Err(_) => Err(self.conn.expired::<C>(self.deadline)),
        }
    }
}

async fn write_requests(
    mut writer: WriteHalf<Box<dyn Stream>>,
    shared: Arc<Shared>,
    mut inbox: mpsc::Receiver<Bytes>,
) {
    while let Some(frame) = inbox.recv().await {
        if let Err(error) = writer.write_all(&frame).await {
            shared.end(|| error.to_string());
            return;
        }
    }
}

async fn read_answers(
    mut reader: ReadHalf<Box<dyn Stream>>,
    shared: Arc<Shared>,
    response_bytes_max: usize,
) {
    let why = loop_answers(&mut reader, &shared, response_bytes_max).await;
    shared.end(|| why);
}

/// Hands answers to those who wait, until the stream ends; returns why it did.
async fn loop_answers(
    reader: &mut ReadHalf<Box<dyn Stream>>,
    shared: &Shared,
    response_bytes_max: usize,
) -> String {
    let mut buffer = BytesMut::new();
    loop {
        let first: [u8; 4] = match fill(reader, &mut buffer, 4).await {
            Ok(()) => buffer[..4].try_into().expect("four bytes"),
            Err(why) => return why,
        };
        buffer.advance(4);
        let length = match usize::try_from(i32::from_be_bytes(first)) {
            Ok(length) if (4..=response_bytes_max).contains(&length) => length,
            Ok(_) | Err(_) => return no_length(first, response_bytes_max),
        };
        if let Err(why) = fill(reader, &mut buffer, length).await {
            return why;
        }
        let body = buffer.split_to(length).freeze();
        let correlation_id = i32::from_be_bytes(body[..4].try_into().expect("four bytes"));
        match shared.state.lock().waiting.remove(&correlation_id) {
            // The receiver may have been dropped: then nobody is interested any more.
            Some(sender) => drop(sender.send(body)),
            None => return format!("an answer to request {correlation_id}, which was not asked"),
        }
    }
}

/// Why four bytes are no length of an answer. Most often something else than Kafka listens there.
fn no_length(first: [u8; 4], response_bytes_max: usize) -> String {
    /// An alert, and the major version of all of SSL 3 and TLS (RFC 8446, 5.1).
    const TLS_ALERT: [u8; 2] = [21, 3];
    if first == *b"HTTP" {
        return "it answers with HTTP, not with the Kafka protocol: this may be the admin address"
            .to_owned();
    }
    if first.starts_with(&TLS_ALERT) {
        return "it expects TLS, which this client does not speak".to_owned();
    }
    if first.iter().all(u8::is_ascii_graphic) {
        return format!(
            "it does not speak the Kafka protocol: its answer begins with \"{}\"",
            first.escape_ascii()
        );
    }
    format!(
        "the length of its answer is {}, and this client takes 4 to {response_bytes_max} bytes: it may not speak the Kafka protocol",
        i32::from_be_bytes(first)
    )
}

/// Reads until at least `wanted` bytes are in the buffer.
async fn fill(
    reader: &mut ReadHalf<Box<dyn Stream>>,
    buffer: &mut BytesMut,
    wanted: usize,
) -> Result<(), String> {
    if buffer.len() < wanted {
        buffer.reserve((wanted - buffer.len()).max(READ_AHEAD_BYTES));
    }
    while buffer.len() < wanted {
        match reader.read_buf(buffer).await {
            Ok(0) => return Err("the peer closed it".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_does_not_speak_kafka_is_told_from_one_whose_answer_is_too_large() {
        let said = |first: &[u8; 4]| no_length(*first, 1_000);
        assert!(said(b"HTTP").contains("the admin address"));
        assert!(said(&[21, 3, 3, 0]).contains("TLS"));
        assert!(said(b"SSH-").contains("begins with \"SSH-\""));
        let large = said(&[0, 0, 4, 0]);
        assert!(
            large.contains("is 1024, and this client takes 4 to 1000"),
            "{large}"
        );
    }
}

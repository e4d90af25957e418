//! The consequence of a request: an answer now, an answer later, none, or the end of the
//! connection.

use crate::traffic::Measure;
use bytes::Bytes;
use gnomon_protocol::fetch::{Chunk, Payload};
use gnomon_storage::FileRange;
use std::{future::Future, pin::Pin};

/// A framed response, ready to be written.
pub enum Outgoing {
    /// In memory.
    Bytes(Bytes),
    /// A fetch: pieces in memory between ranges of log files.
    Chunks(Vec<Chunk<Records>>),
    /// The client expects no response (acks=0).
    Nothing,
    /// The connection ends: there is no response that the client could read. Says why, for the log.
    Close(String),
}

/// Record batches on their way to a client.
pub enum Records {
    /// None.
    Empty,
    /// A range of a log file: sent without passing through user space.
    File(FileRange),
}

impl Payload for Records {
    fn len(&self) -> usize {
        match self {
            Records::Empty => 0,
            Records::File(range) => range.len,
        }
    }
}

/// A boxed future of a response.
pub type Later = Pin<Box<dyn Future<Output = Outgoing> + Send>>;

/// The consequence of a request.
pub enum Answer {
    /// At once.
    Now(Outgoing),
    /// Its effects stand already in order; what is left is waiting. Later requests of the
    /// connection may be begun meanwhile.
    Waiting(Later),
    /// Later requests of the connection wait until this one is answered.
    Exclusive(Later),
}

/// A request that was begun.
pub struct Begun {
    pub answer: Answer,
    /// Ends with the answer; `None` where the request's API is not known.
    pub measure: Option<Measure>,
}

/// Ends the connection: there is no response that the client could read.
pub fn close(why: String) -> Answer {
    Answer::Now(Outgoing::Close(why))
}

//! Splits a stream into frames.
//!
//! Invariants: memory for a frame never runs far ahead of what has arrived, and a connection on which nothing is under way holds no buffer.
//! What a frame means is `dispatch`'s.

use super::network::Reader;
use crate::config::limits::{RECEIVE_AHEAD_BYTES_MAX, RECEIVE_BYTES_MIN};
use bytes::{Buf, Bytes, BytesMut};
use gnomon_protocol::frame::{FrameError, frame_length};
use std::io;
use tokio::{io::AsyncReadExt, task::coop::consume_budget};

/// Bytes of the size that opens a frame.
const SIZE_BYTES: usize = 4;

/// Reads frames off a stream.
pub struct Receiver {
    stream: Reader,
    buffer: BytesMut,
    frame_bytes_max: usize,
}

/// Why no further frame comes.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The peer closed, between frames or inside one.
    #[error("the peer closed the connection")]
    Closed,
    /// The size in front of a frame is impossible.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Receiver {
    /// Frames larger than `frame_bytes_max` are refused before anything is allocated for them.
    pub fn new(stream: Reader, frame_bytes_max: usize) -> Receiver {
        Receiver { stream, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame, without its size, if it has arrived whole.
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.missing()? > 0 {
            return Ok(None);
        }
        let length = self.buffer.get_u32() as usize;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether [`Receiver::next`] has something to say.
    pub fn is_ready(&self) -> bool {
        !matches!(self.missing(), Ok(1..))
    }

    /// Takes what arrives next. Cancel safe: what has arrived stays in the buffer.
    pub async fn fill(&mut self) -> Result<(), ReceiveError> {
        // A peer that always has something to say must not keep others from their turn.
        consume_budget().await;
        loop {
            let room = self.missing()?.clamp(RECEIVE_BYTES_MIN, RECEIVE_AHEAD_BYTES_MAX);
            self.buffer.reserve(room);
            let read = match &mut self.stream {
                Reader::Tcp(socket) => socket.try_read_buf(&mut self.buffer),
                other => other.read_buf(&mut self.buffer).await,
            };
            match read {
                Ok(0) => return Err(ReceiveError::Closed),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Until something arrives. Without a part of a frame there is nothing to hold a buffer for.
    async fn readable(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        match &self.stream {
            Reader::Tcp(socket) => socket.readable().await,
            Reader::Other(_) => Ok(()),
        }
    }

    /// Bytes of the next frame, its size included, that have not arrived; at least 1 while the size itself is not whole.
    fn missing(&self) -> Result<usize, FrameError> {
        match self.buffer.first_chunk::<SIZE_BYTES>() {
            None => Ok(SIZE_BYTES - self.buffer.len()),
            Some(size) => Ok((SIZE_BYTES + frame_length(*size, self.frame_bytes_max)?).saturating_sub(self.buffer.len())),
        }
    }
}

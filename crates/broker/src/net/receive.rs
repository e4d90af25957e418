//! Splits a stream into frames. Memory for a frame never runs far ahead of what has arrived.

use crate::config::limits::{RECEIVE_AHEAD_BYTES_MAX, RECEIVE_BYTES_MIN};
use bytes::{Bytes, BytesMut};
use gnomon_protocol::frame::{FrameError, frame_length};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the size that opens a frame.
const SIZE_BYTES: usize = 4;

/// Reads frames off a stream.
pub struct Receiver<R> {
    stream: R,
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

impl<R: AsyncRead + Unpin> Receiver<R> {
    /// Frames larger than `frame_bytes_max` are refused before anything is allocated for them.
    pub fn new(stream: R, frame_bytes_max: usize) -> Receiver<R> {
        Receiver { stream, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame without its size. Cancel safe: what has arrived stays in the buffer.
    pub async fn frame(&mut self) -> Result<Bytes, ReceiveError> {
        loop {
            let missing = match self.buffer.first_chunk::<SIZE_BYTES>() {
                None => RECEIVE_BYTES_MIN,
                Some(size) => {
                    let length = frame_length(*size, self.frame_bytes_max)?;
                    let whole = SIZE_BYTES + length;
                    if self.buffer.len() >= whole {
                        let mut frame = self.buffer.split_to(whole).freeze();
                        bytes::Buf::advance(&mut frame, SIZE_BYTES);
                        return Ok(frame);
                    }
                    whole - self.buffer.len()
                }
            };
            let ahead = self.buffer.len().clamp(RECEIVE_BYTES_MIN, RECEIVE_AHEAD_BYTES_MAX);
            self.buffer.reserve(missing.min(ahead));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ReceiveError::Closed);
            }
        }
    }
}

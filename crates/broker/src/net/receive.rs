//! Splits a stream into frames.
//!
//! Invariants: memory for a frame never runs far ahead of what has arrived, and a client that waits
//! with a small request holds no large buffer, and a connection on which nothing is under way holds
//! none: the thread keeps one, still warm, for whichever of its connections reads next. What a
//! frame means is `dispatch`'s.

use super::network::Reader;
use crate::config::limits::{
    RECEIVE_AHEAD_BYTES_MAX, RECEIVE_BYTES_MIN, RECEIVE_FIRST_BYTES_MAX, RECEIVE_SPARE_BYTES_MAX,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use gnomon_protocol::frame::{FrameError, frame_length};
use std::{cell::Cell, io};
use tokio::{io::AsyncReadExt, task::coop::consume_budget};

thread_local! {
    /// A buffer that nobody holds, for the next connection of this thread.
    static SPARE: Cell<BytesMut> = Cell::default();
}

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
        Receiver {
            stream,
            buffer: BytesMut::new(),
            frame_bytes_max,
        }
    }

    /// The next frame, without its size, if it has arrived whole.
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.missing()? > 0 {
            return Ok(None);
        }
        let length = self.buffer.get_u32() as usize;
        if length > RECEIVE_BYTES_MIN {
            return Ok(Some(self.buffer.split_to(length).freeze()));
        }
        let frame = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        Ok(Some(frame))
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
            let read = match &mut self.stream {
                Reader::Tcp(socket) => {
                    if self.buffer.is_empty() {
                        take_spare(&mut self.buffer);
                    }
                    self.buffer
                        .reserve(room(&self.buffer, self.frame_bytes_max)?);
                    // A large frame is taken to its end and no further: the begin of the next one
                    // would have to be moved.
                    let most = if self.buffer.is_empty() {
                        RECEIVE_FIRST_BYTES_MAX
                    } else {
                        missing(&self.buffer, self.frame_bytes_max)?.max(RECEIVE_BYTES_MIN)
                    };
                    socket.try_read_buf(&mut (&mut self.buffer).limit(most))
                }
                other => {
                    self.buffer
                        .reserve(room(&self.buffer, self.frame_bytes_max)?);
                    other.read_buf(&mut self.buffer).await
                }
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
    async fn readable(&mut self) -> Result<(), ReceiveError> {
        if self.buffer.is_empty() {
            spare(std::mem::take(&mut self.buffer));
        } else {
            self.fit()?;
        }
        match &self.stream {
            Reader::Tcp(socket) => Ok(socket.readable().await?),
            Reader::Other(_) => Ok(()),
        }
    }

    /// A small part of a frame does not keep the large buffer that it was read with. What a buffer
    /// becomes by doubling is never too large.
    fn fit(&mut self) -> Result<(), FrameError> {
        if self.buffer.capacity() > 2 * (self.buffer.len() + RECEIVE_AHEAD_BYTES_MAX) {
            let room = room(&self.buffer, self.frame_bytes_max)?;
            let mut fitting = BytesMut::with_capacity(self.buffer.len() + room);
            fitting.extend_from_slice(&self.buffer);
            let mut large = std::mem::replace(&mut self.buffer, fitting);
            large.clear();
            spare(large);
        }
        Ok(())
    }

    fn missing(&self) -> Result<usize, FrameError> {
        missing(&self.buffer, self.frame_bytes_max)
    }
}

/// Bytes of the frame at the buffer's start, its size included, that have not arrived; at least 1
/// while the size itself is not whole.
fn missing(buffer: &BytesMut, frame_bytes_max: usize) -> Result<usize, FrameError> {
    match buffer.first_chunk::<SIZE_BYTES>() {
        None => Ok(SIZE_BYTES - buffer.len()),
        Some(size) => {
            Ok((SIZE_BYTES + frame_length(*size, frame_bytes_max)?).saturating_sub(buffer.len()))
        }
    }
}

/// How much room there is to be for what arrives next.
fn room(buffer: &BytesMut, frame_bytes_max: usize) -> Result<usize, FrameError> {
    Ok(missing(buffer, frame_bytes_max)?.clamp(RECEIVE_BYTES_MIN, RECEIVE_AHEAD_BYTES_MAX))
}

/// Puts an empty buffer aside, if there is enough room in it and not too much.
fn spare(mut buffer: BytesMut) {
    let too_large = buffer.try_reclaim(RECEIVE_SPARE_BYTES_MAX + 1);
    if !too_large && buffer.try_reclaim(RECEIVE_AHEAD_BYTES_MAX) {
        SPARE.set(buffer);
    }
}

/// Takes the buffer that was put aside in place of an empty one that has little room.
fn take_spare(buffer: &mut BytesMut) {
    if !buffer.try_reclaim(RECEIVE_AHEAD_BYTES_MAX) {
        *buffer = SPARE.take();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::network::Accepted, *};
    use std::time::Duration;
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    async fn pair() -> (TcpStream, Receiver) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("its address"))
            .await
            .expect("connected");
        let accepted: Accepted = listener.accept().await.expect("accepted").into();
        (client, Receiver::new(accepted.reader, 8 << 20))
    }

    fn frame(length: usize, byte: u8) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes().to_vec();
        frame.resize(SIZE_BYTES + length, byte);
        frame
    }

    async fn next(receiver: &mut Receiver) -> Bytes {
        loop {
            if let Some(frame) = receiver.next().expect("a frame") {
                return frame;
            }
            receiver.fill().await.expect("more");
        }
    }

    /// Large and small frames on two connections of one thread, whose buffer goes back and forth
    /// between them while somebody still holds what lay in it.
    #[tokio::test]
    async fn what_is_held_of_a_buffer_stays_as_it_was() {
        let lengths = [
            30, 1_000_000, 70_000, 24, 1_048_576, 1_048_575, 3_000_000, 9_000, 524_288, 25,
            1_000_000, 1_000_000, 26,
        ];
        let mut connections = [pair().await, pair().await];
        let mut held = Vec::new();
        for (turn, length) in lengths.into_iter().cycle().take(60).enumerate() {
            let byte = turn as u8;
            let (client, receiver) = &mut connections[turn % 2];
            let sent = [frame(length, byte), frame(length / 3, byte)].concat();
            let (done, ()) = tokio::join!(client.write_all(&sent), async {
                for expected in [length, length / 3] {
                    let frame = next(receiver).await;
                    assert_eq!(frame.len(), expected);
                    held.push((frame, expected, byte));
                }
            });
            done.expect("sent");
            if turn % 5 == 0 {
                held.drain(..held.len() / 2);
            }
            assert!(
                held.iter()
                    .all(|(frame, length, byte)| frame.len() == *length
                        && frame.iter().all(|b| b == byte))
            );
        }
    }

    async fn warmed() -> (TcpStream, Receiver) {
        let pair = pair().await;
        spare(BytesMut::with_capacity(RECEIVE_SPARE_BYTES_MAX));
        pair
    }

    /// The begin of a frame does not keep the large buffer that lay ready, be it alone or after a
    /// whole frame.
    #[tokio::test]
    async fn a_part_of_a_frame_holds_little() {
        for front in [0, 30] {
            let (mut client, mut receiver) = warmed().await;
            let mut sent = if front > 0 {
                frame(front, 1)
            } else {
                Vec::new()
            };
            sent.extend_from_slice(&frame(1_000_000, 2)[..100]);
            client.write_all(&sent).await.expect("sent");
            receiver.fill().await.expect("more");
            if front > 0 {
                assert_eq!(
                    receiver.next().expect("a frame").expect("whole").len(),
                    front
                );
            }
            assert!(receiver.next().expect("a frame").is_none());
            tokio::time::timeout(Duration::from_millis(20), receiver.fill())
                .await
                .expect_err("nothing comes");
            assert!(
                receiver.buffer.capacity() <= 2 * (100 + RECEIVE_AHEAD_BYTES_MAX),
                "{}",
                receiver.buffer.capacity()
            );
            assert!(
                SPARE.take().capacity() >= RECEIVE_SPARE_BYTES_MAX - 100,
                "it lies ready for another"
            );
        }
    }

    /// A connection that waits with a small request, such as a fetch, does not hold the buffer.
    #[tokio::test]
    async fn a_small_frame_holds_itself_alone() {
        let (mut client, mut receiver) = warmed().await;
        client
            .write_all(&frame(RECEIVE_BYTES_MIN, 1))
            .await
            .expect("sent");
        let held = next(&mut receiver).await;
        tokio::time::timeout(Duration::from_millis(20), receiver.fill())
            .await
            .expect_err("nothing comes");
        let mut spare = SPARE.take();
        assert!(
            spare.try_reclaim(RECEIVE_SPARE_BYTES_MAX),
            "nobody holds a part of it"
        );
        assert_eq!(held.len(), RECEIVE_BYTES_MIN);
    }

    /// The arrived bytes of a large frame are moved a few times only, however small the pieces are.
    #[tokio::test]
    async fn a_large_frame_in_small_pieces_is_not_moved_again_and_again() {
        let (mut client, mut receiver) = warmed().await;
        let large = frame(8 << 20, 3);
        let (mut moved, mut at) = (0, std::ptr::null());
        for piece in large.chunks(16 << 10) {
            client.write_all(piece).await.expect("sent");
            while !receiver.is_ready()
                && tokio::time::timeout(Duration::from_millis(1), receiver.fill())
                    .await
                    .is_ok()
            {}
            moved += u32::from(
                std::mem::replace(&mut at, receiver.buffer.as_ptr()) != receiver.buffer.as_ptr(),
            );
        }
        assert_eq!(next(&mut receiver).await.len(), 8 << 20);
        assert!(moved < 12, "moved {moved} times");
    }

    /// A thread keeps nothing that a large frame left behind.
    #[test]
    fn what_is_too_large_is_not_kept() {
        SPARE.take();
        let mut left = BytesMut::with_capacity(32 << 20);
        left.resize(32 << 20, 0);
        drop(left.split_to((32 << 20) - RECEIVE_AHEAD_BYTES_MAX));
        left.clear();
        spare(left);
        assert_eq!(SPARE.take().capacity(), 0);
    }
}

//! Writes responses, many small ones in one go. Ranges of log files go from the page cache to the
//! socket without a copy in user space.
//!
//! Invariants: what was pushed leaves in that order, and all of it; a client that takes nothing of
//! its response for as long as an idle connection may last is given up, for it would hold its
//! place, and log files that were deleted, for ever. Not here: which response is due
//! (`connection.rs`).

use super::{
    answer::{Outgoing, Records},
    network::Writer,
};
use crate::config::limits::CONNECTION_IDLE_MAX;
use bytes::{Bytes, BytesMut};
use gnomon_protocol::fetch::Chunk;
use gnomon_storage::FileRange;
use rustix::net::SendFlags;
use std::{fs::File, io};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    time::timeout,
};

/// Pieces smaller than this are copied together with their neighbours: one system call for all of
/// them.
const SMALL_BYTES: usize = 4 << 10;

/// With this much at hand nothing more is waited for.
const ENOUGH_BYTES: usize = 64 << 10;

/// Responses on their way out.
#[derive(Default)]
pub struct Outbox {
    pieces: Vec<Piece>,
    bytes: usize,
}

enum Piece {
    /// Small ones, copied.
    Joined(BytesMut),
    Bytes(Bytes),
    File(FileRange),
}

impl Outbox {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether it is time to write, even if more could be had.
    pub fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH_BYTES
    }

    /// Takes one response, and returns its bytes; `Close` and `Nothing` are the caller's business.
    pub fn push(&mut self, outgoing: Outgoing) -> usize {
        let before = self.bytes;
        match outgoing {
            Outgoing::Bytes(bytes) => self.push_bytes(bytes),
            Outgoing::Chunks(chunks) => {
                for chunk in chunks {
                    match chunk {
                        Chunk::Head(bytes) => self.push_bytes(bytes),
                        Chunk::Payload(Records::Empty) => {}
                        Chunk::Payload(Records::File(range)) => {
                            self.bytes += range.len;
                            self.pieces.push(Piece::File(range));
                        }
                    }
                }
            }
            Outgoing::Nothing | Outgoing::Close(_) => {}
        }
        self.bytes - before
    }

    fn push_bytes(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        if bytes.len() >= SMALL_BYTES {
            self.pieces.push(Piece::Bytes(bytes));
        } else if let Some(Piece::Joined(joined)) = self.pieces.last_mut() {
            joined.extend_from_slice(&bytes);
        } else {
            self.pieces.push(Piece::Joined(BytesMut::from(bytes)));
        }
    }

    /// Writes everything. Not cancel safe: a response may have gone out in part.
    pub async fn send(&mut self, stream: &mut Writer) -> io::Result<()> {
        self.bytes = 0;
        let mut pieces = std::mem::take(&mut self.pieces).into_iter().peekable();
        while let Some(piece) = pieces.next() {
            // The kernel need not send a head by itself when its records follow at once.
            let file_follows = matches!(pieces.peek(), Some(Piece::File(_)));
            match piece {
                Piece::Joined(bytes) => send_bytes(stream, &bytes, file_follows).await?,
                Piece::Bytes(bytes) => send_bytes(stream, &bytes, file_follows).await?,
                Piece::File(range) => send_range(stream, &range).await?,
            }
        }
        Ok(())
    }
}

async fn send_bytes(stream: &mut Writer, mut rest: &[u8], more: bool) -> io::Result<()> {
    while !rest.is_empty() {
        let count = match stream.tcp() {
            Some(socket) if more => taken(send_with_more(socket, rest)).await?,
            Some(_) | None => taken(stream.write(rest)).await?,
        };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[count..];
    }
    Ok(())
}

async fn send_with_more(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    socket
        .async_io(Interest::WRITABLE, || {
            Ok(rustix::net::send(socket, bytes, flags)?)
        })
        .await
}

/// Waits for the client to take some, not for ever.
async fn taken(some: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
    match timeout(CONNECTION_IDLE_MAX, some).await {
        Ok(taken) => taken,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client takes nothing of its response",
        )),
    }
}

/// The range was whole when it was read; a file that is shorter now was cut meanwhile, and the
/// connection has to end: the length of the frame has gone out already.
async fn send_range(stream: &mut Writer, range: &FileRange) -> io::Result<()> {
    match (range.file.descriptor()?, stream.tcp()) {
        (Some(file), Some(socket)) => {
            send_file(socket, &file, range.position, range.len as u64).await
        }
        (None, _) | (_, None) => send_bytes(stream, &range.bytes()?, false).await,
    }
}

async fn send_file(socket: &TcpStream, file: &File, mut position: u64, len: u64) -> io::Result<()> {
    let end = position + len;
    while position < end {
        let sent = socket.async_io(Interest::WRITABLE, || {
            let mut from = position;
            let count =
                rustix::fs::sendfile(socket, file, Some(&mut from), (end - position) as usize)?;
            Ok(count)
        });
        match taken(sent).await? {
            0 => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a log file was cut while it was being sent",
                ));
            }
            count => position += count as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::network::Accepted, *};
    use tokio::net::TcpListener;

    async fn send(stream: &mut Writer, bytes: Bytes) -> io::Result<()> {
        let mut outbox = Outbox::default();
        outbox.push(Outgoing::Bytes(bytes));
        outbox.send(stream).await
    }

    /// The clock stands still but for what is waited for: a client that never reads is given up,
    /// one that does gets all.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("its address"))
            .await
            .expect("connected");
        let mut served: Accepted = listener.accept().await.expect("accepted").into();
        send(&mut served.writer, Bytes::from_static(b"small"))
            .await
            .expect("room in the socket");
        let endless = Bytes::from(vec![0; 64 << 20]);
        let failed = send(&mut served.writer, endless)
            .await
            .expect_err("nobody takes it");
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}

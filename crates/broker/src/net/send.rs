//! Writes responses. Ranges of log files go from the page cache to the socket without a copy in user space.

use super::answer::{Outgoing, Records};
use crate::config::limits::CONNECTION_IDLE_MAX;
use bytes::Bytes;
use gnomon_protocol::fetch::Chunk;
use gnomon_storage::FileRange;
use std::{io, os::fd::BorrowedFd};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{TcpStream, tcp::WriteHalf},
    time::timeout,
};

/// Writes one response; `Close` and `Nothing` are the caller's business. A client that takes nothing of it for as long as an idle connection may last
/// is given up: it would hold its place, and log files that were deleted, for ever.
pub async fn send(stream: &mut WriteHalf<'_>, outgoing: Outgoing) -> io::Result<()> {
    match outgoing {
        Outgoing::Bytes(bytes) => send_bytes(stream, &bytes).await,
        Outgoing::Chunks(chunks) => send_chunks(stream, chunks).await,
        Outgoing::Nothing | Outgoing::Close(_) => Ok(()),
    }
}

async fn send_chunks(stream: &mut WriteHalf<'_>, chunks: Vec<Chunk<Records>>) -> io::Result<()> {
    let mut heads: Vec<Bytes> = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Head(bytes) => heads.push(bytes),
            Chunk::Payload(Records::Empty) => {}
            Chunk::Payload(Records::File(range)) => {
                send_heads(stream, &mut heads).await?;
                send_range(stream, &range).await?;
            }
        }
    }
    send_heads(stream, &mut heads).await
}

async fn send_heads(stream: &mut WriteHalf<'_>, heads: &mut Vec<Bytes>) -> io::Result<()> {
    for head in heads.drain(..) {
        send_bytes(stream, &head).await?;
    }
    Ok(())
}

async fn send_bytes(stream: &mut WriteHalf<'_>, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match taken(stream.write(rest)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => rest = &rest[count..],
        }
    }
    Ok(())
}

/// Waits for the client to take some, not for ever.
async fn taken(some: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
    match timeout(CONNECTION_IDLE_MAX, some).await {
        Ok(taken) => taken,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its response")),
    }
}

/// The range was whole when it was read; a file that is shorter now was cut meanwhile, and the connection has to end: the length of the
/// frame has gone out already.
async fn send_range(stream: &mut WriteHalf<'_>, range: &FileRange) -> io::Result<()> {
    let Some(file) = range.file.raw_fd() else { return send_bytes(stream, &range.bytes()?).await };
    // SAFETY: `range` keeps the file open for as long as the borrow lives.
    let file = unsafe { BorrowedFd::borrow_raw(file) };
    let mut position = range.position;
    let end = range.position + range.len as u64;
    let socket: &TcpStream = stream.as_ref();
    while position < end {
        let sent = socket.async_io(Interest::WRITABLE, || {
            let mut from = position;
            let count = rustix::fs::sendfile(socket, file, Some(&mut from), (end - position) as usize)?;
            Ok(count)
        });
        match taken(sent).await? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a log file was cut while it was being sent")),
            count => position += count as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// The clock stands still but for what is waited for: a client that never reads is given up, one that does gets all.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("connected");
        let (mut served, _) = listener.accept().await.expect("accepted");
        let (_, mut write) = served.split();
        send(&mut write, Outgoing::Bytes(Bytes::from_static(b"small"))).await.expect("room in the socket");
        let endless = Bytes::from(vec![0; 64 << 20]);
        let failed = send(&mut write, Outgoing::Bytes(endless)).await.expect_err("nobody takes it");
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}

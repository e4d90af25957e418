//! Writes responses. Ranges of log files go from the page cache to the socket without a copy in user space.

use super::{
    answer::{Outgoing, Records},
    network::Writer,
};
use bytes::Bytes;
use gnomon_protocol::fetch::Chunk;
use gnomon_storage::FileRange;
use std::{io, os::fd::BorrowedFd};
use tokio::io::{AsyncWriteExt, Interest};

/// Writes one response; `Close` and `Nothing` are the caller's business.
pub async fn send(stream: &mut Writer, outgoing: Outgoing) -> io::Result<()> {
    match outgoing {
        Outgoing::Bytes(bytes) => stream.write_all(&bytes).await,
        Outgoing::Chunks(chunks) => send_chunks(stream, chunks).await,
        Outgoing::Nothing | Outgoing::Close(_) => Ok(()),
    }
}

async fn send_chunks(stream: &mut Writer, chunks: Vec<Chunk<Records>>) -> io::Result<()> {
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

async fn send_heads(stream: &mut Writer, heads: &mut Vec<Bytes>) -> io::Result<()> {
    for head in heads.drain(..) {
        stream.write_all(&head).await?;
    }
    Ok(())
}

/// The range was whole when it was read; a file that is shorter now was cut meanwhile, and the connection has to end: the length of the
/// frame has gone out already.
async fn send_range(stream: &mut Writer, range: &FileRange) -> io::Result<()> {
    let (Some(file), Some(socket)) = (range.file.raw_fd(), stream.tcp()) else { return stream.write_all(&range.bytes()?).await };
    // SAFETY: `range` keeps the file open for as long as the borrow lives.
    let file = unsafe { BorrowedFd::borrow_raw(file) };
    let mut position = range.position;
    let end = range.position + range.len as u64;
    while position < end {
        let sent = socket.async_io(Interest::WRITABLE, || {
            let mut from = position;
            let count = rustix::fs::sendfile(socket, file, Some(&mut from), (end - position) as usize)?;
            Ok(count)
        });
        match sent.await? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a log file was cut while it was being sent")),
            count => position += count as u64,
        }
    }
    Ok(())
}

//! The seam to the network: where addresses are bound, and what a connection's two ends are. TCP,
//! or a simulated network in one process.
//!
//! The same connection code runs over both. What only TCP can do (sendfile) asks for
//! [`Writer::tcp`]. Outgoing connections are `gnomon_client::Net`'s, which every network here is
//! too. Not here: frames, limits, accepting in a loop.

use gnomon_client::{BoxFuture, Net, Stream, Tcp};
use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A network as one site sees it, in both directions.
pub trait Network: Net {
    /// Binds an address; port 0 becomes a free one.
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Accept>>>;
}

/// A bound address. Dropping it frees the address.
pub trait Accept: Send + Sync {
    /// The address that was bound.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// The next connection. MUST be cancel safe.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>>;
}

/// A connection that came in.
pub struct Accepted {
    /// The bytes that the peer sends.
    pub reader: Reader,
    /// To the peer.
    pub writer: Writer,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Our own address of the connection; `None` where the network has none.
    pub local: Option<IpAddr>,
}

impl Accepted {
    /// A connection that is not TCP's.
    pub fn other(stream: Box<dyn Stream>, peer: SocketAddr) -> Accepted {
        let (reader, writer) = tokio::io::split(stream);
        Accepted {
            reader: Reader::Other(reader),
            writer: Writer::Other(writer),
            peer,
            local: None,
        }
    }
}

impl From<(TcpStream, SocketAddr)> for Accepted {
    fn from((stream, peer): (TcpStream, SocketAddr)) -> Accepted {
        // A client of IPv4 that came to a socket of IPv6 knows no IPv6.
        let local = stream
            .local_addr()
            .ok()
            .map(|local| local.ip().to_canonical());
        let (reader, writer) = stream.into_split();
        Accepted {
            reader: Reader::Tcp(reader),
            writer: Writer::Tcp(writer),
            peer,
            local,
        }
    }
}

/// The receiving half of a connection.
pub enum Reader {
    /// Of a socket.
    Tcp(OwnedReadHalf),
    /// Of anything else.
    Other(ReadHalf<Box<dyn Stream>>),
}

/// The sending half of a connection.
pub enum Writer {
    /// Of a socket.
    Tcp(OwnedWriteHalf),
    /// Of anything else.
    Other(WriteHalf<Box<dyn Stream>>),
}

impl Writer {
    /// The socket, for what only a socket can do.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Writer::Tcp(socket) => Some(socket.as_ref()),
            Writer::Other(_) => None,
        }
    }
}

impl Network for Tcp {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Accept>>> {
        Box::pin(async move { Ok(Box::new(TcpListener::bind(address).await?) as Box<dyn Accept>) })
    }
}

impl Accept for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async {
            let (stream, peer) = TcpListener::accept(self).await?;
            // Small responses must not wait for more; a refusal by the kernel only costs latency.
            let _ = stream.set_nodelay(true);
            Ok((stream, peer).into())
        })
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Reader::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            Reader::Other(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Writer::Tcp(half) => Pin::new(half).poll_write(cx, bytes),
            Writer::Other(half) => Pin::new(half).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Writer::Tcp(half) => Pin::new(half).poll_write_vectored(cx, slices),
            Writer::Other(half) => Pin::new(half).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Writer::Tcp(half) => half.is_write_vectored(),
            Writer::Other(half) => half.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Writer::Tcp(half) => Pin::new(half).poll_flush(cx),
            Writer::Other(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Writer::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            Writer::Other(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

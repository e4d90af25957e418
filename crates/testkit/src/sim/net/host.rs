//! The network as the process on one host sees it: it binds, accepts and connects. What it holds
//! dies with the process.

use super::{Backlog, Conn, Net, conn::Side, stream::SimStream};
use gnomon_broker::{Accept, Accepted, Network};
use gnomon_client::{BoxFuture, Stream};
use std::{future::poll_fn, io, net::SocketAddr, task::Poll, time::Duration};
use tokio::time::{Instant, sleep};

/// A first packet that nobody answers is sent again so much later.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// A host's network, for one life of its process.
#[derive(Clone)]
pub struct Host {
    pub(super) net: Net,
    pub(super) host: usize,
    pub(super) life: u64,
}

impl Host {
    fn is_alive(&self) -> bool {
        self.net.0.lock().hosts[self.host].life == self.life
    }

    /// One round trip to a listener: a stream, a refusal, or nothing.
    async fn knock(&self, name: &str, port: u16) -> io::Result<Option<SimStream>> {
        let (target, round_trip) = {
            let mut state = self.net.0.lock();
            let target = state.find(name).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("no host is called {name}"))
            })?;
            if !state.reaches(self.host, target) {
                return Ok(None);
            }
            (
                target,
                state.delay(self.host, target) + state.delay(target, self.host),
            )
        };
        sleep(round_trip).await;
        let mut state = self.net.0.lock();
        if !state.reaches(self.host, target) {
            return Ok(None);
        }
        if !state.hosts[target].listeners.contains_key(&port) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let id = state.next_conn;
        state.next_conn += 1;
        state
            .conns
            .insert(id, Conn::new(self.host, target, Instant::now()));
        let near = &mut state.hosts[self.host];
        near.next_port = near.next_port.checked_add(1).unwrap_or(40_000);
        let peer = SocketAddr::new(near.ip, near.next_port);
        if let Some(backlog) = state.hosts[target].listeners.get_mut(&port) {
            backlog.waiting.push_back((id, peer));
            if let Some(waker) = backlog.waker.take() {
                waker.wake();
            }
        }
        Ok(Some(SimStream::new(self.net.clone(), id, Side::Caller)))
    }
}

impl gnomon_client::Net for Host {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let malformed = || {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{address} is not HOST:PORT"),
                )
            };
            let (name, port) = address.rsplit_once(':').ok_or_else(malformed)?;
            let port = port.parse().map_err(|_| malformed())?;
            loop {
                if !self.is_alive() {
                    return Err(io::ErrorKind::NetworkDown.into());
                }
                if let Some(stream) = self.knock(name, port).await? {
                    return Ok(Box::new(stream) as Box<dyn Stream>);
                }
                sleep(KNOCK_AGAIN).await;
            }
        })
    }
}

impl Network for Host {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Accept>>> {
        Box::pin(async move {
            let state = &mut *self.net.0.lock();
            let host = &mut state.hosts[self.host];
            if host.life != self.life || host.ip != address.ip() {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
            if host.listeners.contains_key(&address.port()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            host.listeners.insert(address.port(), Backlog::default());
            Ok(Box::new(Listener {
                host: self.clone(),
                address,
            }) as Box<dyn Accept>)
        })
    }
}

struct Listener {
    host: Host,
    address: SocketAddr,
}

impl Accept for Listener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(poll_fn(|cx| {
            let mut state = self.host.net.0.lock();
            let host = &mut state.hosts[self.host.host];
            let backlog = host
                .listeners
                .get_mut(&self.address.port())
                .filter(|_| host.life == self.host.life);
            let Some(backlog) = backlog else {
                return Poll::Pending;
            };
            match backlog.waiting.pop_front() {
                Some((id, peer)) => {
                    let stream = SimStream::new(self.host.net.clone(), id, Side::Called);
                    Poll::Ready(Ok(Accepted::other(Box::new(stream), peer)))
                }
                None => {
                    backlog.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.host.net.0.lock();
        let now = Instant::now();
        let host = &mut state.hosts[self.host.host];
        if host.life != self.host.life {
            return;
        }
        let waiting = host
            .listeners
            .remove(&self.address.port())
            .map(|backlog| backlog.waiting)
            .unwrap_or_default();
        for (id, _) in waiting {
            if let Some(conn) = state.conns.get_mut(&id) {
                conn.abandon(Side::Called);
                conn.reset(Side::Caller, now);
            }
        }
    }
}

//! Binds an address, accepts connections and serves each in a task of its own until the broker
//! stops.

use super::{
    connection,
    network::{Accept, Accepted, Network},
};
use crate::{
    config::{Endpoint, Listener as ListenerConfig},
    context::{Connection, ListenerInfo},
    net::answer::Begun,
    traffic::Traffic,
};
use bytes::Bytes;
use gnomon_driver::supervise::StopSignal;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tracing::{debug, info, warn};

/// Pause between two warnings that there are too many connections.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Begins a request of a connection: the frame without its size.
pub type Dispatch = dyn Fn(&Arc<Connection>, Bytes) -> Begun + Send + Sync;

/// A bound address, not yet accepting.
pub struct Listener {
    socket: Box<dyn Accept>,
    info: Arc<ListenerInfo>,
    /// The largest request taken, in bytes.
    request_bytes_max: usize,
}

/// An address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", remedy(source))]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process listens there: end it, or choose another address"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: choose one that it has, or 0.0.0.0 for all of them"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher one"
        }
        _ => "",
    }
}

/// Binds any address of ours, so that every listener fails alike.
pub async fn bind(
    network: &dyn Network,
    address: SocketAddr,
) -> Result<Box<dyn Accept>, BindError> {
    network
        .bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

impl Listener {
    /// Binds the address; a port of 0 becomes a free one, and is advertised.
    pub async fn bind(
        network: &dyn Network,
        config: &ListenerConfig,
        request_bytes_max: usize,
    ) -> Result<Listener, BindError> {
        let socket = bind(network, config.bind).await?;
        let bound = socket.local_addr().map_err(|source| BindError {
            address: config.bind,
            source,
        })?;
        let mut advertise = config.advertise.clone().unwrap_or_else(|| Endpoint {
            host: bound.ip().to_string(),
            port: 0,
        });
        if advertise.port == 0 {
            advertise.port = bound.port();
        }
        let info = ListenerInfo {
            name: config.name.clone(),
            advertised: advertise,
        };
        Ok(Listener {
            socket,
            info: Arc::new(info),
            request_bytes_max,
        })
    }

    /// Its name and the address that its clients are told to connect to.
    pub fn info(&self) -> &ListenerInfo {
        &self.info
    }

    /// Accepts until the site stops; then connections end. Each takes one of `places`, which all
    /// listeners share.
    pub async fn accept(
        mut self,
        dispatch: Arc<Dispatch>,
        places: Arc<Semaphore>,
        traffic: Arc<Traffic>,
        mut stop: StopSignal,
    ) {
        let mut connections = JoinSet::new();
        let mut starved = false;
        let mut said: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok(Accepted { reader, writer, peer, local }) => {
                        if std::mem::take(&mut starved) {
                            info!("connections are accepted again");
                        }
                        let Ok(place) = places.clone().try_acquire_owned() else {
                            traffic.refused_connection();
                            if said.is_none_or(|said| said.elapsed() > SAID_AGAIN_AFTER) {
                                said = Some(Instant::now());
                                warn!(%peer, "too many connections: new ones are closed until some end");
                            }
                            continue;
                        };
                        let connection = Arc::new(Connection::new(peer, local, self.info.clone()));
                        let (dispatch, request_bytes_max) = (dispatch.clone(), self.request_bytes_max);
                        let connected = traffic.connected();
                        connections.spawn(async move {
                            let begin = |frame| dispatch(&connection, frame);
                            let ended = connection::serve(reader, writer, request_bytes_max, begin).await;
                            debug!(%peer, "connection ended: {ended}");
                            drop((connected, place));
                        });
                    }
                    Err(error) => {
                        // Out of file handles, most likely: wait for some to be given back rather
                        // than spin, and say it once.
                        if !std::mem::replace(&mut starved, true) {
                            warn!("cannot accept connections: {error}; those that are open are served, new ones wait");
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(self.socket);
        connections.abort_all();
        while connections.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_client::Tcp;

    #[tokio::test]
    async fn a_connection_knows_the_address_that_its_client_connected_to() {
        let mut socket = bind(&Tcp, "0.0.0.0:0".parse().expect("an address"))
            .await
            .expect("bound");
        let port = socket.local_addr().expect("its address").port();
        let client = tokio::net::TcpStream::connect(("127.0.0.7", port));
        let (client, accepted) = tokio::join!(client, socket.accept());
        client.expect("connected");
        let local = accepted.expect("accepted").local;
        assert_eq!(local, Some([127, 0, 0, 7].into()));
    }

    #[tokio::test]
    async fn a_refused_address_says_whether_it_is_taken_or_not_ours() {
        let taken = Tcp.bind("127.0.0.1:0".parse().expect("an address")).await;
        let taken = taken.expect("bound");
        let busy = taken.local_addr().expect("its address");
        let said = |address: SocketAddr| async move {
            let refused = bind(&Tcp, address).await;
            refused.err().expect("refused").to_string()
        };
        assert!(said(busy).await.contains("another process listens there"));
        // TEST-NET-1 (RFC 5737): no machine has it.
        let foreign = said("192.0.2.1:9092".parse().expect("an address")).await;
        assert!(
            foreign.contains("this machine has no such address"),
            "{foreign}"
        );
    }
}

//! The context of a request: the client, its connection and listener, and the services that a
//! handler may call.

use crate::{config::Endpoint, reader_queries::ConnectionQueries, services::Services};
use gnomon_catalog::{BrokerEntry, Image};
use gnomon_protocol::wire::StrBytes;
use parking_lot::Mutex;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The identity of a client. Every client is anonymous until connections authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Kafka's `User:ANONYMOUS`.
    Anonymous,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Anonymous => f.write_str("User:ANONYMOUS"),
        }
    }
}

/// A listener, as its connections see it.
#[derive(Debug)]
pub struct ListenerInfo {
    /// Its name, such as `PLAINTEXT`.
    pub name: String,
    /// The address that its clients are told to connect to.
    pub advertised: Endpoint,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// Our address of the connection, as far as the network has one.
    pub local: Option<IpAddr>,
    /// The listener that accepted it.
    pub listener: Arc<ListenerInfo>,
    /// The part that changes in the life of the connection.
    pub state: Mutex<ConnectionState>,
    /// Queries at the sources of shadows that the client waits for.
    pub queries: ConnectionQueries,
}

/// The part of a connection that changes.
#[derive(Debug)]
pub struct ConnectionState {
    /// The client, as it authenticated last.
    pub principal: Principal,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(peer: SocketAddr, local: Option<IpAddr>, listener: Arc<ListenerInfo>) -> Connection {
        Connection {
            peer,
            local,
            listener,
            state: Mutex::new(ConnectionState {
                principal: Principal::Anonymous,
            }),
            queries: ConnectionQueries::default(),
        }
    }
}

#[derive(Clone)]
pub struct RequestContext {
    /// The services that the handler may call.
    pub services: Arc<Services>,
    /// The connection that it came in on.
    pub connection: Arc<Connection>,
    /// The client, as it was authenticated when the request came in.
    pub principal: Principal,
    /// The API version of the request and of its response.
    pub version: i16,
    /// The client's own name.
    pub client_id: Option<StrBytes>,
}

impl RequestContext {
    /// The site's metadata now. A handler that decides by several facts takes one image for all of
    /// them, and a new one after every wait.
    pub fn image(&self) -> Arc<Image> {
        self.services.metadata.image()
    }

    /// The address of a broker for this client: that of the listener with the name of the client's
    /// own (KIP-103). `None` if that broker has no such listener.
    pub fn endpoint_of(&self, broker: &BrokerEntry) -> Option<Endpoint> {
        let listener = &self.connection.listener;
        let mut endpoint = if broker.id == self.services.config.broker_id {
            listener.advertised.clone()
        } else {
            broker
                .endpoints
                .iter()
                .find(|endpoint| endpoint.listener == listener.name)
                .map(|endpoint| Endpoint {
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                })?
        };
        // A listener on all addresses advertises the one that the client reached it by.
        if let (true, Some(local)) = (endpoint.is_unspecified(), self.connection.local) {
            endpoint.host = local.to_string();
        }
        Some(endpoint)
    }
}

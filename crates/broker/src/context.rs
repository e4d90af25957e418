//! Who asks: what a handler knows of a request beyond its body.

use crate::{asks::Asks, config::Endpoint};
use gnomon_protocol::wire::StrBytes;
use std::{net::SocketAddr, sync::Arc};

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// What the listener that the client came in by tells clients to connect to.
    pub advertise: Endpoint,
    /// What the client asked of shadows' sources.
    pub asks: Arc<Asks>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Context {
    /// The API version asked for.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: Option<StrBytes>,
    /// The client's address.
    pub peer: SocketAddr,
    /// How clients reach this broker by the listener they came in by.
    pub advertise: Endpoint,
    /// What was asked of shadows' sources on this connection.
    pub asks: Arc<Asks>,
}

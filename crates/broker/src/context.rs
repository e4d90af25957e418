//! Who asks: what a handler knows of a request beyond its body.

use crate::config::Endpoint;
use gnomon_protocol::wire::StrBytes;
use std::net::SocketAddr;

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// What the listener that the client came in by tells clients to connect to.
    pub advertise: Endpoint,
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
}

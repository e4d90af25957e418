//! The settings of a client: where to knock, and how long to wait. Plain data; parsing belongs to
//! who has the file.

use std::time::Duration;

/// Settings of one [`Client`](crate::Client). Times bound every wait there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of brokers to begin with, tried in this order.
    pub bootstrap_servers: Vec<String>,
    /// Sent with every request; shows in the peer's logs.
    pub client_id: String,
    /// For TCP's connect and the version handshake, each.
    pub connect_timeout: Duration,
    /// For every request but long polls, which add their own wait to it.
    pub request_timeout: Duration,
    /// A larger answer ends the connection before anything is reserved for it.
    pub response_bytes_max: usize,
    /// Requests written to one connection and not answered yet; more of them wait.
    pub in_flight_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            bootstrap_servers: Vec::new(),
            client_id: "gnomon".to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            response_bytes_max: 256 << 20,
            in_flight_max: 64,
        }
    }
}

impl Config {
    /// Defaults towards these servers.
    pub fn to(bootstrap_servers: impl IntoIterator<Item = impl Into<String>>) -> Config {
        Config {
            bootstrap_servers: bootstrap_servers.into_iter().map(Into::into).collect(),
            ..Config::default()
        }
    }
}

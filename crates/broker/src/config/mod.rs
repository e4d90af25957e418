//! The configuration of a site at its start: read from a file and flags ([`raw`]), checked into
//! [`Config`], bounded by [`limits`].

pub mod limits;
pub mod raw;

use gnomon_groups::GroupConfig;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

pub use raw::{ConfigError, RawConfig};

/// A site's checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything durable lies.
    pub data: PathBuf,
    /// Where Kafka clients connect, each with the address that they are told to use.
    pub listeners: Vec<Listener>,
    /// Where operators connect: HTTP. On loopback, unless the configuration allows another one.
    pub admin: SocketAddr,
    /// Names of the site that operators' requests may have in `Host`, besides addresses and
    /// `localhost`.
    pub admin_hosts: Vec<String>,
    pub site_name: String,
    /// Prefixes of the topics that this site creates and others only shadow.
    pub owns: Vec<String>,
    /// Files that each describe a link to be made at the first start.
    pub link_files: Vec<PathBuf>,
    /// Marks the producer ids of this site, 1 to 4095: ids of two sites never meet. `None`: the
    /// site draws one at its first start and keeps it.
    pub producer_tag: Option<u16>,
    /// This broker's id.
    pub broker_id: i32,
    /// Whether a client's metadata request for a missing topic creates it
    /// (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator does not say (`num.partitions`).
    pub default_partitions: i32,
    /// Whether records are shown and acknowledged before they are fsynced, for topics that do not
    /// say.
    pub write_caching: bool,
    /// Whether every record is looked at before it is taken, for topics that do not say
    /// (`record.validation`).
    pub record_validation: bool,
    /// How long the first rebalance of an empty group waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub group_initial_rebalance_delay_ms: u64,
    /// The largest request taken (`socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Partitions whose files are lost are empty from this start on, and take writes.
    pub accept_loss: bool,
}

impl Config {
    /// The settings of the group coordinator.
    pub fn groups(&self) -> GroupConfig {
        GroupConfig {
            initial_rebalance_delay_ms: self.group_initial_rebalance_delay_ms,
            ..GroupConfig::default()
        }
    }
}

/// One address that Kafka clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name (Kafka's `listeners`): a broker is reached by the listener of the same name.
    pub name: String,
    /// Bound here.
    pub bind: SocketAddr,
    /// The address that clients of this listener are told to connect to; without a port the bound
    /// one.
    pub advertise: Option<Endpoint>,
}

/// A host and port as a client is told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// 0 stands for the bound port.
    pub port: u16,
}

impl Endpoint {
    /// Whether the host is the address of no interface, such as 0.0.0.0: no client can connect to
    /// it.
    pub fn is_unspecified(&self) -> bool {
        self.host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

//! The configuration of a link: the settings of the link file, as given and as they work out.
//!
//! Invariant: a value of these types that came out of [`parse_link_file`] is legal and asks for
//! nothing that this version cannot do. Numbers stand as given, 0 meaning the default, because
//! `rpk` shows both; [`ClientOptions::effective`] and the `interval()`s fill the defaults in. Not
//! here: reading files and environment variables, which is the resolver's part.

mod differ;
mod error;
mod node;
mod parse;
mod supported;
mod time;
mod write;

pub use error::ConfigError;
pub use parse::{SecretRef, parse_link_file, parse_link_file_plain};
pub use supported::check_supported;
pub use time::{format_duration, format_timestamp, parse_duration, parse_timestamp};

use crate::{filter::NameFilter, name::LinkName, plan_configs};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, time::Duration};

/// A link's settings. Stored as JSON in the metadata; `Eq` tells whether a file says something new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkConfig {
    pub name: LinkName,
    /// How the source is reached and read.
    pub client: ClientOptions,
    /// The topics to copy.
    pub topics: TopicSync,
    /// The groups whose offsets are synced.
    #[serde(default)]
    pub groups: GroupSync,
}

/// How the source is reached and read. Every number as given, 0 = the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientOptions {
    /// `HOST:PORT`, at least one.
    pub bootstrap_servers: Vec<String>,
    /// If set, another cluster id is refused at contact.
    #[serde(default)]
    pub source_cluster_id: Option<String>,
    /// TLS as given; [`check_supported`] refuses it when enabled.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// SASL as given; [`check_supported`] refuses it.
    #[serde(default)]
    pub authentication: Option<Authentication>,
    /// How long looked-up metadata counts as fresh. Default 10,000.
    #[serde(default)]
    pub metadata_max_age_ms: i32,
    /// Longest wait for a connection. Default 1,000.
    #[serde(default)]
    pub connection_timeout_ms: i32,
    /// First wait before a failed request is tried again. Default 100.
    #[serde(default)]
    pub retry_backoff_ms: i32,
    /// Longest wait of the source for `fetch_min_bytes`. Default 500.
    #[serde(default)]
    pub fetch_wait_max_ms: i32,
    /// Fewest bytes that the source answers with before the wait is over. Default 1 (Redpanda: 5
    /// MiB): an append wakes the link at once.
    #[serde(default)]
    pub fetch_min_bytes: i32,
    /// Most bytes in one answer. Default 20 MiB.
    #[serde(default)]
    pub fetch_max_bytes: i32,
    /// Most bytes of one partition in one answer. Default 5 MiB.
    #[serde(default)]
    pub fetch_partition_max_bytes: i32,
}

impl ClientOptions {
    /// The same with every 0 replaced by its default: what the client works with.
    pub fn effective(&self) -> ClientOptions {
        let or = |given: i32, default: i32| if given == 0 { default } else { given };
        ClientOptions {
            metadata_max_age_ms: or(self.metadata_max_age_ms, 10_000),
            connection_timeout_ms: or(self.connection_timeout_ms, 1_000),
            retry_backoff_ms: or(self.retry_backoff_ms, 100),
            fetch_wait_max_ms: or(self.fetch_wait_max_ms, 500),
            fetch_min_bytes: or(self.fetch_min_bytes, 1),
            fetch_max_bytes: or(self.fetch_max_bytes, 20 << 20),
            fetch_partition_max_bytes: or(self.fetch_partition_max_bytes, 5 << 20),
            ..self.clone()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Whether to use it.
    pub enabled: bool,
    /// Leave the server's name out of the handshake.
    #[serde(default)]
    pub do_not_set_sni_hostname: bool,
    /// Where keys and certificates come from; none: the system's roots, no client certificate.
    #[serde(default)]
    pub material: Option<TlsMaterial>,
}

/// Where keys and certificates come from. Each part may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMaterial {
    /// Paths of PEM files.
    Files {
        ca_path: Option<String>,
        key_path: Option<String>,
        cert_path: Option<String>,
    },
    Pem {
        ca: Option<String>,
        key: Option<Secret>,
        cert: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    pub mechanism: Mechanism,
    pub username: String,
    pub password: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The topics to copy, and how: topics and their configs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSync {
    /// Milliseconds between two rounds of discovery; 0 = the default, 1 s (Redpanda: 30 s).
    #[serde(default)]
    pub interval_ms: u64,
    /// Whether discovery stands still.
    #[serde(default)]
    pub paused: bool,
    /// Which topics become shadows by themselves.
    #[serde(default)]
    pub filters: Vec<NameFilter>,
    /// Topic configs that are synced besides [`plan_configs::ALWAYS_SYNCED`] and
    /// [`plan_configs::SYNCED_BY_DEFAULT`].
    #[serde(default)]
    pub synced_properties: Vec<String>,
    /// Leaves [`plan_configs::SYNCED_BY_DEFAULT`] out.
    #[serde(default)]
    pub exclude_default: bool,
    /// Where an empty shadow partition begins, if its topic had it when the link found the topic;
    /// later ones begin at the source's log start.
    #[serde(default)]
    pub start: Start,
}

impl TopicSync {
    /// Time between two rounds.
    pub fn interval(&self) -> Duration {
        interval(self.interval_ms)
    }

    /// Every topic config that the link syncs.
    pub fn synced_keys(&self) -> BTreeSet<&str> {
        plan_configs::synced_keys(self)
    }
}

/// Where an empty shadow partition begins, if its topic had it when the link found the topic; later
/// ones begin at the source's log start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the source's log start.
    #[default]
    Earliest,
    /// At the source's end.
    Latest,
    /// At the first record at or after this moment (milliseconds since 1970); at the end if there
    /// is none.
    TimestampMs(i64),
}

/// The groups whose offsets are synced. Nobody's by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSync {
    /// Milliseconds between two rounds; 0 = the default, 1 s (Redpanda: 30 s).
    #[serde(default)]
    pub interval_ms: u64,
    /// Whether the sync stands still.
    #[serde(default)]
    pub paused: bool,
    /// Which groups.
    #[serde(default)]
    pub filters: Vec<NameFilter>,
}

impl GroupSync {
    /// Time between two rounds.
    pub fn interval(&self) -> Duration {
        interval(self.interval_ms)
    }
}

fn interval(given_ms: u64) -> Duration {
    Duration::from_millis(if given_ms == 0 { 1_000 } else { given_ms })
}

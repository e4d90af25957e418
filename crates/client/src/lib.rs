//! Our Kafka client, used by links and by the command line.
//!
//! It speaks to Gnomon, Apache Kafka 3.x and 4.x, and Redpanda: versions are settled per
//! connection, the highest both sides know. Every request has a deadline, and a deadline that
//! passes ends its connection, so nothing ever waits for a lost answer. Record bytes are handed out
//! as slices of the receive buffer; nothing is decompressed here.
//!
//! Not here: group membership, transactions, TLS and SASL, and any retrying beyond finding a broker
//! that answers: callers own their backoff ([`retry`]).
#![forbid(unsafe_code)]

pub mod admin;
mod call;
mod client;
mod config;
mod conn;
mod error;
pub mod fetch_session;
pub mod fetcher;
pub mod groups;
mod handshake;
mod metadata;
mod net;
pub mod offsets;
pub mod partitioner;
pub mod produce;
pub mod retry;

pub use call::Call;
pub use client::Client;
pub use config::Config;
pub use conn::{Answer, Conn};
pub use error::ClientError;
pub use handshake::Versions;
pub use metadata::{BrokerAddress, Metadata, PartitionMetadata, TopicMetadata, Topics};
pub use net::{BoxFuture, Net, Stream, Tcp};

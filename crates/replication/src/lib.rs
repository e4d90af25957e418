//! Shadow links in action: fetch, verify, append, the sync tasks, and what a failover does to
//! partitions.
//!
//! One direction and two narrow doors: data comes in through [`Source`], and goes out through
//! `gnomon_partition::Handle`, which alone decides what is admitted. Everything that must survive a
//! crash is an event of the metadata machine or of the group machine, handed over through [`Site`].
//! Nothing is remembered here that could not be lost: the resume position always comes from our own
//! log.
//!
//! Not here: what a link is and may do (`gnomon-links`), who owns a topic (`gnomon-catalog`), how
//! Kafka is spoken (`gnomon-client`).
#![forbid(unsafe_code)]

mod assign;
mod failover;
mod fetch_size;
mod link;
mod link_shared;
mod loss;
mod position;
mod progress;
mod replicator;
mod service;
mod site;
pub mod source;
mod status;
mod tasks;
mod verify;
mod waiting_readers;

pub use progress::PartitionMetrics;
pub use service::{LinkMetrics, LinkService, TopicMetrics};
pub use site::{Gone, Site, Unavailable};
pub use source::{Connect, Source};

//! The broker: everything assembled. [`Broker::start`] brings a site up in the order that
//! durability asks for, [`Broker::stop`] takes it down.
//!
//! Not here: what a partition, a group, a topic or a link means; those are crates of their own,
//! below.

mod admin;
mod api;
mod asks;
mod clock;
mod config;
mod context;
mod coordinators;
mod data_dir;
mod dispatch;
mod error_code;
mod essential;
mod housekeeping;
pub mod inspect;
mod journal;
mod net;
mod partitions;
mod per_partition;
mod reopen;
mod replicated;
mod shadow;
mod site;
mod supervise;
mod world;

pub use config::{Config, ConfigError, Endpoint, Listener, RawConfig};
pub use net::network::{Accept, Accepted, Network, Reader, Writer};
pub use supervise::{Broker, SiteInfo, StartError};
pub use world::{Chance, WallClock, World};

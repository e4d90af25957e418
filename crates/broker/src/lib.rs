//! The front of a site, and its assembly. [`Broker::start`] brings a site up in the order that
//! durability asks for, [`Broker::stop`] takes it down.
//!
//! A request goes one way: `net` receives a frame, `dispatch` finds the API's handler in its table,
//! `api/<name>.rs` turns the message into calls of narrow services and their results into a
//! message.
//!
//! Not here: partitions and metadata (`gnomon_host`), machines (`gnomon_driver`), and the meaning
//! of a partition, a group, a topic or a link, which are crates of their own.
#![forbid(unsafe_code)]

mod admin;
mod api;
mod broker;
mod closing;
mod config;
mod context;
mod coordinators;
mod dispatch;
mod environment;
mod error_code;
mod fetch_sessions;
mod links;
mod net;
mod random;
mod reader_queries;
mod registration;
mod services;
mod start_error;
mod traffic;

pub use broker::{Broker, SiteInfo, StartError};
pub use config::{Config, ConfigError, Endpoint, Listener, RawConfig};
pub use environment::Environment;
pub use gnomon_driver::WallClock;
pub use links::{LinkFileError, read_link_file};
pub use net::network::{Accept, Accepted, Network, Reader, Writer};
pub use random::Random;

//! The black box's harness: starts the built `gnomon` binary (or Apache Kafka in its place), drives
//! clients that nobody here wrote, keeps a history of what they were told, and checks it record by
//! record.
//!
//! Nothing here links a crate of the broker: what a test knows of Gnomon it learnt over the wire or
//! from the command line. The tests themselves are in `tests/`; the README says how to run each.
#![deny(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

pub mod broker;
pub mod checker;
pub mod client;
pub mod driver;
pub mod franz;
pub mod history;
pub mod java;
pub mod kafka;
pub mod kcat;
pub mod librdkafka;
pub mod load;
pub mod pair;
pub mod place;
pub mod process;
pub mod proxy;
pub mod shim;
pub mod site;
pub mod status;
pub mod toolchain;
pub mod wait;

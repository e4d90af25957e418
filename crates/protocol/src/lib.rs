//! Kafka's wire protocol as pure functions: frames, headers, versions, messages and record batches.
//!
//! Nothing here does I/O, reads a clock or keeps state. No input panics or makes it reserve more
//! than in proportion to its own size.
#![forbid(unsafe_code)]

pub mod api;
pub mod batch;
mod compact;
pub mod error_code;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod ids;
pub mod internal;
pub mod layout;
pub mod produce;
pub mod read;
pub mod request;
pub mod sample;
pub mod wire;

pub use self::error_code::ErrorCode;
/// The message crate's structures.
pub use kafka_protocol::messages;

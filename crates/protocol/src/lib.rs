//! Kafka's wire protocol as pure functions: frames, headers, versions, messages and record batches.
//!
//! Nothing here does I/O, reads a clock or keeps state.

pub mod ids;

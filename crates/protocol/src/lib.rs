//! Kafka's wire protocol as pure functions: frames, headers, versions, messages and record batches.
//!
//! Nothing here does I/O, reads a clock or keeps state. No input panics or makes it allocate more than in proportion to its own size.

pub mod batch;
pub mod ids;

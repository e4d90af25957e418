//! Kafka's own record formats inside `__consumer_offsets`, and what consumers put into the group
//! protocol's opaque bytes.
//!
//! Byte for byte Kafka's, so that its tools read our logs and we read those of a source. Every key
//! and value starts with a 16-bit version; a null value is a tombstone and never comes here.

pub mod consumer;
pub mod group;
pub mod key;
pub mod offset;
mod write;

pub use self::{
    consumer::{Assignment, Subscription, TopicPartitions},
    group::{GroupMember, GroupMetadata},
    key::Key,
    offset::OffsetCommit,
};

use crate::read::ReadError;

/// Why bytes are not such a record, or cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InternalError {
    #[error("{what}: {why}")]
    Damaged { what: &'static str, why: ReadError },
    /// A version that is not read, or not written.
    #[error("{what} of version {version}")]
    Version { what: &'static str, version: i16 },
    /// Longer than its length can say.
    #[error("{what}: a field of {bytes} bytes is too long")]
    TooLong { what: &'static str, bytes: usize },
}

/// Names what was read in an error.
fn in_what(what: &'static str) -> impl Fn(ReadError) -> InternalError {
    move |why| InternalError::Damaged { what, why }
}

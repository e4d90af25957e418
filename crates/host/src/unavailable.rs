//! Why a partition cannot be used.

use gnomon_partition::{OpenError, ReopenError};
use std::sync::Arc;

/// Why a partition cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// No topic has this name.
    #[error("there is no such topic")]
    UnknownTopic,
    /// No topic has this id.
    #[error("no topic has this id")]
    UnknownTopicId,
    /// The topic has fewer partitions.
    #[error("the topic has no such partition")]
    UnknownPartition,
    /// Its log cannot be opened.
    #[error(transparent)]
    Open(Arc<OpenError>),
    /// Its log is being opened, and the caller did not want to wait longer.
    #[error("its log is still being opened")]
    Opening,
    /// The site stops, and the log was not opened.
    #[error("the site is stopping")]
    Stopping,
}

/// Why a partition that a disk error closed is not open again.
#[derive(Debug, thiserror::Error)]
pub enum NotReopened {
    /// It does not exist any more.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It cannot be opened now.
    #[error(transparent)]
    Reopen(#[from] ReopenError),
}

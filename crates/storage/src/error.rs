//! The errors of a log, one enum for changing it and one for reading it.

use crate::disk::is_exhausted;
use gnomon_protocol::ids::Offset;
use std::{io, path::PathBuf, sync::Arc};

/// A log could not be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused. When this comes from writing, truncating or syncing, the log is closed to
    /// writing from then on.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// The operation that failed, as a verb phrase.
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Somebody removed a file of the log, or put another one in its place: what was written to it
    /// since is lost. The log is closed to writing.
    #[error("{} was removed, or another file was put in its place", path.display())]
    Lost { path: PathBuf },
    /// An earlier write or sync failed, or [`crate::Log::close_writing`] was called: reading goes
    /// on, writing needs a reopened log.
    #[error("log is closed to writing: {why}")]
    Closed { why: Arc<str> },
}

impl LogError {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> LogError {
        let path = path.into();
        move |source| LogError::Io { what, path, source }
    }

    /// Whether the process has no file handle left, which is not the disk's fault and heals when
    /// some are given back. The disk says it by itself, once.
    pub fn is_out_of_handles(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if is_exhausted(source))
    }

    /// Whether the disk is full: the one error that heals by itself.
    pub fn is_disk_full(&self) -> bool {
        match self {
            LogError::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            LogError::Lost { .. } | LogError::Closed { .. } => false,
        }
    }
}

/// A range could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the log's start.
    #[error("offset is below the log's start {start}")]
    BelowStart { start: Offset },
    /// The offset is beyond the log's end.
    #[error("offset is beyond the log's end {end}")]
    AboveEnd { end: Offset },
    /// The batches from `from` up to (not including) `to` are damaged on disk; what is around them
    /// is readable.
    #[error("offsets {from} to {to} (exclusive) are damaged on disk")]
    Damaged { from: Offset, to: Offset },
    /// The disk refused.
    #[error("read: {0}")]
    Io(#[from] io::Error),
}

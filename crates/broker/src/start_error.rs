//! Why a site does not come up.

use crate::{coordinators::groups::OFFSETS_TOPIC, links::LinkFileError, net::listener::BindError};
use gnomon_catalog::{CreateTopicError, RegisterError};
use gnomon_driver::{NoReply, ShardError};
use gnomon_host::{DataDirError, MetadataError};
use gnomon_storage::LogError;
use std::{io, sync::Arc};

/// Why a site does not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory is not usable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The data directory's file system cannot be opened.
    #[error("cannot open the file system of the data directory: {0}")]
    FileSystem(#[source] io::Error),
    /// The flusher's threads cannot be started.
    #[error("cannot start the flusher: {0}")]
    Flusher(#[source] io::Error),
    /// The metadata machine cannot be brought up.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The data directory belongs to another site.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A group coordinator cannot be brought up.
    #[error(transparent)]
    Groups(#[from] ShardError),
    /// An internal topic cannot be made.
    #[error("cannot make {OFFSETS_TOPIC}: {0}")]
    InternalTopic(#[from] CreateTopicError),
    /// A link file is wrong.
    #[error(transparent)]
    Link(#[from] LinkFileError),
    /// The partitions that have lost their files cannot be found, or a loss cannot be accepted.
    #[error(transparent)]
    LostFiles(LogError),
    /// The metadata log was lost during the start.
    #[error("the metadata log was lost during the start: {0}")]
    Lost(String),
    /// The metadata log takes no records.
    #[error("the start cannot be recorded: {why}")]
    Unrecorded {
        /// The disk's reason.
        why: Arc<str>,
    },
}

impl From<NoReply> for StartError {
    fn from(no_reply: NoReply) -> Self {
        match no_reply {
            NoReply::Gone | NoReply::NotLeader => StartError::Lost(no_reply.to_string()),
            NoReply::Refused { why } => StartError::Unrecorded { why },
        }
    }
}

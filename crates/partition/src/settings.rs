//! A topic's settings as its partitions see them, and what all partitions of a process share.
//!
//! Invariant: nothing here decides by itself; `admit.rs` judges, `offsets.rs` computes, storage
//! rolls. Defaults are Kafka's; the table of topic configs that they come from is the catalog's.

use crate::{flusher::Flusher, id::PartitionName, reserved::ReservedLogs};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{Boot, Disk, LogOptions};
use std::sync::Arc;
use tokio::sync::Notify;

/// The side whose timestamps records carry (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// Ours, at append: the batch is rewritten.
    LogAppendTime,
}

/// How much of a batch is judged before it is taken (`record.validation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RecordValidation {
    /// Every record.
    #[default]
    Full,
    /// The header. Records only where a rule of the topic needs them, or where the header cannot be
    /// right: who writes is trusted.
    Header,
}

/// One topic's settings, for one of its partitions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The topic's name, for logs and messages.
    pub name: Arc<str>,
    /// How its log is kept.
    pub log: LogOptions,
    /// `write.caching`: the high watermark does not wait for the disk.
    pub write_caching: bool,
    /// `max.message.bytes`: largest batch a client may send, in bytes, as on the wire.
    pub message_bytes_max: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how much older than now a client's record may be.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of now.
    pub timestamp_after_max_ms: i64,
    pub record_validation: RecordValidation,
    /// `record.unpacked.max.bytes`: what the records of one batch may unpack to when they are
    /// judged, in bytes. Clients' batches beyond it are refused, copied ones are trusted.
    pub unpacked_bytes_max: usize,
    /// `cleanup.policy` has `compact`: clients' records need keys, and a copy may jump over
    /// offsets.
    pub compacted: bool,
    /// `retention.ms`; `None`: for ever, also where `cleanup.policy` lacks `delete`.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None` likewise.
    pub retention_bytes: Option<i64>,
    /// `producer.id.expiration.ms`: an idle producer is forgotten.
    pub producer_expiration_ms: i64,
    /// The cut of a topic that was failed over to this site, from the catalog; `0` elsewhere. What
    /// lies below was copied, so that its producers may have lost their tail (`producer.rs`).
    pub copied_to: Offset,
}

impl Settings {
    /// The name of one of the topic's partitions.
    pub fn partition_name(&self, index: i32) -> PartitionName {
        PartitionName {
            topic: self.name.clone(),
            index,
        }
    }

    /// Kafka's defaults.
    pub fn named(name: &str) -> Settings {
        Settings {
            name: name.into(),
            log: LogOptions::default(),
            write_caching: false,
            message_bytes_max: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            record_validation: RecordValidation::Full,
            unpacked_bytes_max: 256 << 20,
            compacted: false,
            retention_ms: Some(604_800_000),
            retention_bytes: None,
            producer_expiration_ms: 86_400_000,
            copied_to: 0,
        }
    }
}

/// State that all partitions of a process share.
#[derive(Clone)]
pub struct Env {
    /// Where files live.
    pub disk: Arc<dyn Disk>,
    /// The group commit.
    pub flusher: Flusher,
    /// Whether the kernel that wrote the files is still running.
    pub boot: Boot,
    /// Where partitions say that a disk error closed them.
    pub troubles: Troubles,
    /// Partitions with space reserved ahead.
    pub reserved: ReservedLogs,
}

/// Wakes the task that reopens partitions that a disk error closed. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Notify>);

impl Troubles {
    /// A partition was closed.
    pub(crate) fn tell(&self) {
        self.0.notify_one();
    }

    /// Resolves when one was since the last call; may resolve without one. Cancel safe. For one
    /// task.
    pub async fn next(&self) {
        self.0.notified().await;
    }
}

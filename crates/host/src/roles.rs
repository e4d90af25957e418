//! The role and the settings that an image of the metadata gives a partition.

use gnomon_catalog::{
    Image, Partition as PartitionRecord, SiteDefaults, TimestampType, Topic, TopicConfig,
    Writers as WritersView,
};
use gnomon_partition::{Fence, LinkLabel, RecordValidation, Replica, Role, Settings, Writers};
use gnomon_storage::LogOptions;
use std::sync::Arc;

/// Segment size of the site's own logs, in bytes.
const INTERNAL_SEGMENT_BYTES: u64 = 4 << 20;

/// Space that each of the site's own logs holds ready, in bytes: hundreds of commits, or of changes
/// of the metadata.
const INTERNAL_RESERVE_BYTES: u64 = 64 << 10;

/// The role that an image gives a partition on broker `broker_id`.
pub(crate) fn role(image: &Image, topic: &Topic, record: &PartitionRecord, broker_id: i32) -> Role {
    let replica = match record.leader == broker_id {
        true => Replica::Leader(record.leader_epoch),
        false => Replica::Follower {
            leader: record.leader,
            epoch: record.leader_epoch,
        },
    };
    let writers = match image.writers(topic) {
        WritersView::Clients => Writers::Clients,
        WritersView::Site => Writers::Site,
        WritersView::FailingOver => Writers::FailingOver,
        WritersView::Link {
            name,
            source,
            advice,
            fence,
            ..
        } => Writers::Link {
            link: Arc::new(LinkLabel {
                name,
                source,
                advice,
            }),
            fence: Fence(fence),
        },
    };
    Role { replica, writers }
}

/// A topic's settings as its partition needs them.
pub(crate) fn settings(
    topic: &Topic,
    record: &PartitionRecord,
    defaults: &SiteDefaults,
) -> Settings {
    let config = TopicConfig::resolve(&topic.configs, defaults);
    // The state of a coordinator must survive power loss whatever the site's default says, and no
    // client's limits apply to it.
    let internal = topic.internal;
    Settings {
        log: if internal {
            internal_log()
        } else {
            log_options(&config)
        },
        write_caching: config.write_caching && !internal && !topic.name.starts_with("__"),
        message_bytes_max: if internal {
            i32::MAX
        } else {
            config.max_message_bytes
        },
        timestamp_type: match config.timestamp_type {
            TimestampType::CreateTime => gnomon_partition::TimestampType::CreateTime,
            TimestampType::LogAppendTime => gnomon_partition::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.timestamp_before_max_ms,
        timestamp_after_max_ms: config.timestamp_after_max_ms,
        record_validation: if config.validates_records {
            RecordValidation::Full
        } else {
            RecordValidation::Header
        },
        unpacked_bytes_max: usize::try_from(config.record_unpacked_max_bytes).unwrap_or(usize::MAX),
        compacted: config.compacted && !internal,
        retention_ms: config.retention_ms.filter(|_| config.deleted && !internal),
        retention_bytes: config
            .retention_bytes
            .filter(|_| config.deleted && !internal)
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        copied_to: record.cut.map_or(0, |cut| cut.end),
        ..Settings::named(&topic.name)
    }
}

/// A log of the site's own. It is trimmed at each snapshot of its machine, which frees whole
/// segments only. On a full disk groups go on committing, and topics can be deleted, in the space
/// that is reserved.
pub(crate) fn internal_log() -> LogOptions {
    LogOptions {
        segment_bytes: INTERNAL_SEGMENT_BYTES,
        reserve_bytes: INTERNAL_RESERVE_BYTES,
        ..LogOptions::default()
    }
}

fn log_options(config: &TopicConfig) -> LogOptions {
    LogOptions {
        segment_bytes: u64::from(config.segment_bytes.unsigned_abs()),
        segment_ms: Some(config.segment_ms),
        index_interval_bytes: config.index_interval_bytes.unsigned_abs(),
        ..LogOptions::default()
    }
}

//! The table of topic configurations: every name that Kafka 4.1 knows, and three of ours:
//! `record.unpacked.max.bytes`, `record.validation` and `write.caching`.
//!
//! Each name is accepted, kept and reported, whether or not this build acts on it, since tools set
//! and compare them; a name that stands in no row is refused. What the values mean to a partition
//! is read in [`crate::topic_config`].
//!
//! Not here: `gnomon.shadow.*`, which nobody sets: see [`crate::shadow_configs`].

/// A value's type, as DescribeConfigs names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A 32-bit number in this closed range.
    Int(i32, i32),
    /// A 64-bit number in this closed range.
    Long(i64, i64),
    /// A number in this closed range.
    Double(f64, f64),
    /// Words of this set, separated by commas; none at all is legal, too (`cleanup.policy`, since
    /// KIP-1161).
    Words(&'static [&'static str]),
    /// `*`, nothing, or `partition:broker` pairs separated by commas.
    Replicas,
}

impl Kind {
    /// The type's number in DescribeConfigs (KIP-569): 1 BOOLEAN, 2 STRING, 3 INT, 5 LONG, 6
    /// DOUBLE, 7 LIST.
    pub fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Word(_) => 2,
            Kind::Int(..) => 3,
            Kind::Long(..) => 5,
            Kind::Double(..) => 6,
            Kind::Words(_) | Kind::Replicas => 7,
        }
    }

    /// Whether IncrementalAlterConfigs may append to and subtract from it.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Words(_) | Kind::Replicas)
    }

    /// Checks a value; the error says what it may be.
    pub fn check(self, value: &str) -> Result<(), String> {
        let value = value.trim();
        match self {
            Kind::Boolean
                if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") =>
            {
                Ok(())
            }
            Kind::Boolean => Err("true or false".to_owned()),
            Kind::Word(words) if words.contains(&value) => Ok(()),
            Kind::Word(words) => Err(format!("one of {}", words.join(", "))),
            Kind::Int(min, max) => within(value.parse().ok(), min, max),
            Kind::Long(min, max) => within(value.parse().ok(), min, max),
            Kind::Double(min, max) => within(
                value.parse().ok().filter(|number: &f64| number.is_finite()),
                min,
                max,
            ),
            Kind::Words(_) if value.is_empty() => Ok(()),
            Kind::Words(words) if value.split(',').all(|word| words.contains(&word.trim())) => {
                Ok(())
            }
            Kind::Words(words) => Err(format!("empty or a list of {}", words.join(", "))),
            Kind::Replicas if replicas(value) => Ok(()),
            Kind::Replicas => Err("empty, * or a list of partition:broker".to_owned()),
        }
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    value: Option<T>,
    min: T,
    max: T,
) -> Result<(), String> {
    if value.is_some_and(|value| value >= min && value <= max) {
        Ok(())
    } else {
        Err(format!("a number from {min} to {max}"))
    }
}

fn replicas(value: &str) -> bool {
    let pair = |text: &str| {
        text.trim()
            .split_once(':')
            .is_some_and(|(partition, broker)| {
                partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
            })
    };
    value.is_empty() || value == "*" || value.split(',').all(pair)
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfigKey {
    /// The name on a topic.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The value where neither the topic nor the site sets one.
    pub default: &'static str,
    /// The broker's name for the same thing, where Kafka has one.
    pub broker_name: Option<&'static str>,
    /// The meaning, for DescribeConfigs.
    pub doc: &'static str,
}

/// Looks a name up.
pub fn config_key(name: &str) -> Option<&'static ConfigKey> {
    CONFIG_KEYS
        .binary_search_by(|key| key.name.cmp(name))
        .ok()
        .map(|at| &CONFIG_KEYS[at])
}

const INT: i32 = i32::MAX;
const LONG: i64 = i64::MAX;

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker_name: Option<&'static str>,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default,
        broker_name,
        doc,
    }
}

/// Every topic configuration, in order of names.
pub static CONFIG_KEYS: &[ConfigKey] = &[
    key(
        "cleanup.policy",
        Kind::Words(&["compact", "delete"]),
        "delete",
        Some("log.cleanup.policy"),
        "What happens to old data: delete drops whole segments by age and size, compact keeps the last record of each key; both may be given. Empty keeps everything.",
    ),
    key(
        "compression.gzip.level",
        Kind::Int(-1, 9),
        "-1",
        Some("compression.gzip.level"),
        "Level for compression.type gzip; -1 leaves it to the codec.",
    ),
    key(
        "compression.lz4.level",
        Kind::Int(1, 17),
        "9",
        Some("compression.lz4.level"),
        "Level for compression.type lz4.",
    ),
    key(
        "compression.type",
        Kind::Word(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
        Some("compression.type"),
        "How batches are stored; producer keeps them as they were sent.",
    ),
    key(
        "compression.zstd.level",
        Kind::Int(-131_072, 22),
        "3",
        Some("compression.zstd.level"),
        "Level for compression.type zstd.",
    ),
    key(
        "delete.retention.ms",
        Kind::Long(0, LONG),
        "86400000",
        Some("log.cleaner.delete.retention.ms"),
        "How long a compacted topic keeps tombstones, so that a reader who started before has time to see them.",
    ),
    key(
        "file.delete.delay.ms",
        Kind::Long(0, LONG),
        "60000",
        Some("log.segment.delete.delay.ms"),
        "How long a segment's files stay on disk after the segment left the log.",
    ),
    key(
        "flush.messages",
        Kind::Long(1, LONG),
        "9223372036854775807",
        Some("log.flush.interval.messages"),
        "Records after which Kafka forces a flush; Gnomon flushes before it answers acks=all, see write.caching.",
    ),
    key(
        "flush.ms",
        Kind::Long(0, LONG),
        "9223372036854775807",
        Some("log.flush.interval.ms"),
        "Time after which Kafka forces a flush; Gnomon flushes before it answers acks=all, see write.caching.",
    ),
    key(
        "follower.replication.throttled.replicas",
        Kind::Replicas,
        "",
        None,
        "Followers whose replication is throttled, as partition:broker, or * for all.",
    ),
    key(
        "index.interval.bytes",
        Kind::Int(0, INT),
        "4096",
        Some("log.index.interval.bytes"),
        "Bytes of log between two entries of the offset index.",
    ),
    key(
        "leader.replication.throttled.replicas",
        Kind::Replicas,
        "",
        None,
        "Leaders whose replication is throttled, as partition:broker, or * for all.",
    ),
    key(
        "local.retention.bytes",
        Kind::Long(-2, LONG),
        "-2",
        Some("log.local.retention.bytes"),
        "With tiered storage, bytes kept on local disk; -2 means retention.bytes.",
    ),
    key(
        "local.retention.ms",
        Kind::Long(-2, LONG),
        "-2",
        Some("log.local.retention.ms"),
        "With tiered storage, time kept on local disk; -2 means retention.ms.",
    ),
    key(
        "max.compaction.lag.ms",
        Kind::Long(1, LONG),
        "9223372036854775807",
        Some("log.cleaner.max.compaction.lag.ms"),
        "Longest that a record of a compacted topic stays out of compaction.",
    ),
    key(
        "max.message.bytes",
        Kind::Int(0, INT),
        "1048588",
        Some("message.max.bytes"),
        "Largest record batch taken from a client, compressed, with its 12 bytes of framing.",
    ),
    key(
        "message.downconversion.enable",
        Kind::Boolean,
        "true",
        Some("log.message.downconversion.enable"),
        "Kept for old tools; batches are never converted.",
    ),
    key(
        "message.timestamp.after.max.ms",
        Kind::Long(0, LONG),
        "3600000",
        Some("log.message.timestamp.after.max.ms"),
        "How far a record's timestamp may lie ahead of the broker's clock, with message.timestamp.type CreateTime.",
    ),
    key(
        "message.timestamp.before.max.ms",
        Kind::Long(0, LONG),
        "9223372036854775807",
        Some("log.message.timestamp.before.max.ms"),
        "How far a record's timestamp may lie behind the broker's clock, with message.timestamp.type CreateTime.",
    ),
    key(
        "message.timestamp.type",
        Kind::Word(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        Some("log.message.timestamp.type"),
        "Whether a record's timestamp is the producer's or the moment of its append.",
    ),
    key(
        "min.cleanable.dirty.ratio",
        Kind::Double(0.0, 1.0),
        "0.5",
        Some("log.cleaner.min.cleanable.ratio"),
        "Share of a compacted log that must be uncleaned before it is cleaned again.",
    ),
    key(
        "min.compaction.lag.ms",
        Kind::Long(0, LONG),
        "0",
        Some("log.cleaner.min.compaction.lag.ms"),
        "Shortest time that a record of a compacted topic stays out of compaction.",
    ),
    key(
        "min.insync.replicas",
        Kind::Int(1, INT),
        "1",
        Some("min.insync.replicas"),
        "Replicas that must be in sync for a write with acks=all.",
    ),
    key(
        "preallocate",
        Kind::Boolean,
        "false",
        Some("log.preallocate"),
        "Whether a new segment's file gets its full size at once.",
    ),
    key(
        "record.unpacked.max.bytes",
        Kind::Long(1 << 20, LONG),
        "268435456",
        None,
        "Bytes that the records of one batch may unpack to: a producer's batch beyond it is refused, a copied one is not looked at.",
    ),
    key(
        "record.validation",
        Kind::Word(&["full", "header"]),
        "full",
        Some("record.validation"),
        "What is judged before a batch is taken: full looks at every record and refuses what no consumer can read; header trusts producers and sources, and looks at records only where a rule needs them.",
    ),
    key(
        "remote.log.copy.disable",
        Kind::Boolean,
        "false",
        None,
        "With tiered storage, whether data is no longer copied to the remote tier.",
    ),
    key(
        "remote.log.delete.on.disable",
        Kind::Boolean,
        "false",
        None,
        "With tiered storage, whether remote data is deleted when the tier is switched off for the topic.",
    ),
    key(
        "remote.storage.enable",
        Kind::Boolean,
        "false",
        None,
        "Whether tiered storage is on for the topic.",
    ),
    key(
        "retention.bytes",
        Kind::Long(-1, LONG),
        "-1",
        Some("log.retention.bytes"),
        "Bytes that a partition may hold before its oldest segments are deleted; -1 for no limit.",
    ),
    key(
        "retention.ms",
        Kind::Long(-1, LONG),
        "604800000",
        Some("log.retention.ms"),
        "Age at which a partition's oldest segments are deleted; -1 for no limit.",
    ),
    key(
        "segment.bytes",
        Kind::Int(1 << 20, INT),
        "1073741824",
        Some("log.segment.bytes"),
        "Size at which a segment is closed and a new one begun.",
    ),
    key(
        "segment.index.bytes",
        Kind::Int(4, INT),
        "10485760",
        Some("log.index.size.max.bytes"),
        "Largest offset index of a segment.",
    ),
    key(
        "segment.jitter.ms",
        Kind::Long(0, LONG),
        "0",
        Some("log.roll.jitter.ms"),
        "Random time taken off segment.ms, so that segments do not roll all at once.",
    ),
    key(
        "segment.ms",
        Kind::Long(1, LONG),
        "604800000",
        Some("log.roll.ms"),
        "Age at which a segment is closed, so that retention or compaction can reach it.",
    ),
    key(
        "unclean.leader.election.enable",
        Kind::Boolean,
        "false",
        Some("unclean.leader.election.enable"),
        "Whether a replica that is not in sync may become leader when no other is left.",
    ),
    key(
        "write.caching",
        Kind::Boolean,
        "false",
        Some("write.caching"),
        "Whether records are acknowledged and shown before they are on disk: faster, and power loss may take acknowledged records.",
    ),
];

//! The meaning of a topic's configuration: its overrides, then the site's defaults, then the
//! table's, as typed values.
//!
//! Overrides that came from a source cluster may be ones that this table would refuse (an older
//! Kafka allows smaller segments, a newer one has more policies). They are kept as they are and
//! compared as they are. Invariant: a value that is not understood never deletes data. Where a
//! setting can do that, it is read as `plan_configs::keeping` says; any other is read as the
//! nearest default, so that a foreign value never stops a shadow.

use crate::config_keys::{Kind, config_key};
use gnomon_links::plan_configs::keeping;
use std::collections::BTreeMap;

/// Values that this site sets for every topic that does not say: topic configuration names,
/// checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteDefaults(BTreeMap<String, String>);

impl SiteDefaults {
    /// Sets one; a refusal names what may stand there.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigRefusal> {
        check(name, value)?;
        self.0.insert(name.to_owned(), value.trim().to_owned());
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A configuration that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigRefusal {
    /// No such name.
    #[error("unknown topic config name: {name}")]
    UnknownName { name: String },
    /// Set by the site itself, read-only.
    #[error("config {name} is read-only: it says where a shadow topic came from")]
    ReadOnly { name: String },
    /// A name without a value.
    #[error("config {name} has no value; leave it out to have the default")]
    NoValue { name: String },
    /// The value does not fit.
    #[error("invalid value {value:?} for config {name}: it must be {must_be}")]
    Value {
        name: String,
        value: String,
        /// The values that are allowed.
        must_be: String,
    },
}

/// Checks a name and its value.
pub fn check(name: &str, value: &str) -> Result<(), ConfigRefusal> {
    if name.starts_with("gnomon.shadow.") {
        return Err(ConfigRefusal::ReadOnly {
            name: name.to_owned(),
        });
    }
    let key = config_key(name).ok_or_else(|| ConfigRefusal::UnknownName {
        name: name.to_owned(),
    })?;
    key.kind
        .check(value)
        .map_err(|must_be| ConfigRefusal::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            must_be,
        })
}

/// How a record gets its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The moment of its append.
    LogAppendTime,
}

/// The settings that a partition needs, each under Kafka's name; times in milliseconds, sizes in bytes, `None` for no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `cleanup.policy` has `compact`, perhaps beside words that are not understood: the offsets of
    /// a copy may have gaps.
    pub compacted: bool,
    /// `cleanup.policy` has `delete` and no word that is not understood: retention applies.
    pub deleted: bool,
    /// `compression.type`, `producer` to keep batches as they are.
    pub compression_type: String,
    pub delete_retention_ms: i64,
    pub index_interval_bytes: i32,
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub record_unpacked_max_bytes: i64,
    /// `record.validation` is `full`.
    pub validates_records: bool,
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<i64>,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub write_caching: bool,
}

impl TopicConfig {
    /// The settings in force for a topic with these overrides.
    pub fn resolve(overrides: &BTreeMap<String, String>, defaults: &SiteDefaults) -> TopicConfig {
        let values = Values {
            overrides,
            defaults,
        };
        let policy = values.text("cleanup.policy");
        let given = overrides
            .get("cleanup.policy")
            .map_or(policy, String::as_str);
        let has = |policy: &str, word| policy.split(',').any(|p| p.trim() == word);
        TopicConfig {
            compacted: has(given, "compact"),
            deleted: has(policy, "delete"),
            compression_type: values.text("compression.type").to_owned(),
            delete_retention_ms: values.number("delete.retention.ms"),
            index_interval_bytes: values.int("index.interval.bytes"),
            max_message_bytes: values.int("max.message.bytes"),
            timestamp_after_max_ms: values.number("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: values.number("message.timestamp.before.max.ms"),
            timestamp_type: match values.text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_compaction_lag_ms: values.number("min.compaction.lag.ms"),
            max_compaction_lag_ms: values.number("max.compaction.lag.ms"),
            min_insync_replicas: values.int("min.insync.replicas"),
            record_unpacked_max_bytes: values.number("record.unpacked.max.bytes"),
            validates_records: values.text("record.validation") == "full",
            retention_bytes: u64::try_from(values.number("retention.bytes")).ok(),
            retention_ms: Some(values.number("retention.ms")).filter(|ms| *ms >= 0),
            segment_bytes: values.int("segment.bytes"),
            segment_index_bytes: values.int("segment.index.bytes"),
            segment_jitter_ms: values.number("segment.jitter.ms"),
            segment_ms: values.number("segment.ms"),
            write_caching: values.text("write.caching").eq_ignore_ascii_case("true"),
        }
    }
}

struct Values<'a> {
    overrides: &'a BTreeMap<String, String>,
    defaults: &'a SiteDefaults,
}

impl<'a> Values<'a> {
    /// The override if it fits the name's type; if it does not fit, the value that keeps data.
    /// Else the site's default, else the table's.
    fn text(&self, name: &str) -> &'a str {
        let key = config_key(name).expect("only names of the table are asked for");
        let given = self.overrides.get(name).map(|value| value.trim());
        let kept = match given {
            Some(value) if key.kind.check(value).is_ok() => return value,
            Some(_) => keeping(name),
            None => None,
        };
        kept.or(self.defaults.get(name)).unwrap_or(key.default)
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().expect("checked against its type")
    }

    fn int(&self, name: &str) -> i32 {
        debug_assert!(matches!(
            config_key(name).map(|key| key.kind),
            Some(Kind::Int(..))
        ));
        self.text(name).parse().expect("checked against its type")
    }
}

//! The table of topic configurations, and what it makes of values.

use gnomon_catalog::*;
use std::collections::BTreeMap;

#[test]
fn the_table_is_in_order_and_its_defaults_are_legal() {
    assert!(
        CONFIG_KEYS
            .windows(2)
            .all(|pair| pair[0].name < pair[1].name)
    );
    for key in CONFIG_KEYS {
        assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
        assert!(
            key.doc.ends_with('.') && config_key(key.name) == Some(key),
            "{}",
            key.name
        );
    }
}

/// The names that `kafka-configs.sh --describe --all` of Kafka 4.1 prints for a topic.
#[test]
fn every_name_of_kafka_is_known() {
    let names = "cleanup.policy compression.gzip.level compression.lz4.level compression.type compression.zstd.level delete.retention.ms \
        file.delete.delay.ms flush.messages flush.ms follower.replication.throttled.replicas index.interval.bytes \
        leader.replication.throttled.replicas local.retention.bytes local.retention.ms max.compaction.lag.ms max.message.bytes \
        message.timestamp.after.max.ms message.timestamp.before.max.ms message.timestamp.type min.cleanable.dirty.ratio min.compaction.lag.ms \
        min.insync.replicas preallocate remote.log.copy.disable remote.log.delete.on.disable remote.storage.enable retention.bytes retention.ms \
        segment.bytes segment.index.bytes segment.jitter.ms segment.ms unclean.leader.election.enable";
    for name in names.split_whitespace() {
        assert!(config_key(name).is_some(), "{name}");
    }
}

#[test]
fn values_are_checked() {
    let good = [
        ("cleanup.policy", "compact, delete"),
        // KIP-1161: nothing is deleted and nothing compacted.
        ("cleanup.policy", ""),
        ("cleanup.policy", " "),
        ("retention.ms", " -1 "),
        ("preallocate", "TRUE"),
        ("min.cleanable.dirty.ratio", "0.25"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("follower.replication.throttled.replicas", "*"),
        ("compression.zstd.level", "-5"),
    ];
    for (name, value) in good {
        assert_eq!(check_config(name, value), Ok(()), "{name}={value}");
    }
    let bad = [
        ("cleanup.policy", "compact,archive"),
        ("cleanup.policy", ","),
        ("cleanup.policy", "delete,"),
        ("retention.ms", "-2"),
        ("retention.ms", "9223372036854775808"),
        ("max.message.bytes", "2147483648"),
        ("segment.bytes", "1000"),
        ("preallocate", "yes"),
        ("min.cleanable.dirty.ratio", "NaN"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("leader.replication.throttled.replicas", "0-1"),
        ("message.timestamp.type", "createtime"),
    ];
    for (name, value) in bad {
        assert!(check_config(name, value).is_err(), "{name}={value}");
    }
    let says = check_config("min.insync.replicas", "0")
        .unwrap_err()
        .to_string();
    assert_eq!(
        says,
        "invalid value \"0\" for config min.insync.replicas: it must be a number from 1 to 2147483647"
    );
    assert_eq!(
        check_config("x", "0").unwrap_err().to_string(),
        "unknown topic config name: x"
    );
}

#[test]
fn a_topic_goes_before_the_site_and_the_site_before_the_table() {
    let mut site = SiteDefaults::default();
    site.set("write.caching", "true").unwrap();
    site.set("record.validation", "header").unwrap();
    site.set("retention.ms", "5").unwrap();
    assert!(site.set("retention.ms", "soon").is_err());
    let overrides = BTreeMap::from([
        ("retention.ms".to_owned(), "-1".to_owned()),
        ("cleanup.policy".to_owned(), "compact".to_owned()),
    ]);
    let config = TopicConfig::resolve(&overrides, &site);
    assert_eq!(
        (
            config.retention_ms,
            config.compacted,
            config.deleted,
            config.write_caching,
            config.validates_records
        ),
        (None, true, false, true, false)
    );
    assert_eq!(
        TopicConfig::resolve(&BTreeMap::new(), &site).retention_ms,
        Some(5)
    );
    let table = TopicConfig::resolve(&BTreeMap::new(), &SiteDefaults::default());
    assert_eq!(
        (
            table.retention_ms,
            table.retention_bytes,
            table.max_message_bytes
        ),
        (Some(604_800_000), None, 1_048_588)
    );
    assert_eq!(
        (
            table.timestamp_type,
            table.segment_bytes,
            table.write_caching,
            table.validates_records
        ),
        (TimestampType::CreateTime, 1 << 30, false, true)
    );
}

/// A source of another make may have values that are refused here: they are kept, and read as the
/// nearest default.
#[test]
fn a_foreign_value_does_no_harm() {
    let mut site = SiteDefaults::default();
    site.set("segment.bytes", "2097152").unwrap();
    let overrides = BTreeMap::from([
        ("segment.bytes".to_owned(), "14".to_owned()),
        ("max.message.bytes".to_owned(), "big".to_owned()),
    ]);
    let config = TopicConfig::resolve(&overrides, &site);
    assert_eq!(
        (config.segment_bytes, config.max_message_bytes),
        (2_097_152, 1_048_588)
    );
}

fn with(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

#[test]
fn an_empty_cleanup_policy_keeps_everything() {
    let config = TopicConfig::resolve(&with("cleanup.policy", ""), &SiteDefaults::default());
    assert_eq!((config.deleted, config.compacted), (false, false));
}

/// Every synced setting that can delete or change records, with values that this version does not
/// understand, on a site whose own defaults would delete.
#[test]
fn a_synced_value_that_is_not_understood_deletes_nothing() {
    let mut site = SiteDefaults::default();
    for (name, value) in [
        ("cleanup.policy", "delete"),
        ("retention.ms", "1"),
        ("retention.bytes", "1"),
        ("delete.retention.ms", "1"),
        ("min.compaction.lag.ms", "1"),
        ("max.compaction.lag.ms", "1"),
        ("message.timestamp.type", "LogAppendTime"),
        ("compression.type", "gzip"),
        ("write.caching", "true"),
    ] {
        site.set(name, value).unwrap();
    }
    let read = |name: &str, value: &str| TopicConfig::resolve(&with(name, value), &site);
    for odd in [
        "archive",
        "delete,archive",
        "DELETE",
        "none",
        "delete;compact",
        ",",
    ] {
        let config = read("cleanup.policy", odd);
        assert!(!config.deleted, "cleanup.policy={odd}");
    }
    assert!(read("cleanup.policy", "compact,archive").compacted);
    for odd in ["", "7d", "-2", "9223372036854775808", "1e3", "null"] {
        assert_eq!(read("retention.ms", odd).retention_ms, None, "{odd}");
        assert_eq!(read("retention.bytes", odd).retention_bytes, None, "{odd}");
        let never = |name: &str, of: fn(&TopicConfig) -> i64| {
            assert_eq!(of(&read(name, odd)), i64::MAX, "{name}={odd}");
        };
        never("delete.retention.ms", |c| c.delete_retention_ms);
        never("min.compaction.lag.ms", |c| c.min_compaction_lag_ms);
        never("max.compaction.lag.ms", |c| c.max_compaction_lag_ms);
    }
    assert_eq!(
        read("message.timestamp.type", "BrokerTime").timestamp_type,
        TimestampType::CreateTime
    );
    assert_eq!(
        read("compression.type", "brotli").compression_type,
        "producer"
    );
    assert!(!read("write.caching", "disabled").write_caching);
}

/// A new synced setting must be looked at: it either cannot delete data, or says which value keeps
/// them.
#[test]
fn every_synced_setting_has_a_value_that_keeps_data_or_cannot_delete() {
    let sync = gnomon_links::TopicSync::default();
    for key in sync.synced_keys() {
        match gnomon_links::plan_configs::keeping(key) {
            Some(kept) => assert_eq!(check_config(key, kept), Ok(()), "{key}"),
            None => assert_eq!(key, "max.message.bytes"),
        }
    }
}

#[test]
fn internal_logs_are_never_write_cached() {
    let image = Image::default();
    let topic = |name: &str| Topic {
        id: Default::default(),
        name: name.to_owned(),
        internal: true,
        configs: BTreeMap::from([("write.caching".to_owned(), "true".to_owned())]),
        partitions: Vec::new(),
        shadow: None,
    };
    assert!(
        image
            .topic_config(&topic("x"), &SiteDefaults::default())
            .write_caching
    );
    assert!(
        !image
            .topic_config(&topic("__consumer_offsets"), &SiteDefaults::default())
            .write_caching
    );
}

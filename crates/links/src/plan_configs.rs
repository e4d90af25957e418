//! Which topic configs a link syncs, and what to change here so that a shadow has its source's
//! values.
//!
//! The source's *effective* values count for synced keys, not only what is set there: its defaults
//! may differ from ours. A reset at the source is thus synced too. A value that was changed here
//! without the link comes out as a change like any other: the caller reports it.
//!
//! Invariant: a setting that the source does not report, or whose value this version does not
//! understand, deletes no data. It is read as [`keeping`] says, never as this site's default: the
//! default of `cleanup.policy` and `retention.ms` deletes after seven days, and would take records
//! that the source keeps as soon as the shadow has failed over.

use crate::config::TopicSync;
use std::collections::{BTreeMap, BTreeSet};

/// Configs that every link syncs (beside the partition count): without them a shadow could refuse
/// or lose what its source holds.
pub const ALWAYS_SYNCED: &[&str] = &[
    "max.message.bytes",
    "cleanup.policy",
    "message.timestamp.type",
];

/// Configs that a link syncs unless `exclude_default` is set. Redpanda's list also has the
/// replication factor, which is always 1 here.
pub const SYNCED_BY_DEFAULT: &[&str] = &[
    "compression.type",
    "retention.bytes",
    "retention.ms",
    "delete.retention.ms",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
];

/// Configs that no link syncs: they tell about one site only.
pub fn is_never_synced(key: &str) -> bool {
    key.starts_with("redpanda.") || key.starts_with("gnomon.") || key == "replication.factor"
}

/// Every topic config that these settings sync.
pub fn synced_keys(sync: &TopicSync) -> BTreeSet<&str> {
    let by_default: &[&str] = if sync.exclude_default {
        &[]
    } else {
        SYNCED_BY_DEFAULT
    };
    ALWAYS_SYNCED
        .iter()
        .chain(by_default)
        .copied()
        .chain(sync.synced_properties.iter().map(String::as_str))
        .filter(|key| !is_never_synced(key))
        .collect()
}

/// The value of a setting that deletes and changes no records; `None` for settings that cannot.
///
/// An empty `cleanup.policy` keeps everything (KIP-1161). Compaction that never begins and
/// tombstones that never expire keep everything, too. `max.message.bytes` is not here: it refuses
/// writes, it deletes nothing, and it bounds memory.
pub fn keeping(key: &str) -> Option<&'static str> {
    const NEVER_MS: &str = "9223372036854775807";
    match key {
        "cleanup.policy" => Some(""),
        "retention.ms" | "retention.bytes" => Some("-1"),
        "delete.retention.ms" | "min.compaction.lag.ms" | "max.compaction.lag.ms" => Some(NEVER_MS),
        "compression.type" => Some("producer"),
        "message.timestamp.type" => Some("CreateTime"),
        "write.caching" => Some("false"),
        _ => None,
    }
}

/// Says that the source's value of a setting is not understood here, and what counts instead.
pub fn odd_in_words(key: &str, value: &str) -> String {
    let instead = match keeping(key) {
        Some(kept) => {
            format!("it is read as {key}={kept:?}, so that no data is deleted or changed")
        }
        None => "it is read as the default of this site".to_owned(),
    };
    format!("the source has {key}={value:?}, which this version does not understand; {instead}")
}

/// Says that the source does not report a setting, and what counts for a shadow that does not have
/// an older value of it.
pub fn missing_in_words(key: &str) -> String {
    let instead = match keeping(key) {
        Some(kept) => format!("{key}={kept:?}, so that no data is deleted or changed"),
        None => "the default of this site".to_owned(),
    };
    format!("the source does not report {key}; the last known value is kept, else {instead}")
}

/// One config to change on a shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    pub key: String,
    /// The override here now; `None` if nothing is.
    pub from: Option<String>,
    /// The override to set; `None` to take our own setting away.
    pub to: Option<String>,
}

/// The changes to make, in the order of keys. `source` holds the source's effective value of each
/// synced key that it reports, `local` what is set here, and `local_default` says what an unset key
/// works out to here. A key that the source does not report stays as it is set here; if it is not
/// set here, it becomes [`keeping`].
pub fn plan(
    synced: &BTreeSet<&str>,
    source: &BTreeMap<String, String>,
    local: &BTreeMap<String, String>,
    local_default: impl Fn(&str) -> Option<String>,
) -> Vec<ConfigChange> {
    let mut changes = Vec::new();
    for key in synced {
        let (there, here) = (source.get(*key), local.get(*key));
        let wanted = match there {
            Some(value) => value.as_str(),
            None if here.is_some() => continue,
            None => match keeping(key) {
                Some(value) => value,
                None => continue,
            },
        };
        if here.is_some_and(|here| here == wanted) {
            continue;
        }
        let to = Some(wanted.to_owned()).filter(|_| local_default(key).as_deref() != Some(wanted));
        if to.as_ref() != here {
            changes.push(ConfigChange {
                key: (*key).to_owned(),
                from: here.cloned(),
                to,
            });
        }
    }
    changes
}

//! Which topic configs a link syncs, and what to change here so that a shadow has its source's
//! values.
//!
//! The source's *effective* values count for synced keys, not only what is set there: its defaults
//! may differ from ours. A reset at the source is thus synced too. A value that was changed here
//! behind the link's back comes out as a change like any other: the caller reports it.

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

/// One config to change on a shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its name.
    pub key: String,
    /// What is set here now; `None` if nothing is.
    pub from: Option<String>,
    /// What to set; `None` to take our own setting away.
    pub to: Option<String>,
}

/// What to change, in the order of keys. `source` holds the source's effective value of each synced
/// key that it knows, `local` what is set here, and `local_default` says what an unset key works
/// out to here.
pub fn plan(
    synced: &BTreeSet<&str>,
    source: &BTreeMap<String, String>,
    local: &BTreeMap<String, String>,
    local_default: impl Fn(&str) -> Option<String>,
) -> Vec<ConfigChange> {
    let mut changes = Vec::new();
    for key in synced {
        let (there, here) = (source.get(*key), local.get(*key));
        let default = local_default(key);
        let to = match there {
            Some(value) if here == Some(value) => continue,
            Some(value) if default.as_ref() == Some(value) => None,
            Some(value) => Some(value.clone()),
            None => None,
        };
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

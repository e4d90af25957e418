//! The facts that sites tell each other, in read-only configs that a peer reads by DescribeConfigs
//! (broker configs `gnomon.site` and `gnomon.links`, topic configs `gnomon.shadow.*`). The one
//! place that knows their spelling, for the broker that writes them and the link that reads them.
//!
//! Invariant: reading takes what it knows and ignores other JSON fields, so that a newer site can
//! say more. These keys are never synced.

use crate::{filter::NameFilter, link_state::LinkState, topic_state::TopicState};
use gnomon_protocol::ids::Offset;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Display, str::FromStr};

/// Broker config: who this site is, as JSON of [`PeerSite`].
pub const SITE: &str = "gnomon.site";
/// Broker config: the links of this site, as a JSON list of [`PeerLink`].
pub const LINKS: &str = "gnomon.links";
/// Topic config: cluster id of the source that a topic was shadowed from.
pub const SHADOW_ORIGIN: &str = "gnomon.shadow.origin";
/// Topic config: name of the link.
pub const SHADOW_LINK: &str = "gnomon.shadow.link";
/// Topic config: [`TopicState`] by name.
pub const SHADOW_STATE: &str = "gnomon.shadow.state";
/// Topic config: the cut per partition, `0:1234,1:99`; empty before a failover.
pub const SHADOW_CUT: &str = "gnomon.shadow.cut";
/// Topic config: the leader epoch that a failover gave each partition, `0:65536,1:65536`; empty
/// before.
pub const SHADOW_EPOCH: &str = "gnomon.shadow.epoch";
/// All topic configs of a shadow.
pub const SHADOW_KEYS: [&str; 5] = [
    SHADOW_ORIGIN,
    SHADOW_LINK,
    SHADOW_STATE,
    SHADOW_CUT,
    SHADOW_EPOCH,
];

/// A site's description of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSite {
    /// Its short name.
    pub name: String,
    /// Its Kafka cluster id.
    pub cluster_id: String,
    /// The tag in its producer ids, 1 to 4095.
    pub producer_tag: u16,
    /// Prefixes of the topic names that it owns.
    #[serde(default)]
    pub owns: Vec<String>,
}

/// A site's description of one of its links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    /// The link's name there.
    pub name: String,
    /// The cluster it pulls from; none before its first contact.
    #[serde(default)]
    pub source_cluster_id: Option<String>,
    pub state: LinkState,
    /// The topics that it selects.
    #[serde(default)]
    pub topic_filters: Vec<NameFilter>,
    /// The groups that it selects.
    #[serde(default)]
    pub group_filters: Vec<NameFilter>,
    /// Topics that it selects by name but that were failed over there: they are that site's own.
    #[serde(default)]
    pub released: Vec<String>,
}

/// Why a peer's config cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("config {key} of the source reads {value:?}: {why}")]
pub struct PeerError {
    /// Which config.
    pub key: &'static str,
    /// The value that was found.
    pub value: String,
    /// The rule that it breaks.
    pub why: String,
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings, numbers and lists always have a JSON form")
}

fn read<'a, T: Deserialize<'a>>(key: &'static str, value: &'a str) -> Result<T, PeerError> {
    serde_json::from_str(value).map_err(|e| PeerError {
        key,
        value: value.to_owned(),
        why: e.to_string(),
    })
}

impl PeerSite {
    /// The value of `gnomon.site`.
    pub fn to_config(&self) -> String {
        json(self)
    }

    /// Reads the value of `gnomon.site`.
    pub fn from_config(value: &str) -> Result<PeerSite, PeerError> {
        read(SITE, value)
    }
}

/// The value of `gnomon.links`.
pub fn links_to_config(links: &[PeerLink]) -> String {
    json(&links)
}

/// Reads the value of `gnomon.links`.
pub fn links_from_config(value: &str) -> Result<Vec<PeerLink>, PeerError> {
    read(LINKS, value)
}

/// A site's description of a topic that is or was a shadow there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicOrigin {
    /// Cluster id of the source.
    pub cluster_id: String,
    /// Name of the link there.
    pub link: String,
    pub state: TopicState,
    /// Partition to cut: the first offset that is not the source's. Empty before a failover.
    pub cuts: BTreeMap<i32, Offset>,
    /// Partition to the leader epoch that the failover gave it. Empty before.
    pub epochs: BTreeMap<i32, i32>,
}

impl TopicOrigin {
    /// As the topic configs `gnomon.shadow.*`.
    pub fn to_configs(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (SHADOW_ORIGIN, self.cluster_id.clone()),
            (SHADOW_LINK, self.link.clone()),
            (SHADOW_STATE, self.state.name().to_owned()),
            (SHADOW_CUT, pairs(&self.cuts)),
            (SHADOW_EPOCH, pairs(&self.epochs)),
        ])
    }

    /// From a topic's configs; `None` if it never was a shadow there.
    pub fn from_configs<'a>(
        get: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<TopicOrigin>, PeerError> {
        let Some(cluster_id) = get(SHADOW_ORIGIN).filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        let state = get(SHADOW_STATE).unwrap_or_default();
        Ok(Some(TopicOrigin {
            cluster_id: cluster_id.to_owned(),
            link: get(SHADOW_LINK).unwrap_or_default().to_owned(),
            state: TopicState::from_name(state).ok_or_else(|| PeerError {
                key: SHADOW_STATE,
                value: state.to_owned(),
                why: "not a state of a shadow topic".to_owned(),
            })?,
            cuts: read_pairs(SHADOW_CUT, get(SHADOW_CUT).unwrap_or_default())?,
            epochs: read_pairs(SHADOW_EPOCH, get(SHADOW_EPOCH).unwrap_or_default())?,
        }))
    }
}

fn pairs<V: Display>(map: &BTreeMap<i32, V>) -> String {
    map.iter()
        .map(|(partition, value)| format!("{partition}:{value}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn read_pairs<V: FromStr>(key: &'static str, text: &str) -> Result<BTreeMap<i32, V>, PeerError> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            pair.split_once(':')
                .and_then(|(p, v)| Some((p.trim().parse().ok()?, v.trim().parse().ok()?)))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| PeerError {
            key,
            value: text.to_owned(),
            why: "not a list of PARTITION:NUMBER".to_owned(),
        })
}

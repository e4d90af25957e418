//! The whole of the site's metadata at one moment: what the machine keeps, and what every reader in
//! the broker holds as an `Arc`.
//!
//! Invariants: cheap to clone (maps and their values are shared until changed); `names` and
//! `Link::released` follow from `topics` and are kept by [`Image::apply`] alone, which is the only
//! code that changes an image.

use crate::{
    config_keys::config_key,
    topic::{LinkId, Topic},
    topic_config::{SiteDefaults, TopicConfig},
};
use gnomon_links::{
    LinkConfig, LinkState, TopicState,
    ownership::{Claim, CreateRefusal, Owner, Write, advice, may_create, source_label},
    peer::{PeerLink, PeerSite, TopicOrigin},
};
use gnomon_protocol::ids::TopicId;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Everything that the metadata machine keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The identity of this site; `None` before the first start has been recorded.
    pub site: Option<Arc<Site>>,
    /// The brokers of this site, by id.
    pub brokers: Arc<BTreeMap<i32, BrokerEntry>>,
    /// How often a process of this site has begun: raised by one record at each start.
    pub incarnation: u64,
    pub topics: Arc<BTreeMap<TopicId, Arc<Topic>>>,
    /// The ids by name.
    pub names: Arc<BTreeMap<String, TopicId>>,
    pub links: Arc<BTreeMap<LinkId, Arc<Link>>>,
    /// Every name that a link here ever had, so that a file revives none.
    pub link_names: Arc<BTreeSet<String>>,
    /// Own topics that a peer has taken over by failover.
    pub taken_over: Arc<BTreeMap<TopicId, TakenOver>>,
    /// The first producer id counter not handed out yet; without the tag.
    pub next_producer_block: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Kafka's form: 22 characters of URL-safe base64. Never changes.
    pub cluster_id: String,
    /// The short name; may change between starts.
    pub name: String,
    /// The broker of this process. Never changes.
    pub broker_id: i32,
    /// Bits 40 to 51 of our producer ids, 1 to 4095. Never changes.
    pub producer_tag: u16,
    /// Prefixes of the topic names that are ours; may change between starts.
    #[serde(default)]
    pub owns: Vec<String>,
}

/// A broker of this site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerEntry {
    pub id: i32,
    /// How clients reach it, by listener.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// Where a listener of a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub listener: String,
    /// Name or address.
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Chosen at creation.
    pub id: LinkId,
    /// As the operator wrote it; `config.name` is the link's name.
    pub config: LinkConfig,
    pub state: LinkState,
    /// `failover --all` has begun: nothing is discovered any more. FAILED_OVER follows when the
    /// last topic is through.
    #[serde(default)]
    pub ending: bool,
    /// Why it must not copy from what it reached; a good contact takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Pinned at the first contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_cluster_id: Option<String>,
    /// The source's last description of itself, if it is a Gnomon site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_site: Option<SourceSite>,
    /// Made by `serve --link FILE`, not by a command.
    #[serde(default)]
    pub made_from_file: bool,
    /// Topics that its filters select at the source but that it does not copy, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unselected: BTreeMap<String, String>,
    /// Names of its topics that were failed over here: they are this site's own. Follows from the
    /// topics, not written.
    #[serde(skip)]
    pub released: BTreeSet<String>,
}

/// A Gnomon source's description of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSite {
    /// Its `gnomon.site`.
    pub site: PeerSite,
    /// Its `gnomon.links`.
    #[serde(default)]
    pub links: Vec<PeerLink>,
}

impl Link {
    pub fn name(&self) -> &str {
        self.config.name.as_str()
    }

    /// How its source is called in a sentence.
    pub fn source(&self) -> String {
        let site = self
            .source_site
            .as_ref()
            .map(|known| known.site.name.as_str());
        source_label(
            site,
            self.source_cluster_id.as_deref(),
            &self.config.client.bootstrap_servers,
        )
    }

    /// Whether it may copy and sync now: ACTIVE, not ending, not faulted.
    pub fn runs(&self) -> bool {
        self.state == LinkState::Active && !self.ending && self.fault.is_none()
    }

    /// The names that it claims; `source` is [`Link::source`].
    pub fn claim<'a>(&'a self, source: &'a str) -> Claim<'a> {
        Claim {
            link: self.name(),
            source,
            state: self.state,
            topics: &self.config.topics.filters,
            groups: &self.config.groups.filters,
            released: &self.released,
        }
    }

    /// As this site tells its peers (`gnomon.links`).
    pub fn as_peer_link(&self) -> PeerLink {
        PeerLink {
            name: self.name().to_owned(),
            source_cluster_id: self.source_cluster_id.clone(),
            state: self.state,
            topic_filters: self.config.topics.filters.clone(),
            group_filters: self.config.groups.filters.clone(),
            released: self.released.iter().cloned().collect(),
        }
    }
}

/// An own topic that a peer has failed over while we were away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The peer's site name.
    pub by: String,
    /// The peer's cluster id.
    pub cluster_id: String,
    /// The link there.
    pub link: String,
    /// Partition to the first offset that is the peer's own.
    pub cuts: BTreeMap<i32, i64>,
    /// Partition to the first leader epoch of the peer.
    pub epochs: BTreeMap<i32, i32>,
}

/// The writers of a topic: plain data, from which the broker makes a partition's role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Clients: an ordinary topic, one that was failed over, and (in this version) one that a peer
    /// took over.
    Clients,
    /// This site's own records only.
    Site,
    /// A link copies into it; clients are refused.
    Link {
        id: LinkId,
        name: String,
        /// Its source, for the refusal: `site 'a'`.
        source: String,
        /// The alternative, for the refusal.
        advice: String,
        /// Appends of the link must carry exactly this.
        fence: u64,
    },
    /// Nobody but abort markers, for a moment; clients try again.
    FailingOver,
}

impl Image {
    /// The broker that leads the metadata log, -1 before the first start has been recorded.
    pub fn controller_id(&self) -> i32 {
        self.site.as_ref().map_or(-1, |site| site.broker_id)
    }

    /// Our cluster id, empty before the first start has been recorded.
    pub fn cluster_id(&self) -> &str {
        self.site.as_ref().map_or("", |site| &site.cluster_id)
    }

    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(name)?)
    }

    pub fn link(&self, id: LinkId) -> Option<&Arc<Link>> {
        self.links.get(&id)
    }

    pub fn link_by_name(&self, name: &str) -> Option<&Arc<Link>> {
        self.links.values().find(|link| link.name() == name)
    }

    /// The topics that a link copies or did, those failed over included, in order of ids.
    pub fn topics_of(&self, link: LinkId) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values().filter(move |topic| {
            topic
                .shadow
                .as_ref()
                .is_some_and(|shadow| shadow.link == link)
        })
    }

    /// The writers of a topic.
    pub fn writers(&self, topic: &Topic) -> Writers {
        let Some(shadow) = topic.shadow.as_ref().filter(|shadow| shadow.bound()) else {
            return if topic.internal {
                Writers::Site
            } else {
                Writers::Clients
            };
        };
        if shadow.state == TopicState::FailingOver {
            return Writers::FailingOver;
        }
        let source = match self.links.get(&shadow.link) {
            Some(link) => link.source(),
            None => source_label(None, shadow.source_cluster_id.as_deref(), &[]),
        };
        Writers::Link {
            id: shadow.link,
            name: shadow.link_name.clone(),
            advice: advice(Write::Produce, &shadow.link_name, &source).replace("NAME", &topic.name),
            source,
            fence: shadow.fence,
        }
    }

    /// The fence that a replicator of this topic must carry, if it is to copy now: topic and link
    /// say so.
    pub fn copies(&self, topic: &Topic) -> Option<u64> {
        let shadow = topic
            .shadow
            .as_ref()
            .filter(|shadow| shadow.state.copies() && !shadow.source_missing)?;
        self.links
            .get(&shadow.link)
            .filter(|link| link.runs())
            .map(|_| shadow.fence)
    }

    /// The link that claims a topic name: clients here do not create it.
    pub fn claims(&self, name: &str) -> Option<&Arc<Link>> {
        self.links.values().find(|link| link.claim("").claims(name))
    }

    /// Whether clients may create a topic of this name here.
    pub fn may_create(&self, name: &str) -> Result<(), CreateRefusal> {
        let sources: Vec<String> = self.links.values().map(|link| link.source()).collect();
        let claims: Vec<Claim<'_>> = self
            .links
            .values()
            .zip(&sources)
            .map(|(link, source)| link.claim(source))
            .collect();
        let ours = self.site.as_ref().map_or(&[][..], |site| &site.owns);
        // A site whose link has failed over whole is being stood in for: its prefixes bind nobody
        // here.
        let others: Vec<Owner<'_>> = self
            .links
            .values()
            .filter(|link| link.state != LinkState::FailedOver)
            .filter_map(|link| link.source_site.as_ref())
            .map(|known| Owner {
                site: &known.site.name,
                prefixes: &known.site.owns,
            })
            .collect();
        may_create(name, &claims, ours, &others)
    }

    /// The settings in force for a topic. The site's own logs are never write-cached: what they say
    /// has been told to clients.
    pub fn topic_config(&self, topic: &Topic, defaults: &SiteDefaults) -> TopicConfig {
        let mut config = TopicConfig::resolve(&topic.configs, defaults);
        config.write_caching &= !topic.name.starts_with("__");
        config
    }

    /// The value in force for one configuration of a topic, and where it comes from; `None` for an
    /// unknown name.
    pub fn config<'a>(
        &self,
        topic: &'a Topic,
        name: &str,
        defaults: &'a SiteDefaults,
    ) -> Option<(&'a str, ConfigSource)> {
        let key = config_key(name)?;
        if let Some(value) = topic.configs.get(name) {
            return Some((value, ConfigSource::Topic));
        }
        Some(
            defaults
                .get(name)
                .map_or((key.default, ConfigSource::Default), |value| {
                    (value, ConfigSource::Site)
                }),
        )
    }

    /// As this site tells its peers (`gnomon.site`).
    pub fn as_peer_site(&self) -> Option<PeerSite> {
        self.site.as_ref().map(|site| PeerSite {
            name: site.name.clone(),
            cluster_id: site.cluster_id.clone(),
            producer_tag: site.producer_tag,
            owns: site.owns.clone(),
        })
    }

    /// As this site tells its peers (`gnomon.links`).
    pub fn as_peer_links(&self) -> Vec<PeerLink> {
        self.links
            .values()
            .map(|link| link.as_peer_link())
            .collect()
    }
}

/// Where a configuration's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic (DYNAMIC_TOPIC_CONFIG).
    Topic,
    /// Set for the site at its start (STATIC_BROKER_CONFIG).
    Site,
    /// Nobody set it (DEFAULT_CONFIG).
    Default,
}

/// The description of a topic that is or was a shadow, for DescribeConfigs `gnomon.shadow.*`;
/// `None` if it never was one.
pub fn shadow_origin(topic: &Topic) -> Option<TopicOrigin> {
    let shadow = topic.shadow.as_ref()?;
    let cuts = topic
        .partitions
        .iter()
        .zip(0..)
        .filter_map(|(partition, index)| Some((index, partition.cut?)));
    Some(TopicOrigin {
        cluster_id: shadow.source_cluster_id.clone().unwrap_or_default(),
        link: shadow.link_name.clone(),
        state: shadow.state,
        cuts: cuts.clone().map(|(index, cut)| (index, cut.end)).collect(),
        epochs: cuts.map(|(index, cut)| (index, cut.epoch.0)).collect(),
    })
}

/// The read-only configurations `gnomon.shadow.*` of a topic: empty if it never was a shadow.
pub fn shadow_configs(topic: &Topic) -> BTreeMap<&'static str, String> {
    shadow_origin(topic)
        .map(|origin| origin.to_configs())
        .unwrap_or_default()
}

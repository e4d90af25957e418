//! Discovery: what the source has, what sites learn of each other, and where to fetch from.
//!
//! Each round asks who the source is, lists its topics, reads the configs of those that concern us,
//! and hands all of it to the metadata machine, which decides. What has not changed since the last
//! round is not handed over again, unless our own metadata changed meanwhile (local drift is
//! reverted). A round comes at once when a client asked for a topic that the link claims
//! ([`LinkShared::look`]), and when a fetch connection lost its leader.

use super::{RoundError, after_round, settings::SaidSettings};
use crate::{
    assign::{SourceLocation, Topology},
    link_shared::LinkShared,
    source::{Configs, Contact, ListedTopic},
};
use gnomon_catalog::{Discovered, Event, Image, Link, Reply, SourceSite, TakeoverReport, Topic};
use gnomon_client::retry::Backoff;
use gnomon_links::{
    Task, TaskState,
    peer::{PeerSite, SHADOW_KEYS, TopicOrigin, links_from_config},
    plan_topics::{SourcePartition, SourceTopic},
    selects,
};
use gnomon_protocol::ids::TopicId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// Two rounds are at least so far apart, however often somebody asks for one.
const APART: Duration = Duration::from_millis(50);

/// Topics whose configs are read again in one round, at most; new ones come first, then those read
/// longest ago.
const CONFIGS_PER_ROUND: usize = 1_000;

/// The list that was submitted to the metadata machine, and the topics of that moment.
type Handed = (Vec<SourceTopic>, Arc<BTreeMap<TopicId, Arc<Topic>>>);

/// State that lasts from round to round.
struct Discovery {
    link: Arc<LinkShared>,
    /// Configs as last read, and in which round.
    configs: BTreeMap<String, (u64, Configs)>,
    round: u64,
    /// The contact as the metadata knows it.
    told: Option<(Option<String>, Option<SourceSite>)>,
    /// The whole list that was submitted last, and the topics of that moment.
    handed: Option<Handed>,
    settings: SaidSettings,
}

/// Runs rounds until dropped.
pub(crate) async fn run(link: Arc<LinkShared>) {
    if link.config.topics.paused {
        link.task(Task::SourceTopicSync, TaskState::Paused, None);
    }
    let mut discovery = Discovery {
        configs: BTreeMap::new(),
        round: 0,
        told: None,
        handed: None,
        settings: SaidSettings::default(),
        link,
    };
    // Data is not discovery: a link comes back with its interval, at most, not with minutes of
    // backoff.
    let interval = discovery.link.config.topics.interval();
    let mut backoff = Backoff::new(
        Duration::from_millis(250),
        Duration::from_secs(2).max(interval),
    );
    loop {
        let began = Instant::now();
        let outcome = discovery.round().await;
        let wait = after_round(
            &discovery.link,
            Task::SourceTopicSync,
            outcome,
            interval,
            &mut backoff,
        );
        // Asked for meanwhile, or at the interval.
        let _either = timeout(
            wait.saturating_sub(began.elapsed()).max(APART),
            discovery.link.look.notified(),
        )
        .await;
        sleep_until(began + APART).await;
    }
}

impl Discovery {
    async fn round(&mut self) -> Result<(), RoundError> {
        let contact = self.link.source.contact().await?;
        self.tell_contact(&contact).await?;
        let image = self.link.site.image();
        let Some(link) = image.link(self.link.id).cloned() else {
            return Ok(());
        };
        if let Some(fault) = &link.fault {
            // The cluster that answered names its own brokers; asked again, they would hide the
            // source's return.
            self.link.source.start_over();
            return Err(RoundError::Refused(fault.clone()));
        }
        let listed = self.link.source.topics().await?;
        self.publish_topology(&listed);
        if !self.link.config.topics.paused {
            self.hand_over(&image, &link, &listed).await?;
        }
        self.look_at_own(&image, &link, &listed).await
    }

    /// Says who the source is, when that is news; each time while the link is faulted, since a good
    /// contact may clear it.
    async fn tell_contact(&mut self, contact: &Contact) -> Result<(), RoundError> {
        let peer = read_peer(contact).map_err(RoundError::Refused)?;
        let told = (contact.cluster_id.clone(), peer.clone());
        let image = self.link.site.image();
        let faulted = image
            .link(self.link.id)
            .is_some_and(|link| link.fault.is_some());
        if self.told.as_ref() == Some(&told) && !faulted {
            return Ok(());
        }
        let event = Event::LinkContact {
            link: self.link.id,
            cluster_id: contact.cluster_id.clone(),
            peer,
        };
        match self.link.site.submit(event).await? {
            Reply::LinkContact(Ok(fault)) => {
                if let Some(fault) = fault.filter(|_| !faulted) {
                    tracing::warn!(
                        link = self.link.config.name.as_str(),
                        fault,
                        "link is faulted"
                    );
                }
                self.told = Some(told);
                Ok(())
            }
            Reply::LinkContact(Err(unknown)) => Err(RoundError::Refused(unknown.to_string())),
            other => Err(RoundError::Refused(format!("{other:?}"))),
        }
    }

    fn publish_topology(&self, listed: &[ListedTopic]) {
        let place = |topic: &ListedTopic| -> BTreeMap<i32, SourceLocation> {
            let led = topic.partitions.iter().filter_map(|(index, p)| {
                let place = SourceLocation {
                    node: p.leader?,
                    leader_epoch: p.leader_epoch,
                    topic_id: topic.id,
                };
                Some((*index, place))
            });
            led.collect()
        };
        let ours = listed.iter().filter(|topic| topic.error.is_none());
        let topology: Topology = ours
            .map(|topic| (topic.name.as_str().into(), place(topic)))
            .collect();
        self.link.topology.send_if_modified(|present| {
            let changed = **present != topology;
            if changed {
                *present = Arc::new(topology);
            }
            changed
        });
    }

    /// Hands the topics that concern the link to the metadata.
    async fn hand_over(
        &mut self,
        image: &Image,
        link: &Link,
        listed: &[ListedTopic],
    ) -> Result<(), RoundError> {
        let ours: BTreeSet<&str> = image
            .topics_of(link.id)
            .map(|topic| topic.name.as_str())
            .collect();
        let concerns = |topic: &ListedTopic| {
            ours.contains(topic.name.as_str()) || selects(&link.config.topics.filters, &topic.name)
        };
        // A topic in trouble says nothing: it is neither there nor gone in this round.
        let complete = !listed.iter().any(|topic| topic.error.is_some());
        let listed: Vec<&ListedTopic> = listed
            .iter()
            .filter(|topic| topic.error.is_none() && concerns(topic))
            .collect();
        self.read_configs(&listed).await?;
        let topics: Vec<SourceTopic> = listed
            .iter()
            .filter_map(|topic| self.source_topic(topic))
            .collect();
        let complete = complete && topics.len() == listed.len();
        let unchanged = self
            .handed
            .as_ref()
            .is_some_and(|(handed, to)| *handed == topics && Arc::ptr_eq(to, &image.topics));
        if unchanged && complete {
            return Ok(());
        }
        let new = topics
            .iter()
            .filter(|topic| !image.names.contains_key(&topic.name));
        let fresh_ids = new
            .map(|topic| (topic.name.clone(), self.link.site.fresh_id()))
            .collect();
        let event = Event::Discovered(Discovered {
            link: link.id,
            topics: topics.clone(),
            fresh_ids,
            complete,
        });
        match self.link.site.submit(event).await? {
            Reply::Discovered(Ok(found)) => {
                for topic in &found.created {
                    tracing::info!(link = link.name(), topic, "shadow topic made");
                }
                for (topic, what) in &found.configured {
                    tracing::info!(
                        link = link.name(),
                        topic,
                        what,
                        "configuration follows the source"
                    );
                }
                for (topic, reason) in &found.faulted {
                    tracing::warn!(link = link.name(), topic, reason, "shadow topic is faulted");
                }
                let now = self.link.site.image();
                self.settings.look(&self.link, &now, &topics);
                // A list with holes has said nothing of what it leaves out: the same topics come
                // again when it is whole. The metadata as it was before: whatever changed since, by
                // this event or by others after it, may have made room for a topic.
                self.handed = complete.then(|| (topics, image.topics.clone()));
                Ok(())
            }
            Reply::Discovered(Err(unknown)) => Err(RoundError::Refused(unknown.to_string())),
            other => Err(RoundError::Refused(format!("{other:?}"))),
        }
    }

    /// Reads the configs of topics that are new, and of some that were read long ago.
    async fn read_configs(&mut self, listed: &[&ListedTopic]) -> Result<(), RoundError> {
        self.round += 1;
        let present: BTreeSet<&str> = listed.iter().map(|topic| topic.name.as_str()).collect();
        self.configs
            .retain(|name, _| present.contains(name.as_str()));
        let mut order: Vec<(u64, &str)> = present
            .iter()
            .map(|name| {
                (
                    self.configs.get(*name).map_or(0, |(round, _)| *round),
                    *name,
                )
            })
            .collect();
        order.sort_unstable();
        let names: Vec<String> = order
            .into_iter()
            .take(CONFIGS_PER_ROUND)
            .map(|(_, name)| name.to_owned())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let config = self.link.config.clone();
        let keys: Vec<&str> = config
            .topics
            .synced_keys()
            .into_iter()
            .chain(SHADOW_KEYS)
            .collect();
        for (name, configs) in self.link.source.configs(&names, &keys).await? {
            match configs {
                Ok(configs) => drop(self.configs.insert(name, (self.round, configs))),
                Err(error) => {
                    tracing::debug!(topic = name, %error, "the source does not show a topic's configs")
                }
            }
        }
        Ok(())
    }

    /// `None` while its configs are not known: a shadow is made with them, not before.
    fn source_topic(&self, listed: &ListedTopic) -> Option<SourceTopic> {
        let (_, configs) = self.configs.get(&listed.name)?;
        let origin = origin_of(&listed.name, configs);
        Some(SourceTopic {
            name: listed.name.clone(),
            id: listed.id,
            internal: listed.internal,
            partitions: listed
                .partitions
                .iter()
                .map(|(index, p)| SourcePartition {
                    index: *index,
                    leader_epoch: p.leader_epoch,
                })
                .collect(),
            configs: configs
                .iter()
                .filter(|(key, _)| !SHADOW_KEYS.contains(&key.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            origin,
        })
    }

    /// Reads a Gnomon source's report about our own topics: those that it shadows, and those that
    /// it has taken over.
    async fn look_at_own(
        &mut self,
        image: &Image,
        link: &Link,
        listed: &[ListedTopic],
    ) -> Result<(), RoundError> {
        let Some(peer) = link.source_site.as_ref().map(|known| known.site.clone()) else {
            return Ok(());
        };
        let there: BTreeSet<&str> = listed.iter().map(|topic| topic.name.as_str()).collect();
        let own: BTreeMap<String, TopicId> = image
            .topics
            .values()
            .filter(|topic| {
                !topic.internal && !topic.is_shadow() && there.contains(topic.name.as_str())
            })
            .map(|topic| (topic.name.clone(), topic.id))
            .collect();
        let names: Vec<String> = own.keys().cloned().collect();
        let described = if names.is_empty() {
            BTreeMap::new()
        } else {
            self.link.source.configs(&names, &SHADOW_KEYS).await?
        };
        let (mut shadowed, mut reports) = (BTreeSet::new(), Vec::new());
        for (name, configs) in described {
            let Ok(configs) = configs else { continue };
            let (Some(origin), Some(topic)) = (origin_of(&name, &configs), own.get(&name).copied())
            else {
                continue;
            };
            if origin.cluster_id != image.cluster_id() {
                continue;
            }
            if origin.state.is_ours() {
                let known = image.taken_over.get(&topic);
                if known.is_none_or(|known| {
                    known.cuts != origin.cuts
                        || known.epochs != origin.epochs
                        || known.link != origin.link
                }) {
                    reports.push(TakeoverReport {
                        topic,
                        by: peer.name.clone(),
                        cluster_id: peer.cluster_id.clone(),
                        origin,
                    });
                }
            } else {
                shadowed.insert(topic);
            }
        }
        *self.link.shadowed_by_source.lock() = shadowed;
        if !reports.is_empty() {
            for report in &reports {
                tracing::warn!(topic = %report.topic, by = report.by, "a topic of this site was taken over");
            }
            self.link.site.submit(Event::TakenOver { reports }).await?;
        }
        Ok(())
    }
}

fn origin_of(topic: &str, configs: &Configs) -> Option<TopicOrigin> {
    match TopicOrigin::from_configs(|key| configs.get(key).map(String::as_str)) {
        Ok(origin) => origin,
        Err(error) => {
            tracing::debug!(topic, %error, "what the source says of a topic's origin cannot be read");
            None
        }
    }
}

/// Reads a Gnomon source's description of itself; `None` for a foreign one.
fn read_peer(contact: &Contact) -> Result<Option<SourceSite>, String> {
    let Some(site) = &contact.site else {
        return Ok(None);
    };
    let site = PeerSite::from_config(site).map_err(|error| error.to_string())?;
    let links = contact
        .links
        .as_deref()
        .map_or(Ok(Vec::new()), links_from_config)
        .map_err(|error| error.to_string())?;
    Ok(Some(SourceSite { site, links }))
}

//! The changes that a round of discovery makes here: shadows made, grown, configured, faulted,
//! missed and found again. One record list per look.
//!
//! What is to be done is planned in `gnomon-links`; this file turns plans into records.

use crate::{
    config_keys::config_key,
    create::{check_name, new_partition},
    error::UnknownLink,
    event::Discovered,
    image::{Image, Link},
    record::{Epochs, PartitionEpoch, Record},
    reply::{Discovery, Reply},
    soft::{Catalog, Settings},
    topic::{Partition, Shadow, Topic},
};
use gnomon_links::{
    TopicState,
    plan_configs::{self, ConfigChange},
    plan_topics::{Holder, Inputs, LocalTopic, SourceTopic, TopicPlan, plan},
    topic_state::step,
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::{LeaderEpoch, TopicId, Uuid};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn discovered(
    image: &Image,
    settings: &Settings,
    seen: Discovered,
    token: ReplyToken,
) -> Effects<Catalog> {
    let Some(link) = image.link(seen.link) else {
        return Effects::reply(token, Reply::Discovered(Err(UnknownLink { id: seen.link })));
    };
    if !link.runs() {
        let found = Discovery {
            unselected: link.unselected.clone(),
            ..Discovery::default()
        };
        return Effects::reply(token, Reply::Discovered(Ok(found)));
    }
    let listed: BTreeMap<&str, &SourceTopic> = seen
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic))
        .collect();
    let here: BTreeMap<TopicId, &Topic> = listed
        .keys()
        .filter_map(|name| image.topic_by_name(name))
        .chain(image.topics_of(link.id))
        .map(|topic| (topic.id, topic.as_ref()))
        .collect();
    let local: Vec<LocalTopic<'_>> = here.values().map(|topic| local_topic(topic)).collect();
    let plans = plan(&Inputs {
        link: link.id.0,
        filters: &link.config.topics.filters,
        our_cluster_id: image.cluster_id(),
        source: &seen.topics,
        complete: seen.complete,
        local: &local,
    });

    let mut look = Look {
        settings,
        link,
        broker_id: image.site.as_ref().map_or(0, |site| site.broker_id),
        synced: link
            .config
            .topics
            .synced_keys()
            .into_iter()
            .filter(|key| config_key(key).is_some())
            .collect(),
        here,
        changed: BTreeMap::new(),
        epochs: Vec::new(),
        found: Discovery::default(),
    };
    for plan in plans {
        look.carry_out(plan, &listed, &seen.fresh_ids);
    }
    look.configure(&listed);
    // A partial list says nothing of the topics that it leaves out. Only a topic that has become a
    // shadow of this link since is no longer unselected.
    if !seen.complete {
        let is_shadow = |name: &str| {
            image
                .topic_by_name(name)
                .and_then(|topic| topic.shadow.as_ref())
                .is_some_and(|shadow| shadow.link == link.id)
        };
        let kept = link
            .unselected
            .iter()
            .filter(|(name, _)| !listed.contains_key(name.as_str()) && !is_shadow(name));
        look.found
            .unselected
            .extend(kept.map(|(name, reason)| (name.clone(), reason.clone())));
    }
    look.finish(token)
}

fn local_topic(topic: &Topic) -> LocalTopic<'_> {
    LocalTopic {
        id: topic.id,
        name: &topic.name,
        epochs: topic
            .partitions
            .iter()
            .map(|partition| partition.leader_epoch)
            .collect(),
        holder: match &topic.shadow {
            None => Holder::Own,
            Some(shadow) => Holder::Link {
                link: shadow.link.0,
                link_name: &shadow.link_name,
                state: shadow.state,
                source_topic_id: shadow.source_topic_id,
                source_missing: shadow.source_missing,
            },
        },
    }
}

/// One look at the source, being turned into records.
struct Look<'a> {
    settings: &'a Settings,
    link: &'a Link,
    broker_id: i32,
    synced: BTreeSet<&'a str>,
    here: BTreeMap<TopicId, &'a Topic>,
    /// Topics as they will be.
    changed: BTreeMap<TopicId, Topic>,
    /// Raised after the topics' records, which carry epochs of before.
    epochs: Vec<PartitionEpoch>,
    found: Discovery,
}

impl Look<'_> {
    fn carry_out(
        &mut self,
        plan: TopicPlan,
        listed: &BTreeMap<&str, &SourceTopic>,
        fresh_ids: &BTreeMap<String, TopicId>,
    ) {
        match plan {
            TopicPlan::Create {
                name,
                source_topic_id,
                epochs,
            } => {
                let refusal = match (check_name(&name), fresh_ids.get(&name)) {
                    (Err(why), _) => format!("its name is not legal here: {why}"),
                    (Ok(()), None) => {
                        "it was seen just now and is made at the next look".to_owned()
                    }
                    (Ok(()), Some(id)) => {
                        let configs = listed
                            .get(name.as_str())
                            .map_or(BTreeMap::new(), |there| self.configs_of(there));
                        self.create(*id, name, source_topic_id, &epochs, configs);
                        return;
                    }
                };
                self.found.unselected.insert(name, refusal);
            }
            TopicPlan::AddPartitions { topic, epochs } => {
                let broker_id = self.broker_id;
                let added = |epoch: &LeaderEpoch| Partition {
                    added: true,
                    ..new_partition(broker_id, *epoch)
                };
                self.change(topic, |topic| {
                    topic.partitions.extend(epochs.iter().map(added))
                });
                self.note(topic, |found, name| found.grown.push(name));
            }
            TopicPlan::RaiseEpochs { topic, epochs } => {
                self.epochs
                    .extend(epochs.into_iter().map(|(partition, epoch)| PartitionEpoch {
                        topic,
                        partition,
                        epoch,
                    }));
            }
            TopicPlan::LearnSourceId {
                topic,
                source_topic_id,
            } => {
                self.change_shadow(topic, |shadow| {
                    shadow.source_topic_id = Some(source_topic_id)
                });
            }
            TopicPlan::Fault { topic, reason } => {
                let legal = self
                    .here
                    .get(&topic)
                    .and_then(|topic| topic.shadow.as_ref())
                    .map(|shadow| step(shadow.state, TopicState::Faulted));
                if legal == Some(Ok(())) {
                    self.change_shadow(topic, |shadow| {
                        (shadow.state, shadow.reason) = (TopicState::Faulted, Some(reason.clone()))
                    });
                    self.note(topic, |found, name| {
                        found.faulted.push((name, reason.clone()))
                    });
                }
            }
            TopicPlan::SourceMissing { topic } => {
                self.change_shadow(topic, |shadow| shadow.source_missing = true);
                self.note(topic, |found, name| found.missing.push(name));
            }
            TopicPlan::SourceBack { topic } => {
                self.change_shadow(topic, |shadow| shadow.source_missing = false)
            }
            TopicPlan::Unselected { name, reason } => {
                self.found.unselected.insert(name, reason);
            }
        }
    }

    fn create(
        &mut self,
        id: TopicId,
        name: String,
        source_topic_id: Option<Uuid>,
        epochs: &[LeaderEpoch],
        configs: BTreeMap<String, String>,
    ) {
        let shadow = Shadow {
            link: self.link.id,
            link_name: self.link.name().to_owned(),
            source_cluster_id: self.link.source_cluster_id.clone(),
            source_topic_id,
            state: TopicState::Active,
            reason: None,
            fence: 1,
            step: None,
            source_missing: false,
            gaps: Vec::new(),
        };
        let partitions = epochs
            .iter()
            .map(|epoch| new_partition(self.broker_id, *epoch))
            .collect();
        self.found.created.push(name.clone());
        self.changed.insert(
            id,
            Topic {
                id,
                name,
                internal: false,
                configs,
                partitions,
                shadow: Some(shadow),
            },
        );
    }

    /// The overrides that a new shadow of this source topic has.
    fn configs_of(&self, there: &SourceTopic) -> BTreeMap<String, String> {
        let changes = self.changes(there, &BTreeMap::new());
        changes
            .into_iter()
            .filter_map(|change| Some((change.key, change.to?)))
            .collect()
    }

    fn changes(&self, there: &SourceTopic, here: &BTreeMap<String, String>) -> Vec<ConfigChange> {
        let default = |name: &str| {
            let key = config_key(name)?;
            Some(
                self.settings
                    .site_defaults
                    .get(name)
                    .unwrap_or(key.default)
                    .to_owned(),
            )
        };
        plan_configs::plan(&self.synced, &there.configs, here, default)
    }

    /// Brings the configuration of every shadow of this link to its source's.
    fn configure(&mut self, listed: &BTreeMap<&str, &SourceTopic>) {
        let shadows: Vec<&Topic> = self.here.values().copied().collect();
        for topic in shadows {
            let ours = topic
                .shadow
                .as_ref()
                .is_some_and(|shadow| shadow.link == self.link.id && shadow.state.is_shadow());
            // A source that could not say its configs gives none at all: that is no reason to
            // change any.
            let Some(there) = listed
                .get(topic.name.as_str())
                .filter(|there| ours && !there.configs.is_empty())
            else {
                continue;
            };
            let changes = self.changes(there, &topic.configs);
            if changes.is_empty() {
                continue;
            }
            self.found.configured.push((
                topic.name.clone(),
                changes
                    .iter()
                    .map(change_in_words)
                    .collect::<Vec<_>>()
                    .join(", "),
            ));
            self.change(topic.id, |topic| {
                for ConfigChange { key, to, .. } in changes {
                    match to {
                        Some(value) => topic.configs.insert(key, value),
                        None => topic.configs.remove(&key),
                    };
                }
            });
        }
    }

    fn change(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) {
        let Some(topic) = self.here.get(&id) else {
            return;
        };
        change(self.changed.entry(id).or_insert_with(|| (*topic).clone()));
    }

    fn change_shadow(&mut self, id: TopicId, change: impl FnOnce(&mut Shadow)) {
        self.change(id, |topic| {
            if let Some(shadow) = &mut topic.shadow {
                change(shadow);
            }
        });
    }

    fn note(&mut self, id: TopicId, note: impl FnOnce(&mut Discovery, String)) {
        if let Some(topic) = self.here.get(&id) {
            note(&mut self.found, topic.name.clone());
        }
    }

    fn finish(self, token: ReplyToken) -> Effects<Catalog> {
        let mut effects = Effects::none();
        if self.found.unselected != self.link.unselected {
            effects.records.push(Record::Link(Box::new(Link {
                unselected: self.found.unselected.clone(),
                ..self.link.clone()
            })));
        }
        effects
            .records
            .extend(self.changed.into_values().map(Record::Topic));
        if !self.epochs.is_empty() {
            effects.records.push(Record::Epochs(Epochs {
                epochs: self.epochs,
            }));
        }
        effects
            .replies
            .push((token, Reply::Discovered(Ok(self.found))));
        effects
    }
}

fn change_in_words(change: &ConfigChange) -> String {
    let word = |value: &Option<String>| match value.as_deref() {
        None => "(default)".to_owned(),
        // An empty `cleanup.policy` is a value.
        Some("") => "(empty)".to_owned(),
        Some(value) => value.to_owned(),
    };
    format!(
        "{}: {} -> {}",
        change.key,
        word(&change.from),
        word(&change.to)
    )
}

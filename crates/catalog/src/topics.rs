//! Changes to topics that are here: deletion, configuration, faults of shadows, and epochs that
//! move by themselves.

use crate::{
    action::Action,
    error::{AlterConfigsError, DeleteTopicError, TopicStateError},
    event::{AlterTopicConfigs, Gap},
    failover,
    image::{Image, Writers},
    record::{Epochs, PartitionEpoch, Record, TopicDeleted},
    reply::Reply,
    soft::{Catalog, Soft},
    topic::{Shadow, Topic},
    topic_config::{ConfigRefusal, check},
};
use gnomon_links::{
    TopicState, TopicSync,
    ownership::{Write, refuse_write, source_label},
    status::GapEvent,
    topic_state::step,
};
use gnomon_machine::{Effects, Now, ReplyToken};
use gnomon_protocol::ids::{LeaderEpoch, TopicId};
use std::collections::BTreeSet;

pub(crate) fn delete(
    image: &Image,
    soft: &Soft,
    ids: Vec<TopicId>,
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut after = image.clone();
    let mut effects = Effects::none();
    let mut answers = Vec::new();
    let mut links = BTreeSet::new();
    for id in ids {
        let result = match after.topic(id).cloned() {
            None => Err(DeleteTopicError::Unknown { id }),
            Some(topic) => may_delete(&after, soft, &topic).map(|()| topic),
        };
        let result = result.map(|topic| {
            let record = Record::TopicDeleted(TopicDeleted { id });
            after.apply(&record);
            effects.records.push(record);
            links.extend(topic.shadow.as_ref().map(|shadow| shadow.link));
            effects.actions.push(Action::DropTopic {
                id,
                name: topic.name.clone(),
                partitions: topic.indexes().end,
            });
            topic.name.clone()
        });
        answers.push((id, result));
    }
    // Links that only these topics kept from their end. Once for each link, not for each topic:
    // `ended` goes over all topics.
    let ended = links
        .into_iter()
        .filter_map(|link| failover::ended(&after, link));
    effects
        .records
        .extend(ended.map(|link| Record::Link(Box::new(link))));
    effects.replies.push((token, Reply::DeleteTopics(answers)));
    effects
}

fn may_delete(image: &Image, soft: &Soft, topic: &Topic) -> Result<(), DeleteTopicError> {
    if topic.internal {
        return Err(DeleteTopicError::Internal {
            name: topic.name.clone(),
        });
    }
    let Some(shadow) = &topic.shadow else {
        return Ok(());
    };
    match shadow.state {
        TopicState::FailedOver | TopicState::Promoted | TopicState::Faulted => Ok(()),
        TopicState::Active | TopicState::Paused | TopicState::Promoting
            if shadow.source_missing =>
        {
            Ok(())
        }
        TopicState::Active | TopicState::Paused | TopicState::Promoting => {
            Err(DeleteTopicError::Shadow {
                name: topic.name.clone(),
                message: refuse_write(
                    Write::DeleteTopic,
                    &topic.name,
                    &shadow.link_name,
                    &source_of(image, shadow),
                ),
            })
        }
        TopicState::FailingOver if soft.failovers.has(topic.id) => Err(DeleteTopicError::Shadow {
            name: topic.name.clone(),
            message: format!(
                "the failover of topic '{}' from link '{}' is under way; try again when it is through",
                topic.name, shadow.link_name
            ),
        }),
        // Stuck: deleting it is the way out.
        TopicState::FailingOver => Ok(()),
    }
}

/// A shadow's source, for a sentence.
fn source_of(image: &Image, shadow: &Shadow) -> String {
    match image.link(shadow.link) {
        Some(link) => link.source(),
        None => source_label(None, shadow.source_cluster_id.as_deref(), &[]),
    }
}

pub(crate) fn alter_configs(
    image: &Image,
    asked: AlterTopicConfigs,
    token: ReplyToken,
) -> Effects<Catalog> {
    let validate_only = asked.validate_only;
    match altered(image, asked) {
        Err(error) => Effects::reply(token, Reply::AlterTopicConfigs(Err(error))),
        Ok(changed) => {
            let mut effects = Effects::reply(token, Reply::AlterTopicConfigs(Ok(())));
            effects
                .records
                .extend(changed.filter(|_| !validate_only).map(Record::Topic));
            effects
        }
    }
}

/// The topic as it would be, or `None` if it is so already.
fn altered(image: &Image, asked: AlterTopicConfigs) -> Result<Option<Topic>, AlterConfigsError> {
    let topic = image
        .topic(asked.id)
        .ok_or(AlterConfigsError::Unknown { id: asked.id })?;
    if let Some(shadow) = topic.shadow.as_ref().filter(|shadow| shadow.bound()) {
        let link = image.link(shadow.link);
        let by_default = TopicSync::default();
        let synced: BTreeSet<&str> = link
            .map_or(&by_default, |link| &link.config.topics)
            .synced_keys();
        if let Some(key) = asked
            .set
            .keys()
            .chain(&asked.unset)
            .find(|key| synced.contains(key.as_str()))
        {
            let message = refuse_write(
                Write::AlterConfig,
                &topic.name,
                &shadow.link_name,
                &source_of(image, shadow),
            );
            return Err(AlterConfigsError::Synced {
                key: key.clone(),
                message,
            });
        }
    }
    let mut changed = topic.as_ref().clone();
    for name in asked.unset {
        if crate::config_key(&name).is_none() {
            return Err(ConfigRefusal::UnknownName { name }.into());
        }
        changed.configs.remove(&name);
    }
    for (name, value) in asked.set {
        check(&name, &value)?;
        changed.configs.insert(name, value.trim().to_owned());
    }
    Ok(Some(changed).filter(|changed| changed != topic.as_ref()))
}

pub(crate) fn faulted(
    image: &Image,
    topic: TopicId,
    reason: String,
    gap: Option<Gap>,
    now: Now,
    token: ReplyToken,
) -> Effects<Catalog> {
    let gap = gap.map(
        |Gap {
             partition,
             from,
             to,
             how,
         }| GapEvent {
            partition,
            from,
            to,
            at_ms: now.wall.0,
            reason: how,
        },
    );
    turn(image, topic, TopicState::Faulted, Some(reason), gap, token)
}

pub(crate) fn recovered(image: &Image, topic: TopicId, token: ReplyToken) -> Effects<Catalog> {
    turn(image, topic, TopicState::Active, None, None, token)
}

/// Moves a shadow to another state. One that is there already stays in it, with its first reason.
fn turn(
    image: &Image,
    id: TopicId,
    to: TopicState,
    reason: Option<String>,
    gap: Option<GapEvent>,
    token: ReplyToken,
) -> Effects<Catalog> {
    let turned = match image.topic(id).filter(|topic| topic.shadow.is_some()) {
        None => Err(TopicStateError::NotAShadow { id }),
        Some(topic) => turned(topic, to, reason, gap),
    };
    match turned {
        Err(error) => Effects::reply(token, Reply::Topic(Err(error))),
        Ok(changed) => {
            let mut effects = Effects::reply(token, Reply::Topic(Ok(())));
            effects.records.extend(changed.map(Record::Topic));
            effects
        }
    }
}

fn turned(
    topic: &Topic,
    to: TopicState,
    reason: Option<String>,
    gap: Option<GapEvent>,
) -> Result<Option<Topic>, TopicStateError> {
    let mut changed = topic.clone();
    let Some(shadow) = &mut changed.shadow else {
        return Ok(None);
    };
    if shadow.state != to {
        step(shadow.state, to).map_err(|illegal| TopicStateError::Illegal {
            name: topic.name.clone(),
            illegal,
        })?;
        (shadow.state, shadow.reason) = (to, reason);
    }
    if let Some(gap) = gap {
        shadow.note_gap(gap);
    }
    Ok(Some(changed).filter(|changed| changed != topic))
}

/// As an incarnation does for all partitions that are ours to write.
pub(crate) fn reopening(
    image: &Image,
    topic: TopicId,
    partition: i32,
    used: LeaderEpoch,
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut effects = Effects::reply(token, Reply::Noted);
    let Some(topic) = image.topic(topic) else {
        return effects;
    };
    let ours = match image.writers(topic) {
        Writers::Clients | Writers::Site | Writers::FailingOver => true,
        Writers::Link { .. } => false,
    };
    if ours
        && topic
            .partition(partition)
            .is_some_and(|known| known.leader_epoch <= used)
    {
        let epoch = LeaderEpoch(used.0.saturating_add(1));
        effects.records.push(Record::Epochs(Epochs {
            epochs: vec![PartitionEpoch {
                topic: topic.id,
                partition,
                epoch,
            }],
        }));
    }
    effects
}

/// One record for all that moved. Epochs of topics that the link no longer writes are not the
/// source's business any more.
pub(crate) fn epochs_seen(
    image: &Image,
    epochs: &[(TopicId, i32, LeaderEpoch)],
    token: ReplyToken,
) -> Effects<Catalog> {
    let moved: Vec<PartitionEpoch> = epochs
        .iter()
        .filter(|(topic, partition, epoch)| {
            image.topic(*topic).is_some_and(|topic| {
                topic
                    .shadow
                    .as_ref()
                    .is_some_and(|shadow| shadow.state.is_shadow())
                    && topic
                        .partition(*partition)
                        .is_some_and(|known| known.leader_epoch < *epoch)
            })
        })
        .map(|(topic, partition, epoch)| PartitionEpoch {
            topic: *topic,
            partition: *partition,
            epoch: *epoch,
        })
        .collect();
    let mut effects = Effects::reply(token, Reply::EpochsSeen);
    if !moved.is_empty() {
        effects
            .records
            .push(Record::Epochs(Epochs { epochs: moved }));
    }
    effects
}

//! Making topics: names, counts, configurations, and who may have the name. All topics of one event that can be made are one record list.
//!
//! Shadows are made in `discover.rs`: there the source decides.

use crate::{
    error::{CreateTopicError, NotRegistered},
    event::{CreateTopics, NewTopic, Origin},
    image::Image,
    machine::{Catalog, Settings},
    record::Record,
    reply::{CreatedTopic, Reply, TopicCreation},
    topic::{Partition, Topic},
    topic_config::{ConfigRefusal, check},
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::LeaderEpoch;
use std::collections::{BTreeMap, BTreeSet};

/// Longest name, as in Kafka.
const NAME_BYTES_MAX: usize = 249;

/// Topics that the site makes by itself, whoever asks.
const OWN_TOPICS: [&str; 4] = ["__cluster_metadata", "__consumer_offsets", "__share_group_state", "__transaction_state"];

pub(crate) fn create_topics(image: &Image, settings: &Settings, asked: CreateTopics, token: ReplyToken) -> Effects<Catalog> {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<String> =
        asked.topics.iter().filter(|new| !seen.insert(new.name.as_str())).map(|new| new.name.clone()).collect();
    let mut effects = Effects::none();
    let mut answers = Vec::new();
    let mut made: Vec<String> = Vec::new();
    for new in asked.topics {
        let name = new.name.clone();
        let result = if repeated.contains(&name) {
            Err(CreateTopicError::Duplicate { name: name.clone() })
        } else {
            make(image, settings, asked.origin, &made, new)
        };
        let result = result.map(|topic| {
            let created =
                CreatedTopic { id: topic.id, partitions: topic.indexes().end, replication_factor: 1, configs: topic.configs.clone() };
            made.push(topic.name.clone());
            if !asked.validate_only {
                effects.records.push(Record::Topic(topic));
            }
            created
        });
        answers.push(TopicCreation { name, result });
    }
    effects.replies.push((token, Reply::CreateTopics(answers)));
    effects
}

fn make(image: &Image, settings: &Settings, origin: Origin, made: &[String], new: NewTopic) -> Result<Topic, CreateTopicError> {
    let NewTopic { name, id, partitions, replication_factor, configs, assignments } = new;
    let broker_id = image.site.as_ref().map(|site| site.broker_id).ok_or(NotRegistered)?;
    check_name(&name).map_err(|why| CreateTopicError::Name { name: name.clone(), why })?;
    if image.names.contains_key(&name) {
        return Err(CreateTopicError::Exists { name });
    }
    match origin {
        Origin::Site => {}
        Origin::Client | Origin::AutoCreate if OWN_TOPICS.contains(&name.as_str()) => return Err(CreateTopicError::Internal { name }),
        Origin::Client | Origin::AutoCreate => image.may_create(&name)?,
    }
    if let Some(other) = image.names.keys().chain(made).find(|other| collide(&name, other)) {
        return Err(CreateTopicError::Collision { other: other.clone(), name });
    }
    let partitions = if assignments.is_empty() {
        if !matches!(replication_factor, -1 | 1) {
            return Err(CreateTopicError::ReplicationFactor { name, factor: replication_factor });
        }
        if partitions == -1 { settings.default_partitions } else { partitions }
    } else {
        check_assignments(partitions, replication_factor, &assignments, broker_id)
            .map_err(|why| CreateTopicError::Assignment { name: name.clone(), why })?
    };
    if partitions < 1 || partitions > settings.partitions_max {
        return Err(CreateTopicError::Partitions { name, partitions, max: settings.partitions_max });
    }
    let configs = check_configs(configs).map_err(|refusal| CreateTopicError::Config { name: name.clone(), refusal })?;
    let partitions = (0..partitions).map(|_| new_partition(broker_id, LeaderEpoch(0))).collect();
    Ok(Topic { id, name, internal: origin == Origin::Site, configs, partitions, shadow: None })
}

/// A partition that one broker leads.
pub(crate) fn new_partition(broker_id: i32, leader_epoch: LeaderEpoch) -> Partition {
    Partition { replicas: vec![broker_id], isr: vec![broker_id], leader: broker_id, leader_epoch, partition_epoch: 0, cut: None }
}

/// Kafka's rules for a topic's name; the error is the rule that is broken.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("it is empty")
    } else if name == "." || name == ".." {
        Err("it must not be '.' or '..'")
    } else if name.len() > NAME_BYTES_MAX {
        Err("it is longer than 249 characters")
    } else if !name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-')) {
        Err("only letters, digits, '.', '_' and '-' are allowed")
    } else {
        Ok(())
    }
}

/// Whether two different names are the same once '.' is written as '_', as Kafka's metrics do.
fn collide(a: &str, b: &str) -> bool {
    let written = |c: u8| if c == b'.' { b'_' } else { c };
    a.len() == b.len() && a != b && a.bytes().map(written).eq(b.bytes().map(written))
}

/// The number of partitions, if the assignment can be.
fn check_assignments(partitions: i32, factor: i16, assignments: &[(i32, Vec<i32>)], broker_id: i32) -> Result<i32, String> {
    if partitions != -1 || factor != -1 {
        return Err("partitions and replication factor must be -1 where an assignment is given".to_owned());
    }
    let given: BTreeMap<i32, &Vec<i32>> = assignments.iter().map(|(partition, brokers)| (*partition, brokers)).collect();
    if given.len() != assignments.len() || given.keys().zip(0..).any(|(partition, at)| *partition != at) {
        return Err("the assignment must name every partition from 0 upwards once".to_owned());
    }
    if let Some((partition, brokers)) = given.iter().find(|(_, brokers)| brokers.as_slice() != [broker_id]) {
        return Err(format!("partition {partition} is assigned to brokers {brokers:?}, but this site has broker {broker_id} only"));
    }
    i32::try_from(given.len()).map_err(|_| "too many partitions".to_owned())
}

fn check_configs(configs: Vec<(String, Option<String>)>) -> Result<BTreeMap<String, String>, ConfigRefusal> {
    let mut checked = BTreeMap::new();
    for (name, value) in configs {
        let value = value.ok_or_else(|| ConfigRefusal::NoValue { name: name.clone() })?;
        check(&name, &value)?;
        checked.insert(name, value.trim().to_owned());
    }
    Ok(checked)
}

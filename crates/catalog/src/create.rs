//! Making topics: names, counts, configurations, and who may have the name. All topics of one event
//! that can be made are one record list, so together they have no more partitions than one topic
//! may have.
//!
//! Shadows are made in `discover.rs`: there the source decides.

use crate::{
    error::{CreateTopicError, NotRegistered},
    event::{CreateTopics, NewTopic, Origin},
    image::Image,
    record::Record,
    reply::{CreatedTopic, Reply, TopicCreation},
    soft::{Catalog, Settings},
    topic::{Partition, Topic},
    topic_config::{ConfigRefusal, check},
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::LeaderEpoch;
use std::collections::{BTreeMap, BTreeSet};

/// Longest name, as in Kafka.
const NAME_BYTES_MAX: usize = 249;

/// Topics that the site makes by itself, for any client.
const OWN_TOPICS: [&str; 4] = [
    "__cluster_metadata",
    "__consumer_offsets",
    "__share_group_state",
    "__transaction_state",
];

pub(crate) fn create_topics(
    image: &Image,
    settings: &Settings,
    asked: CreateTopics,
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<String> = asked
        .topics
        .iter()
        .filter(|new| !seen.insert(new.name.as_str()))
        .map(|new| new.name.clone())
        .collect();
    let mut effects = Effects::none();
    let mut answers = Vec::new();
    let mut maker = Maker {
        image,
        settings,
        origin: asked.origin,
        partitions_left: settings.partitions_max,
        written: None,
    };
    for new in asked.topics {
        let name = new.name.clone();
        let result = if repeated.contains(&name) {
            Err(CreateTopicError::Duplicate { name: name.clone() })
        } else {
            maker.make(new)
        };
        let result = result.map(|topic| {
            let created = CreatedTopic {
                id: topic.id,
                partitions: topic.indexes().end,
                replication_factor: 1,
                configs: topic.configs.clone(),
            };
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

/// Makes the topics of one request, one after the other.
struct Maker<'a> {
    image: &'a Image,
    settings: &'a Settings,
    origin: Origin,
    /// Partitions that the other topics of the request may still have.
    partitions_left: i32,
    /// Every name that is taken, with '.' written as '_'; made when a name is met that could collide.
    written: Option<BTreeMap<String, String>>,
}

impl Maker<'_> {
    fn make(&mut self, new: NewTopic) -> Result<Topic, CreateTopicError> {
        let broker_id = self
            .image
            .site
            .as_ref()
            .map(|site| site.broker_id)
            .ok_or(NotRegistered)?;
        self.check_free(&new.name)?;
        let partitions = self.count(&new, broker_id)?;
        let NewTopic {
            name, id, configs, ..
        } = new;
        let configs = check_configs(configs).map_err(|refusal| CreateTopicError::Config {
            name: name.clone(),
            refusal,
        })?;
        if partitions > self.partitions_left {
            let max = self.settings.partitions_max;
            return Err(CreateTopicError::TooManyAtOnce { name, max });
        }
        self.partitions_left -= partitions;
        if let Some(written) = &mut self.written {
            written.insert(as_written(&name), name.clone());
        }
        let partitions = (0..partitions)
            .map(|_| new_partition(broker_id, LeaderEpoch(0)))
            .collect();
        Ok(Topic {
            id,
            name,
            internal: self.origin == Origin::Site,
            configs,
            partitions,
            shadow: None,
        })
    }

    /// Whether this name is legal, free, and the caller's to take.
    fn check_free(&mut self, name: &str) -> Result<(), CreateTopicError> {
        let owned = || name.to_owned();
        check_name(name).map_err(|why| CreateTopicError::Name { name: owned(), why })?;
        if self.image.names.contains_key(name) {
            return Err(CreateTopicError::Exists { name: owned() });
        }
        match self.origin {
            // The site cannot do without its own topics, so a topic of a source whose name differs
            // only in '.' and '_' must not keep it from making them.
            Origin::Site => return Ok(()),
            Origin::Client | Origin::AutoCreate if OWN_TOPICS.contains(&name) => {
                return Err(CreateTopicError::Internal { name: owned() });
            }
            Origin::Client | Origin::AutoCreate => self.image.may_create(name)?,
        }
        match self.colliding(name) {
            Some(other) => Err(CreateTopicError::Collision {
                other,
                name: owned(),
            }),
            None => Ok(()),
        }
    }

    /// The number of partitions asked for, from 1 to the most that a topic may have.
    fn count(&self, new: &NewTopic, broker_id: i32) -> Result<i32, CreateTopicError> {
        let name = || new.name.clone();
        let factor = new.replication_factor;
        let partitions = if new.assignments.is_empty() {
            if !matches!(factor, -1 | 1) {
                return Err(CreateTopicError::ReplicationFactor {
                    name: name(),
                    factor,
                });
            }
            if new.partitions == -1 {
                self.settings.default_partitions
            } else {
                new.partitions
            }
        } else {
            check_assignments(new.partitions, factor, &new.assignments, broker_id)
                .map_err(|why| CreateTopicError::Assignment { name: name(), why })?
        };
        let max = self.settings.partitions_max;
        if partitions < 1 || partitions > max {
            return Err(CreateTopicError::Partitions {
                name: name(),
                partitions,
                max,
            });
        }
        Ok(partitions)
    }

    /// Another topic, there or to be made by the site itself, whose name is the same in Kafka's
    /// metrics, which write '.' as '_'.
    fn colliding(&mut self, name: &str) -> Option<String> {
        if !name.contains(['.', '_']) {
            return None;
        }
        let image = self.image;
        let written = self.written.get_or_insert_with(|| {
            let own = OWN_TOPICS.iter().map(|name| (*name).to_owned());
            own.chain(image.names.keys().cloned())
                .map(|name| (as_written(&name), name))
                .collect()
        });
        written.get(&as_written(name)).cloned()
    }
}

/// A partition that one broker leads.
pub(crate) fn new_partition(broker_id: i32, leader_epoch: LeaderEpoch) -> Partition {
    Partition {
        replicas: vec![broker_id],
        isr: vec![broker_id],
        leader: broker_id,
        leader_epoch,
        partition_epoch: 0,
        cut: None,
        added: false,
    }
}

/// Kafka's rules for a topic's name; the error is the rule that is broken.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("it is empty")
    } else if name == "." || name == ".." {
        Err("it must not be '.' or '..'")
    } else if name.len() > NAME_BYTES_MAX {
        Err("it is longer than 249 characters")
    } else if !name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
    {
        Err("only letters, digits, '.', '_' and '-' are allowed")
    } else {
        Ok(())
    }
}

/// A name as Kafka's metrics write it.
fn as_written(name: &str) -> String {
    name.replace('.', "_")
}

/// The number of partitions, if the assignment can be.
fn check_assignments(
    partitions: i32,
    factor: i16,
    assignments: &[(i32, Vec<i32>)],
    broker_id: i32,
) -> Result<i32, String> {
    if partitions != -1 || factor != -1 {
        return Err(
            "partitions and replication factor must be -1 where an assignment is given".to_owned(),
        );
    }
    let given: BTreeMap<i32, &Vec<i32>> = assignments
        .iter()
        .map(|(partition, brokers)| (*partition, brokers))
        .collect();
    if given.len() != assignments.len()
        || given
            .keys()
            .zip(0..)
            .any(|(partition, at)| *partition != at)
    {
        return Err("the assignment must name every partition from 0 upwards once".to_owned());
    }
    if let Some((partition, brokers)) = given
        .iter()
        .find(|(_, brokers)| brokers.as_slice() != [broker_id])
    {
        return Err(format!(
            "partition {partition} is assigned to brokers {brokers:?}, but this site has broker {broker_id} only"
        ));
    }
    i32::try_from(given.len()).map_err(|_| "too many partitions".to_owned())
}

fn check_configs(
    configs: Vec<(String, Option<String>)>,
) -> Result<BTreeMap<String, String>, ConfigRefusal> {
    let mut checked = BTreeMap::new();
    for (name, value) in configs {
        let value = value.ok_or_else(|| ConfigRefusal::NoValue { name: name.clone() })?;
        check(&name, &value)?;
        checked.insert(name, value.trim().to_owned());
    }
    Ok(checked)
}

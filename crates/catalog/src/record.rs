//! The durable changes of the metadata, and how they stand in `__cluster_metadata`.
//!
//! A record's key is its type and version, two big-endian 16-bit numbers; its value is JSON. Most
//! records are the whole new value of one thing, so that replaying one twice does no harm;
//! [`Record::Incarnated`] and [`Record::Epochs`] are the small ones that touch many partitions at
//! once. A type or version that this build does not know stops the start.

use crate::{
    image::{BrokerEntry, Link, Site, TakenOver},
    topic::{LinkId, Topic, leader_epoch},
};
use bytes::Bytes;
use gnomon_machine::{DurableRecord, EncodedRecord, UnreadableRecord};
use gnomon_protocol::ids::{LeaderEpoch, TopicId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Site(Site),
    /// A broker of the site.
    Broker(BrokerEntry),
    /// A process began: the number of its incarnation. Raises the leader epoch of every partition
    /// that the site's broker leads and that clients or the site itself write, if the number is
    /// new.
    Incarnated(Incarnated),
    /// A topic, whole.
    Topic(Topic),
    /// A topic is gone.
    TopicDeleted(TopicDeleted),
    /// Leader epochs of single partitions, never lower than before: a source's, or our own after a
    /// disk error.
    Epochs(Epochs),
    /// A link, whole.
    Link(Box<Link>),
    /// Every name that a link ever had.
    LinkNames(BTreeSet<String>),
    /// A peer took one of our topics over.
    TakenOver(TopicTakenOver),
    /// The first producer id counter that is free.
    ProducerIds(ProducerIds),
    /// A link is gone; its name stays among the names.
    LinkDeleted(LinkDeleted),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnated {
    /// Counts from 1.
    pub incarnation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDeleted {
    pub id: TopicId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    /// All that moved.
    pub epochs: Vec<PartitionEpoch>,
}

/// A partition's new leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionEpoch {
    pub topic: TopicId,
    pub partition: i32,
    #[serde(with = "leader_epoch")]
    pub epoch: LeaderEpoch,
}

/// See [`Record::TakenOver`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicTakenOver {
    pub topic: TopicId,
    /// By whom and where.
    pub taken_over: TakenOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIds {
    /// Without the tag.
    pub next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDeleted {
    pub id: LinkId,
}

impl Record {
    /// The type's number in a key. Never reused.
    fn kind(&self) -> i16 {
        match self {
            Record::Site(_) => 1,
            Record::Broker(_) => 2,
            Record::Incarnated(_) => 3,
            Record::Topic(_) => 4,
            Record::TopicDeleted(_) => 5,
            Record::Epochs(_) => 6,
            Record::Link(_) => 7,
            Record::LinkNames(_) => 8,
            Record::TakenOver(_) => 9,
            Record::ProducerIds(_) => 10,
            Record::LinkDeleted(_) => 11,
        }
    }
}

/// The only version of every type so far.
const VERSION: i16 = 0;

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data with text keys always has a JSON form")
}

fn unreadable(kind: i16, version: i16, why: impl Into<String>) -> UnreadableRecord {
    UnreadableRecord {
        what: "catalog",
        kind: kind.into(),
        version: version.into(),
        why: why.into(),
    }
}

fn read<T: DeserializeOwned>(
    kind: i16,
    value: &[u8],
    make: fn(T) -> Record,
) -> Result<Record, UnreadableRecord> {
    serde_json::from_slice(value)
        .map(make)
        .map_err(|error| unreadable(kind, VERSION, error.to_string()))
}

impl DurableRecord for Record {
    fn encode(&self) -> EncodedRecord {
        let mut key = self.kind().to_be_bytes().to_vec();
        key.extend(VERSION.to_be_bytes());
        let value = match self {
            Record::Site(site) => json(site),
            Record::Broker(broker) => json(broker),
            Record::Incarnated(incarnated) => json(incarnated),
            Record::Topic(topic) => json(topic),
            Record::TopicDeleted(deleted) => json(deleted),
            Record::Epochs(epochs) => json(epochs),
            Record::Link(link) => json(link),
            Record::LinkNames(names) => json(names),
            Record::TakenOver(taken_over) => json(taken_over),
            Record::ProducerIds(ids) => json(ids),
            Record::LinkDeleted(deleted) => json(deleted),
        };
        EncodedRecord {
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(value)),
        }
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Record, UnreadableRecord> {
        let Some(&[k0, k1, v0, v1]) = key else {
            return Err(unreadable(-1, -1, "its key is not a type and a version"));
        };
        let (kind, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
        if version != VERSION {
            return Err(unreadable(kind, version, "this version is not known here"));
        }
        let value = value.ok_or_else(|| unreadable(kind, version, "it has no value"))?;
        match kind {
            1 => read(kind, value, Record::Site),
            2 => read(kind, value, Record::Broker),
            3 => read(kind, value, Record::Incarnated),
            4 => read(kind, value, Record::Topic),
            5 => read(kind, value, Record::TopicDeleted),
            6 => read(kind, value, Record::Epochs),
            7 => read(kind, value, |link| Record::Link(Box::new(link))),
            8 => read(kind, value, Record::LinkNames),
            9 => read(kind, value, Record::TakenOver),
            10 => read(kind, value, Record::ProducerIds),
            11 => read(kind, value, Record::LinkDeleted),
            unknown => Err(unreadable(unknown, version, "this type is not known here")),
        }
    }
}

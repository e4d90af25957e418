//! A cluster's description of itself: brokers, topics, leaders, epochs.

use crate::{Call, ClientError};
use gnomon_protocol::{
    ids::{LeaderEpoch, TopicId},
    messages::{
        MetadataRequest, MetadataResponse, TopicName, metadata_request::MetadataRequestTopic,
    },
    wire::StrBytes,
};
use std::collections::BTreeMap;

/// Which topics to ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// Every topic the peer has.
    All,
    /// Brokers only.
    None,
    /// These.
    Names(Vec<String>),
}

/// Where a broker listens, as it advertises itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    pub host: String,
    pub port: i32,
}

impl BrokerAddress {
    /// As it is dialled: `host:port`, an IPv6 address in brackets.
    pub fn dial(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// One answer to Metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `None` from peers that have none.
    pub cluster_id: Option<String>,
    /// `-1` when unknown.
    pub controller: i32,
    pub brokers: BTreeMap<i32, BrokerAddress>,
    pub topics: BTreeMap<String, TopicMetadata>,
}

/// A topic in Metadata. With an `error` (Kafka's code) the rest may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    pub error: Option<i16>,
    /// `None` where the peer has no topic ids (before Metadata 10).
    pub id: Option<TopicId>,
    pub internal: bool,
    /// By index.
    pub partitions: BTreeMap<i32, PartitionMetadata>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    pub error: Option<i16>,
    /// `None` while there is none.
    pub leader: Option<i32>,
    /// [`LeaderEpoch::NONE`] where the peer does not say (before Metadata 7).
    pub leader_epoch: LeaderEpoch,
}

pub(crate) fn request(topics: &Topics, allow_auto_create: bool) -> MetadataRequest {
    let named = |name: &String| {
        MetadataRequestTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string(name.clone()))))
    };
    let list = match topics {
        Topics::All => None,
        Topics::None => Some(Vec::new()),
        Topics::Names(names) => Some(names.iter().map(named).collect()),
    };
    MetadataRequest::default()
        .with_topics(list)
        .with_allow_auto_topic_creation(allow_auto_create)
}

pub(crate) fn read(response: MetadataResponse) -> Result<Metadata, ClientError> {
    if response.error_code != 0 {
        return Err(ClientError::refused(
            MetadataRequest::NAME,
            "cluster",
            response.error_code,
            None,
        ));
    }
    let brokers = response
        .brokers
        .iter()
        .map(|b| {
            (
                b.node_id.0,
                BrokerAddress {
                    host: b.host.to_string(),
                    port: b.port,
                },
            )
        })
        .collect();
    let topics = response.topics.into_iter().filter_map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            let leader = (p.leader_id.0 >= 0).then_some(p.leader_id.0);
            (
                p.partition_index,
                PartitionMetadata {
                    error: error(p.error_code),
                    leader,
                    leader_epoch: LeaderEpoch(p.leader_epoch),
                },
            )
        });
        let read = TopicMetadata {
            error: error(topic.error_code),
            id: (!topic.topic_id.is_nil()).then_some(topic.topic_id),
            internal: topic.is_internal,
            partitions: partitions.collect(),
        };
        topic.name.map(|name| (name.0.to_string(), read))
    });
    Ok(Metadata {
        cluster_id: response.cluster_id.map(|id| id.to_string()),
        controller: response.controller_id.0,
        brokers,
        topics: topics.collect(),
    })
}

pub(crate) fn error(code: i16) -> Option<i16> {
    (code != 0).then_some(code)
}

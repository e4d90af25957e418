//! The answers of the metadata machine to its callers. Refusals are in `error.rs`.

use crate::{
    error::{
        AlterConfigsError, CreateLinkError, CreateTopicError, DeleteLinkError, DeleteTopicError,
        FailOverError, NotRegistered, ProducerIdsError, RegisterError, TopicStateError,
        UnknownLink,
    },
    topic::{Cut, LinkId},
};
use gnomon_protocol::ids::{ProducerId, TopicId};
use std::collections::BTreeMap;

/// The answer to an event; each variant without another word answers the event of its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Register(Result<Registered, RegisterError>),
    /// To `Incarnate`: the incarnation's number.
    Incarnate(Result<u64, NotRegistered>),
    /// To `CreateTopics`: one per topic asked for, in that order.
    CreateTopics(Vec<TopicCreation>),
    /// To `DeleteTopics`: one per id asked for, in that order.
    DeleteTopics(Vec<(TopicId, Result<String, DeleteTopicError>)>),
    AlterTopicConfigs(Result<(), AlterConfigsError>),
    CreateLink(Result<LinkCreated, CreateLinkError>),
    /// To `DeleteLink`: the id that it had.
    DeleteLink(Result<LinkId, DeleteLinkError>),
    /// To `LinkContact`: the link's fault from now on, if any.
    LinkContact(Result<Option<String>, UnknownLink>),
    Discovered(Result<Discovery, UnknownLink>),
    /// To `EpochsSeen`: durable.
    EpochsSeen,
    /// To `TopicFaulted` and `TopicRecovered`.
    Topic(Result<(), TopicStateError>),
    FailOver(Result<FailedOver, FailOverError>),
    /// To a report that needs no answer: it is durable, or it came too late to matter.
    Noted,
    AllocateProducerIds(Result<ProducerIdBlock, ProducerIdsError>),
    /// The metadata log is led by somebody else now, or was lost.
    NotLeader,
}

/// A start is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The site's cluster id.
    pub cluster_id: String,
    /// This was the site's first start.
    pub first: bool,
}

/// The result for one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicCreation {
    /// The name asked for.
    pub name: String,
    /// The topic, or why there is none.
    pub result: Result<CreatedTopic, CreateTopicError>,
}

/// A topic that was made, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub partitions: i32,
    /// How many copies of each.
    pub replication_factor: i16,
    pub configs: BTreeMap<String, String>,
}

/// A link is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCreated {
    /// Its id: the existing one's if it was there.
    pub id: LinkId,
    /// The effect of the file.
    pub outcome: LinkOutcome,
}

/// The effect of asking for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    Made,
    /// It was there before; the settings in which the file differs, each as a line, which were not
    /// applied.
    Stands {
        /// Empty when the file says the same.
        differences: Vec<String>,
    },
}

/// The changes by a round of discovery; names in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Shadows that were made.
    pub created: Vec<String>,
    /// Shadows that got more partitions.
    pub grown: Vec<String>,
    /// Shadows whose configuration changed, with a word on what: local drift that was reverted
    /// included.
    pub configured: Vec<(String, String)>,
    /// Shadows that cannot go on, with the reason.
    pub faulted: Vec<(String, String)>,
    /// Shadows whose source is gone.
    pub missing: Vec<String>,
    /// Topics that are selected but not copied, with the reason: all of them, not only new ones.
    pub unselected: BTreeMap<String, String>,
}

/// How a failover ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedOver {
    pub link: String,
    /// The link itself is FAILED_OVER.
    pub whole: bool,
    /// Every topic of the command, in order of names.
    pub topics: Vec<FailedOverTopic>,
}

/// How one topic's failover ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedOverTopic {
    pub id: TopicId,
    pub name: String,
    /// Why it is not writable yet; `None` if it is FAILED_OVER.
    pub stuck: Option<String>,
    /// By partition; empty when the cut is not known.
    pub cuts: Vec<Cut>,
}

/// Producer ids to hand out: `start` to `start + count - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub start: ProducerId,
    pub count: u32,
}

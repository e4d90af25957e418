//! What callers of the metadata machine are told. Every refusal is an error that names what stands in the way and what to do; Kafka's
//! codes for them are the broker's business.

use crate::{
    topic::{Cut, LinkId},
    topic_config::ConfigRefusal,
};
use gnomon_links::ownership::{CreateRefusal, Overlap};
use gnomon_protocol::ids::{ProducerId, TopicId};
use std::collections::BTreeMap;

/// The answer to an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To `Register`.
    Register(Result<Registered, RegisterError>),
    /// To `Incarnate`: the incarnation's number.
    Incarnate(Result<u64, NotRegistered>),
    /// To `CreateTopics`: one per topic asked for, in that order.
    CreateTopics(Vec<TopicCreation>),
    /// To `DeleteTopics`: one per id asked for, in that order.
    DeleteTopics(Vec<(TopicId, Result<String, DeleteTopicError>)>),
    /// To `AlterTopicConfigs`.
    AlterTopicConfigs(Result<(), AlterConfigsError>),
    /// To `CreateLink`.
    CreateLink(Result<LinkCreated, CreateLinkError>),
    /// To `LinkContact`: the link's fault from now on, if any.
    LinkContact(Result<Option<String>, UnknownLink>),
    /// To `Discovered`.
    Discovered(Result<Discovery, UnknownLink>),
    /// To `EpochsSeen`: durable.
    EpochsSeen,
    /// To `TopicFaulted` and `TopicRecovered`.
    Topic(Result<(), TopicStateError>),
    /// To `FailOver`.
    FailOver(Result<FailedOver, FailOverError>),
    /// To a report that needs no answer: it is durable, or it came too late to matter.
    Noted,
    /// To `AllocateProducerIds`.
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

/// No start has been recorded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this site has not been registered yet")]
pub struct NotRegistered;

/// Why a process may not start on these data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The tag has no room in a producer id.
    #[error("the producer tag must be from 1 to 4095, not {tag}")]
    Tag {
        /// What was given.
        tag: u16,
    },
    /// Producer ids of before would be handed out by nobody and could be met by others.
    #[error(
        "this data directory belongs to a site with producer tag {recorded}; it cannot be changed to {given}, since producer ids with the tag \
         {recorded} have been handed out. Start with --producer-tag {recorded}"
    )]
    TagChanged {
        /// In the metadata.
        recorded: u16,
        /// At this start.
        given: u16,
    },
    /// Partitions are led by the recorded id.
    #[error("this data directory belongs to broker {recorded}; it cannot be started as broker {given}. Start with broker id {recorded}")]
    BrokerChanged {
        /// In the metadata.
        recorded: i32,
        /// At this start.
        given: i32,
    },
}

/// What became of one topic.
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
    /// Its id.
    pub id: TopicId,
    /// How many.
    pub partitions: i32,
    /// How many copies of each.
    pub replication_factor: i16,
    /// Its overrides.
    pub configs: BTreeMap<String, String>,
}

/// Why a topic is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// Not a legal name.
    #[error("topic name {name:?} is not legal: {why}")]
    Name {
        /// The name.
        name: String,
        /// The rule.
        why: &'static str,
    },
    /// Kafka's metric names would be the same.
    #[error("topic '{name}' collides with topic '{other}': names that differ only in '.' and '_' cannot be told apart in metrics")]
    Collision {
        /// The name.
        name: String,
        /// The topic that is there.
        other: String,
    },
    /// It is there.
    #[error("topic '{name}' already exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// Asked for twice in one request.
    #[error("topic '{name}' is named more than once in the request")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The site makes it itself.
    #[error("topic '{name}' is internal: the site makes it by itself")]
    Internal {
        /// The name.
        name: String,
    },
    /// Another site's name.
    #[error(transparent)]
    NotOurs(#[from] CreateRefusal),
    /// A count that cannot be.
    #[error("topic '{name}': {partitions} partitions; it must be from 1 to {max}, or -1 for the default")]
    Partitions {
        /// The name.
        name: String,
        /// What was asked for.
        partitions: i32,
        /// The most there may be.
        max: i32,
    },
    /// More copies than brokers.
    #[error("topic '{name}': replication factor {factor} is larger than the 1 broker of this site, or not positive")]
    ReplicationFactor {
        /// The name.
        name: String,
        /// What was asked for.
        factor: i16,
    },
    /// An assignment that cannot be.
    #[error("topic '{name}': {why}")]
    Assignment {
        /// The name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// An override that cannot be.
    #[error("topic '{name}': {refusal}")]
    Config {
        /// The name.
        name: String,
        /// What is wrong.
        refusal: ConfigRefusal,
    },
}

/// Why a topic is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// No such topic.
    #[error("there is no topic with id {id}")]
    Unknown {
        /// The id.
        id: TopicId,
    },
    /// The site needs it.
    #[error("topic '{name}' is internal and cannot be deleted")]
    Internal {
        /// The name.
        name: String,
    },
    /// A link copies it, or its failover is under way: the sentence says what to do.
    #[error("{message}")]
    Shadow {
        /// The name.
        name: String,
        /// What to do.
        message: String,
    },
}

/// Why a topic's overrides are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterConfigsError {
    /// No such topic.
    #[error("there is no topic with id {id}")]
    Unknown {
        /// The id.
        id: TopicId,
    },
    /// The link keeps this one as at the source.
    #[error("config {key} of {message}")]
    Synced {
        /// The configuration.
        key: String,
        /// Which topic, link and source, and what to do.
        message: String,
    },
    /// A name or value that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigRefusal),
}

/// A link is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCreated {
    /// Its id: the existing one's if it was there.
    pub id: LinkId,
    /// What the file did.
    pub outcome: LinkOutcome,
}

/// What asking for a link did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It was made.
    Made,
    /// It was there before; the settings in which the file differs, each as a line, which were not applied.
    Stands {
        /// Empty when the file says the same.
        differences: Vec<String>,
    },
}

/// Why a link is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateLinkError {
    /// No start has been recorded yet.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// The name is taken.
    #[error("link '{name}' already exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// A file does not bring back a link that is gone.
    #[error("link '{name}' was deleted here; a file does not bring it back. Use `gnomon link create -f FILE` to make it again")]
    Deleted {
        /// The name.
        name: String,
    },
    /// Another link selects the same names.
    #[error(transparent)]
    Overlap(#[from] Overlap),
}

/// No such link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no link with id {id}")]
pub struct UnknownLink {
    /// The id.
    pub id: LinkId,
}

/// What a look at the source changed; names in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Shadows that were made.
    pub created: Vec<String>,
    /// Shadows that got more partitions.
    pub grown: Vec<String>,
    /// Shadows whose configuration changed, with a word on what: local drift that was reverted included.
    pub configured: Vec<(String, String)>,
    /// Shadows that cannot go on, with the reason.
    pub faulted: Vec<(String, String)>,
    /// Shadows whose source is gone.
    pub missing: Vec<String>,
    /// Topics that are selected but not copied, with the reason: all of them, not only new ones.
    pub unselected: BTreeMap<String, String>,
}

/// Why a shadow's state does not change so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicStateError {
    /// No such topic, or none that a link copies.
    #[error("there is no shadow topic with id {id}")]
    NotAShadow {
        /// The id.
        id: TopicId,
    },
    /// The table of legal moves does not have it.
    #[error("topic '{name}': {illegal}")]
    Illegal {
        /// The topic.
        name: String,
        /// Both states.
        illegal: gnomon_links::topic_state::IllegalMove,
    },
}

/// How a failover ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedOver {
    /// The link.
    pub link: String,
    /// The link itself is FAILED_OVER.
    pub whole: bool,
    /// Every topic of the command, in order of names.
    pub topics: Vec<FailedOverTopic>,
}

/// How one topic's failover ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedOverTopic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// Why it is not writable yet; `None` if it is FAILED_OVER.
    pub stuck: Option<String>,
    /// By partition; empty when the cut is not known.
    pub cuts: Vec<Cut>,
}

/// Why a failover is not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailOverError {
    /// No such link.
    #[error("there is no link '{name}'")]
    UnknownLink {
        /// The name.
        name: String,
    },
    /// No such topic.
    #[error("there is no topic '{topic}' here; nothing was failed over")]
    UnknownTopic {
        /// The name.
        topic: String,
    },
    /// The topic is not copied by this link.
    #[error("topic '{topic}' is not a shadow of link '{link}'; nothing was failed over")]
    NotOfLink {
        /// The topic.
        topic: String,
        /// The link.
        link: String,
    },
    /// The topic was deleted before its failover was through.
    #[error("topic '{topic}' was deleted while it was failed over")]
    Deleted {
        /// The topic.
        topic: String,
    },
}

/// Producer ids to hand out: `start` to `start + count - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first.
    pub start: ProducerId,
    /// How many.
    pub count: u32,
}

/// Why there are no producer ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerIdsError {
    /// No start has been recorded yet.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// All 2^40 have been handed out.
    #[error("this site has handed out all its producer ids")]
    Exhausted,
}

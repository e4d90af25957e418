//! Why the metadata machine refuses: each names what stands in the way and what to do. Kafka's
//! codes for them are the broker's business.

use crate::{topic::LinkId, topic_config::ConfigRefusal};
use gnomon_links::ownership::{CreateRefusal, Overlap};
use gnomon_protocol::ids::TopicId;

/// No start has been recorded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this site has not been registered yet")]
pub struct NotRegistered;

/// Why a process may not start on these data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The tag has no room in a producer id.
    #[error("the producer tag must be from 1 to 4095, not {tag}")]
    Tag { tag: u16 },
    /// Producer ids of before would be handed out by nobody and could be met by others.
    #[error(
        "this data directory belongs to a site with producer tag {recorded}; it cannot be changed to {given}, since producer ids with the tag \
         {recorded} have been handed out. Start with --producer-tag {recorded}"
    )]
    TagChanged { recorded: u16, given: u16 },
    /// Peers and operators know the data by the recorded name.
    #[error(
        "this data directory belongs to site '{recorded}'; it cannot be started as site '{given}'. Start with --site-name {recorded}, or give \
         site '{given}' a data directory of its own with --data"
    )]
    NameChanged { recorded: String, given: String },
    /// Partitions are led by the recorded id.
    #[error(
        "this data directory belongs to broker {recorded}; it cannot be started as broker {given}. Start with broker id {recorded}"
    )]
    BrokerChanged { recorded: i32, given: i32 },
}

/// Why a topic is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// No start has been recorded yet.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// Not a legal name.
    #[error("topic name {name:?} is not legal: {why}")]
    Name { name: String, why: &'static str },
    /// Kafka's metric names would be the same.
    #[error(
        "topic '{name}' collides with topic '{other}': names that differ only in '.' and '_' cannot be told apart in metrics"
    )]
    Collision {
        name: String,
        /// The topic that is there.
        other: String,
    },
    #[error("topic '{name}' already exists")]
    Exists { name: String },
    /// Asked for twice in one request.
    #[error("topic '{name}' is named more than once in the request")]
    Duplicate { name: String },
    /// The site makes it itself.
    #[error("topic '{name}' is internal: the site makes it by itself")]
    Internal { name: String },
    /// Another site's name.
    #[error(transparent)]
    NotOurs(#[from] CreateRefusal),
    /// A count that cannot be.
    #[error(
        "topic '{name}': {partitions} partitions; it must be from 1 to {max}, or -1 for the default"
    )]
    Partitions {
        name: String,
        partitions: i32,
        /// The most there may be.
        max: i32,
    },
    /// One request, which is one record list, asks for more than that can be.
    #[error(
        "topic '{name}': the request asks for more than {max} partitions in all; create the rest with another request"
    )]
    TooManyAtOnce {
        name: String,
        /// The most that all topics of a request may have together.
        max: i32,
    },
    /// More copies than brokers.
    #[error(
        "topic '{name}': replication factor {factor} is larger than the 1 broker of this site, or not positive"
    )]
    ReplicationFactor { name: String, factor: i16 },
    /// An assignment that cannot be.
    #[error("topic '{name}': {why}")]
    Assignment { name: String, why: String },
    /// An override that cannot be.
    #[error("topic '{name}': {refusal}")]
    Config {
        name: String,
        refusal: ConfigRefusal,
    },
}

/// Why a topic is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    #[error("there is no topic with id {id}")]
    Unknown { id: TopicId },
    /// The site needs it.
    #[error("topic '{name}' is internal and cannot be deleted")]
    Internal { name: String },
    /// A link copies it, or its failover is under way: the sentence says what to do.
    #[error("{message}")]
    Shadow { name: String, message: String },
}

/// Why a topic's overrides are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterConfigsError {
    #[error("there is no topic with id {id}")]
    Unknown { id: TopicId },
    /// The link keeps this one as at the source.
    #[error("config {key} is kept as it is at the source: {message}")]
    Synced {
        key: String,
        /// Which topic, link and source, and what to do.
        message: String,
    },
    /// A name or value that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigRefusal),
}

/// Why a link is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateLinkError {
    /// No start has been recorded yet.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// The name is taken.
    #[error("link '{name}' already exists")]
    Exists { name: String },
    /// A file does not bring back a link that is gone.
    #[error(
        "link '{name}' was deleted here; a file does not bring it back. Use `gnomon link create -f FILE` to make it again"
    )]
    Deleted { name: String },
    /// Another link selects the same names.
    #[error(transparent)]
    Overlap(#[from] Overlap),
}

/// Why a link is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteLinkError {
    #[error("there is no link '{name}'")]
    Unknown { name: String },
    /// It still has read-only topics.
    #[error(
        "link '{name}' still has shadow topics ({}): end them first with `gnomon link failover {name} --all`",
        some(topics)
    )]
    HasShadows {
        name: String,
        /// Names of its shadows.
        topics: Vec<String>,
    },
}

/// The first few of many names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        format!("{shown} and {} more", names.len() - SHOWN)
    } else {
        shown
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no link with id {id}")]
pub struct UnknownLink {
    pub id: LinkId,
}

/// Why a shadow's state does not change so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicStateError {
    /// No such topic, or none that a link copies.
    #[error("there is no shadow topic with id {id}")]
    NotAShadow { id: TopicId },
    /// The table of legal moves does not have it.
    #[error("topic '{name}': {illegal}")]
    Illegal {
        name: String,
        illegal: gnomon_links::topic_state::IllegalMove,
    },
}

/// Why a failover is not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailOverError {
    #[error("there is no link '{name}'")]
    UnknownLink { name: String },
    #[error("there is no topic '{topic}' here; nothing was failed over")]
    UnknownTopic { topic: String },
    /// The topic is not copied by this link.
    #[error("topic '{topic}' is not a shadow of link '{link}'; nothing was failed over")]
    NotOfLink { topic: String, link: String },
    /// No topic of the link has a name like this.
    #[error(
        "link '{link}' has no topic whose name begins with '{prefix}'; nothing was failed over"
    )]
    NoneMatches {
        /// The prefix that names must begin with.
        prefix: String,
        link: String,
    },
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

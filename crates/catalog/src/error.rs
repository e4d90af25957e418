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
    /// Peers and operators know the data by the recorded name.
    #[error(
        "this data directory belongs to site '{recorded}'; it cannot be started as site '{given}'. Start with --site-name {recorded}, or give \
         site '{given}' a data directory of its own with --data"
    )]
    NameChanged {
        /// In the metadata.
        recorded: String,
        /// At this start.
        given: String,
    },
    /// Partitions are led by the recorded id.
    #[error(
        "this data directory belongs to broker {recorded}; it cannot be started as broker {given}. Start with broker id {recorded}"
    )]
    BrokerChanged {
        /// In the metadata.
        recorded: i32,
        /// At this start.
        given: i32,
    },
}

/// Why a topic is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// No start has been recorded yet.
    #[error(transparent)]
    NotRegistered(#[from] NotRegistered),
    /// Not a legal name.
    #[error("topic name {name:?} is not legal: {why}")]
    Name {
        /// The name.
        name: String,
        /// The rule.
        why: &'static str,
    },
    /// Kafka's metric names would be the same.
    #[error(
        "topic '{name}' collides with topic '{other}': names that differ only in '.' and '_' cannot be told apart in metrics"
    )]
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
    #[error(
        "topic '{name}': {partitions} partitions; it must be from 1 to {max}, or -1 for the default"
    )]
    Partitions {
        /// The name.
        name: String,
        /// What was asked for.
        partitions: i32,
        /// The most there may be.
        max: i32,
    },
    /// One request, which is one record list, asks for more than that can be.
    #[error(
        "topic '{name}': the request asks for more than {max} partitions in all; create the rest with another request"
    )]
    TooManyAtOnce {
        /// The name.
        name: String,
        /// The most that all topics of a request may have together.
        max: i32,
    },
    /// More copies than brokers.
    #[error(
        "topic '{name}': replication factor {factor} is larger than the 1 broker of this site, or not positive"
    )]
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
    #[error("config {key} is kept as it is at the source: {message}")]
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
    #[error(
        "link '{name}' was deleted here; a file does not bring it back. Use `gnomon link create -f FILE` to make it again"
    )]
    Deleted {
        /// The name.
        name: String,
    },
    /// Another link selects the same names.
    #[error(transparent)]
    Overlap(#[from] Overlap),
}

/// Why a link is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteLinkError {
    /// No such link.
    #[error("there is no link '{name}'")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It still has read-only topics.
    #[error(
        "link '{name}' still has shadow topics ({}): end them first with `gnomon link failover {name} --all`",
        some(topics)
    )]
    HasShadows {
        /// The link.
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

/// No such link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no link with id {id}")]
pub struct UnknownLink {
    /// The id.
    pub id: LinkId,
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
    /// No topic of the link has a name like this.
    #[error(
        "link '{link}' has no topic whose name begins with '{prefix}'; nothing was failed over"
    )]
    NoneMatches {
        /// What names were to begin with.
        prefix: String,
        /// The link.
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

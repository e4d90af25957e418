//! The requests of callers to the metadata machine, and the reports of the site. Fresh ids come in
//! with the event: the machine makes none up.

use crate::{
    image::{Endpoint, SourceSite},
    topic::LinkId,
};
use gnomon_links::{LinkConfig, peer::TopicOrigin, plan_topics::SourceTopic};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, Offset, TopicId};
use std::collections::BTreeMap;
use uuid::Uuid;

/// One event; answered by the [`crate::Reply`] of the same name, unless it says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A process of this site starts: the first one makes the site.
    Register(Register),
    /// The process is about to lead what it leads: every epoch that clients or the site itself
    /// write under is raised. Once per process, after `Register`.
    Incarnate,
    CreateTopics(CreateTopics),
    DeleteTopics {
        ids: Vec<TopicId>,
    },
    /// Changes a topic's overrides.
    AlterTopicConfigs(AlterTopicConfigs),
    CreateLink {
        /// A fresh id.
        id: LinkId,
        /// Checked by `gnomon_links::parse_link_file`.
        config: Box<LinkConfig>,
        source: LinkSource,
    },
    /// Forgets a link that copies nothing any more. Its name stays known, so that no file brings it
    /// back.
    DeleteLink {
        name: String,
    },
    /// A link reached its source.
    LinkContact {
        link: LinkId,
        /// The source's cluster id, if it names one.
        cluster_id: Option<String>,
        /// Its description of itself, if it is a Gnomon site; `None` also when it could not be
        /// asked, then the last known stands.
        peer: Option<SourceSite>,
    },
    /// A link looked at its source's topics.
    Discovered(Discovered),
    /// Leader epochs of the source, seen in its Metadata or in a batch about to be appended:
    /// durable here before either is shown.
    EpochsSeen {
        /// Topic, partition, epoch.
        epochs: Vec<(TopicId, i32, LeaderEpoch)>,
    },
    /// A disk error closed a partition that is ours to write; offsets that were handed out under
    /// `used` may be gone. Its epoch is above that when this is answered, by `Noted`. A shadow's
    /// follows its source alone.
    Reopening {
        topic: TopicId,
        partition: i32,
        /// The newest epoch in its log.
        used: LeaderEpoch,
    },
    /// A shadow topic cannot go on. Answered by `Topic`.
    TopicFaulted {
        topic: TopicId,
        /// Why, for the operator: with both offsets after a divergence.
        reason: String,
        /// The records that are lost to the shadow, if that is why. Noted also on a topic that is
        /// FAULTED already.
        gap: Option<Gap>,
    },
    /// The cause of a fault is gone: FAULTED back to ACTIVE. Answered by `Topic`.
    TopicRecovered {
        topic: TopicId,
    },
    /// A source's report about our own topics that it shadows. Answered by `Noted`.
    TakenOver {
        /// One per topic.
        reports: Vec<TakeoverReport>,
    },
    /// Ends shadows: answered when every topic of the command is FAILED_OVER or stuck with a
    /// reason.
    FailOver(FailOver),
    /// Answers `Action::Cut`: the partition is fenced, flushed, and ends here. Answered by `Noted`.
    CutReached {
        topic: TopicId,
        partition: i32,
        /// The first offset that was not copied.
        end: Offset,
        /// The source's epoch in the last copied batch, -1 if there is none.
        last_epoch: BatchEpoch,
        /// The highest epoch that any copied batch or answer of the source named for it, -1 if
        /// none.
        highest_seen: i32,
    },
    /// Answers `Action::Cut`: the partition cannot be flushed; its topic stays FAILING_OVER.
    /// Answered by `Noted`.
    CutFailed {
        topic: TopicId,
        partition: i32,
        why: String,
    },
    /// Answers `Action::AbortOpen`: the markers are durable. Answered by `Noted`.
    MarkersWritten {
        topic: TopicId,
        partition: i32,
    },
    /// Answers `Action::AbortOpen`: the markers cannot be written; the topic stays FAILING_OVER.
    /// Answered by `Noted`.
    MarkersFailed {
        topic: TopicId,
        partition: i32,
        why: String,
    },
    /// Answers `Action::ApplyOffsets`: the last fetched group offsets are durable. Answered by
    /// `Noted`.
    OffsetsApplied {
        link: LinkId,
        /// The topics of the action.
        topics: Vec<TopicId>,
    },
    /// Takes a block of producer ids.
    AllocateProducerIds {
        count: u32,
    },
}

/// Records of the source that will never come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub partition: i32,
    /// First offset that is missing.
    pub from: Offset,
    /// First offset that is not.
    pub to: Offset,
    /// How it came about, for the operator.
    pub how: String,
}

/// The facts of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Drawn at random. Becomes the cluster id at the first start, and is ignored at later ones.
    pub fresh_cluster_id: Uuid,
    pub name: String,
    /// This broker's id.
    pub broker_id: i32,
    /// 1 to 4095. `None`: the recorded one, or at the first start one drawn from
    /// `fresh_cluster_id`.
    pub producer_tag: Option<u16>,
    /// Prefixes that are ours.
    pub owns: Vec<String>,
    /// How clients reach this broker.
    pub endpoints: Vec<Endpoint>,
}

/// The origin of a new topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// CreateTopics.
    Client,
    /// A metadata request for a topic that is not there.
    AutoCreate,
    /// The broker itself: internal topics. No claim of a link counts.
    Site,
}

/// Topics to make: all that can be are made in one record list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopics {
    pub topics: Vec<NewTopic>,
    pub origin: Origin,
    /// Only say what would be.
    pub validate_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name, unchecked.
    pub name: String,
    /// A fresh id.
    pub id: TopicId,
    /// How many partitions; -1 for the site's default, or with `assignments`.
    pub partitions: i32,
    /// -1 or 1.
    pub replication_factor: i16,
    /// Overrides, unchecked.
    pub configs: Vec<(String, Option<String>)>,
    /// Partition and its brokers; empty to leave it to the site.
    pub assignments: Vec<(i32, Vec<i32>)>,
}

impl NewTopic {
    /// A topic of the defaults.
    pub fn named(name: impl Into<String>, id: TopicId) -> NewTopic {
        NewTopic {
            name: name.into(),
            id,
            partitions: -1,
            replication_factor: -1,
            configs: Vec::new(),
            assignments: Vec::new(),
        }
    }
}

/// A change of a topic's overrides, whole or not at all. Answered by `Topic`-like
/// [`crate::Reply::AlterTopicConfigs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterTopicConfigs {
    pub id: TopicId,
    pub set: BTreeMap<String, String>,
    /// Overrides to take away.
    pub unset: Vec<String>,
    /// Only say whether it would be done.
    pub validate_only: bool,
}

/// The origin of a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkSource {
    /// `serve --link FILE`: only if this site never had the name; a difference is reported, not
    /// applied.
    File,
    /// `link create`: a name that is taken is refused.
    Command,
}

/// The topics of a link's source.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    pub link: LinkId,
    /// Its topics, those the filters select at least.
    pub topics: Vec<SourceTopic>,
    /// A fresh id for each topic that is new here, by name.
    pub fresh_ids: BTreeMap<String, TopicId>,
    /// The source's whole list was read: what is not in it is not there.
    pub complete: bool,
}

/// A peer's report about one of our topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeoverReport {
    pub topic: TopicId,
    /// The peer's site name.
    pub by: String,
    /// The peer's cluster id.
    pub cluster_id: String,
    /// Its `gnomon.shadow.*`.
    pub origin: TopicOrigin,
}

/// A failover asked for by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailOver {
    pub link: String,
    /// Which of its topics.
    pub which: Which,
}

/// Topics of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All, and the link with them.
    All,
    Topics(Vec<String>),
    /// All whose names begin with this.
    Prefix(String),
}

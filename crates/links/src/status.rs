//! A link, as an operator sees it: plain data for the admin HTTP, the CLI and the metrics. How it
//! reads as text is `render.rs`.
//!
//! Every moment is in milliseconds since 1970, every duration names its unit. What is unknown is
//! absent, never -1.

use crate::{
    config::LinkConfig,
    filter::{NameFilter, describe},
    lag::{Lag, sum},
    link_state::LinkState,
    task_state::{Task, TaskState},
    topic_state::TopicState,
    verdict::Verdict,
};
use gnomon_protocol::ids::{Offset, Uuid};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    pub name: String,
    pub id: Uuid,
    /// The site that it lives on: the shadow's.
    pub site: String,
    /// Where it pulls from.
    pub source: SourceStatus,
    pub state: LinkState,
    /// Level, behind, or not known; absent while the link does not run.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Why nothing is copied, if the link as a whole is faulted.
    #[serde(default)]
    pub fault: Option<String>,
    /// The topics that it selects.
    pub topic_filters: Vec<NameFilter>,
    /// The groups whose offsets it syncs.
    pub group_filters: Vec<NameFilter>,
    /// Topic configs that it syncs.
    #[serde(default)]
    pub synced_topic_properties: Vec<String>,
    /// Its shadow topics, by name.
    pub topics: Vec<TopicStatus>,
    pub tasks: Vec<TaskStatus>,
    /// Topics that the filters select and that still are no shadows.
    #[serde(default)]
    pub unselected: Vec<UnselectedTopic>,
    /// Groups that read paired topics and that no link selects.
    #[serde(default)]
    pub unselected_groups: Vec<String>,
    /// Own topics of this site that the source's site has taken over.
    #[serde(default)]
    pub taken_over: Vec<TakenOver>,
    /// Where its file says something else than what it works with, a line each (`link update -f`
    /// applies it).
    #[serde(default)]
    pub file_differs: Vec<String>,
    /// Other things to know, a sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The source of a link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Where it is looked for.
    pub bootstrap_servers: Vec<String>,
    /// Its site name, if it is a Gnomon that answered once.
    #[serde(default)]
    pub site: Option<String>,
    /// Its cluster id, pinned at first contact.
    #[serde(default)]
    pub cluster_id: Option<String>,
    /// When it last answered anything.
    #[serde(default)]
    pub last_contact_ms: Option<i64>,
    /// Seconds since it last answered anything, or since it is asked if it never did; absent while
    /// the link does not run.
    #[serde(default)]
    pub contact_seconds: Option<f64>,
}

impl SourceStatus {
    /// How it is called in a sentence.
    pub fn label(&self) -> String {
        crate::ownership::source_label(
            self.site.as_deref(),
            self.cluster_id.as_deref(),
            &self.bootstrap_servers,
        )
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicStatus {
    /// Its name, here and at the source.
    pub name: String,
    pub id: Uuid,
    /// The source's id of it.
    #[serde(default)]
    pub source_topic_id: Option<Uuid>,
    pub state: TopicState,
    /// Why it is in it, where that needs a word.
    #[serde(default)]
    pub reason: Option<String>,
    /// The source does not have it any more.
    #[serde(default)]
    pub source_missing: bool,
    /// While FAILING_OVER: the step it is at, as [`crate::failover::Step::label`] writes it.
    #[serde(default)]
    pub step: Option<String>,
    pub partitions: Vec<PartitionStatus>,
    /// Records that are lost to the shadow.
    #[serde(default)]
    pub gaps: Vec<GapEvent>,
}

/// A partition of a shadow topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub partition: i32,
    /// As last seen.
    #[serde(default)]
    pub source_log_start: Option<Offset>,
    /// As last seen.
    #[serde(default)]
    pub source_high_watermark: Option<Offset>,
    /// As last seen.
    #[serde(default)]
    pub source_last_stable_offset: Option<Offset>,
    /// When the source's ends were seen.
    #[serde(default)]
    pub source_seen_ms: Option<i64>,
    pub log_start: Offset,
    /// Here: what readers see.
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub end: Offset,
    /// The leader epoch that Metadata names here.
    pub leader_epoch: i32,
    /// How far it is behind; absent before the first contact.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// When it was last caught up.
    #[serde(default)]
    pub last_caught_up_ms: Option<i64>,
    /// For so many seconds the source has not told where this partition ends, which is longer than
    /// an answer may take: what it has beyond the ends above is not known.
    #[serde(default)]
    pub silent_seconds: Option<f64>,
    /// Bytes per second appended, over the last seconds.
    #[serde(default)]
    pub bytes_per_second: f64,
    /// Lag and no progress for so many seconds: STALLED.
    #[serde(default)]
    pub stalled_seconds: Option<f64>,
    /// Its last trouble, if that stands still.
    #[serde(default)]
    pub error: Option<String>,
    /// Copied transactions that are open.
    #[serde(default)]
    pub open_transactions: Vec<OpenTransaction>,
    /// The cut of a failover: the first offset that is not the source's.
    #[serde(default)]
    pub cut: Option<Offset>,
    /// The leader epoch that this site went on with at the cut.
    #[serde(default)]
    pub cut_epoch: Option<i32>,
    /// Counters since the start of the process.
    #[serde(default)]
    pub counters: Counters,
}

/// The amounts that a partition has moved since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes of whole batches that came from the source.
    pub bytes_fetched: u64,
    /// Records in them.
    pub records_fetched: u64,
    /// Bytes appended here.
    pub bytes_written: u64,
    /// Records in them.
    pub records_written: u64,
    /// Requests that failed, and answers with an error for this partition.
    pub client_errors: u64,
}

/// A copied transaction that is open on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenTransaction {
    pub producer_id: i64,
    /// The producer's epoch in it.
    pub producer_epoch: i16,
    pub first_offset: Offset,
    /// Timestamp of its newest record here, if known.
    #[serde(default)]
    pub last_timestamp_ms: Option<i64>,
}

/// Records that the source had and the shadow will never get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapEvent {
    pub partition: i32,
    /// First offset that is missing.
    pub from: Offset,
    /// First offset that is not.
    pub to: Offset,
    /// When it was found.
    pub at_ms: i64,
    /// How it came about.
    pub reason: String,
}

/// A task of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub task: Task,
    pub state: TaskState,
    #[serde(default)]
    pub reason: Option<String>,
    /// The broker it runs on.
    pub broker_id: i32,
    /// When its last good round ended.
    #[serde(default)]
    pub last_success_ms: Option<i64>,
}

/// A topic that the filters select and that still is no shadow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnselectedTopic {
    pub topic: String,
    pub reason: String,
}

/// An own topic that another site has taken over while we were away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    pub topic: String,
    /// The site that writes it now.
    pub by: String,
    pub cluster_id: String,
    /// The link there that was failed over.
    pub link: String,
    /// Where it went on, per partition.
    pub partitions: Vec<TakenOverPartition>,
}

/// Where another site went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOverPartition {
    pub partition: i32,
    /// The cut: from here on the two sites' records differ.
    pub offset: Offset,
    /// The leader epoch there.
    pub epoch: i32,
}

impl LinkStatus {
    /// A status with what the settings say and nothing seen yet.
    pub fn of_config(config: &LinkConfig, id: Uuid, site: &str, state: LinkState) -> LinkStatus {
        LinkStatus {
            name: config.name.to_string(),
            id,
            site: site.to_owned(),
            source: SourceStatus {
                bootstrap_servers: config.client.bootstrap_servers.clone(),
                ..SourceStatus::default()
            },
            state,
            verdict: None,
            fault: None,
            topic_filters: config.topics.filters.clone(),
            group_filters: config.groups.filters.clone(),
            synced_topic_properties: config
                .topics
                .synced_keys()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            topics: Vec::new(),
            tasks: Vec::new(),
            unselected: Vec::new(),
            unselected_groups: Vec::new(),
            taken_over: Vec::new(),
            file_differs: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Lag of all partitions that are copied, as far as it is known: a topic that is FAULTED and a
    /// partition before its first contact hide nothing of the others ([`LinkStatus::verdict`] says
    /// that they are there). No partitions are no lag; absent if none of them is known.
    pub fn lag(&self) -> Option<Lag> {
        let copied = || {
            let topics = self.topics.iter().filter(|t| t.state.copies());
            topics.flat_map(|t| &t.partitions)
        };
        let mut known = copied().filter_map(|p| p.lag).peekable();
        if known.peek().is_none() && copied().next().is_some() {
            return None;
        }
        sum(known.map(Some))
    }

    /// Topics that are FAULTED.
    pub fn faulted(&self) -> usize {
        self.topics
            .iter()
            .filter(|t| t.state == TopicState::Faulted)
            .count()
    }

    /// The topic filters as one word.
    pub fn selects(&self) -> String {
        describe(&self.topic_filters)
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&TopicStatus> {
        self.topics.iter().find(|t| t.name == name)
    }
}

impl TopicStatus {
    /// Lag of all partitions.
    pub fn lag(&self) -> Option<Lag> {
        sum(self.partitions.iter().map(|p| p.lag))
    }

    /// Whether any partition has lag and makes no progress.
    pub fn is_stalled(&self) -> bool {
        self.partitions.iter().any(|p| p.stalled_seconds.is_some())
    }
}

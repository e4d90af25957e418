//! From a group's commit at the source to a commit here: which ones count, how they are clamped,
//! and when they may be applied.
//!
//! Invariant: a position that comes out of here lies between the local log start and the local high
//! watermark: it never outruns the data it stands for. Whether the group takes it (live members, a
//! commit of its own) is decided by the group machine, not here.

use crate::{filter::NameFilter, filter::selects_group, topic_state::TopicState};
use gnomon_protocol::ids::{BatchEpoch, Offset, TopicId};
use std::collections::BTreeMap;

/// A commit as read from the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCommit {
    /// The topic's name, the same on both sides.
    pub topic: String,
    pub partition: i32,
    /// The position: the next offset to read; negative when there is none.
    pub offset: Offset,
    /// Leader epoch of the commit, -1 if none.
    pub leader_epoch: i32,
    /// The client's text beside the offset.
    pub metadata: Option<String>,
}

/// Why commits for a topic may be written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRelation {
    /// A shadow of this link, in this state.
    Shadow(TopicState),
    /// An own topic that the source shadows from us: offsets are the same on both sides.
    ShadowedBySource,
    /// A topic of ours, or of another link, that has nothing to do with the source.
    Unrelated,
}

/// The offset that is committed here for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPartition {
    pub topic: TopicId,
    /// Why commits for it may be written here.
    pub relation: TopicRelation,
    pub log_start: Offset,
    pub high_watermark: Offset,
    /// The newest epoch in its history; [`BatchEpoch::NONE`] when it is empty.
    pub newest_epoch: BatchEpoch,
}

/// A commit to hand to the group machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCommit {
    pub topic: String,
    pub topic_id: TopicId,
    pub partition: i32,
    pub offset: Offset,
    /// The epoch, or -1.
    pub leader_epoch: i32,
    /// As at the source.
    pub metadata: Option<String>,
    /// The source's position, where it had to be clamped.
    pub clamped_from: Option<Offset>,
}

/// Why a commit is not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The source has no position there.
    NoPosition,
    /// The partition is not here (yet).
    NotHere,
    /// The topic has nothing to do with the source.
    Unrelated,
    /// The shadow is in a state in which its positions stand still.
    State(TopicState),
}

/// The decision about one commit.
pub fn plan_one(
    commit: &SourceCommit,
    local: Option<&LocalPartition>,
) -> Result<PlannedCommit, Skip> {
    if commit.offset < 0 {
        return Err(Skip::NoPosition);
    }
    let local = local.ok_or(Skip::NotHere)?;
    match local.relation {
        TopicRelation::Shadow(state) if !state.copies() => return Err(Skip::State(state)),
        TopicRelation::Shadow(_) | TopicRelation::ShadowedBySource => {}
        TopicRelation::Unrelated => return Err(Skip::Unrelated),
    }
    Ok(clamp(commit, local))
}

/// The same for the last offsets of a failover, step (g): the topic is FAILING_OVER, and its cut is
/// its end.
pub fn plan_last(commit: &SourceCommit, local: &LocalPartition) -> Result<PlannedCommit, Skip> {
    if commit.offset < 0 {
        Err(Skip::NoPosition)
    } else {
        Ok(clamp(commit, local))
    }
}

fn clamp(commit: &SourceCommit, local: &LocalPartition) -> PlannedCommit {
    let offset = commit.offset.min(local.high_watermark).max(local.log_start);
    let clamped = offset != commit.offset;
    let keeps_epoch =
        !clamped && commit.leader_epoch >= 0 && commit.leader_epoch <= local.newest_epoch.0;
    PlannedCommit {
        topic: commit.topic.clone(),
        topic_id: local.topic,
        partition: commit.partition,
        offset,
        leader_epoch: if keeps_epoch { commit.leader_epoch } else { -1 },
        metadata: commit.metadata.clone(),
        clamped_from: clamped.then_some(commit.offset),
    }
}

/// The decisions about one group's commits: those to write, and how many were left out for which
/// reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPlan {
    /// To hand to the group machine.
    pub commits: Vec<PlannedCommit>,
    /// Left out.
    pub skipped: BTreeMap<Skip, usize>,
}

/// Plans all commits of one group.
pub fn plan<'l>(
    commits: &[SourceCommit],
    local: impl Fn(&str, i32) -> Option<&'l LocalPartition>,
) -> GroupPlan {
    let mut plan = GroupPlan::default();
    for commit in commits {
        match plan_one(commit, local(&commit.topic, commit.partition)) {
            Ok(planned) => plan.commits.push(planned),
            Err(skip) => *plan.skipped.entry(skip).or_default() += 1,
        }
    }
    plan
}

/// Groups that read paired topics and that no filter of any link selects: the status lists them,
/// because their positions are lost with their site.
pub fn unselected_groups<'g>(
    groups: impl IntoIterator<Item = &'g str>,
    filters: &[&[NameFilter]],
) -> Vec<&'g str> {
    groups
        .into_iter()
        .filter(|group| !filters.iter().any(|f| selects_group(f, group)))
        .collect()
}

/// How long offsets wait for the data that they stand for.
pub const BARRIER_MS: u64 = 10_000;

/// Holds back offsets read from `t0` on until every ACTIVE, not stalled shadow partition has
/// reached the source end seen after `t0`, or until [`BARRIER_MS`] have passed. Times are monotonic
/// milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    t0: u64,
    ends: BTreeMap<(TopicId, i32), Offset>,
}

/// How a barrier stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Apply: every partition is there.
    Reached,
    /// Not yet.
    Wait,
    /// Apply, and warn: these partitions are not there, though the time is over.
    TimedOut(Vec<(TopicId, i32)>),
}

/// How one partition of the link stands. Give only the partitions that count: of ACTIVE or
/// PROMOTING topics, not stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The topic's id here.
    pub topic: TopicId,
    pub partition: i32,
    /// The source's high watermark as last seen, and when.
    pub source_end: Option<(Offset, u64)>,
    /// The local high watermark.
    pub high_watermark: Offset,
}

impl Barrier {
    /// Begins at the moment at which the offsets were asked for.
    pub fn new(t0: u64) -> Barrier {
        Barrier {
            t0,
            ends: BTreeMap::new(),
        }
    }

    /// Looks at the partitions. The first source end seen at or after `t0` is a partition's mark,
    /// so that a source that goes on growing does not hold the offsets back for ever.
    pub fn look(&mut self, now: u64, partitions: impl IntoIterator<Item = Progress>) -> Pass {
        let mut missing = Vec::new();
        for p in partitions {
            let key = (p.topic, p.partition);
            if let Some((end, at)) = p.source_end
                && at >= self.t0
            {
                self.ends.entry(key).or_insert(end);
            }
            if self
                .ends
                .get(&key)
                .is_none_or(|end| p.high_watermark < *end)
            {
                missing.push(key);
            }
        }
        if missing.is_empty() {
            Pass::Reached
        } else if now >= self.t0.saturating_add(BARRIER_MS) {
            Pass::TimedOut(missing)
        } else {
            Pass::Wait
        }
    }
}

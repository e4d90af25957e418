//! Group offsets: read from the source, held back until the data they stand for is here, then
//! handed to the group machine.
//!
//! Invariant: a position is handed over only after every partition that copies has reached the
//! source's end as it was after the position was read, or after
//! [`BARRIER_MS`](gnomon_links::plan_offsets::BARRIER_MS) with a warning; and never beyond our own
//! high watermark (`links::plan_offsets`). One group that is not shown, or not taken, holds up no
//! other; what was read of it last still counts. What the group machine does with it, live members
//! and commits made here included, is its own.

use super::{RoundError, after_round};
use crate::{
    assign::Key,
    link_shared::{GroupsSeen, LinkShared},
};
use gnomon_catalog::{Image, Topic};
use gnomon_client::{
    ClientError,
    offsets::{LATEST, TopicPartition},
    retry::Backoff,
};
use gnomon_groups::{SkipReason, SyncOffset, SyncOffsets, SyncOutcome};
use gnomon_links::{
    Task, TaskState,
    filter::selects_group,
    plan_offsets::{
        Barrier, LocalPartition, Pass, PlannedCommit, Progress, SourceCommit, TopicRelation, plan,
        unselected_groups,
    },
};
use gnomon_partition::Handle;
use gnomon_protocol::ids::{Offset, TopicId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often the barrier looks.
const LOOK: Duration = Duration::from_millis(20);

/// Rounds between two looks at groups that nobody selects.
const UNSELECTED_EVERY: u64 = 30;

struct GroupSync {
    link: Arc<LinkShared>,
    /// The commits that were submitted last, by group: the same again is not handed over, unless
    /// what we have moved under it.
    handed: BTreeMap<String, Vec<PlannedCommit>>,
    round: u64,
}

/// Runs rounds until dropped.
pub(crate) async fn run(link: Arc<LinkShared>) {
    let settings = link.config.groups.clone();
    if settings.paused || settings.filters.is_empty() {
        let state = if settings.paused {
            TaskState::Paused
        } else {
            TaskState::NotRunning
        };
        return link.task(Task::ConsumerGroupShadowing, state, None);
    }
    let mut sync = GroupSync {
        link,
        handed: BTreeMap::new(),
        round: 0,
    };
    let mut backoff = Backoff::new(
        Duration::from_millis(250),
        Duration::from_secs(2).max(settings.interval()),
    );
    loop {
        let began = Instant::now();
        let outcome = sync.round().await;
        let wait = after_round(
            &sync.link,
            Task::ConsumerGroupShadowing,
            outcome,
            settings.interval(),
            &mut backoff,
        );
        sleep(wait.saturating_sub(began.elapsed()).max(LOOK)).await;
    }
}

impl GroupSync {
    async fn round(&mut self) -> Result<(), RoundError> {
        let image = self.link.site.image();
        if !image.link(self.link.id).is_some_and(|link| link.runs()) {
            return Ok(());
        }
        let read_at = self.link.site.now();
        let t0 = read_at.mono.0;
        let groups = self.link.source.groups().await?;
        let selected: Vec<String> = groups
            .iter()
            .filter(|g| selects_group(&self.link.config.groups.filters, g))
            .cloned()
            .collect();
        let (mut commits, hidden) = self.read(&selected).await?;
        {
            let mut seen = self.link.groups_seen.lock();
            // Of a group that is not shown now, what was read last is still the last.
            let last = seen.take().map(|seen| seen.commits).unwrap_or_default();
            commits.extend(
                last.into_iter()
                    .filter(|(group, _)| hidden.contains_key(group)),
            );
            *seen = Some(GroupsSeen {
                at_ms: read_at.wall.0,
                commits: commits.clone(),
            });
        }
        self.warn(
            "hidden groups",
            hidden.into_iter().next().map(|(group, why)| {
                format!("the source does not show the offsets of group {group}: {why}")
            }),
        );
        if self.anything_new(&image, &commits) {
            self.wait_for_data(t0).await?;
            self.hand_over(&commits).await?;
        }
        self.handed.retain(|group, _| commits.contains_key(group));
        if self.round.is_multiple_of(UNSELECTED_EVERY) {
            self.look_at_unselected(&groups).await?;
        }
        self.round += 1;
        Ok(())
    }

    /// The commits of the groups, and why others are not shown.
    async fn read(
        &self,
        groups: &[String],
    ) -> Result<
        (
            BTreeMap<String, Vec<SourceCommit>>,
            BTreeMap<String, ClientError>,
        ),
        RoundError,
    > {
        let (mut commits, mut hidden) = (BTreeMap::new(), BTreeMap::new());
        if groups.is_empty() {
            return Ok((commits, hidden));
        }
        for (group, offsets) in self.link.source.group_offsets(groups).await? {
            match offsets {
                Ok(offsets) => drop(commits.insert(group, offsets)),
                Err(error) => drop(hidden.insert(group, error)),
            }
        }
        Ok((commits, hidden))
    }

    /// Shows a warning in the link's status, or takes it away.
    fn warn(&self, about: &'static str, warning: Option<String>) {
        let mut warnings = self.link.warnings.lock();
        match warning {
            Some(warning) => drop(warnings.insert(about, warning)),
            None => drop(warnings.remove(about)),
        }
    }

    fn anything_new(&self, image: &Image, commits: &BTreeMap<String, Vec<SourceCommit>>) -> bool {
        commits.iter().any(|(group, commits)| {
            self.handed.get(group) != Some(&planned(&self.link, image, commits))
        })
    }

    /// Waits until the copies have reached the source's ends as they are now, after the offsets
    /// were read.
    async fn wait_for_data(&self, t0: u64) -> Result<(), RoundError> {
        // Planted fault for tests of groups: no barrier, and no clamp below.
        gnomon_failpoints::fail_point!("offsets_outrun_data", |_| Ok(()));
        let image = self.link.site.image();
        let copied = copied_partitions(&self.link, &image);
        let wanted: BTreeMap<TopicPartition, i64> = copied
            .iter()
            .map(|(name, _)| (name.clone(), LATEST))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let seen_at = self.link.site.now().mono.0;
        // A partition whose end the source does not tell now has no mark: it makes the barrier
        // wait, as the rule wants it.
        let ends: BTreeMap<TopicPartition, Offset> = self
            .link
            .source
            .offsets(&wanted)
            .await
            .into_iter()
            .filter_map(|(name, end)| Some((name, end.ok()?)))
            .collect();
        let mut barrier = Barrier::new(t0);
        loop {
            let now = self.link.site.now();
            let image = self.link.site.image();
            let counted = copied.iter().filter(|(_, key)| {
                image
                    .topic(key.0)
                    .is_some_and(|topic| image.copies(topic).is_some())
            });
            let progress = counted.filter_map(|(name, key)| {
                let high_watermark = self
                    .link
                    .site
                    .handle(key.0, key.1)
                    .ok()?
                    .offsets()
                    .high_watermark;
                let stalled = self.link.progress_of(*key).is_stalled(now, high_watermark);
                let source_end = ends.get(name).map(|end| (*end, seen_at));
                (!stalled).then_some(Progress {
                    topic: key.0,
                    partition: key.1,
                    source_end,
                    high_watermark,
                })
            });
            match barrier.look(now.mono.0, progress) {
                Pass::Reached => {
                    self.link.warnings.lock().remove("groups");
                    return Ok(());
                }
                Pass::Wait => sleep(LOOK).await,
                Pass::TimedOut(missing) => {
                    let warning = format!(
                        "group offsets were applied though {} partitions had not caught up with them",
                        missing.len()
                    );
                    tracing::warn!(link = self.link.config.name.as_str(), warning);
                    self.link.warnings.lock().insert("groups", warning);
                    return Ok(());
                }
            }
        }
    }

    /// Gives each group's positions to its machine. Every group is planned with the metadata as it
    /// is at that moment: while the groups before it were written, topics may have failed over, or
    /// been deleted and created again.
    async fn hand_over(
        &mut self,
        commits: &BTreeMap<String, Vec<SourceCommit>>,
    ) -> Result<(), RoundError> {
        let mut not_taken = None;
        for (group, commits) in commits {
            let planned = planned(&self.link, &self.link.site.image(), commits);
            if self.handed.get(group) == Some(&planned) {
                continue;
            }
            let outcomes = match self
                .link
                .site
                .sync_offsets(sync_event(
                    self.link.config.name.as_str(),
                    group,
                    &planned,
                    false,
                ))
                .await
            {
                Ok(outcomes) => outcomes,
                Err(gone) => {
                    not_taken.get_or_insert(gone);
                    continue;
                }
            };
            match outcomes.iter().any(|of| may_be_taken_later(of.outcome)) {
                true => self.handed.remove(group),
                false => self.handed.insert(group.clone(), planned),
            };
        }
        not_taken.map_or(Ok(()), |gone| Err(gone.into()))
    }

    /// Groups that read what this link copies, and whose positions are lost with their site because
    /// no link selects them.
    async fn look_at_unselected(&self, groups: &[String]) -> Result<(), RoundError> {
        let image = self.link.site.image();
        let filters: Vec<_> = image
            .links
            .values()
            .map(|link| link.config.groups.filters.clone())
            .collect();
        let filters: Vec<&[_]> = filters.iter().map(Vec::as_slice).collect();
        let names: Vec<String> = unselected_groups(groups.iter().map(String::as_str), &filters)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let (commits, _hidden) = self.read(&names).await?;
        let paired = |commit: &SourceCommit| {
            image
                .topic_by_name(&commit.topic)
                .is_some_and(|topic| relation(&self.link, topic) != TopicRelation::Unrelated)
        };
        let reading = commits
            .into_iter()
            .filter(|(_, commits)| commits.iter().any(paired))
            .map(|(group, _)| group);
        *self.link.unselected_groups.lock() = reading.collect();
        Ok(())
    }
}

/// Whether the same position may be taken in a later round.
fn may_be_taken_later(outcome: SyncOutcome) -> bool {
    match outcome {
        // Live members leave one day; a topic that is gone is planned from the metadata again.
        SyncOutcome::Skipped(SkipReason::LiveMembers | SkipReason::TopicGone) => true,
        // Until the source's value changes, the answer stays the same.
        SyncOutcome::Skipped(SkipReason::Local) | SyncOutcome::Applied | SyncOutcome::Unchanged => {
            false
        }
    }
}

/// Why commits for a topic may be written here.
fn relation(link: &LinkShared, topic: &Topic) -> TopicRelation {
    match &topic.shadow {
        Some(shadow) if shadow.link == link.id && shadow.bound() => {
            TopicRelation::Shadow(shadow.state)
        }
        Some(_) | None if link.shadowed_by_source.lock().contains(&topic.id) => {
            TopicRelation::ShadowedBySource
        }
        Some(_) | None => TopicRelation::Unrelated,
    }
}

pub(crate) fn local_partition(handle: &Handle, relation: TopicRelation) -> LocalPartition {
    let offsets = handle.offsets();
    let local = LocalPartition {
        topic: handle.id().topic_id,
        relation,
        log_start: offsets.log_start,
        high_watermark: offsets.high_watermark,
        newest_epoch: handle.latest_epoch(),
    };
    gnomon_failpoints::fail_point!("offsets_outrun_data", |_| LocalPartition {
        high_watermark: Offset::MAX,
        ..local
    });
    local
}

/// The local side of every partition that one group's commits name.
fn local_partitions(
    link: &LinkShared,
    image: &Image,
    commits: &[SourceCommit],
) -> BTreeMap<TopicPartition, LocalPartition> {
    let named: BTreeSet<(&str, i32)> = commits
        .iter()
        .map(|commit| (commit.topic.as_str(), commit.partition))
        .collect();
    let mut local = BTreeMap::new();
    for (name, index) in named {
        let Some(topic) = image
            .topic_by_name(name)
            .filter(|topic| topic.partition(index).is_some())
        else {
            continue;
        };
        let relation = relation(link, topic);
        if relation == TopicRelation::Unrelated {
            continue;
        }
        if let Ok(handle) = link.site.handle(topic.id, index) {
            local.insert((name.to_owned(), index), local_partition(&handle, relation));
        }
    }
    local
}

fn planned(link: &LinkShared, image: &Image, commits: &[SourceCommit]) -> Vec<PlannedCommit> {
    let local = local_partitions(link, image, commits);
    plan(commits, |topic, partition| {
        local.get(&(topic.to_owned(), partition))
    })
    .commits
}

/// The partitions that copy now.
fn copied_partitions(link: &LinkShared, image: &Image) -> Vec<(TopicPartition, Key)> {
    let topics = image
        .topics_of(link.id)
        .filter(|topic| image.copies(topic).is_some());
    topics
        .flat_map(|topic| {
            topic
                .indexes()
                .map(move |index| ((topic.name.clone(), index), (topic.id, index)))
        })
        .collect()
}

/// One group's offsets as an event.
pub(crate) fn sync_event(
    link: &str,
    group: &str,
    commits: &[PlannedCommit],
    last: bool,
) -> SyncOffsets {
    let offset = |commit: &PlannedCommit| SyncOffset {
        topic: commit.topic.as_str().into(),
        topic_id: commit.topic_id,
        // Looked up when the machine takes the event: `Event::look_up`.
        is_current: false,
        partition: commit.partition,
        offset: commit.offset,
        leader_epoch: commit.leader_epoch,
        metadata: commit.metadata.as_deref().unwrap_or_default().into(),
    };
    SyncOffsets {
        link: link.into(),
        group: group.into(),
        offsets: commits.iter().map(offset).collect(),
        complete: !last,
        last,
        validate_only: false,
    }
}

/// Topics by id, for the last step of a failover.
pub(crate) fn of_topics(image: &Image, topics: &[TopicId]) -> BTreeMap<String, TopicId> {
    topics
        .iter()
        .filter_map(|id| image.topic(*id).map(|topic| (topic.name.clone(), topic.id)))
        .collect()
}

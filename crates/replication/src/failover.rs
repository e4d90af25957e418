//! The part of a failover that changes partitions: the metadata machine's actions, carried out. The
//! order of the steps is the machine's (`links::failover`).
//!
//! Every action may come again, after a crash or a failed answer, and does no harm then. The source
//! is not contacted. Each failpoint stands before what it names; set to `return` it ends the
//! process on the spot, as `kill -9` would. A topic that a closed partition holds up is taken up
//! again from time to time: the site opens the partition again as soon as the disk works.

use crate::{
    link_shared::LinkShared,
    site::Site,
    tasks::groups::{local_partition, of_topics, sync_event},
};
use gnomon_catalog::{Action, Cut, Event, FailOver, LinkId, Which};
use gnomon_groups::SyncEnded;
use gnomon_links::{
    TopicState,
    plan_offsets::{PlannedCommit, SourceCommit, TopicRelation, plan_last},
};
use gnomon_protocol::ids::TopicId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::sleep;

/// A topic of which a partition could not do what was asked is taken up again after this, the first
/// time, and at the latest.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// Ends the process if the failpoint says so.
macro_rules! may_end_here {
    ($name:literal) => {
        gnomon_failpoints::fail_point!($name, |_| std::process::abort())
    };
}

/// Carries out one action and posts what came of it. `link` is absent when the link never ran in
/// this process.
pub(crate) async fn carry_out(
    site: Arc<dyn Site>,
    link: Option<Arc<LinkShared>>,
    held_up: Arc<HeldUp>,
    action: Action,
) {
    let (id, topic, outcome) = match action {
        Action::Cut {
            link: id,
            topic,
            partitions,
            ..
        } => (
            id,
            topic,
            cut(&*site, link.as_deref(), topic, partitions).await,
        ),
        Action::AbortOpen {
            link: id,
            topic,
            partitions,
            ..
        } => (id, topic, abort_open(&*site, topic, partitions).await),
        Action::ApplyOffsets { link: id, topics } => {
            return apply_offsets(&*site, link.as_deref(), id, topics).await;
        }
        // The broker's own.
        Action::DropTopic { .. } => return,
    };
    if outcome == StepResult::Stuck {
        held_up.take_up_again(&*site, id, topic).await;
    }
}

/// The result of a step for one topic.
#[derive(PartialEq, Eq)]
enum StepResult {
    Done,
    /// A partition could not; the topic leaves its batch, with a reason that its status shows.
    Stuck,
}

impl StepResult {
    fn of(events: &[Event]) -> StepResult {
        let failed =
            |event: &Event| matches!(event, Event::CutFailed { .. } | Event::MarkersFailed { .. });
        if events.iter().any(failed) {
            StepResult::Stuck
        } else {
            StepResult::Done
        }
    }
}

/// Topics that a partition holds up, and that are to be taken up again: each by one task at a time,
/// after longer and longer pauses.
#[derive(Default)]
pub(crate) struct HeldUp(Mutex<BTreeMap<TopicId, Pause>>);

struct Pause {
    next: Duration,
    /// Somebody is in it.
    taken: bool,
}

impl HeldUp {
    /// How long to wait before the topic is taken up again; `None`: somebody waits already.
    fn take(&self, topic: TopicId) -> Option<Duration> {
        let mut topics = self.0.lock();
        let pause = topics.entry(topic).or_insert(Pause {
            next: AGAIN_AFTER,
            taken: false,
        });
        if pause.taken {
            return None;
        }
        let now = pause.next;
        *pause = Pause {
            next: (2 * now).min(AGAIN_AFTER_MAX),
            taken: true,
        };
        Some(now)
    }

    fn leave(&self, topic: TopicId) {
        if let Some(pause) = self.0.lock().get_mut(&topic) {
            pause.taken = false;
        }
    }

    fn forget(&self, topic: TopicId) {
        self.0.lock().remove(&topic);
    }

    /// Does what an operator would: names the topic in another command, unless it is through or
    /// gone by then. What comes of that looks after itself.
    async fn take_up_again(&self, site: &dyn Site, link: LinkId, topic: TopicId) {
        while let Some(pause) = self.take(topic) {
            sleep(pause).await;
            self.leave(topic);
            let Some(command) = again(site, link, topic) else {
                return self.forget(topic);
            };
            // An error: the metadata takes no command now, because its own log is being opened
            // again or is full; or the site stops, which ends this, too.
            if site.submit(Event::FailOver(command)).await.is_ok() {
                if again(site, link, topic).is_none() {
                    self.forget(topic);
                }
                return;
            }
        }
    }
}

/// The command, for as long as the topic is failing over.
fn again(site: &dyn Site, link: LinkId, topic: TopicId) -> Option<FailOver> {
    let image = site.image();
    let topic = image.topic(topic)?;
    let failing_over = topic
        .shadow
        .as_ref()
        .is_some_and(|shadow| shadow.state == TopicState::FailingOver);
    let link = image.link(link).filter(|_| failing_over)?.name().to_owned();
    Some(FailOver {
        link,
        which: Which::Topics(vec![topic.name.clone()]),
    })
}

async fn post(site: &dyn Site, event: Event) {
    if let Err(gone) = site.submit(event).await {
        // The metadata has another leader or the site stops: the next leader begins the step
        // again.
        tracing::info!(%gone, "a step of a failover was not reported");
    }
}

/// (b) and (c): the fence keeps late answers out already; flush what is dirty and say where it
/// ends.
async fn cut(
    site: &dyn Site,
    link: Option<&LinkShared>,
    topic: TopicId,
    partitions: Vec<i32>,
) -> StepResult {
    may_end_here!("failover_stop");
    let mut ends = Vec::with_capacity(partitions.len());
    for partition in partitions {
        ends.push(end_of(site, link, topic, partition).await);
    }
    may_end_here!("failover_cut");
    let outcome = StepResult::of(&ends);
    for event in ends {
        post(site, event).await;
    }
    outcome
}

async fn end_of(
    site: &dyn Site,
    link: Option<&LinkShared>,
    topic: TopicId,
    partition: i32,
) -> Event {
    let handle = match site.handle(topic, partition) {
        Ok(handle) => handle,
        Err(unavailable) => {
            return Event::CutFailed {
                topic,
                partition,
                why: unavailable.to_string(),
            };
        }
    };
    match handle.control().flush().await {
        Ok(end) => {
            // Planted fault for tests of failover: the cut misses the last record.
            gnomon_failpoints::fail_point!("cut_short", |_| {
                let last_epoch = handle.latest_epoch();
                Event::CutReached {
                    topic,
                    partition,
                    end: (end - 1).max(0),
                    last_epoch,
                    highest_seen: last_epoch.0,
                }
            });
            let last_epoch = handle.latest_epoch();
            let seen = link.map_or(-1, |link| {
                link.progress_of((topic, partition)).highest_epoch()
            });
            Event::CutReached {
                topic,
                partition,
                end,
                last_epoch,
                highest_seen: seen.max(last_epoch.0),
            }
        }
        Err(lost) => Event::CutFailed {
            topic,
            partition,
            why: format!("it cannot be flushed: {lost}"),
        },
    }
}

/// (d) and (e): the new epoch counts from the cut on; what is open there ends with abort markers.
async fn abort_open(site: &dyn Site, topic: TopicId, partitions: Vec<(i32, Cut)>) -> StepResult {
    may_end_here!("failover_epoch");
    let mut done = Vec::with_capacity(partitions.len());
    for (partition, cut) in partitions {
        done.push(match abort_on(site, topic, partition, cut).await {
            Ok(()) => Event::MarkersWritten { topic, partition },
            Err(why) => Event::MarkersFailed {
                topic,
                partition,
                why,
            },
        });
    }
    may_end_here!("failover_abort");
    let outcome = StepResult::of(&done);
    for event in done {
        post(site, event).await;
    }
    outcome
}

async fn abort_on(site: &dyn Site, topic: TopicId, partition: i32, cut: Cut) -> Result<(), String> {
    let handle = site
        .handle(topic, partition)
        .map_err(|unavailable| unavailable.to_string())?;
    handle
        .control()
        .begin_leadership(cut.epoch, cut.end)
        .map_err(|error| error.to_string())?;
    let aborted = handle
        .control()
        .abort_open_transactions(site.now().wall.0)
        .map_err(|error| error.to_string())?;
    for txn in &aborted {
        tracing::info!(%topic, partition, producer_id = txn.producer_id, "an open copied transaction was aborted");
    }
    handle
        .control()
        .flush()
        .await
        .map(drop)
        .map_err(|lost| lost.to_string())
}

/// (g), first half: the offsets that were fetched last and perhaps not handed over yet. What was
/// synced before and not fetched since the start is our own from now on as well.
async fn apply_offsets(
    site: &dyn Site,
    link: Option<&LinkShared>,
    id: LinkId,
    topics: Vec<TopicId>,
) {
    may_end_here!("failover_offsets");
    let image = site.image();
    let names = of_topics(&image, &topics);
    let seen = link.and_then(|link| link.groups_seen.lock().clone());
    let name = image
        .link(id)
        .map(|link| link.name().to_owned())
        .unwrap_or_default();
    for (group, commits) in seen.iter().flat_map(|seen| &seen.commits) {
        let planned = last_of(site, &names, commits);
        if planned.is_empty() {
            continue;
        }
        if let Err(gone) = site
            .sync_offsets(sync_event(&name, group, &planned, true))
            .await
        {
            tracing::warn!(group, %gone, "a group's last offsets were not written: it goes on from those written before");
        }
    }
    let ended = SyncEnded {
        link: name.as_str().into(),
        topics: Some(names.keys().map(|topic| topic.as_str().into()).collect()),
    };
    if let Err(gone) = site.sync_ended(ended).await {
        tracing::warn!(%gone, "offsets that the link brought stay marked as its own: they do not expire before their group commits");
    }
    may_end_here!("failover_done");
    post(site, Event::OffsetsApplied { link: id, topics }).await;
}

/// A group's positions as the last step writes them.
pub(crate) fn last_of(
    site: &dyn Site,
    topics: &BTreeMap<String, TopicId>,
    commits: &[SourceCommit],
) -> Vec<PlannedCommit> {
    let one = |commit: &SourceCommit| {
        let topic = topics.get(&commit.topic)?;
        let handle = site.handle(*topic, commit.partition).ok()?;
        let local = local_partition(
            &handle,
            TopicRelation::Shadow(gnomon_links::TopicState::FailingOver),
        );
        plan_last(commit, &local).ok()
    };
    commits.iter().filter_map(one).collect()
}

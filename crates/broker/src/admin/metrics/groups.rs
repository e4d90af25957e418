//! Metrics of consumer groups: how far each is behind the end of the topics that it has committed
//! offsets on.
//!
//! Lag is the high watermark minus the committed offset, summed over the partitions that are open
//! and on which the group has committed. Invariant: a scrape asks at most [`GROUPS_MAX`] groups,
//! shows at most [`SERIES_MAX`] series and asks for at most [`TIME_MAX`]; the number of groups that
//! it leaves out is a metric.

use super::page::Page;
use crate::{coordinators::groups::Shard, services::Services};
use gnomon_groups::{Event, Fetch, FetchedTopic, GroupError, List, Name, OffsetSelection};
use gnomon_partition::PartitionId;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Groups that one scrape asks.
const GROUPS_MAX: usize = 1_000;

/// Pairs of group and topic on one page.
const SERIES_MAX: usize = 10_000;

/// How long one scrape asks groups.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The lag of groups at one scrape.
#[derive(Default)]
pub struct Lags {
    /// Groups that exist.
    groups: usize,
    /// Groups whose lag is here.
    measured: usize,
    /// By group and topic, in records.
    series: Vec<(Name, Name, i64)>,
}

/// Asks the coordinators of groups.
pub async fn lags(services: &Services) -> Lags {
    let deadline = Instant::now() + TIME_MAX;
    let mut lags = Lags::default();
    for shard in services.groups.all() {
        let asked = timeout_at(deadline, of_shard(services, shard, &mut lags));
        // A coordinator without an answer has groups that are not counted; its partition of
        // __consumer_offsets is among the closed ones. Without time the others are not asked.
        if asked.await.is_err() {
            break;
        }
    }
    lags
}

async fn of_shard(
    services: &Services,
    shard: Shard<'_>,
    lags: &mut Lags,
) -> Result<(), GroupError> {
    let listed = shard
        .submit(Event::List(List::default()))
        .await?
        .into_listed()?;
    lags.groups += listed.len();
    for group in listed.into_iter().map(|listed| listed.group) {
        if lags.measured == GROUPS_MAX || lags.series.len() >= SERIES_MAX {
            break;
        }
        let fetch = Fetch {
            group: group.clone(),
            which: OffsetSelection::All,
        };
        let topics = shard
            .submit(Event::Fetch(fetch))
            .await?
            .into_fetched()?
            .topics;
        let room = SERIES_MAX - lags.series.len();
        let found = topics
            .into_iter()
            .filter_map(|topic| Some((lag(services, &topic)?, topic.topic)))
            .map(|(lag, topic)| (group.clone(), topic, lag));
        lags.series.extend(found.take(room));
        lags.measured += 1;
    }
    Ok(())
}

/// The lag on a topic; `None` where nothing is committed on an open partition of it.
fn lag(services: &Services, topic: &FetchedTopic) -> Option<i64> {
    let id = services.partitions.id(&topic.topic).ok()?;
    let each = topic.partitions.iter().filter_map(|partition| {
        let committed = partition.committed.as_ref()?;
        // Offsets on an earlier topic of the name say nothing about this one.
        committed.is_on(Some(id)).then_some(())?;
        let index = partition.partition;
        let handle = services.partitions.if_open(PartitionId {
            topic_id: id,
            index,
        })?;
        let end = handle.offsets().high_watermark;
        Some(end.saturating_sub(committed.offset).max(0))
    });
    each.reduce(i64::saturating_add)
}

pub fn write(page: &mut Page, lags: &Lags) {
    page.single("gnomon_groups", "Consumer groups", lags.groups);
    page.single(
        "gnomon_groups_not_measured",
        "Consumer groups without lag on this page, because there are too many or they answer too late",
        lags.groups.saturating_sub(lags.measured),
    );
    let mut family = page.gauge(
        "gnomon_group_lag",
        "Records between a group's committed offsets and the high watermarks, over the partitions of a topic",
    );
    for (group, topic, lag) in &lags.series {
        family.sample(&[("group", group), ("topic", topic)], lag);
    }
}

//! The loss by a failover: what partitions, the link and the group machine know, put together for
//! [`gnomon_links::loss`].
//!
//! Asks nothing of the source, and changes nothing: the groups' part is the last step of a
//! failover, asked only what it would do.

use crate::{
    failover::last_of,
    link_shared::LinkShared,
    site::Site,
    status,
    tasks::groups::{of_topics, sync_event},
};
use gnomon_catalog::{Image, Link};
use gnomon_groups::SyncOffsets;
use gnomon_links::{
    LinkStatus,
    loss::{self, EndedTransaction, GroupBehind, GroupsLoss, GroupsRead, Loss},
    plan_offsets::PlannedCommit,
};
use gnomon_protocol::ids::{Offset, ProducerId, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// The loss now. `topics` names the ones asked for; `None` is all of the link. `shared` is absent
/// for a link that was never reconciled.
pub(crate) async fn of(
    image: &Image,
    link: &Link,
    shared: Option<&LinkShared>,
    site: &dyn Site,
    topics: Option<&[String]>,
) -> Loss {
    let status = status::of(image, link, shared, site);
    let ended = ended_transactions(image, link, &status, site);
    let named = topics.map(|topics| topics.iter().map(String::as_str).collect::<BTreeSet<_>>());
    let asked = |name: &str| named.as_ref().is_none_or(|named| named.contains(name));
    let names: BTreeMap<String, TopicId> = {
        let failing = image
            .topics_of(link.id)
            .filter(|topic| topic.is_shadow() && asked(&topic.name));
        of_topics(image, &failing.map(|topic| topic.id).collect::<Vec<_>>())
    };
    let groups = groups(link, shared, site, &names).await;
    loss::of(&status, topics, &ended, groups, site.now().wall.0)
}

/// The last end of a transaction of each producer that has one open somewhere, on every partition
/// where the source ended it.
fn ended_transactions(
    image: &Image,
    link: &Link,
    status: &LinkStatus,
    site: &dyn Site,
) -> Vec<EndedTransaction> {
    let partitions = status.topics.iter().flat_map(|topic| &topic.partitions);
    let open: BTreeSet<ProducerId> = partitions
        .flat_map(|partition| &partition.open_transactions)
        .map(|open| open.producer_id)
        .collect();
    let mut ended = Vec::new();
    if open.is_empty() {
        return ended;
    }
    for topic in image.topics_of(link.id) {
        for (index, partition) in topic.indexes().zip(&topic.partitions) {
            let Ok(handle) = site.handle(topic.id, index) else {
                continue;
            };
            // What stands after a cut is ours.
            let copied_to = partition.cut.map_or(Offset::MAX, |cut| cut.end);
            let markers = open
                .iter()
                .filter_map(|producer| Some((*producer, handle.control().last_marker(*producer)?)));
            ended.extend(markers.filter(|(_, marker)| marker.offset < copied_to).map(
                |(producer_id, marker)| EndedTransaction {
                    topic: topic.name.clone(),
                    partition: index,
                    producer_id,
                    producer_epoch: marker.ended_epoch,
                    marker_epoch: marker.epoch,
                    marker_timestamp_ms: marker.timestamp_ms,
                },
            ));
        }
    }
    ended
}

/// Where the groups that the link syncs would go on, beside where they stand at the source as far
/// as was read.
async fn groups(
    link: &Link,
    shared: Option<&LinkShared>,
    site: &dyn Site,
    topics: &BTreeMap<String, TopicId>,
) -> GroupsLoss {
    let config = &link.config.groups;
    if config.paused || config.filters.is_empty() {
        return GroupsLoss {
            read: GroupsRead::NotSynced,
            ..GroupsLoss::default()
        };
    }
    let Some(seen) = shared.and_then(|shared| shared.groups_seen.lock().clone()) else {
        return GroupsLoss {
            read: GroupsRead::NeverSinceStart,
            ..GroupsLoss::default()
        };
    };
    let ago_ms = site.now().wall.0.saturating_sub(seen.at_ms).max(0);
    let mut loss = GroupsLoss {
        read: GroupsRead::SecondsAgo(ago_ms as f64 / 1_000.0),
        ..GroupsLoss::default()
    };
    for (group, commits) in &seen.commits {
        let planned = last_of(site, topics, commits);
        if planned.is_empty() {
            continue;
        }
        let asked = SyncOffsets {
            validate_only: true,
            ..sync_event(link.name(), group, &planned, true)
        };
        match site.sync_offsets(asked).await {
            Ok(answers) => {
                let stands: BTreeMap<(&str, i32), Option<Offset>> = answers
                    .iter()
                    .map(|answer| ((&*answer.topic, answer.partition), answer.stands))
                    .collect();
                loss.behind.extend(
                    planned
                        .iter()
                        .filter_map(|commit| behind(group, commit, &stands)),
                );
            }
            Err(gone) => {
                tracing::info!(group, %gone, "where a group stands cannot be told");
                loss.unknown.push(group.clone());
            }
        }
    }
    loss
}

fn behind(
    group: &str,
    commit: &PlannedCommit,
    stands: &BTreeMap<(&str, i32), Option<Offset>>,
) -> Option<GroupBehind> {
    let source_offset = commit.clamped_from.unwrap_or(commit.offset);
    let offset = *stands.get(&(commit.topic.as_str(), commit.partition))?;
    offset
        .is_none_or(|offset| offset < source_offset)
        .then(|| GroupBehind {
            group: group.to_owned(),
            topic: commit.topic.clone(),
            partition: commit.partition,
            source_offset,
            offset,
        })
}

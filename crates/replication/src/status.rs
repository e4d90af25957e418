//! A link as an operator sees it, put together from the metadata, the partitions and what its tasks
//! saw last.

use crate::{link_shared::LinkShared, progress::Shown, site::Site};
use gnomon_catalog::{Image, Link, Topic};
use gnomon_links::{
    LinkStatus, PartitionStatus, Task, TaskState, TaskStatus, TopicStatus,
    failover::Step,
    status::{OpenTransaction, SourceStatus, TakenOver, TakenOverPartition, UnselectedTopic},
    verdict::judge,
};
use gnomon_partition::Offsets;

/// The status now. `shared` is absent for a link that was never reconciled.
pub(crate) fn of(
    image: &Image,
    link: &Link,
    shared: Option<&LinkShared>,
    site: &dyn Site,
) -> LinkStatus {
    let (site_name, broker_id) = image
        .site
        .as_ref()
        .map_or(("", -1), |site| (site.name.as_str(), site.broker_id));
    let mut topics: Vec<TopicStatus> = image
        .topics_of(link.id)
        .map(|topic| topic_status(topic, shared, site))
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let contact_seconds = shared.and_then(|shared| {
        let reach = shared.reach.lock();
        Some(reach.as_ref()?.silent_seconds(site.now().mono.0))
    });
    let verdict = shared.zip(contact_seconds).map(|(shared, seconds)| {
        let longest = shared.silence_ms() as f64 / 1_000.0;
        judge(&topics, Some(seconds).filter(|seconds| *seconds > longest))
    });
    let unselected = link
        .unselected
        .iter()
        .map(|(topic, reason)| UnselectedTopic {
            topic: topic.clone(),
            reason: reason.clone(),
        });
    LinkStatus {
        source: SourceStatus {
            bootstrap_servers: link.config.client.bootstrap_servers.clone(),
            site: link
                .source_site
                .as_ref()
                .map(|known| known.site.name.clone()),
            cluster_id: link.source_cluster_id.clone(),
            last_contact_ms: shared.and_then(|shared| *shared.last_contact_ms.lock()),
            contact_seconds,
        },
        verdict,
        fault: link.fault.clone(),
        topics,
        tasks: tasks(shared, broker_id),
        unselected: unselected.collect(),
        unselected_groups: shared
            .map(|shared| shared.unselected_groups.lock().clone())
            .unwrap_or_default(),
        taken_over: taken_over(image, link),
        warnings: shared
            .map(|shared| shared.warnings.lock().values().cloned().collect())
            .unwrap_or_default(),
        ..LinkStatus::of_config(&link.config, link.id.0, site_name, link.state)
    }
}

fn tasks(shared: Option<&LinkShared>, broker_id: i32) -> Vec<TaskStatus> {
    let seen = shared
        .map(|shared| shared.tasks.lock().clone())
        .unwrap_or_default();
    let one = |task: Task| {
        let seen = seen.get(&task);
        TaskStatus {
            task,
            state: seen.map_or(TaskState::NotRunning, |seen| seen.state),
            reason: seen.and_then(|seen| seen.reason.clone()),
            broker_id,
            last_success_ms: seen.and_then(|seen| seen.last_success_ms),
        }
    };
    [Task::SourceTopicSync, Task::ConsumerGroupShadowing]
        .map(one)
        .to_vec()
}

/// Own topics that this link's source has taken over.
fn taken_over(image: &Image, link: &Link) -> Vec<TakenOver> {
    let source = link.source_cluster_id.as_deref();
    let of_source = image
        .taken_over
        .iter()
        .filter(|(_, taken)| Some(taken.cluster_id.as_str()) == source);
    let one = |(id, taken): (&gnomon_protocol::ids::TopicId, &gnomon_catalog::TakenOver)| {
        let cut = |(partition, offset): (&i32, &i64)| TakenOverPartition {
            partition: *partition,
            offset: *offset,
            epoch: taken.epochs.get(partition).copied().unwrap_or(-1),
        };
        Some(TakenOver {
            topic: image.topic(*id)?.name.clone(),
            by: taken.by.clone(),
            cluster_id: taken.cluster_id.clone(),
            link: taken.link.clone(),
            partitions: taken.cuts.iter().map(cut).collect(),
        })
    };
    of_source.filter_map(one).collect()
}

fn topic_status(topic: &Topic, shared: Option<&LinkShared>, site: &dyn Site) -> TopicStatus {
    let partitions = topic
        .indexes()
        .map(|index| partition_status(topic, index, shared, site))
        .collect();
    // Only topics that have or had a bond come here.
    let shadow = topic.shadow.as_ref();
    TopicStatus {
        name: topic.name.clone(),
        id: topic.id,
        source_topic_id: shadow.and_then(|shadow| shadow.source_topic_id),
        state: shadow.map_or(gnomon_links::TopicState::FailedOver, |shadow| shadow.state),
        reason: shadow.and_then(|shadow| shadow.reason.clone()),
        source_missing: shadow.is_some_and(|shadow| shadow.source_missing),
        step: shadow.and_then(|shadow| shadow.step).map(|step| {
            let step = match step {
                gnomon_catalog::FailoverStep::Fenced => Step::Fence,
                gnomon_catalog::FailoverStep::Cut => Step::Epoch,
            };
            step.label().to_owned()
        }),
        partitions,
        gaps: shadow.map(|shadow| shadow.gaps.clone()).unwrap_or_default(),
    }
}

fn partition_status(
    topic: &Topic,
    index: i32,
    shared: Option<&LinkShared>,
    site: &dyn Site,
) -> PartitionStatus {
    let recorded = topic.partition(index);
    let mut status = PartitionStatus {
        partition: index,
        leader_epoch: recorded.map_or(-1, |partition| partition.leader_epoch.0),
        cut: recorded
            .and_then(|partition| partition.cut)
            .map(|cut| cut.end),
        cut_epoch: recorded
            .and_then(|partition| partition.cut)
            .map(|cut| cut.epoch.0),
        ..PartitionStatus::default()
    };
    let handle = site.handle(topic.id, index);
    let offsets = handle
        .as_ref()
        .map_or(Offsets::default(), |handle| handle.offsets());
    (status.log_start, status.high_watermark) = (offsets.log_start, offsets.high_watermark);
    (status.last_stable_offset, status.end) = (offsets.last_stable, offsets.end);
    match handle {
        Ok(handle) => {
            let open = |txn: gnomon_partition::OpenTxn| OpenTransaction {
                producer_id: txn.producer_id,
                producer_epoch: txn.producer_epoch,
                first_offset: txn.first_offset,
                last_timestamp_ms: txn.last_timestamp_ms,
            };
            status.open_transactions = handle
                .control()
                .open_transactions()
                .into_iter()
                .map(open)
                .collect();
        }
        Err(unavailable) => status.error = Some(unavailable.to_string()),
    }
    let is_shadow = topic
        .shadow
        .as_ref()
        .is_some_and(|shadow| shadow.state.is_shadow());
    if let Some(shared) = shared {
        let shown = shared
            .progress_of((topic.id, index))
            .shown(site.now(), offsets);
        show(&mut status, shown, is_shadow);
    }
    status
}

/// Lag and stall are said of what still is a shadow; what was counted stays.
fn show(status: &mut PartitionStatus, shown: Shown, is_shadow: bool) {
    if let Some(source) = shown.source {
        status.source_log_start = Some(source.log_start);
        status.source_high_watermark = Some(source.high_watermark);
        status.source_last_stable_offset = Some(source.last_stable);
        status.source_seen_ms = Some(source.at.wall.0);
    }
    status.counters = shown.counters;
    status.bytes_per_second = shown.bytes_per_second;
    if is_shadow {
        status.lag = shown.lag;
        status.last_caught_up_ms = shown.last_caught_up_ms;
        status.stalled_seconds = shown.stalled_seconds;
        status.silent_seconds = shown.silent_seconds;
        status.error = status.error.take().or(shown.error);
    }
}

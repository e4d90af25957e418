//! OffsetFetch, key 9, versions 1-9.
//!
//! Behaviour
//! - What was committed on an earlier topic of the name counts as nothing.
//! - Nothing committed is offset -1, epoch -1 and empty metadata, without an error.
//! - From version 2 no topics means all.
//! - Very many partitions are looked up in several steps of the group's machine.
//!
//! Version notes
//! - Version 8 asks for many groups at once (KIP-709); errors then stand with their group.
//! - `require_stable` (version 7) changes nothing: without transactional commits every offset is
//!   stable.

use super::{Pace, distinct, text, topic_name};
use crate::{
    config::limits::GROUP_STEP_ELEMENTS_MAX, context::RequestContext, error_code::Refusal,
};
use gnomon_groups::{
    Event, Fetch, FetchedPartition, FetchedTopic, GroupError, Name, OffsetSelection,
};
use gnomon_protocol::messages::{
    GroupId, OffsetFetchRequest, OffsetFetchResponse,
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};

const MANY_SINCE: i16 = 8;
const ERROR_SINCE: i16 = 2;

/// Answers groups' committed positions.
pub async fn handle(context: RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.version >= MANY_SINCE {
        let (mut pace, mut groups) = (Pace::default(), Vec::new());
        let asked = distinct(request.groups, &mut pace, |group| group.group_id.clone());
        for group in asked.await {
            let topics = match group.topics {
                Some(topics) => {
                    let topics = topics.into_iter();
                    let topics =
                        topics.map(|topic| (Name::from(&*topic.name.0), topic.partition_indexes));
                    Some(each_once(topics, &mut pace).await)
                }
                None => None,
            };
            groups.push(of_group(&context, group.group_id, topics).await);
        }
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let asked = match request.topics {
        Some(topics) => {
            let topics = topics.into_iter();
            let topics = topics.map(|topic| (Name::from(&*topic.name.0), topic.partition_indexes));
            Some(each_once(topics, &mut Pace::default()).await)
        }
        None => None,
    };
    match fetch(&context, &request.group_id, asked.clone()).await {
        Ok(topics) => {
            OffsetFetchResponse::default().with_topics(topics.into_iter().map(old_topic).collect())
        }
        Err(error) if context.version >= ERROR_SINCE => {
            OffsetFetchResponse::default().with_error_code(error.code().code())
        }
        Err(error) => {
            let failed = |(name, partitions): (Name, Vec<i32>)| {
                let partition = |index| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(-1)
                        .with_metadata(Some(text("")))
                        .with_error_code(error.code().code())
                };
                OffsetFetchResponseTopic::default()
                    .with_name(topic_name(&name))
                    .with_partitions(partitions.into_iter().map(partition).collect())
            };
            OffsetFetchResponse::default()
                .with_topics(asked.unwrap_or_default().into_iter().map(failed).collect())
        }
    }
}

/// No partition twice: each brings its metadata along.
async fn each_once(
    topics: impl Iterator<Item = (Name, Vec<i32>)>,
    pace: &mut Pace,
) -> Vec<(Name, Vec<i32>)> {
    let mut once = Vec::new();
    for (name, indexes) in distinct(topics, pace, |(name, _)| name.clone()).await {
        let indexes = distinct(indexes, pace, |index| *index).await;
        once.push((name, indexes));
    }
    once
}

/// The same partitions in parts that the machine handles in one step each. A topic may be in
/// several.
fn in_steps(topics: Vec<(Name, Vec<i32>)>) -> Vec<Vec<(Name, Vec<i32>)>> {
    let (mut steps, mut step, mut room) = (Vec::new(), Vec::new(), GROUP_STEP_ELEMENTS_MAX);
    for (name, indexes) in topics {
        let mut rest = &indexes[..];
        loop {
            if room == 0 {
                steps.push(std::mem::take(&mut step));
                room = GROUP_STEP_ELEMENTS_MAX;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            step.push((name.clone(), now.to_vec()));
            // A topic without partitions is an element, too.
            room -= now.len().max(1);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }
    steps.push(step);
    steps
}

async fn of_group(
    context: &RequestContext,
    group: GroupId,
    topics: Option<Vec<(Name, Vec<i32>)>>,
) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default();
    match fetch(context, &group, topics).await {
        Ok(topics) => response
            .with_group_id(group)
            .with_topics(topics.into_iter().map(topic).collect()),
        Err(error) => response
            .with_group_id(group)
            .with_error_code(error.code().code()),
    }
}

async fn fetch(
    context: &RequestContext,
    group: &GroupId,
    topics: Option<Vec<(Name, Vec<i32>)>>,
) -> Result<Vec<FetchedTopic>, GroupError> {
    let group = Name::from(&*group.0);
    let all = topics.is_none();
    let mut topics = match topics {
        None => look_up(context, &group, OffsetSelection::All).await?,
        Some(asked) => {
            let mut found: Vec<FetchedTopic> = Vec::new();
            for step in in_steps(asked) {
                for topic in look_up(context, &group, OffsetSelection::Partitions(step)).await? {
                    match found.last_mut() {
                        Some(last) if last.topic == topic.topic => {
                            last.partitions.extend(topic.partitions);
                        }
                        _ => found.push(topic),
                    }
                }
            }
            found
        }
    };
    // A planted bug.
    gnomon_failpoints::fail_point!("show_offsets_of_deleted_topics", |_| Ok(std::mem::take(
        &mut topics
    )));
    // Looked at after the machine has answered: what it knows of was committed on topics that this
    // image has, or that are gone.
    let image = context.image();
    let mut pace = Pace::default();
    for topic in &mut topics {
        pace.steps(topic.partitions.len()).await;
        let id = image.names.get(&*topic.topic).copied();
        for partition in &mut topic.partitions {
            partition.committed = partition
                .committed
                .take()
                .filter(|committed| committed.is_on(id));
        }
        if all {
            topic
                .partitions
                .retain(|partition| partition.committed.is_some());
        }
    }
    if all {
        topics.retain(|topic| !topic.partitions.is_empty());
    }
    Ok(topics)
}

async fn look_up(
    context: &RequestContext,
    group: &Name,
    which: OffsetSelection,
) -> Result<Vec<FetchedTopic>, GroupError> {
    let event = Event::Fetch(Fetch {
        group: group.clone(),
        which,
    });
    let reply = context.services.groups.submit(group, event).await?;
    Ok(reply.into_fetched()?.topics)
}

/// Offset, leader epoch and metadata as the protocol has them.
fn position(partition: FetchedPartition) -> (i32, i64, i32, String) {
    match partition.committed {
        Some(committed) => (
            partition.partition,
            committed.offset,
            committed.leader_epoch,
            committed.metadata.to_string(),
        ),
        None => (partition.partition, -1, -1, String::new()),
    }
}

fn topic(topic: FetchedTopic) -> OffsetFetchResponseTopics {
    let partition = |partition| {
        let (index, offset, epoch, metadata) = position(partition);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(text(metadata)))
    };
    OffsetFetchResponseTopics::default()
        .with_name(topic_name(&topic.topic))
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn old_topic(topic: FetchedTopic) -> OffsetFetchResponseTopic {
    let partition = |partition| {
        let (index, offset, epoch, metadata) = position(partition);
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(text(metadata)))
    };
    OffsetFetchResponseTopic::default()
        .with_name(topic_name(&topic.topic))
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_request_is_cut_into_steps_that_lose_nothing() {
        let many = GROUP_STEP_ELEMENTS_MAX as i32;
        let topics: Vec<(Name, Vec<i32>)> = vec![
            ("a".into(), (0..many - 1).collect()),
            ("b".into(), vec![]),
            ("c".into(), vec![]),
            ("d".into(), (0..2 * many + 7).collect()),
            ("e".into(), vec![1]),
        ];
        let steps = in_steps(topics.clone());
        let mut joined: Vec<(Name, Vec<i32>)> = Vec::new();
        for (name, indexes) in steps.iter().flatten().cloned() {
            match joined.last_mut() {
                Some((last, all)) if *last == name => all.extend(indexes),
                _ => joined.push((name, indexes)),
            }
        }
        assert_eq!(joined, topics);
        for step in &steps {
            let elements: usize = step.iter().map(|(_, indexes)| indexes.len().max(1)).sum();
            assert!(elements <= GROUP_STEP_ELEMENTS_MAX, "{elements}");
        }
        assert_eq!(steps.len(), 4);
    }
}

//! Consumer groups from the outside: which there are, who is in them, and what they have committed.

use crate::{Call, Client, ClientError, Topics, offsets::TopicPartition};
use gnomon_protocol::{
    ids::{LeaderEpoch, Offset},
    messages::{
        DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
        OffsetFetchResponse, TopicName,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestGroup,
    },
    wire::StrBytes,
};
use std::collections::BTreeMap;

/// Groups named in one OffsetFetch: answers hold every offset of each.
const GROUPS_PER_FETCH: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: Offset,
    /// [`LeaderEpoch::NONE`] when the committer did not say.
    pub leader_epoch: LeaderEpoch,
    pub metadata: Option<String>,
}

/// Committed offsets of one group.
pub type GroupOffsets = BTreeMap<TopicPartition, CommittedOffset>;

/// A group in ListGroups. State and type are empty from peers too old to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub protocol_type: String,
    pub state: String,
    pub group_type: String,
}

/// A group in DescribeGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    pub state: String,
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

/// A member in DescribeGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
}

impl Client {
    /// All groups of the cluster, gathered from every broker.
    pub async fn list_groups(&self) -> Result<BTreeMap<String, ListedGroup>, ClientError> {
        let metadata = self.metadata(Topics::None, false).await?;
        let mut found = BTreeMap::new();
        for node in metadata.brokers.keys() {
            let response = self.ask(*node, ListGroupsRequest::default()).await?;
            if response.error_code != 0 {
                return Err(ClientError::refused(
                    ListGroupsRequest::NAME,
                    format!("broker {node}"),
                    response.error_code,
                    None,
                ));
            }
            found.extend(response.groups.into_iter().map(|group| {
                let listed = ListedGroup {
                    protocol_type: group.protocol_type.to_string(),
                    state: group.group_state.to_string(),
                    group_type: group.group_type.to_string(),
                };
                (group.group_id.0.to_string(), listed)
            }));
        }
        Ok(found)
    }

    /// State and members of one group, from its coordinator.
    pub async fn describe_group(&self, group: &str) -> Result<DescribedGroup, ClientError> {
        let node = self.coordinator(group).await?;
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let Some(answer) = self.ask(node, request).await?.groups.into_iter().next() else {
            return Err(ClientError::Missing {
                api: DescribeGroupsRequest::NAME,
                subject: group.to_owned(),
            });
        };
        self.check(
            DescribeGroupsRequest::NAME,
            group,
            answer.error_code,
            answer.error_message.as_deref(),
        )?;
        let member =
            |m: &gnomon_protocol::messages::describe_groups_response::DescribedGroupMember| {
                DescribedMember {
                    member_id: m.member_id.to_string(),
                    instance_id: m.group_instance_id.as_ref().map(|id| id.to_string()),
                    client_id: m.client_id.to_string(),
                    client_host: m.client_host.to_string(),
                }
            };
        Ok(DescribedGroup {
            state: answer.group_state.to_string(),
            protocol: answer.protocol_data.to_string(),
            members: answer.members.iter().map(member).collect(),
        })
    }

    /// Everything that many groups have committed, in as few requests as the peer allows (KIP-709).
    /// A group that fails has its error beside it.
    pub async fn fetch_group_offsets(
        &self,
        groups: &[String],
    ) -> Result<BTreeMap<String, Result<GroupOffsets, ClientError>>, ClientError> {
        let mut found = BTreeMap::new();
        let mut by_node: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for (group, coordinator) in self.coordinators(groups).await? {
            match coordinator {
                Ok(node) => by_node.entry(node).or_default().push(group),
                Err(error) => drop(found.insert(group, Err(error))),
            }
        }
        for (node, groups) in by_node {
            if let Err(error) = self.fetch_from(node, &groups, &mut found).await {
                self.forget_coordinators();
                // One coordinator that does not answer is not everybody's.
                for group in groups {
                    found.entry(group).or_insert_with(|| Err(error.clone()));
                }
            }
        }
        Ok(found)
    }

    async fn fetch_from(
        &self,
        node: i32,
        groups: &[String],
        found: &mut BTreeMap<String, Result<GroupOffsets, ClientError>>,
    ) -> Result<(), ClientError> {
        let conn = self.broker(node).await?;
        let many = conn.version::<OffsetFetchRequest>()? >= 8;
        for chunk in groups.chunks(if many { GROUPS_PER_FETCH } else { 1 }) {
            let one = |group: &String| {
                OffsetFetchRequestGroup::default()
                    .with_group_id(group_id(group))
                    .with_member_epoch(-1)
                    .with_topics(None)
            };
            let request = if many {
                OffsetFetchRequest::default().with_groups(chunk.iter().map(one).collect())
            } else {
                OffsetFetchRequest::default()
                    .with_group_id(group_id(&chunk[0]))
                    .with_topics(None)
            };
            let response = conn.call(request, self.config().request_timeout).await?;
            let answers = if many {
                of_many(response)
            } else {
                vec![of_one(chunk[0].clone(), response)]
            };
            for (group, code, offsets) in answers {
                let checked = self.check(OffsetFetchRequest::NAME, &group, code, None);
                found.insert(group, checked.map(|()| offsets));
            }
        }
        Ok(())
    }

    /// Commits offsets as an administrator does: outside of any generation, so only a group without
    /// live members takes it.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &GroupOffsets,
    ) -> Result<BTreeMap<TopicPartition, Option<i16>>, ClientError> {
        let node = self.coordinator(group).await?;
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, index), committed) in offsets {
            topics.entry(topic).or_default().push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(*index)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch.0)
                    .with_committed_metadata(committed.metadata.clone().map(StrBytes::from_string)),
            );
        }
        let topic = |(name, partitions): (&str, _)| {
            let name = TopicName(StrBytes::from_string(name.to_owned()));
            OffsetCommitRequestTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(group))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(topics.into_iter().map(topic).collect());
        let response = self.ask(node, request).await?;
        let partitions = response.topics.into_iter().flat_map(|topic| {
            let name = topic.name.0.to_string();
            topic.partitions.into_iter().map(move |p| {
                (
                    (name.clone(), p.partition_index),
                    crate::metadata::error(p.error_code),
                )
            })
        });
        Ok(partitions.collect())
    }

    async fn coordinator(&self, group: &str) -> Result<i32, ClientError> {
        let missing = || ClientError::Missing {
            api: "FindCoordinator",
            subject: group.to_owned(),
        };
        self.coordinators(&[group.to_owned()])
            .await?
            .remove(group)
            .ok_or_else(missing)?
    }

    /// An error of a group may mean that its coordinator moved.
    fn check(
        &self,
        api: &'static str,
        group: &str,
        code: i16,
        message: Option<&str>,
    ) -> Result<(), ClientError> {
        if code == 0 {
            return Ok(());
        }
        self.forget_coordinators();
        Err(ClientError::refused(api, group, code, message))
    }
}

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

/// Offsets that were never committed are answered as `-1`, and partitions in trouble with an error:
/// neither is an offset.
fn committed(
    offsets: &mut GroupOffsets,
    topic: &str,
    (index, error): (i32, i16),
    (offset, epoch): (Offset, i32),
    metadata: Option<&StrBytes>,
) {
    if error == 0 && offset >= 0 {
        let metadata = metadata.map(|text| text.to_string());
        offsets.insert(
            (topic.to_owned(), index),
            CommittedOffset {
                offset,
                leader_epoch: LeaderEpoch(epoch),
                metadata,
            },
        );
    }
}

fn of_many(response: OffsetFetchResponse) -> Vec<(String, i16, GroupOffsets)> {
    let one =
        |group: gnomon_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup| {
            let mut offsets = GroupOffsets::new();
            for topic in &group.topics {
                for p in &topic.partitions {
                    let at = (p.committed_offset, p.committed_leader_epoch);
                    committed(
                        &mut offsets,
                        &topic.name.0,
                        (p.partition_index, p.error_code),
                        at,
                        p.metadata.as_ref(),
                    );
                }
            }
            (group.group_id.0.to_string(), group.error_code, offsets)
        };
    response.groups.into_iter().map(one).collect()
}

fn of_one(group: String, response: OffsetFetchResponse) -> (String, i16, GroupOffsets) {
    let mut offsets = GroupOffsets::new();
    for topic in &response.topics {
        for p in &topic.partitions {
            let at = (p.committed_offset, p.committed_leader_epoch);
            committed(
                &mut offsets,
                &topic.name.0,
                (p.partition_index, p.error_code),
                at,
                p.metadata.as_ref(),
            );
        }
    }
    (group, response.error_code, offsets)
}

//! ListGroups, DescribeGroups and DeleteGroups.
//!
//! A group exists if it is living in `Soft`, or has a record, or has offsets. As in Kafka,
//! protocol, metadata and assignments are shown for stable groups only: in a rebalance the earlier
//! ones no longer hold.

use crate::{
    DeleteGroups, Deletion, Describe, Described, DescribedMember, Durable, GroupError, GroupState,
    List, Listed, Name, Record, Reply, Soft,
    classic::{Group, TimerKey},
    offsets::{Room, forget_group},
};
use bytes::Bytes;
use std::collections::BTreeSet;

pub(crate) fn list(durable: &Durable, soft: &Soft, request: &List) -> Reply {
    let all: BTreeSet<&Name> = soft
        .groups
        .keys()
        .chain(durable.groups.keys())
        .chain(durable.offsets.keys())
        .collect();
    let listed = all.into_iter().map(|name| {
        let (state, protocol_type) = soft
            .groups
            .get(name)
            .map_or((GroupState::Empty, None), |group| {
                (group.state, group.protocol_type.clone())
            });
        Listed {
            group: name.clone(),
            protocol_type: protocol_type.unwrap_or_else(|| "".into()),
            state,
        }
    });
    let wanted = |listed: &Listed| {
        request
            .states
            .as_ref()
            .is_none_or(|states| states.contains(&listed.state))
    };
    Reply::Listed(listed.filter(wanted).collect())
}

pub(crate) fn describe(durable: &Durable, soft: &Soft, request: Describe) -> Reply {
    let described = request
        .groups
        .into_iter()
        .map(|name| match soft.groups.get(&name) {
            Some(group) => describe_group(name, group),
            None => {
                let state = durable
                    .offsets
                    .contains_key(&name)
                    .then_some(GroupState::Empty);
                Described {
                    group: name,
                    state,
                    protocol_type: "".into(),
                    protocol: "".into(),
                    members: Vec::new(),
                }
            }
        });
    Reply::Described(described.collect())
}

fn describe_group(name: Name, group: &Group) -> Described {
    let stable = group.state == GroupState::Stable;
    let members = group
        .members
        .iter()
        .map(|(member_id, member)| DescribedMember {
            member_id: member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable {
                group.metadata_of(member)
            } else {
                Bytes::new()
            },
            assignment: if stable {
                member.assignment.clone()
            } else {
                Bytes::new()
            },
        });
    Described {
        group: name,
        state: Some(group.state),
        protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
        protocol: group
            .protocol
            .clone()
            .filter(|_| stable)
            .unwrap_or_else(|| "".into()),
        members: members.collect(),
    }
}

/// The records that delete the groups, and a reply with one result for each.
pub(crate) fn delete(
    durable: &Durable,
    soft: &mut Soft,
    request: DeleteGroups,
) -> (Vec<Record>, Reply) {
    let (mut records, mut gone, mut deletions) = (Vec::new(), BTreeSet::new(), Vec::new());
    let room = Room::new();
    for name in request.groups {
        let alive = soft.groups.get(&name);
        let result = if alive.is_some_and(|group| group.state != GroupState::Empty) {
            Err(GroupError::NotEmpty)
        } else if alive.is_none() && !durable.offsets.contains_key(&name) || gone.contains(&name) {
            Err(GroupError::NotFound)
        } else if !forget_group(durable, &name, &room, &mut records) {
            Err(GroupError::DeletionUnfinished)
        } else {
            forget_living(soft, &name);
            gone.insert(name.clone());
            Ok(())
        };
        deletions.push(Deletion {
            group: name,
            result,
        });
    }
    (records, Reply::Deleted(deletions))
}

/// Takes a group without members out of the living ones. The ids that it has given out and that
/// were not used go with it: as in Kafka they do not keep a group from being deleted, or a client
/// that asks for ids and never joins could prevent that.
fn forget_living(soft: &mut Soft, name: &Name) {
    let Some(group) = soft.groups.remove(name) else {
        return;
    };
    for (member_id, number) in group.pending {
        soft.pending.remove(number);
        soft.timers
            .cancel(&TimerKey::Session(name.clone(), member_id));
    }
}

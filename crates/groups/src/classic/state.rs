//! A living group: its members, the protocols that they have in common, and the checks of a
//! request's identity and generation.
//!
//! Invariants: `leader` is a member, whenever there are members; `static_ids` names exactly the
//! members with an instance id; `offers` counts the members that support each protocol; a pending
//! id is not a member; joins are parked in PreparingRebalance only, and syncs in
//! CompletingRebalance only. `check` verifies them in tests.
//!
//! A group may have a hundred thousand members: no function here visits all members for each of
//! many members or protocols.

use super::member::Member;
use crate::{GroupError, GroupState, GroupValue, JoinedMember, MemberValue, Name, Protocol};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub state: GroupState,
    /// The first join phase of an empty group is held open for more members.
    pub initial: Option<InitialDelay>,
    pub generation: i32,
    pub protocol_type: Option<Name>,
    pub protocol: Option<Name>,
    pub leader: Option<Name>,
    pub members: BTreeMap<Name, Member>,
    /// The number of members that support each protocol, so that a join does not visit all members.
    offers: BTreeMap<Name, usize>,
    /// Instance id to member id.
    pub static_ids: BTreeMap<Name, Name>,
    /// Ids that were given out and not yet used in a join (KIP-394), each with its number in
    /// [`super::Pending`].
    pub pending: BTreeMap<Name, u64>,
    /// Members of this generation that have not synced.
    pub unsynced: BTreeSet<Name>,
    /// Wall time in milliseconds of the last change of state that is written.
    pub since_ms: i64,
    /// Whether `Durable` has it, or will have it with the records of this step.
    pub written: bool,
}

/// The state of a first join phase that is held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitialDelay {
    /// The time by which the phase may still be extended.
    pub left_ms: u64,
    /// Whether a member has joined since the present delay began: then the phase is extended.
    pub member_came: bool,
}

impl Group {
    /// The group that was written: stable with all its members, or empty.
    pub fn loaded(value: &GroupValue) -> Group {
        let mut group = Group {
            state: if value.members.is_empty() {
                GroupState::Empty
            } else {
                GroupState::Stable
            },
            generation: value.generation,
            protocol_type: Some(value.protocol_type.clone()).filter(|name| !name.is_empty()),
            protocol: value.protocol.clone(),
            since_ms: value.since_ms,
            written: true,
            ..Group::default()
        };
        for member in &value.members {
            group.add(
                member.member_id.clone(),
                Member::loaded(member, value.protocol.as_ref()),
            );
        }
        if let Some(leader) = value
            .leader
            .as_ref()
            .filter(|leader| group.members.contains_key(*leader))
        {
            group.leader = Some(leader.clone());
        }
        group
    }

    /// The group as it is written.
    pub fn value(&self) -> GroupValue {
        let members = self.members.iter().map(|(member_id, member)| MemberValue {
            member_id: member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: self.metadata_of(member),
            assignment: member.assignment.clone(),
        });
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since_ms: self.since_ms,
            members: members.collect(),
        }
    }

    /// Whether the group has no members and no ids that were given out.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty() && self.state == GroupState::Empty
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// The member's input for the assignor of the chosen protocol.
    pub fn metadata_of(&self, member: &Member) -> Bytes {
        self.protocol
            .as_deref()
            .and_then(|protocol| member.metadata(protocol))
            .cloned()
            .unwrap_or_default()
    }

    /// All members, as the leader sees them.
    pub fn joined_members(&self) -> Vec<JoinedMember> {
        let seen = |(member_id, member): (&Name, &Member)| JoinedMember {
            member_id: member_id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: self.metadata_of(member),
        };
        self.members.iter().map(seen).collect()
    }

    /// Adds a member. The first member of a group is its leader.
    pub fn add(&mut self, member_id: Name, member: Member) {
        self.leader.get_or_insert_with(|| member_id.clone());
        if let Some(instance_id) = &member.instance_id {
            self.static_ids
                .insert(instance_id.clone(), member_id.clone());
        }
        count_offers(&mut self.offers, &member.protocols, true);
        self.members.insert(member_id, member);
    }

    /// Takes a member out. If it was the leader, the caller has another one elected
    /// ([`Group::elect_if_leaderless`]), once for all members that it takes out.
    pub fn remove(&mut self, member_id: &Name) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        count_offers(&mut self.offers, &member.protocols, false);
        self.unsynced.remove(member_id);
        if let Some(instance_id) = &member.instance_id {
            self.static_ids.remove(instance_id);
        }
        Some(member)
    }

    /// Elects another leader if the leader is gone: a member that has joined, if there is one,
    /// because its answer can tell it.
    pub fn elect_if_leaderless(&mut self) {
        if let Some(leader) = &self.leader
            && !self.members.contains_key(leader)
        {
            let waiting = self
                .members
                .iter()
                .find(|(_, member)| member.join.is_some());
            self.leader = waiting
                .or_else(|| self.members.first_key_value())
                .map(|(id, _)| id.clone());
        }
    }

    /// Replaces the protocols of a member; returns the earlier ones.
    pub fn set_protocols(
        &mut self,
        member_id: &Name,
        protocols: Vec<Protocol>,
    ) -> Option<Vec<Protocol>> {
        let member = self.members.get_mut(member_id)?;
        count_offers(&mut self.offers, &member.protocols, false);
        count_offers(&mut self.offers, &protocols, true);
        Some(std::mem::replace(&mut member.protocols, protocols))
    }

    /// Checks that the member exists, and that the instance id, if there is one, belongs to it.
    pub fn validate(&self, member_id: &Name, instance_id: Option<&Name>) -> Result<(), GroupError> {
        let unknown = || GroupError::UnknownMember {
            member_id: member_id.clone(),
        };
        if let Some(instance_id) = instance_id {
            match self.static_ids.get(instance_id) {
                None => return Err(unknown()),
                Some(owner) if owner != member_id => {
                    return Err(GroupError::FencedInstance {
                        instance_id: instance_id.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(unknown())
        }
    }

    /// Whether a request's generation is the group's.
    pub fn validate_generation(&self, requested: i32) -> Result<(), GroupError> {
        if requested == self.generation {
            Ok(())
        } else {
            Err(GroupError::IllegalGeneration {
                requested,
                current: self.generation,
            })
        }
    }

    /// Whether somebody with these protocols could be in the group, in place of `member_id` if that
    /// one is.
    pub fn validate_protocols(
        &self,
        member_id: &str,
        protocol_type: &str,
        protocols: &[Protocol],
    ) -> Result<(), GroupError> {
        let refuse = |why| Err(GroupError::InconsistentProtocol { why });
        if protocol_type.is_empty() || protocols.is_empty() {
            return refuse("the protocol type or the list of protocols is empty");
        }
        let own = self.members.get(member_id);
        let others = self.members.len() - usize::from(own.is_some());
        if others == 0 {
            return Ok(());
        }
        if self.protocol_type.as_deref() != Some(protocol_type) {
            return refuse("the group has another protocol type");
        }
        let can_all_others = |protocol: &Protocol| {
            let offered = self.offers.get(&protocol.name).copied().unwrap_or(0);
            let by_own = own.is_some_and(|own| own.metadata(&protocol.name).is_some());
            offered - usize::from(by_own) == others
        };
        if protocols.iter().any(can_all_others) {
            Ok(())
        } else {
            refuse("no protocol is supported by every member")
        }
    }

    /// Each member votes for the first of its protocols that all can do; of equal ones the leader
    /// prefers.
    pub fn choose_protocol(&self) -> Option<Name> {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let all_can = |name: &&Name| self.offers.get(*name) == Some(&self.members.len());
        let preferred = leader.protocols.iter().map(|protocol| &protocol.name);
        let common: Vec<&Name> = preferred.filter(all_can).collect();
        let mut votes: BTreeMap<&Name, usize> = common.iter().map(|name| (*name, 0)).collect();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|protocol| &protocol.name);
            if let Some(first) = names.find(|name| votes.contains_key(name)) {
                *votes.entry(first).or_default() += 1;
            }
        }
        let most = votes.values().max()?;
        let chosen = common.iter().find(|name| votes.get(**name) == Some(most));
        chosen.map(|name| (*name).clone())
    }

    /// The size of the group's record without this member, in bytes, estimated from above.
    pub fn bytes_without(&self, member_id: &str) -> usize {
        self.members
            .iter()
            .filter(|(id, _)| &***id != member_id)
            .map(|(id, member)| id.len() + member.bytes())
            .sum()
    }

    /// The longest rebalance timeout among the members: the maximum duration of a join phase.
    pub fn rebalance_timeout_ms(&self) -> u64 {
        self.members
            .values()
            .map(|member| super::positive(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(1)
    }

    /// Whether all members have joined and no id that was given out is unused.
    pub fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.join.is_some())
    }

    /// The first broken invariant, for tests.
    pub fn check(&self) -> Result<(), String> {
        let leads = self
            .leader
            .as_ref()
            .is_none_or(|leader| self.members.contains_key(leader));
        let statics: BTreeMap<_, _> = self
            .members
            .iter()
            .filter_map(|(id, member)| {
                member
                    .instance_id
                    .clone()
                    .map(|instance| (instance, id.clone()))
            })
            .collect();
        let mut offers = BTreeMap::new();
        for member in self.members.values() {
            count_offers(&mut offers, &member.protocols, true);
        }
        let parked = self.members.values().all(|member| {
            (member.join.is_none() || self.state == GroupState::PreparingRebalance)
                && (member.sync.is_none() || self.state == GroupState::CompletingRebalance)
        });
        let broken = match () {
            () if !leads || self.leader.is_none() != self.members.is_empty() => {
                "the leader is not a member"
            }
            () if statics != self.static_ids => "static ids are not those of the members",
            () if offers != self.offers => "protocols are not counted as members offer them",
            () if self.pending.keys().any(|id| self.members.contains_key(id)) => {
                "a pending member is a member"
            }
            () if !self.unsynced.iter().all(|id| self.members.contains_key(id)) => {
                "somebody unsynced is not a member"
            }
            () if !parked => "a reply is parked in the wrong state",
            () if self.state == GroupState::Empty && !self.members.is_empty() => {
                "an empty group has members"
            }
            () if matches!(
                self.state,
                GroupState::CompletingRebalance | GroupState::Stable
            ) && self.protocol.is_none() =>
            {
                "no protocol"
            }
            () => return Ok(()),
        };
        Err(format!("{broken}: {self:?}"))
    }
}

/// Counts the protocols of a member in or out; a protocol that it lists twice counts once.
fn count_offers(offers: &mut BTreeMap<Name, usize>, protocols: &[Protocol], comes: bool) {
    let names: BTreeSet<&Name> = protocols.iter().map(|protocol| &protocol.name).collect();
    for name in names {
        if comes {
            *offers.entry(name.clone()).or_default() += 1;
        } else if let Some(count) = offers.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                offers.remove(name);
            }
        }
    }
}

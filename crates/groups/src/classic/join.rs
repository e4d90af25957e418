//! JoinGroup.
//!
//! - A dynamic member without an id gets one and has to join again with it (version 4 and later,
//!   KIP-394). The id is kept pending for a session timeout.
//! - One protocol must be supported by all members, and the protocol type must be the group's.
//! - In a stable group a join of the leader, or one that changes the member's protocols, starts a
//!   rebalance. Any other join is answered at once with the present generation: clients that missed
//!   an answer, and some that always join again, rely on that.
//! - A static member that joins without an id replaces its instance: `static_member.rs`.

use super::{
    Turn,
    member::{Member, said_bytes},
};
use crate::{GroupError, GroupState, Join, Joined, Name, Reply};
use gnomon_machine::ReplyToken;

impl Turn<'_> {
    pub fn join(&mut self, request: Join, token: ReplyToken) {
        if let Err(error) = self.admit(&request) {
            if matches!(error, GroupError::GroupMaxSize { .. }) {
                self.drop_late(&request);
            }
            return self.refuse(token, error);
        }
        if !request.member_id.is_empty() {
            return self.join_known(request, token);
        }
        if let Some(instance_id) = request.instance_id.clone() {
            return match self.group.static_ids.get(&instance_id).cloned() {
                Some(before) => self.replace_static(before, request, token),
                None => self.add_member(request.fresh_member_id.clone(), request, token),
            };
        }
        if request.require_known_member_id {
            let member_id = request.fresh_member_id;
            self.expect_member(member_id.clone());
            self.set_session(&member_id, request.session_timeout_ms);
            return self.refuse(token, GroupError::MemberIdRequired { member_id });
        }
        self.add_member(request.fresh_member_id.clone(), request, token);
    }

    /// Checks the size of the group and that one protocol is common to all.
    fn admit(&self, request: &Join) -> Result<(), GroupError> {
        let group = &*self.group;
        let replaced = request
            .instance_id
            .as_ref()
            .filter(|_| request.member_id.is_empty())
            .and_then(|id| group.static_ids.get(id));
        let member_id = replaced.unwrap_or(&request.member_id);
        let known = group.members.get(member_id);
        // In a join phase only members that have joined count: if the maximum was lowered, the last
        // to join lose their places.
        let full = match group.state {
            GroupState::Empty => false,
            GroupState::PreparingRebalance => {
                known.is_none_or(|member| member.join.is_none())
                    && group
                        .members
                        .values()
                        .filter(|member| member.join.is_some())
                        .count()
                        >= self.config.members_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                known.is_none() && group.members.len() >= self.config.members_max
            }
        };
        if full {
            return Err(GroupError::GroupMaxSize {
                max: self.config.members_max,
            });
        }
        let (bytes, max) = (
            group.bytes_without(member_id) + said_bytes(&request.protocols),
            self.config.batch_bytes_max,
        );
        if bytes > max {
            return Err(GroupError::GroupTooLarge { bytes, max });
        }
        group.validate_protocols(member_id, &request.protocol_type, &request.protocols)
    }

    /// A known member that finds the group full in a join phase loses its place, as in Kafka:
    /// otherwise the members that have joined would wait for it until its session or the rebalance
    /// timeout ends.
    fn drop_late(&mut self, request: &Join) {
        let valid = self
            .group
            .validate(&request.member_id, request.instance_id.as_ref());
        if valid.is_ok() {
            self.drop_member(&request.member_id);
            self.group.elect_if_leaderless();
            self.complete_join_if_all_came();
        }
    }

    fn join_known(&mut self, request: Join, token: ReplyToken) {
        let member_id = request.member_id.clone();
        if request.instance_id.is_none() && self.group.pending.contains_key(&member_id) {
            return self.add_member(member_id, request, token);
        }
        if let Err(error) = self
            .group
            .validate(&member_id, request.instance_id.as_ref())
        {
            return self.refuse(token, error);
        }
        let unchanged = self.group.members[&member_id].protocols == request.protocols;
        match self.group.state {
            GroupState::CompletingRebalance if unchanged => self.answer_join(&member_id, token),
            GroupState::Stable if unchanged && !self.group.is_leader(&member_id) => {
                self.renew_session(&member_id);
                self.answer_join(&member_id, token);
            }
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => self.update_member(member_id, request, token),
            GroupState::Empty => self.refuse(token, GroupError::UnknownMember { member_id }),
        }
    }

    fn add_member(&mut self, member_id: Name, request: Join, token: ReplyToken) {
        if self.group.members.is_empty() {
            self.group.protocol_type = Some(request.protocol_type);
        }
        if let Some(initial) = &mut self.group.initial {
            initial.member_came = true;
        }
        let member = Member {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Default::default(),
            join: Some(token),
            sync: None,
            new: true,
        };
        self.forget_expected(&member_id);
        self.group.add(member_id.clone(), member);
        // The member does not know its id before the answer and sends no heartbeats: its session is
        // the time of its first join, so that joins of clients that gave up do not pile up.
        let timeout_ms = i32::try_from(self.config.new_member_join_timeout_ms).unwrap_or(i32::MAX);
        self.set_session(&member_id, timeout_ms);
        self.rebalance();
    }

    /// A known member joins again, or a new process has just taken over its instance.
    pub(super) fn update_member(&mut self, member_id: Name, request: Join, token: ReplyToken) {
        self.group.protocol_type = Some(request.protocol_type);
        self.group.set_protocols(&member_id, request.protocols);
        let Some(member) = self.group.members.get_mut(&member_id) else {
            return;
        };
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        if let Some(before) = member.join.take() {
            self.refuse(before, GroupError::RebalanceInProgress);
        }
        // First, because a rebalance that begins now refuses the parked sync of this member, if
        // any. Then its join is parked.
        self.prepare_if_settled();
        if let Some(member) = self.group.members.get_mut(&member_id) {
            member.join = Some(token);
        }
        self.complete_join_if_all_came();
    }

    /// Answers with the present generation: the leader gets all members, the others none.
    pub(super) fn answer_join(&mut self, member_id: &Name, token: ReplyToken) {
        let group = &*self.group;
        let members = if group.is_leader(member_id) {
            group.joined_members()
        } else {
            Vec::new()
        };
        let leader = group.leader.clone().unwrap_or_else(|| "".into());
        let joined = self.joined(member_id.clone(), leader, members);
        self.reply(token, Reply::Joined(joined));
    }

    pub(super) fn joined(
        &self,
        member_id: Name,
        leader: Name,
        members: Vec<crate::JoinedMember>,
    ) -> Joined {
        Joined {
            generation: self.group.generation,
            protocol_type: self.group.protocol_type.clone(),
            protocol: self.group.protocol.clone(),
            leader,
            member_id,
            members,
            skip_assignment: false,
        }
    }
}

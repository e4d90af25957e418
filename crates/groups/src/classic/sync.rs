//! SyncGroup.
//!
//! - Followers wait for the leader. When its assignments come, the group is written, and all are
//!   answered once that is durable.
//! - A member that the leader left out gets zero bytes, never null.
//! - From version 5 on the client names the protocol type and the protocol that it was told, and
//!   they must be the group's.

use super::Turn;
use crate::{GroupError, GroupState, Reply, Sync, Synced};
use bytes::Bytes;
use gnomon_machine::ReplyToken;

impl Turn<'_> {
    pub fn sync(&mut self, request: Sync, token: ReplyToken) {
        if let Err(error) = self.validate_sync(&request) {
            return self.refuse(token, error);
        }
        let (bytes, max) = (self.bytes_with(&request), self.config.batch_bytes_max);
        if self.group.state == GroupState::CompletingRebalance && bytes > max {
            return self.refuse(token, GroupError::GroupTooLarge { bytes, max });
        }
        let member_id = &request.member_id;
        match self.group.state {
            GroupState::Empty => self.refuse(
                token,
                GroupError::UnknownMember {
                    member_id: member_id.clone(),
                },
            ),
            GroupState::PreparingRebalance => self.refuse(token, GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                self.group.unsynced.remove(member_id);
                if let Some(before) = self
                    .group
                    .members
                    .get_mut(member_id)
                    .and_then(|member| member.sync.replace(token))
                {
                    self.refuse(before, GroupError::RebalanceInProgress);
                }
                if self.group.is_leader(member_id) {
                    self.become_stable(request.assignments);
                }
            }
            GroupState::Stable => {
                self.group.unsynced.remove(member_id);
                self.renew_session(member_id);
                let assignment = self.group.members[member_id].assignment.clone();
                self.answer_sync(token, assignment);
            }
        }
    }

    fn validate_sync(&self, request: &Sync) -> Result<(), GroupError> {
        let group = &*self.group;
        group.validate(&request.member_id, request.instance_id.as_ref())?;
        group.validate_generation(request.generation)?;
        if request.protocol_type.is_some() && request.protocol_type != group.protocol_type {
            return Err(GroupError::InconsistentProtocol {
                why: "the group has another protocol type",
            });
        }
        if request.protocol.is_some() && request.protocol != group.protocol {
            return Err(GroupError::InconsistentProtocol {
                why: "the group has chosen another protocol",
            });
        }
        Ok(())
    }

    /// The size of the group's record with these assignments, in bytes. Assignments for unknown
    /// members are ignored.
    fn bytes_with(&self, request: &Sync) -> usize {
        let known = request
            .assignments
            .iter()
            .filter(|(member_id, _)| self.group.members.contains_key(member_id));
        self.group.bytes_without("") + known.map(|(_, assignment)| assignment.len()).sum::<usize>()
    }

    fn become_stable(&mut self, assignments: Vec<(crate::Name, Bytes)>) {
        for (member_id, assignment) in assignments {
            if let Some(member) = self.group.members.get_mut(&member_id) {
                member.assignment = assignment;
            }
        }
        self.group.state = GroupState::Stable;
        self.group.since_ms = self.now.wall.0;
        self.write();
        let waiting: Vec<_> = self
            .group
            .members
            .iter_mut()
            .filter_map(|(id, member)| {
                member
                    .sync
                    .take()
                    .map(|token| (id.clone(), token, member.assignment.clone()))
            })
            .collect();
        for (member_id, token, assignment) in waiting {
            self.renew_session(&member_id);
            self.answer_sync(token, assignment);
        }
    }

    fn answer_sync(&mut self, token: ReplyToken, assignment: Bytes) {
        let (protocol_type, protocol) = (
            self.group.protocol_type.clone(),
            self.group.protocol.clone(),
        );
        self.reply(
            token,
            Reply::Synced(Synced {
                protocol_type,
                protocol,
                assignment,
            }),
        );
    }
}

//! Heartbeat, and the end of a session.
//!
//! - In a join phase a heartbeat is answered with REBALANCE_IN_PROGRESS; while assignments are
//!   awaited it is an ordinary one.
//! - The session of a member with a parked request does not end, because it cannot send heartbeats
//!   meanwhile. A new member is the exception: it has a fixed time for its first join, so that
//!   joins of clients that gave up do not stay for ever.

use super::Turn;
use crate::{GroupError, GroupState, Heartbeat, Name, Reply};
use gnomon_machine::ReplyToken;

impl Turn<'_> {
    pub fn heartbeat(&mut self, request: Heartbeat, token: ReplyToken) {
        let valid = self
            .group
            .validate(&request.member_id, request.instance_id.as_ref())
            .and_then(|()| self.group.validate_generation(request.generation));
        if let Err(error) = valid {
            return self.refuse(token, error);
        }
        self.renew_session(&request.member_id);
        match self.group.state {
            GroupState::PreparingRebalance => self.refuse(token, GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => self.reply(token, Reply::Alive),
            GroupState::Empty => self.refuse(
                token,
                GroupError::UnknownMember {
                    member_id: request.member_id,
                },
            ),
        }
    }

    /// A member, joined or pending, has been silent for its session timeout.
    pub fn session_deadline(&mut self, member_id: &Name) {
        if self.forget_expected(member_id) {
            return self.complete_join_if_all_came();
        }
        let Some(member) = self.group.members.get(member_id) else {
            return;
        };
        let waiting = member.join.is_some() || member.sync.is_some();
        if waiting && !member.new {
            return;
        }
        self.drop_member(member_id);
        self.group.elect_if_leaderless();
        self.rebalance();
    }

    /// Takes a member out and refuses its parked requests with UNKNOWN_MEMBER_ID, so that it joins
    /// again. The caller has a leader elected once it has dropped all that go together, and decides
    /// whether a rebalance follows.
    pub(super) fn drop_member(&mut self, member_id: &Name) {
        self.end_session(member_id);
        let Some(member) = self.group.remove(member_id) else {
            return;
        };
        for token in member.join.into_iter().chain(member.sync) {
            self.refuse(
                token,
                GroupError::UnknownMember {
                    member_id: member_id.clone(),
                },
            );
        }
    }
}

//! LeaveGroup: members by id, static ones also by instance id alone (version 3 and later, KIP-345).
//!
//! All members of a request leave in one rebalance. A static member does not send LeaveGroup when
//! it closes, so that it can restart without a rebalance; an administrator sends it to remove one.

use super::Turn;
use crate::{GroupError, Leave, LeaveMember, Left, Name, Reply};
use gnomon_machine::ReplyToken;

/// The kind of place that a leaving member had: only a member's causes a rebalance.
enum Gone {
    Member,
    Pending,
}

impl Turn<'_> {
    pub fn leave(&mut self, request: Leave, token: ReplyToken) {
        let (mut left, mut members_gone) = (Vec::new(), false);
        for LeaveMember {
            member_id,
            instance_id,
        } in request.members
        {
            let gone = self.leave_one(&member_id, instance_id.as_ref());
            members_gone |= matches!(gone, Ok(Gone::Member));
            left.push(Left {
                member_id,
                instance_id,
                result: gone.map(|_| ()),
            });
        }
        self.group.elect_if_leaderless();
        self.reply(token, Reply::Left(left));
        if members_gone {
            self.rebalance();
        } else {
            self.complete_join_if_all_came();
        }
    }

    fn leave_one(
        &mut self,
        member_id: &Name,
        instance_id: Option<&Name>,
    ) -> Result<Gone, GroupError> {
        if instance_id.is_none() && self.forget_expected(member_id) {
            self.end_session(member_id);
            return Ok(Gone::Pending);
        }
        let named = instance_id
            .filter(|_| member_id.is_empty())
            .and_then(|id| self.group.static_ids.get(id));
        let member_id = named.unwrap_or(member_id).clone();
        self.group.validate(&member_id, instance_id)?;
        self.drop_member(&member_id);
        Ok(Gone::Member)
    }
}

//! A static member joins without its id: its process has restarted (KIP-345, KIP-814).
//!
//! The new process gets a new member id and the place of its instance; requests with the old id are
//! fenced. In a stable group with the same subscription nothing else happens: the assignments stand
//! and nobody rebalances. While assignments are awaited the leader may have been given the old id,
//! so there is a rebalance.
//!
//! The subscription is the same if the same protocol is chosen and, for consumers, the topics are
//! the same. The rest of a consumer's metadata lists the partitions that it owned, which a
//! restarted process does not know. The metadata of other protocol types is compared byte by byte.

use super::Turn;
use crate::{GroupError, GroupState, Join, Name, Reply, offsets::subscribed_topics};
use bytes::Bytes;
use gnomon_machine::ReplyToken;

impl Turn<'_> {
    pub(super) fn replace_static(&mut self, before: Name, request: Join, token: ReplyToken) {
        let member_id = request.fresh_member_id.clone();
        let leader_before = self.group.leader.clone().unwrap_or_else(|| "".into());
        let chosen_before = self.group.protocol.clone();
        let Some(subscription_before) = self.take_over(&before, &member_id) else {
            return self.refuse(token, GroupError::UnknownMember { member_id: before });
        };
        self.set_session(&member_id, request.session_timeout_ms);
        if self.group.state != GroupState::Stable {
            return self.update_member(member_id, request, token);
        }

        let skip = request.supports_skip_assignment;
        let mut same = false;
        let protocols = request.protocols.clone();
        if let Some(protocols_before) = self.group.set_protocols(&member_id, protocols) {
            same = self.group.choose_protocol() == chosen_before && {
                let now = self
                    .group
                    .members
                    .get(&member_id)
                    .map(|member| self.group.metadata_of(member))
                    .unwrap_or_default();
                same_subscription(&request.protocol_type, &subscription_before, &now)
            };
            if !same {
                self.group.set_protocols(&member_id, protocols_before);
            }
        }
        if !same {
            return self.update_member(member_id, request, token);
        }
        if let Some(member) = self.group.members.get_mut(&member_id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
            (member.client_id, member.client_host) = (request.client_id, request.client_host);
        }
        self.write();
        // A client that does not know `skip_assignment` must not learn that it leads, or it would
        // assign without a rebalance.
        let leads = self.group.is_leader(&member_id);
        let leader = if skip {
            self.group.leader.clone().unwrap_or_default()
        } else {
            leader_before
        };
        let members = if skip && leads {
            self.group.joined_members()
        } else {
            Vec::new()
        };
        let mut joined = self.joined(member_id, leader, members);
        joined.skip_assignment = skip && leads;
        self.reply(token, Reply::Joined(joined));
    }

    /// Gives the member a new id and returns its metadata for the chosen protocol. Parked requests
    /// with the old id are fenced.
    fn take_over(&mut self, before: &Name, member_id: &Name) -> Option<Bytes> {
        let led = self.group.is_leader(before);
        let unsynced = self.group.unsynced.contains(before);
        self.end_session(before);
        let mut member = self.group.remove(before)?;
        let subscription = self.group.metadata_of(&member);
        let instance_id = member.instance_id.clone()?;
        for token in member.join.take().into_iter().chain(member.sync.take()) {
            self.refuse(
                token,
                GroupError::FencedInstance {
                    instance_id: instance_id.clone(),
                },
            );
        }
        member.new = false;
        self.group.add(member_id.clone(), member);
        if led {
            self.group.leader = Some(member_id.clone());
        }
        if unsynced {
            self.group.unsynced.insert(member_id.clone());
        }
        Some(subscription)
    }
}

fn same_subscription(protocol_type: &str, before: &Bytes, now: &Bytes) -> bool {
    before == now
        || protocol_type == "consumer"
            && match (subscribed_topics(before), subscribed_topics(now)) {
                (Some(before), Some(now)) => before == now,
                (Some(_) | None, None) | (None, Some(_)) => false,
            }
}

//! The begin and the end of a rebalance.
//!
//! A join phase waits for all known members, at most for the longest rebalance timeout among them.
//! The first join phase of an empty group is held open for `group.initial.rebalance.delay.ms`, and
//! longer while members keep joining, so that members that start together cause one rebalance. At
//! the end of the phase members that have not joined are dropped, except static members, which keep
//! their place until their session ends. Then the next generation begins, and its members have the
//! same time to sync.

use super::{TimerKey, Turn, positive, state::InitialDelay};
use crate::{GroupError, GroupState};

impl Turn<'_> {
    /// Starts a rebalance, or completes the join phase under way if all members have joined.
    pub(super) fn rebalance(&mut self) {
        self.prepare_if_settled();
        self.complete_join_if_all_came();
    }

    /// Opens a join phase, unless one is open.
    pub(super) fn prepare_if_settled(&mut self) {
        if self.group.state == GroupState::PreparingRebalance {
            return;
        }
        self.fail_parked_syncs();
        self.timers.cancel(&TimerKey::Sync(self.name.clone()));
        self.group.unsynced.clear();
        let first = self.group.state == GroupState::Empty;
        self.group.state = GroupState::PreparingRebalance;
        let timeout_ms = self.group.rebalance_timeout_ms();
        let delay_ms = self.config.initial_rebalance_delay_ms;
        if first && delay_ms > 0 {
            self.group.initial = Some(InitialDelay {
                left_ms: timeout_ms.saturating_sub(delay_ms),
                member_came: false,
            });
            self.set_join_deadline(delay_ms);
        } else {
            self.set_join_deadline(timeout_ms);
        }
    }

    pub(super) fn complete_join_if_all_came(&mut self) {
        if self.group.state == GroupState::PreparingRebalance
            && self.group.initial.is_none()
            && self.group.all_joined()
        {
            self.complete_join();
        }
    }

    /// The time of the join phase has passed.
    pub fn join_deadline(&mut self) {
        if let Some(initial) = &mut self.group.initial
            && initial.member_came
            && initial.left_ms > 0
        {
            let delay_ms = self
                .config
                .initial_rebalance_delay_ms
                .min(initial.left_ms)
                .max(1);
            *initial = InitialDelay {
                left_ms: initial.left_ms - delay_ms,
                member_came: false,
            };
            return self.set_join_deadline(delay_ms);
        }
        if self.group.state == GroupState::PreparingRebalance {
            self.complete_join();
        }
    }

    /// The time to sync has passed: members of the generation that have not synced are dropped.
    pub fn sync_deadline(&mut self) {
        let late = std::mem::take(&mut self.group.unsynced);
        if late.is_empty()
            || !matches!(
                self.group.state,
                GroupState::CompletingRebalance | GroupState::Stable
            )
        {
            return;
        }
        for member_id in &late {
            self.drop_member(member_id);
        }
        self.group.elect_if_leaderless();
        self.rebalance();
    }

    fn set_join_deadline(&mut self, after_ms: u64) {
        self.timers.set(
            TimerKey::Join(self.name.clone()),
            self.now.mono.after(after_ms),
        );
    }

    fn complete_join(&mut self) {
        self.timers.cancel(&TimerKey::Join(self.name.clone()));
        self.group.initial = None;
        let late: Vec<_> = self
            .group
            .members
            .iter()
            .filter(|(_, member)| member.join.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in &late {
            self.drop_member(member_id);
        }
        self.group.elect_if_leaderless();
        if self.group.members.is_empty() {
            return self.become_empty();
        }
        if !self.elect_leader_that_came() {
            // Only static members are left, and none has joined: the phase goes on until one joins
            // or their sessions end.
            return self.set_join_deadline(self.group.rebalance_timeout_ms());
        }
        self.begin_generation();
    }

    fn elect_leader_that_came(&mut self) -> bool {
        let came = |group: &super::Group, id: &crate::Name| {
            group
                .members
                .get(id)
                .is_some_and(|member| member.join.is_some())
        };
        if self
            .group
            .leader
            .as_ref()
            .is_some_and(|leader| came(self.group, leader))
        {
            return true;
        }
        let other = self
            .group
            .members
            .iter()
            .find(|(_, member)| member.join.is_some())
            .map(|(id, _)| id.clone());
        let found = other.is_some();
        self.group.leader = other.or_else(|| self.group.leader.take());
        found
    }

    fn begin_generation(&mut self) {
        self.raise_generation();
        self.group.protocol = self.group.choose_protocol();
        self.group.state = GroupState::CompletingRebalance;
        let members: Vec<_> = self.group.members.keys().cloned().collect();
        for member_id in &members {
            let Some(member) = self.group.members.get_mut(member_id) else {
                continue;
            };
            let (token, session_ms) = (member.join.take(), member.session_timeout_ms);
            (member.new, member.assignment) = (false, Default::default());
            self.set_session(member_id, session_ms);
            if let Some(token) = token {
                self.answer_join(member_id, token);
            }
        }
        self.group.unsynced = members.into_iter().collect();
        let at = self.now.mono.after(self.group.rebalance_timeout_ms());
        self.timers.set(TimerKey::Sync(self.name.clone()), at);
    }

    /// The group is written, so that the retention of its offsets starts, unless no client was ever
    /// told a generation.
    fn become_empty(&mut self) {
        let told = self.group.generation > 0;
        self.raise_generation();
        self.group.state = GroupState::Empty;
        (self.group.protocol, self.group.leader) = (None, None);
        self.group.since_ms = self.now.wall.0;
        if told || self.group.written {
            self.write();
        }
    }

    fn raise_generation(&mut self) {
        self.group.generation = self.group.generation.checked_add(1).unwrap_or(1);
    }

    /// Refuses parked syncs, so that the members join again. Their sessions start again: while they
    /// waited they could not send heartbeats.
    fn fail_parked_syncs(&mut self) {
        let waiting: Vec<_> = self
            .group
            .members
            .iter_mut()
            .filter_map(|(id, member)| {
                member
                    .sync
                    .take()
                    .map(|token| (id.clone(), token, member.session_timeout_ms))
            })
            .collect();
        for (member_id, token, session_ms) in waiting {
            let at = self.now.mono.after(positive(session_ms));
            self.timers
                .set(TimerKey::Session(self.name.clone(), member_id), at);
            self.refuse(token, GroupError::RebalanceInProgress);
        }
    }
}

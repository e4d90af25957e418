//! The state that a restart loses: living groups with their parked replies, and timers.
//!
//! Invariant: every group of `Durable` is here too, a stable one with the members that were
//! written. `Groups::led` establishes that; afterwards a group is written and changed in one step.

use crate::{
    GroupConfig, Groups, Name,
    classic::{Group, Pending, TimerKey, Turn},
};
use gnomon_machine::{Effects, Now, Timers};
use std::collections::BTreeMap;

/// The living groups of one partition of `__consumer_offsets`.
#[derive(Debug, Default)]
pub struct Soft {
    pub(crate) config: GroupConfig,
    pub(crate) groups: BTreeMap<Name, Group>,
    pub(crate) timers: Timers<TimerKey>,
    pub(crate) pending: Pending,
}

impl Soft {
    /// An empty one with these settings.
    pub fn new(config: GroupConfig) -> Soft {
        Soft {
            config,
            ..Soft::default()
        }
    }

    /// Changes the settings. Deadlines that are set already stay.
    pub fn set_config(&mut self, config: GroupConfig) {
        self.config = config;
    }

    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The number of ids that were given out and not yet used, and their memory in bytes,
    /// estimated.
    pub fn pending(&self) -> (usize, usize) {
        self.pending.size()
    }

    /// The number of living groups and of their members, for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (
            self.groups.len(),
            self.groups.values().map(|group| group.members.len()).sum(),
        )
    }

    /// Lets `act` read and change one living group; `None` if there is no such group. A group that
    /// has nobody left and was never written is forgotten afterwards: nothing refers to it.
    pub(crate) fn with_group<R>(
        &mut self,
        now: Now,
        name: &Name,
        effects: &mut Effects<Groups>,
        act: impl FnOnce(&mut Turn) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        let result = act(&mut Turn {
            name: name.clone(),
            group,
            config: &self.config,
            timers: &mut self.timers,
            pending: &mut self.pending,
            now,
            effects,
        });
        if group.is_idle() && !group.written {
            self.groups.remove(name);
        }
        Some(result)
    }

    /// The pending member to forget next, if there are too many after one was added to `group`: the
    /// oldest of the group, or the oldest of all.
    pub(crate) fn excess_pending(&self, group: &Name) -> Option<(u64, Name, Name)> {
        let too_many = self
            .groups
            .get(group)
            .filter(|group| group.pending.len() > self.config.pending_members_max);
        match too_many {
            Some(group) => self.pending.get(*group.pending.values().min()?),
            None => self.pending.oldest_above(self.config.pending_bytes_max),
        }
    }
}

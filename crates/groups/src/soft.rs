//! What does not survive: the living groups with their parked replies, and the timers.
//!
//! Invariant: every group of `Durable` is here too, a stable one with the members that were
//! written; `led` makes it so.

use crate::{
    GroupConfig, Name,
    classic::{Group, Pending},
};
use gnomon_machine::Timers;
use std::collections::BTreeMap;

/// The living groups of one partition of `__consumer_offsets`.
#[derive(Debug, Default)]
pub struct Soft {
    pub(crate) config: GroupConfig,
    pub(crate) groups: BTreeMap<Name, Group>,
    pub(crate) timers: Timers<TimerKey>,
    pub(crate) pending: Pending,
}

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// A group's join phase ends, with whoever has come.
    Join(Name),
    /// Members of a new generation that have not synced are dropped.
    Sync(Name),
    /// A member (second) of a group (first), joined or pending, has been silent for too long.
    Session(Name, Name),
    /// Expired offsets are looked for.
    Expiry,
}

impl Soft {
    /// An empty one with these settings.
    pub fn new(config: GroupConfig) -> Soft {
        Soft {
            config,
            ..Soft::default()
        }
    }

    /// Changes the settings; what is under way keeps the deadlines that it has.
    pub fn set_config(&mut self, config: GroupConfig) {
        self.config = config;
    }

    /// The settings.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// How many members were told an id and have not joined with it, and how many bytes they take,
    /// about.
    pub fn pending(&self) -> (usize, usize) {
        self.pending.size()
    }

    /// How many groups are alive here, and how many members they have: for metrics.
    pub fn counts(&self) -> (usize, usize) {
        (
            self.groups.len(),
            self.groups.values().map(|group| group.members.len()).sum(),
        )
    }
}

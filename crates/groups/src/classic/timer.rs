//! The keys of the machine's timers: one deadline for each key.

use crate::Name;

/// The purpose of a deadline. Deadlines of the same moment are met in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// A group's join phase ends, with the members that have joined.
    Join(Name),
    /// Members of a new generation that have not synced are dropped.
    Sync(Name),
    /// A member (second) of a group (first), joined or pending, has been silent for its session
    /// timeout.
    Session(Name, Name),
    /// Expired offsets are looked for.
    Expiry,
}

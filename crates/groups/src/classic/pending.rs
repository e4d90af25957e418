//! Ids that were given out and not yet used in a join (KIP-394), of all groups of a partition, by
//! age.
//!
//! Kafka keeps each until its session times out, however many there are. Here the oldest are
//! forgotten when a group has too many or when all of them take too much memory: a client that
//! joins with a forgotten id is answered with UNKNOWN_MEMBER_ID and gets another one. Refusing new
//! ids instead would let one client lock out all others.
//!
//! Invariant: it has exactly the ids in `pending` of the living groups.

use crate::Name;
use std::collections::BTreeMap;

/// The memory of a pending id without its names, in bytes, estimated: its entries here, in its
/// group and among the timers, and the group that may exist for it alone.
const PENDING_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Group and member id, by a number that rises.
    by_age: BTreeMap<u64, (Name, Name)>,
    next: u64,
    bytes: usize,
}

/// The memory of a pending id with these names, in bytes.
fn bytes_of(group: &Name, member_id: &Name) -> usize {
    PENDING_BYTES + group.len() + member_id.len()
}

impl Pending {
    /// Adds one; returns its number.
    pub fn add(&mut self, group: Name, member_id: Name) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += bytes_of(&group, &member_id);
        self.by_age.insert(number, (group, member_id));
        number
    }

    pub fn remove(&mut self, number: u64) {
        if let Some((group, member_id)) = self.by_age.remove(&number) {
            self.bytes -= bytes_of(&group, &member_id);
        }
    }

    /// How many there are, and how much they take.
    pub fn size(&self) -> (usize, usize) {
        (self.by_age.len(), self.bytes)
    }

    /// All of them: number, group and member id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Name, &Name)> {
        self.by_age
            .iter()
            .map(|(number, (group, member_id))| (*number, group, member_id))
    }

    /// One by its number, which comes first in the answer.
    pub fn get(&self, number: u64) -> Option<(u64, Name, Name)> {
        let (group, member_id) = self.by_age.get(&number)?;
        Some((number, group.clone(), member_id.clone()))
    }

    /// The oldest, if all together take more than `max` bytes.
    pub fn oldest_above(&self, max: usize) -> Option<(u64, Name, Name)> {
        let (number, _) = self.by_age.first_key_value()?;
        (self.bytes > max).then(|| self.get(*number))?
    }
}

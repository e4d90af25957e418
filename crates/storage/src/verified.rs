//! Which bytes of a segment were verified, and which of them are damaged.

use gnomon_protocol::ids::Offset;

/// The verified ranges of a segment, and the damage in them.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// Byte ranges that were looked at: ascending, neither touching nor overlapping.
    ranges: Vec<(u64, u64)>,
    /// Ascending.
    damage: Vec<Damage>,
}

/// Bytes `[start, stop)` hold no batch that can be trusted; offsets `[from, to)` are gone with
/// them. Without bytes: they are missing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub start: u64,
    pub stop: u64,
    pub from: Offset,
    pub to: Offset,
}

impl Verified {
    pub fn covers(&self, position: u64) -> bool {
        let behind = self.ranges.partition_point(|(start, _)| *start <= position);
        behind > 0 && position < self.ranges[behind - 1].1
    }

    /// Whether all of `[start, stop)` was found right, and no bytes are missing at `stop`.
    pub fn is_clean(&self, start: u64, stop: u64) -> bool {
        let behind = self.ranges.partition_point(|(s, _)| *s <= start);
        behind > 0
            && stop <= self.ranges[behind - 1].1
            && !self
                .damage
                .iter()
                .any(|d| d.start <= stop && d.stop >= start)
    }

    pub fn damage_at(&self, position: u64) -> Option<Damage> {
        self.damage
            .iter()
            .find(|damage| (damage.start..damage.stop).contains(&position))
            .copied()
    }

    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    pub fn add_range(&mut self, start: u64, stop: u64) {
        if start >= stop {
            return;
        }
        let first = self.ranges.partition_point(|(_, end)| *end < start);
        let behind = self.ranges.partition_point(|(begin, _)| *begin <= stop);
        let merged = self.ranges[first..behind]
            .iter()
            .fold((start, stop), |all, range| {
                (all.0.min(range.0), all.1.max(range.1))
            });
        self.ranges.splice(first..behind, [merged]);
    }

    pub fn add_damage(&mut self, damage: Damage) {
        let at = self.damage.partition_point(|d| d.start < damage.start);
        self.damage.insert(at, damage);
    }

    pub fn truncate(&mut self, len: u64) {
        self.ranges.retain_mut(|range| {
            range.1 = range.1.min(len);
            range.0 < range.1
        });
        self.damage.retain(|damage| damage.start < len);
    }
}

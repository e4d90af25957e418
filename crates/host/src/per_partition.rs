//! A lock for each partition that is in use right now, and for no other.
//!
//! Invariant: all users of a partition at one time share its lock; it is removed with the last of
//! them.

use dashmap::DashMap;
use gnomon_partition::PartitionId;
use std::{ops::Deref, sync::Arc};

/// The locks.
pub struct PerPartition<L>(Arc<DashMap<PartitionId, Arc<L>>>);

/// A share in a partition's lock, to be kept for longer than any guard of it.
pub struct Share<L> {
    all: Arc<DashMap<PartitionId, Arc<L>>>,
    id: PartitionId,
    /// There until it is dropped.
    lock: Option<Arc<L>>,
}

impl<L> Default for PerPartition<L> {
    fn default() -> PerPartition<L> {
        PerPartition(Arc::default())
    }
}

impl<L: Default> PerPartition<L> {
    /// The partition's lock.
    pub fn of(&self, id: PartitionId) -> Share<L> {
        let lock = self.0.entry(id).or_default().clone();
        Share {
            all: self.0.clone(),
            id,
            lock: Some(lock),
        }
    }
}

impl<L> Deref for Share<L> {
    type Target = Arc<L>;

    fn deref(&self) -> &Arc<L> {
        self.lock.as_ref().expect("only dropping takes it")
    }
}

impl<L> Drop for Share<L> {
    fn drop(&mut self) {
        // Released before the map is looked at: of two shares that are dropped at once, the second
        // finds only the map's own reference.
        drop(self.lock.take());
        self.all
            .remove_if(&self.id, |_, lock| Arc::strong_count(lock) == 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::ids::Uuid;
    use parking_lot::Mutex;
    use std::thread;

    fn partition(index: i32) -> PartitionId {
        PartitionId {
            topic_id: Uuid::from_u128(1),
            index,
        }
    }

    #[test]
    fn one_at_a_time_for_each_partition_and_nothing_is_left() {
        let locks = PerPartition::<Mutex<u32>>::default();
        let first = locks.of(partition(0));
        let guard = first.lock();
        assert!(locks.of(partition(0)).try_lock().is_none());
        assert!(
            locks.of(partition(1)).try_lock().is_some(),
            "another partition waits for nobody"
        );
        assert_eq!(locks.0.len(), 1);
        drop(guard);
        drop(first);
        assert_eq!(locks.0.len(), 0);
    }

    #[test]
    fn many_at_once_leave_nothing() {
        let locks = PerPartition::<Mutex<()>>::default();
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    for turn in 0..2_000 {
                        let share = locks.of(partition(turn % 3));
                        let _guard = share.lock();
                    }
                });
            }
        });
        assert_eq!(locks.0.len(), 0);
    }
}

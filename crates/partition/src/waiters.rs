//! Fetches that wait for something to happen on any of many partitions.
//!
//! One [`Waiter`] per fetch, registered with every partition it reads: registering is one push, an
//! event is one wake-up however many partitions it touches, and nobody unregisters: partitions
//! forget waiters that are gone when their list has doubled. Invariant: an event after the
//! registration is never missed, also if it comes before the waiter begins to wait.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Wakes a fetch that waits. Register first ([`crate::PartitionReader::watch`]), read then, wait
/// last.
#[derive(Clone, Debug, Default)]
pub struct Waiter(Arc<Notify>);

impl Waiter {
    /// One that no partition knows yet.
    pub fn new() -> Waiter {
        Waiter::default()
    }

    /// Resolves once something changed on a registered partition since the last call (or since
    /// registering): high watermark, last stable offset, log start, role, settings, closed or
    /// deleted. May resolve without a change. Cancel safe. For one task at a time.
    pub async fn changed(&self) {
        self.0.notified().await;
    }

    /// Wakes it from elsewhere: a session closed, the broker stops.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    waiters: Vec<Weak<Notify>>,
    sweep_at: usize,
}

/// The list is not swept while shorter than this.
const SWEEP_MIN: usize = 16;

impl Waiters {
    pub(crate) fn register(&self, waiter: &Waiter) {
        let mut list = self.0.lock();
        if list.waiters.len() >= list.sweep_at.max(SWEEP_MIN) {
            list.waiters.retain(|waiter| waiter.strong_count() > 0);
            list.sweep_at = 2 * list.waiters.len();
        }
        list.waiters.push(Arc::downgrade(&waiter.0));
    }

    /// Wakes all that still exist; they stay registered.
    pub(crate) fn wake(&self) {
        gnomon_failpoints::fail_point!("one_lost_wakeup", |_| ());
        self.0
            .lock()
            .waiters
            .retain(|waiter| match waiter.upgrade() {
                Some(waiter) => {
                    waiter.notify_one();
                    true
                }
                None => false,
            });
    }

    /// Those that still exist are another partition's from now on.
    pub(crate) fn move_to(&self, other: &Waiters) {
        let moved = std::mem::take(&mut self.0.lock().waiters);
        other
            .0
            .lock()
            .waiters
            .extend(moved.into_iter().filter(|waiter| waiter.strong_count() > 0));
    }

    /// Whether anyone waits, as far as is known.
    pub(crate) fn any(&self) -> bool {
        self.0
            .lock()
            .waiters
            .iter()
            .any(|waiter| waiter.strong_count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_before_the_wait_counts_and_the_gone_are_forgotten() {
        let (one, two) = (Waiters::default(), Waiters::default());
        let waiter = Waiter::new();
        one.register(&waiter);
        two.register(&waiter);
        two.wake();
        waiter.changed().await;
        one.wake();
        waiter.changed().await;
        for _ in 0..1_000 {
            one.register(&Waiter::new());
        }
        assert!(one.0.lock().waiters.len() <= SWEEP_MIN + 1);
        one.wake();
        assert_eq!(one.0.lock().waiters.len(), 1);
        drop(waiter);
        assert!(!one.any());
    }
}

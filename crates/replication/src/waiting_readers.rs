//! The partitions whose readers wait for an answer of the source. The broker adds to them, and one
//! task of the link (`tasks/queries.rs`) takes them.

use crate::assign::Key;
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::sync::Notify;

/// Partitions whose readers wait.
#[derive(Default)]
pub(crate) struct WaitingReaders {
    pub waiting: Mutex<BTreeSet<Key>>,
    pub news: Notify,
    /// Whether the last round got no answer.
    pub silent: AtomicBool,
}

impl WaitingReaders {
    /// A reader waits for the source's answer about this partition. Returns whether the source
    /// answered the last time.
    pub fn add(&self, key: Key) -> bool {
        self.waiting.lock().insert(key);
        self.news.notify_one();
        !self.silent.load(Ordering::Relaxed)
    }
}

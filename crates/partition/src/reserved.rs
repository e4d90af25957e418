//! Logs that grow have space reserved ahead of them; those that are not written any more give it
//! back.
//!
//! A partition is on the list from the append that reserved space until nothing was appended
//! between two looks at it. While the list is empty no work is done. `gnomon_storage` decides how
//! much is reserved, and the host how often the list is looked at.

use gnomon_protocol::ids::Offset;
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;

/// Partitions whose logs have space reserved. Clones are the same.
#[derive(Clone, Default)]
pub struct ReservedLogs(Arc<List>);

#[derive(Default)]
struct List {
    listed: Mutex<Vec<Listed>>,
    some: Notify,
}

/// A partition that may have space reserved.
pub(crate) trait Reserving: Send + Sync {
    /// Gives the space back if the log still ends at `end`; else returns where it ends now, for
    /// another look.
    fn release_if_idle(&self, end: Offset) -> Option<Offset>;
}

struct Listed {
    partition: Weak<dyn Reserving>,
    /// Where the log ended at the last look.
    end: Offset,
}

impl ReservedLogs {
    /// Puts a partition on the list, whose log ends at `end` and has space reserved.
    pub(crate) fn list(&self, partition: Weak<dyn Reserving>, end: Offset) {
        self.0.listed.lock().push(Listed { partition, end });
        self.0.some.notify_one();
    }

    /// Resolves when there are partitions on the list. Cancel safe. For one task.
    pub async fn some(&self) {
        while self.0.listed.lock().is_empty() {
            self.0.some.notified().await;
        }
    }

    /// Gives back what the logs hold that have not grown since the last call. Blocking.
    pub fn release_idle(&self) {
        let looked_at = std::mem::take(&mut *self.0.listed.lock());
        let still: Vec<Listed> = looked_at.into_iter().filter_map(Listed::look).collect();
        self.0.listed.lock().extend(still);
    }
}

impl Listed {
    /// `None` if there is no reason for another look.
    fn look(self) -> Option<Listed> {
        let end = self.partition.upgrade()?.release_if_idle(self.end)?;
        Some(Listed { end, ..self })
    }
}

impl fmt::Debug for ReservedLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReservedLogs")
            .field("partitions", &self.0.listed.lock().len())
            .finish()
    }
}

//! Logs that grow have space reserved ahead of them; those that are not written any more give it
//! back.
//!
//! A partition is on the list from the append that reserved space until nothing was appended
//! between two looks at it. While the list is empty nobody looks. How much is reserved is
//! `gnomon_storage`'s; how often somebody looks, the broker's.

use crate::state::{Inner, Writer};
use gnomon_protocol::ids::Offset;
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;

/// Partitions whose logs have space reserved. Clones are the same.
#[derive(Clone, Default)]
pub struct ReservedLogs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    listed: Mutex<Vec<Listed>>,
    some: Notify,
}

struct Listed {
    partition: Weak<Inner>,
    /// Where the log ended at the last look.
    end: Offset,
}

impl ReservedLogs {
    /// Behind an append: puts the partition on the list if space is reserved.
    pub(crate) fn note(&self, partition: &Arc<Inner>, writer: &mut Writer) {
        let Some(log) = writer
            .log
            .as_ref()
            .filter(|log| !writer.growing && log.has_reserved())
        else {
            return;
        };
        let end = log.end();
        writer.growing = true;
        self.0.listed.lock().push(Listed {
            partition: Arc::downgrade(partition),
            end,
        });
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
        let partition = self.partition.upgrade()?;
        let mut writer = partition.writer.lock();
        let open = writer.log.as_mut().filter(|log| log.closed().is_none());
        match open.map(|log| (log.end(), log)) {
            Some((end, _)) if end != self.end => return Some(Listed { end, ..self }),
            Some((_, log)) => log.release_reserved(),
            None => {}
        }
        writer.growing = false;
        None
    }
}

impl fmt::Debug for ReservedLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing")
            .field("partitions", &self.0.listed.lock().len())
            .finish()
    }
}

//! Replies that wait for a mark to pass an offset: acks=all for the high watermark, a flush for
//! what is flushed.
//!
//! Invariant: whatever is parked is released exactly once, when the mark passes it or when the
//! partition can no longer keep the promise ([`Lost`]); after a loss for good nothing can be parked
//! any more. The mark itself is `offsets.rs`'s.

use gnomon_protocol::ids::Offset;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use thiserror::Error;
use tokio::sync::oneshot;

/// Why an awaited offset will not become durable here, or not under this promise. The records may
/// exist all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    /// The partition was closed: a disk error, or a stop.
    #[error("the partition is closed: {why}")]
    Closed { why: Arc<str> },
    /// The partition was deleted.
    #[error("the partition was deleted")]
    Deleted,
    /// Others write it now.
    #[error("the partition's role changed")]
    RoleChanged,
}

/// Replies parked at one mark.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<Parked>);

#[derive(Debug, Default)]
struct Parked {
    waiting: BTreeMap<(Offset, u64), oneshot::Sender<Result<(), Lost>>>,
    next: u64,
    gone: Option<Lost>,
}

impl Acks {
    /// Parks until `offset` is reached, unless `reached` says that it is. `reached` runs under the
    /// lock that `release` takes after the mark moved, so that no move is missed.
    pub(crate) fn park(
        &self,
        offset: Offset,
        reached: impl FnOnce() -> bool,
    ) -> Result<Option<oneshot::Receiver<Result<(), Lost>>>, Lost> {
        let mut parked = self.0.lock();
        if reached() {
            return Ok(None);
        }
        if let Some(lost) = &parked.gone {
            return Err(lost.clone());
        }
        let (sender, receiver) = oneshot::channel();
        let key = (offset, parked.next);
        parked.next += 1;
        parked.waiting.insert(key, sender);
        Ok(Some(receiver))
    }

    /// The mark stands at `mark`.
    pub(crate) fn release(&self, mark: Offset) {
        let mut parked = self.0.lock();
        if parked
            .waiting
            .first_key_value()
            .is_none_or(|((offset, _), _)| *offset > mark)
        {
            return;
        }
        let still = parked.waiting.split_off(&(mark.saturating_add(1), 0));
        let reached = std::mem::replace(&mut parked.waiting, still);
        drop(parked);
        for sender in reached.into_values() {
            // A caller that went away needs no answer.
            let _ = sender.send(Ok(()));
        }
    }

    /// Fails everything parked; with `for_good`, everything that would come, too.
    pub(crate) fn fail(&self, lost: &Lost, for_good: bool) {
        let mut parked = self.0.lock();
        if for_good && parked.gone.is_none() {
            parked.gone = Some(lost.clone());
        }
        let all = std::mem::take(&mut parked.waiting);
        drop(parked);
        for sender in all.into_values() {
            let _ = sender.send(Err(lost.clone()));
        }
    }

    /// Whether anyone waits.
    pub(crate) fn any(&self) -> bool {
        self.0
            .lock()
            .waiting
            .values()
            .any(|sender| !sender.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_in_reach_failed_beyond() {
        let acks = Acks::default();
        assert!(acks.park(5, || true).unwrap().is_none());
        let mut five = acks.park(5, || false).unwrap().unwrap();
        let mut six = acks.park(6, || false).unwrap().unwrap();
        acks.release(4);
        assert!(five.try_recv().is_err());
        acks.release(5);
        assert_eq!(five.try_recv(), Ok(Ok(())));
        assert!(six.try_recv().is_err() && acks.any());
        acks.fail(&Lost::RoleChanged, false);
        assert_eq!(six.try_recv(), Ok(Err(Lost::RoleChanged)));
        let seven = acks.park(7, || false).unwrap();
        assert!(seven.is_some());
        acks.fail(&Lost::Deleted, true);
        assert_eq!(acks.park(8, || false).unwrap_err(), Lost::Deleted);
    }
}

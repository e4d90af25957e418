//! The last step of a clean stop: every partition is flushed and its checkpoint written, several at
//! a time, because most of the time goes into waiting for the disk.
//!
//! Invariant: it ends within [`CLOSE_ALL_MAX`], whatever the disk does. A partition that is not
//! closed by then loses nothing: the next start recovers it.

use gnomon_catalog::Image;
use gnomon_partition::{Handle, PartitionId};
use std::time::Duration;
use tokio::{
    task::JoinSet,
    time::{Instant, interval_at, sleep_until},
};
use tracing::warn;

/// For all partitions together; service managers usually wait for 30 s.
const CLOSE_ALL_MAX: Duration = Duration::from_secs(20);

/// Partitions that are closed at once.
const AT_ONCE: usize = 32;

/// How often a stop that takes its time says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Closes them. `image` has their names, for the log.
pub async fn close_all(image: &Image, open: Vec<(PartitionId, Handle)>) {
    let all = open.len();
    let mut left = open.into_iter();
    let mut closing = JoinSet::new();
    let mut closed = 0;
    let started = Instant::now();
    let mut progress = interval_at(started + PROGRESS_EVERY, PROGRESS_EVERY);
    loop {
        while closing.len() < AT_ONCE
            && let Some((id, handle)) = left.next()
        {
            closing.spawn(async move { (id, handle.close().await) });
        }
        tokio::select! {
            done = closing.join_next() => match done {
                None => return,
                Some(Ok((_, Ok(())))) => closed += 1,
                Some(Ok((id, Err(error)))) => {
                    closed += 1;
                    warn!(partition = name(image, id), "not closed cleanly: {error}");
                }
                Some(Err(panicked)) => warn!("not closed cleanly: {panicked}"),
            },
            _ = progress.tick() => {
                warn!("stopping: {closed} of {all} partitions are closed");
            }
            () = sleep_until(started + CLOSE_ALL_MAX) => {
                warn!(
                    "stopped with {closed} of {all} partitions closed: the disk was too slow for more; the next start recovers the others"
                );
                return;
            }
        }
    }
}

/// As an operator knows it.
fn name(image: &Image, id: PartitionId) -> String {
    match image.topic(id.topic_id) {
        Some(topic) => format!("{}-{}", topic.name, id.index),
        None => id.to_string(),
    }
}

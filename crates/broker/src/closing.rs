//! The last step of a clean stop: every partition is flushed and its checkpoint written, several at
//! a time, because most of the time goes into waiting for the disk.
//!
//! Invariant: it ends within [`CLOSE_ALL_MAX`], whatever the disk does. A partition that is not
//! closed by then loses nothing: the next start recovers it.

use gnomon_catalog::Image;
use gnomon_partition::{Handle, PartitionId, PartitionName};
use std::{fmt::Display, time::Duration};
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

/// Closes partitions. `image` has the names of their topics, for the log.
pub async fn close_all(image: &Image, open: Vec<(PartitionId, Handle)>) {
    let all = open.len();
    let closings = open.into_iter().map(|(id, handle)| {
        let topic = image.topic(id.topic_id).map(|topic| topic.name.clone());
        let name = PartitionName {
            topic: topic.map_or_else(|| "a deleted topic".into(), Into::into),
            index: id.index,
        };
        async move {
            handle
                .control()
                .close()
                .await
                .map_err(|error| (name, error))
        }
    });
    close_each(all, closings).await;
}

/// How a stop ended.
#[derive(Debug, PartialEq, Eq)]
struct Closed {
    /// Closed, or failed to close cleanly.
    done: usize,
    in_time: bool,
}

async fn close_each<E: Display + Send + 'static>(
    all: usize,
    closings: impl Iterator<
        Item = impl Future<Output = Result<(), (PartitionName, E)>> + Send + 'static,
    >,
) -> Closed {
    let mut left = closings;
    let mut closing = JoinSet::new();
    let mut done = 0;
    let started = Instant::now();
    let mut progress = interval_at(started + PROGRESS_EVERY, PROGRESS_EVERY);
    loop {
        while closing.len() < AT_ONCE
            && let Some(next) = left.next()
        {
            closing.spawn(next);
        }
        tokio::select! {
            closed = closing.join_next() => {
                let Some(closed) = closed else {
                    return Closed { done, in_time: true };
                };
                done += 1;
                match closed {
                    Ok(Ok(())) => {}
                    Ok(Err((PartitionName { topic, index }, error))) => {
                        warn!(%topic, partition = index, "not closed cleanly: {error}");
                    }
                    Err(panicked) => warn!("not closed cleanly: {panicked}"),
                }
            }
            _ = progress.tick() => {
                warn!("stopping: {done} of {all} partitions are closed");
            }
            () = sleep_until(started + CLOSE_ALL_MAX) => {
                warn!(
                    "stopped with {done} of {all} partitions closed: the disk was too slow for more; the next start recovers the others"
                );
                return Closed { done, in_time: false };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    /// Closes partitions that take so many seconds each, in simulated time.
    async fn stop(seconds: Vec<u64>) -> (Closed, Duration) {
        let started = Instant::now();
        let name = PartitionName {
            topic: "a_orders".into(),
            index: 0,
        };
        let closing = |seconds, name: PartitionName| async move {
            sleep(Duration::from_secs(seconds)).await;
            match seconds {
                13 => panic!("a bug in closing"),
                7 => Err((name, "the disk is gone")),
                _ => Ok(()),
            }
        };
        let closings = seconds
            .into_iter()
            .map(|seconds| closing(seconds, name.clone()));
        let closed = close_each(closings.len(), closings).await;
        (closed, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn partitions_are_closed_several_at_a_time() {
        let (closed, took) = stop(vec![1; 10 * AT_ONCE]).await;
        let all = Closed {
            done: 10 * AT_ONCE,
            in_time: true,
        };
        assert_eq!((closed, took), (all, Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_fails_or_panics_keeps_no_other_from_closing() {
        let (closed, _) = stop(vec![7, 13, 1, 1]).await;
        let all = Closed {
            done: 4,
            in_time: true,
        };
        assert_eq!(closed, all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_in_time_though_the_disk_does_not_answer() {
        let mut seconds = vec![1; 5];
        seconds.extend([1_000_000; AT_ONCE]);
        let (closed, took) = stop(seconds).await;
        let some = Closed {
            done: 5,
            in_time: false,
        };
        assert_eq!((closed, took), (some, CLOSE_ALL_MAX));
    }
}

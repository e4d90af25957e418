//! Tasks whose failure must not go unnoticed.
//!
//! An essential task ([`spawn_essential`]) is one that the whole site rests on: if it panics, the
//! process is asked to end with a sentence, and the next start goes on from what is recorded. A
//! task of which there are many alike ([`restart_on_failure`]) is started again instead, so that a
//! request that makes one panic costs the others nothing. Not here: connections, whose panics end
//! the connection, and links, which restart their own tasks.

use crate::RetryDelay;
use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tracing::error;

/// Delays between a failure and the restart.
const RESTART_DELAY: RetryDelay =
    RetryDelay::new(Duration::from_millis(100), Duration::from_secs(30));

/// Tells the tasks of a site to stop. Dropping it tells them as well.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// A task's view of a [`Stop`].
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl Stop {
    /// Nothing is told yet.
    pub fn new() -> (Stop, StopSignal) {
        let (stop, signal) = watch::channel(false);
        (Stop(stop), StopSignal(signal))
    }

    /// From now on every task is told.
    pub fn stop(&self) {
        // An error means that every task has ended already.
        let _ = self.0.send(true);
    }
}

impl StopSignal {
    /// Returns when the site is to stop, or is gone. Cancel safe.
    pub async fn stopped(&mut self) {
        // An error means that the sender is gone, and the site with it.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Starts `task`. If it panics, a sentence that begins with `name` is sent to `fail`, which ends
/// the process.
pub fn spawn_essential(
    name: &'static str,
    fail: &mpsc::UnboundedSender<String>,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let report = ReportPanic {
        name,
        fail: fail.clone(),
    };
    tokio::spawn(async move {
        let _report = report;
        task.await;
    })
}

/// Runs the future that `start` makes until one ends with `Ok`. After a panic or an error another
/// is started, after a delay that grows with each failure and starts over once a run outlasted the
/// longest delay. A failed future is dropped, and with it everything that it held.
pub async fn restart_on_failure<F: Future<Output = Result<(), String>>>(
    name: &str,
    mut start: impl FnMut() -> F,
) {
    let mut delay = RESTART_DELAY;
    loop {
        let started = Instant::now();
        let outcome = catch_panic(start()).await;
        if started.elapsed() > delay.max() {
            delay.reset();
        }
        let pause = match outcome {
            Some(Ok(())) => return,
            Some(Err(why)) => {
                let pause = delay.failed();
                error!(?pause, "{name} failed and is started again: {why}");
                pause
            }
            None => {
                let pause = delay.failed();
                error!(?pause, "{name} panicked and is started again");
                pause
            }
        };
        sleep(pause).await;
    }
}

/// The task's output; `None` if it panicked.
async fn catch_panic<T>(task: impl Future<Output = T>) -> Option<T> {
    let mut task = pin!(task);
    // After a panic the task is not polled again, so no broken state of it is seen.
    let poll = poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            // The panic hook has logged it.
            Err(_) => std::task::Poll::Ready(None),
        },
    );
    poll.await
}

/// Dropped by a panic, it reports the panic.
struct ReportPanic {
    name: &'static str,
    fail: mpsc::UnboundedSender<String>,
}

impl Drop for ReportPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An error means that the site is ending already.
            let _ = self.fail.send(format!(
                "{} panicked: see the log. A restart goes on from what is recorded",
                self.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_an_essential_task_is_reported_and_its_end_is_not() {
        let (fail, mut failed) = mpsc::unbounded_channel();
        spawn_essential("the one", &fail, async {})
            .await
            .expect("it ends");
        spawn_essential("the other", &fail, async { panic!("on purpose") })
            .await
            .expect_err("it panics");
        assert!(
            failed
                .try_recv()
                .expect("a report")
                .starts_with("the other panicked")
        );
        assert!(failed.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_task_is_restarted_with_growing_delays_until_it_ends_well() {
        let began = Instant::now();
        let mut starts = Vec::new();
        restart_on_failure("it", || {
            starts.push(began.elapsed().as_millis());
            let attempt = starts.len();
            async move {
                sleep(Duration::from_millis(1)).await;
                match attempt {
                    1 => panic!("on purpose"),
                    2 => Err("not yet".to_owned()),
                    3 => {
                        sleep(2 * RESTART_DELAY.max()).await;
                        panic!("after a long time");
                    }
                    _ => Ok(()),
                }
            }
        })
        .await;
        assert_eq!(starts, [0, 101, 302, 60_403]);
    }
}

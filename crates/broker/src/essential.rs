//! Tasks that a site cannot do without.
//!
//! Invariant: none of them is gone unnoticed. Should one panic that all else rests on, the process
//! ends with a sentence, and a restart takes up its work from what is recorded. One of many alike
//! begins anew by itself, so that a request which makes it panic costs the others nothing. Not
//! here: connections and links, whose panics end a connection, or begin the link's task anew.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tracing::error;

/// The pause before what failed begins anew: the first, and the longest. Whatever ran for longer
/// than the longest begins with the first again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Starts `task`; `fail` is where the end of the process is asked for.
pub fn spawn(
    what: &'static str,
    fail: &mpsc::UnboundedSender<String>,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let told = Told {
        what,
        fail: fail.clone(),
    };
    tokio::spawn(async move {
        let _told = told;
        task.await;
    })
}

/// Runs what `begin` gives until it ends well. After a panic, or the error that it ends with, it
/// begins anew, later and later. Whatever it had taken hold of is to be dropped with it.
pub async fn anew<F: Future<Output = Result<(), String>>>(
    what: &str,
    mut begin: impl FnMut() -> F,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let began = Instant::now();
        match unwound(begin()).await {
            Some(Ok(())) => return,
            Some(Err(why)) => error!(?pause, "{what} begins anew: {why}"),
            None => error!(?pause, "{what} panicked and begins anew"),
        }
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// `None` for a panic.
async fn unwound<T>(task: impl Future<Output = T>) -> Option<T> {
    let mut task = pin!(task);
    // It is not polled again after a panic.
    let poll = poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_told_by_the_hook) => std::task::Poll::Ready(None),
        },
    );
    poll.await
}

/// Tells of a panic when it is dropped by one.
struct Told {
    what: &'static str,
    fail: mpsc::UnboundedSender<String>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody listens only when the site is ending already.
            let _ = self.fail.send(format!(
                "{} panicked: see the log; a restart goes on from what is recorded",
                self.what
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_an_end_is_not() {
        let (fail, mut failed) = mpsc::unbounded_channel();
        spawn("the one", &fail, async {}).await.expect("it ends");
        spawn("the other", &fail, async { panic!("as it is meant to") })
            .await
            .expect_err("it panics");
        assert!(
            failed
                .try_recv()
                .expect("told")
                .starts_with("the other panicked")
        );
        assert!(failed.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_begins_anew_until_it_ends_well() {
        let began = Instant::now();
        let mut times = Vec::new();
        anew("it", || {
            times.push(began.elapsed().as_millis());
            let turn = times.len();
            async move {
                sleep(Duration::from_millis(1)).await;
                match turn {
                    1 => panic!("as it is meant to"),
                    2 => Err("not yet".to_owned()),
                    3 => {
                        sleep(2 * PAUSE_MAX).await;
                        panic!("after a long time");
                    }
                    _ => Ok(()),
                }
            }
        })
        .await;
        assert_eq!(times, [0, 101, 302, 60_403]);
    }
}

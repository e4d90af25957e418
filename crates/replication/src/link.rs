//! One link while it runs: its tasks (what they share is in `link_shared.rs`), and the one task that gives every partition its
//! fetch connection.
//!
//! Tasks end by being dropped, at a point where they wait; appends are not such points. What ended
//! leaves nothing behind: the next one begins from our own log. So one that panics, over something
//! odd that a source answered perhaps, is started again: no link stops unnoticed.

use crate::{
    assign::{FetchConnectionId, Share, assign},
    link_shared::LinkShared,
    replicator, tasks,
};
use gnomon_links::reach::Reach;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};

/// How long a task that panicked rests.
const BEGIN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often is looked whether the source is silent.
const LOOK_AT_REACH: Duration = Duration::from_secs(1);

/// A task that ends when its handle is dropped.
pub(crate) struct Running(JoinHandle<()>);

impl Running {
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Running {
        Running(tokio::spawn(task))
    }

    /// Runs what `begin` makes, and makes it again some time after a panic.
    pub fn keep<F: Future<Output = ()> + Send + 'static>(
        what: &'static str,
        begin: impl Fn() -> F + Send + 'static,
    ) -> Running {
        Running::spawn(async move {
            while let Err(panicked) = Running::spawn(begin()).ended().await {
                tracing::error!(
                    task = what,
                    "{panicked}: starting it again in {BEGIN_AGAIN_AFTER:?}"
                );
                tokio::time::sleep(BEGIN_AGAIN_AFTER).await;
            }
        })
    }

    /// Waits until it has ended; an error is a panic. Ends it when dropped.
    async fn ended(mut self) -> Result<(), JoinError> {
        (&mut self.0).await
    }

    /// Whether it has ended by itself.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Ends it and waits until it has.
    pub async fn stop(mut self) {
        self.0.abort();
        // Ended by us, or it had ended: a panic has been reported where it happened.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A link's tasks.
pub(crate) struct LinkRun {
    tasks: Vec<Running>,
}

impl LinkRun {
    /// Starts discovery, group sync, answering readers, and copying.
    pub fn start(shared: Arc<LinkShared>) -> LinkRun {
        let now_ms = shared.site.now().mono.0;
        *shared.reach.lock() = Some(Reach::new(now_ms));
        let tasks = vec![
            Running::keep("contact", with(&shared, keep_contact)),
            Running::keep("topics", with(&shared, tasks::topics::run)),
            Running::keep("groups", with(&shared, tasks::groups::run)),
            Running::keep("queries", with(&shared, tasks::queries::run)),
            Running::keep("fetch connections", with(&shared, keep_connections)),
        ];
        LinkRun { tasks }
    }

    /// Ends all of it and waits until it has ended.
    pub async fn stop(self) {
        for task in self.tasks {
            task.stop().await;
        }
    }
}

/// `task` on `shared`, as often as it has to be begun.
fn with<F>(
    shared: &Arc<LinkShared>,
    task: fn(Arc<LinkShared>) -> F,
) -> impl Fn() -> F + Send + 'static
where
    F: Future<Output = ()> + Send + 'static,
{
    let shared = shared.clone();
    move || task(shared.clone())
}

/// Says when the link goes down. That it is up again is said by the answer itself.
async fn keep_contact(shared: Arc<LinkShared>) {
    loop {
        tokio::time::sleep(LOOK_AT_REACH).await;
        shared.look_at_reach();
    }
}

/// Assigns the jobs to fetch connections, again whenever jobs or leaders change. Dropping it ends
/// every connection.
async fn keep_connections(shared: Arc<LinkShared>) {
    let (mut jobs, mut topology) = (shared.jobs.subscribe(), shared.topology.subscribe());
    let mut connections: BTreeMap<FetchConnectionId, (watch::Sender<Arc<Share>>, Running)> =
        BTreeMap::new();
    loop {
        let dealt = assign(
            &jobs.borrow_and_update().clone(),
            &topology.borrow_and_update().clone(),
        );
        connections.retain(|connection, _| dealt.contains_key(connection));
        for (connection, share) in dealt {
            match connections.get(&connection) {
                Some((sender, _)) => {
                    let _changed = sender.send_if_modified(|present| {
                        let changed = **present != share;
                        if changed {
                            *present = Arc::new(share);
                        }
                        changed
                    });
                }
                None => {
                    let (sender, receiver) = watch::channel(Arc::new(share));
                    let copying = shared.clone();
                    let fetch_task =
                        move || replicator::run(copying.clone(), connection, receiver.clone());
                    connections.insert(
                        connection,
                        (sender, Running::keep("fetch connection", fetch_task)),
                    );
                }
            }
        }
        let changed = tokio::select! {
            biased;
            changed = jobs.changed() => changed,
            changed = topology.changed() => changed,
        };
        // The senders live in `shared`, which this task holds.
        changed.expect("the link's own channels are open as long as it runs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_and_one_that_ends_is_not() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = begun.clone();
        let running = Running::keep("test", move || {
            let nth = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(nth >= 2, "as it is meant to") }
        });
        running.ended().await.expect("it ends by itself");
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }
}

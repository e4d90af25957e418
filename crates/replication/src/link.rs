//! One link while it runs: what its tasks share, and the one task that gives every partition its
//! fetch connection.
//!
//! Tasks end by being dropped, at a point where they wait; appends are not such points. What ended
//! leaves nothing behind: the next one begins from our own log. So one that panics, over something
//! odd that a source answered perhaps, is started again: no link stops unnoticed.

use crate::{
    assign::{FetchConnectionId, Job, Key, Share, Topology, assign},
    progress::Progress,
    replicator,
    site::Site,
    source::Source,
    tasks::{self, queries::WaitingReaders},
};
use gnomon_catalog::LinkId;
use gnomon_client::ClientError;
use gnomon_links::{
    LinkConfig, Task, TaskState,
    lag::GRACE_MS,
    plan_offsets::SourceCommit,
    reach::{Reach, ReachNews},
};
use gnomon_protocol::ids::TopicId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
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

/// How one of the sync tasks stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskSeen {
    pub state: TaskState,
    pub reason: Option<String>,
    /// Wall milliseconds.
    pub last_success_ms: Option<i64>,
}

/// Groups' positions at the source.
#[derive(Clone, Debug)]
pub(crate) struct GroupsSeen {
    /// Wall milliseconds.
    pub at_ms: i64,
    /// By group; those that the link selects.
    pub commits: BTreeMap<String, Vec<SourceCommit>>,
}

/// State that a link's tasks share. It outlives them: the status shows what was seen last.
pub(crate) struct LinkShared {
    pub id: LinkId,
    pub config: LinkConfig,
    pub site: Arc<dyn Site>,
    pub source: Arc<dyn Source>,
    /// The partitions to be copied, as the metadata says.
    pub jobs: watch::Sender<Arc<BTreeMap<Key, Job>>>,
    /// Where the source has it.
    pub topology: watch::Sender<Arc<Topology>>,
    /// Look at the source's topics now.
    pub look: Notify,
    /// Queries of its shadows' readers to the source.
    pub waiting_readers: WaitingReaders,
    pub progress: Mutex<BTreeMap<Key, Arc<Progress>>>,
    pub tasks: Mutex<BTreeMap<Task, TaskSeen>>,
    /// Wall milliseconds.
    pub last_contact_ms: Mutex<Option<i64>>,
    /// Whether the source answers; absent while the link does not run.
    pub reach: Mutex<Option<Reach>>,
    /// Group offsets as read last, for the last step of a failover. Nothing was read since the
    /// start if it is absent.
    pub groups_seen: Mutex<Option<GroupsSeen>>,
    /// Own topics that the source shadows from us.
    pub shadowed_by_source: Mutex<BTreeSet<TopicId>>,
    /// Groups that read topics of this link and that it does not select.
    pub unselected_groups: Mutex<Vec<String>>,
    pub warnings: Mutex<BTreeMap<&'static str, String>>,
}

impl LinkShared {
    pub fn new(
        id: LinkId,
        config: LinkConfig,
        site: Arc<dyn Site>,
        source: Arc<dyn Source>,
    ) -> LinkShared {
        LinkShared {
            id,
            config,
            site,
            source,
            jobs: watch::Sender::new(Arc::default()),
            topology: watch::Sender::new(Arc::default()),
            look: Notify::new(),
            waiting_readers: WaitingReaders::default(),
            progress: Mutex::default(),
            tasks: Mutex::default(),
            last_contact_ms: Mutex::default(),
            reach: Mutex::default(),
            groups_seen: Mutex::default(),
            shadowed_by_source: Mutex::default(),
            unselected_groups: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// Takes over what was seen under other settings.
    pub fn go_on_from(&self, before: &LinkShared) {
        *self.progress.lock() = std::mem::take(&mut *before.progress.lock());
        *self.groups_seen.lock() = before.groups_seen.lock().take();
        *self.last_contact_ms.lock() = *before.last_contact_ms.lock();
        *self.reach.lock() = before.reach.lock().take();
        for progress in self.progress.lock().values() {
            progress.set_wait_ms(self.wait_ms());
        }
    }

    /// How long the source may let a fetch wait, in milliseconds.
    fn wait_ms(&self) -> u64 {
        u64::from(
            self.config
                .client
                .effective()
                .fetch_wait_max_ms
                .unsigned_abs(),
        )
    }

    /// For how long the source may answer nothing before the link is down. Lines that copy ask all
    /// the time; without one the source is asked once an interval.
    pub fn silence_ms(&self) -> u64 {
        let between_ms = if self.jobs.borrow().is_empty() {
            self.config.topics.interval().as_millis() as u64
        } else {
            self.wait_ms()
        };
        between_ms.saturating_add(GRACE_MS)
    }

    /// The progress of a partition's copy.
    pub fn progress_of(&self, key: Key) -> Arc<Progress> {
        let mut progress = self.progress.lock();
        let new = || {
            let progress = Progress::since(self.site.now());
            progress.set_wait_ms(self.wait_ms());
            Arc::new(progress)
        };
        progress.entry(key).or_insert_with(new).clone()
    }

    /// The source answered something.
    pub fn in_contact(&self) {
        let now = self.site.now();
        *self.last_contact_ms.lock() = Some(now.wall.0);
        let news = self
            .reach
            .lock()
            .as_mut()
            .and_then(|reach| reach.answered(now.mono.0));
        self.say(news);
    }

    /// The source did not answer: why, should it go on.
    pub fn out_of_contact(&self, why: &ClientError) {
        if let Some(reach) = self.reach.lock().as_mut() {
            reach.failed(why.to_string());
        }
    }

    /// Looks whether the link has gone down.
    fn look_at_reach(&self) {
        let now_ms = self.site.now().mono.0;
        let news = self
            .reach
            .lock()
            .as_mut()
            .and_then(|reach| reach.look(now_ms, self.silence_ms()));
        self.say(news);
    }

    fn say(&self, news: Option<ReachNews>) {
        let link = self.config.name.as_str();
        let source = self.config.client.bootstrap_servers.join(",");
        match news {
            None => {}
            Some(ReachNews::Down { seconds, why }) => tracing::warn!(
                link,
                source,
                "link is down: its source has not answered for {seconds:.1} s: {why}"
            ),
            Some(ReachNews::Up { seconds }) => tracing::info!(
                link,
                source,
                "link is up again: its source answers after {seconds:.1} s"
            ),
        }
    }

    pub fn task(&self, task: Task, state: TaskState, reason: Option<String>) {
        let now = self.site.now().wall.0;
        let mut tasks = self.tasks.lock();
        let before = tasks.get(&task).and_then(|seen| seen.last_success_ms);
        let last_success_ms = if state == TaskState::Active {
            Some(now)
        } else {
            before
        };
        tasks.insert(
            task,
            TaskSeen {
                state,
                reason,
                last_success_ms,
            },
        );
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

//! The state that the tasks of a link share, and that its status shows. It knows no task, so that
//! every task may use it.

use crate::{
    assign::{Job, Key, Topology},
    progress::Progress,
    site::Site,
    source::Source,
    waiting_readers::WaitingReaders,
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
};
use tokio::sync::{Notify, watch};

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
    pub fn look_at_reach(&self) {
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

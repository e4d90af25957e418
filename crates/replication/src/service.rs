//! All links of a site: started, changed and stopped as the metadata says, and asked for their
//! status.
//!
//! [`LinkService::reconcile`] is given every published image. Copying follows the roles of
//! partitions in it, never a loop over a link's filters: a partition is copied while its topic is a
//! shadow that copies, this broker leads it, and its link runs. Discovery runs for every ACTIVE
//! link, a faulted one included, since only a new contact can clear the fault.

use crate::{
    assign::{Job, Key},
    failover,
    link::{LinkRun, Running},
    link_shared::LinkShared,
    loss,
    progress::PartitionMetrics,
    site::Site,
    source::Connect,
    status,
};
use gnomon_catalog::{Action, Image, Link, LinkId, Partition, Topic};
use gnomon_links::{LinkState, LinkStatus, TopicState, loss::Loss};
use gnomon_protocol::ids::TopicId;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Counters and lags of one link, for the metrics page.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkMetrics {
    pub link: String,
    pub topics: Vec<TopicMetrics>,
}

/// Counters and lags of one shadow topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicMetrics {
    pub topic: String,
    pub state: TopicState,
    /// In order of partitions.
    pub partitions: Vec<PartitionMetrics>,
}

/// The links of this site at work.
pub struct LinkService {
    site: Arc<dyn Site>,
    connect: Arc<dyn Connect>,
    links: Mutex<BTreeMap<LinkId, Entry>>,
    actions: Mutex<Vec<Running>>,
    held_up: Arc<failover::HeldUp>,
    stopped: AtomicBool,
    /// The image that was reconciled last: most images change neither topics nor links.
    last: Mutex<Option<Reconciled>>,
}

type Reconciled = (
    Arc<BTreeMap<TopicId, Arc<Topic>>>,
    Arc<BTreeMap<LinkId, Arc<Link>>>,
);

struct Entry {
    shared: Arc<LinkShared>,
    run: Option<LinkRun>,
}

/// The change that brings one link in line with the metadata; found under the lock, no more than
/// that.
enum Change {
    Start,
    Stop,
    None,
}

impl LinkService {
    /// Does nothing until the first [`reconcile`](LinkService::reconcile). MUST be used inside a
    /// tokio runtime.
    pub fn new(site: Arc<dyn Site>, connect: Arc<dyn Connect>) -> LinkService {
        LinkService {
            site,
            connect,
            links: Mutex::default(),
            actions: Mutex::default(),
            held_up: Arc::default(),
            stopped: AtomicBool::new(false),
            last: Mutex::default(),
        }
    }

    /// Brings links in line with an image. Call it after every published one, when its roles have
    /// been given to the partitions. Returns at once; what stops has appended nothing more that its
    /// fence did not admit.
    pub fn reconcile(&self, image: &Arc<Image>) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let mut links = self.links.lock();
        let next = (image.topics.clone(), image.links.clone());
        let mut last = self.last.lock();
        if last.as_ref().is_some_and(|(topics, links)| {
            Arc::ptr_eq(topics, &next.0) && Arc::ptr_eq(links, &next.1)
        }) {
            return;
        }
        *last = Some(next);
        links.retain(|id, _| image.links.contains_key(id));
        for (id, link) in image.links.iter() {
            let stale = links
                .get(id)
                .is_some_and(|entry| entry.shared.config != link.config);
            if stale || !links.contains_key(id) {
                let source = self.connect.connect(&link.config);
                let shared = Arc::new(LinkShared::new(
                    *id,
                    link.config.clone(),
                    self.site.clone(),
                    source,
                ));
                if let Some(before) = links.get(id) {
                    shared.go_on_from(&before.shared);
                }
                links.insert(*id, Entry { shared, run: None });
            }
            let Some(entry) = links.get_mut(id) else {
                continue;
            };
            match change(link, entry) {
                Change::Start => entry.run = Some(LinkRun::start(entry.shared.clone())),
                Change::Stop => {
                    entry.run = None;
                    *entry.shared.reach.lock() = None;
                }
                Change::None => {}
            }
            let jobs = jobs_of(image, link);
            entry.shared.jobs.send_if_modified(|present| {
                let changed = **present != jobs;
                if changed {
                    *present = Arc::new(jobs);
                }
                changed
            });
        }
    }

    /// Carries out what the metadata machine wants done to partitions, and posts the events that
    /// answer it. Returns at once. Actions that are not replication's are ignored.
    pub fn carry_out(&self, action: Action) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let link = match &action {
            Action::Cut { link, .. }
            | Action::AbortOpen { link, .. }
            | Action::ApplyOffsets { link, .. } => *link,
            Action::DropTopic { .. } => return,
        };
        let shared = self
            .links
            .lock()
            .get(&link)
            .map(|entry| entry.shared.clone());
        let (site, held_up) = (self.site.clone(), self.held_up.clone());
        let work = Running::keep("failover", move || {
            failover::carry_out(
                site.clone(),
                shared.clone(),
                held_up.clone(),
                action.clone(),
            )
        });
        let mut actions = self.actions.lock();
        actions.retain(|running| !running.is_finished());
        actions.push(work);
    }

    /// A client asked for a topic that this link claims: it looks at its source now.
    pub fn wake_discovery(&self, link: LinkId) {
        if let Some(entry) = self.links.lock().get(&link) {
            entry.shared.look.notify_one();
        }
    }

    /// A reader of this shadow waits for its source's word
    /// ([`gnomon_partition::PartitionCopier::source_query`]): it is asked for soon. False: the source does
    /// not answer now, so waiting is of little use.
    pub fn ask_source(&self, topic: TopicId, partition: i32) -> bool {
        let image = self.site.image();
        let Some(shadow) = image.topic(topic).and_then(|topic| topic.shadow.as_ref()) else {
            return false;
        };
        let links = self.links.lock();
        let Some(entry) = links.get(&shadow.link).filter(|entry| entry.run.is_some()) else {
            return false;
        };
        entry.shared.waiting_readers.add((topic, partition))
    }

    /// One link as an operator sees it. `None` if there is no such link.
    pub fn status(&self, link: LinkId) -> Option<LinkStatus> {
        let image = self.site.image();
        let link = image.link(link)?;
        let shared = self
            .links
            .lock()
            .get(&link.id)
            .map(|entry| entry.shared.clone());
        Some(status::of(&image, link, shared.as_deref(), &*self.site))
    }

    /// The loss by a failover of these topics of a link, or of all. `None` if there is no such
    /// link.
    pub async fn loss(&self, link: LinkId, topics: Option<&[String]>) -> Option<Loss> {
        let image = self.site.image();
        let link = image.link(link)?;
        let shared = self
            .links
            .lock()
            .get(&link.id)
            .map(|entry| entry.shared.clone());
        Some(loss::of(&image, link, shared.as_deref(), &*self.site, topics).await)
    }

    pub fn statuses(&self) -> Vec<LinkStatus> {
        let image = self.site.image();
        let mut all: Vec<LinkStatus> = image
            .links
            .keys()
            .filter_map(|id| self.status(*id))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Counters and lags of all links, by name.
    pub fn metrics(&self) -> Vec<LinkMetrics> {
        let topic = |topic: gnomon_links::TopicStatus| TopicMetrics {
            topic: topic.name,
            state: topic.state,
            partitions: topic
                .partitions
                .into_iter()
                .map(|p| PartitionMetrics {
                    counters: p.counters,
                    lag: p.lag,
                })
                .collect(),
        };
        let link = |status: LinkStatus| LinkMetrics {
            link: status.name,
            topics: status.topics.into_iter().map(topic).collect(),
        };
        self.statuses().into_iter().map(link).collect()
    }

    /// Ends every task and waits until it has ended. Nothing is started afterwards.
    pub async fn shutdown(&self) {
        self.stopped.store(true, Ordering::Release);
        let runs: Vec<LinkRun> = self
            .links
            .lock()
            .values_mut()
            .filter_map(|entry| entry.run.take())
            .collect();
        let actions = std::mem::take(&mut *self.actions.lock());
        for run in runs {
            run.stop().await;
        }
        for action in actions {
            action.stop().await;
        }
    }
}

fn change(link: &Link, entry: &Entry) -> Change {
    let wanted = link.state == LinkState::Active && !link.ending;
    match (wanted, entry.run.is_some()) {
        (true, false) => Change::Start,
        (false, true) => Change::Stop,
        (true, true) | (false, false) => Change::None,
    }
}

/// The partitions of a link that this broker is to copy now.
fn jobs_of(image: &Image, link: &Link) -> BTreeMap<Key, Job> {
    let broker = image.site.as_ref().map(|site| site.broker_id);
    let mut jobs = BTreeMap::new();
    for topic in image.topics_of(link.id) {
        let Some(fence) = image.copies(topic) else {
            continue;
        };
        let name: Arc<str> = topic.name.as_str().into();
        for (index, partition) in topic.indexes().zip(&topic.partitions) {
            if Some(partition.leader) == broker {
                jobs.insert((topic.id, index), job(topic, &name, fence, partition));
            }
        }
    }
    jobs
}

fn job(topic: &Topic, name: &Arc<str>, fence: u64, partition: &Partition) -> Job {
    let source_topic_id = topic
        .shadow
        .as_ref()
        .and_then(|shadow| shadow.source_topic_id);
    Job {
        topic: name.clone(),
        fence,
        source_topic_id,
        recorded_epoch: partition.leader_epoch,
        added: partition.added,
    }
}

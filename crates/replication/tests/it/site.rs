//! A site without a broker: the metadata machine run by hand, its records through their bytes, and
//! partitions on a disk in memory.

use gnomon_catalog::{
    Action, Catalog, Event, Image, LinkId, LinkSource, Register, Reply, Soft, Topic, Writers as May,
};
use gnomon_client::BoxFuture;
use gnomon_groups::{SkipReason, SyncEnded, SyncOffset, SyncOffsets, SyncOutcome, SyncedPartition};
use gnomon_links::{
    ClientOptions, GroupSync, LinkConfig, LinkName, NameFilter, Start, TopicState, TopicSync,
};
use gnomon_machine::{DurableRecord, Effects, EncodedRecord, Machine, Mono, Now, ReplyToken, Wall};
use gnomon_partition::{
    Blocking, Env, Fence, Flusher, Handle, LinkLabel, PartitionId, ReopenError, Replica, Role,
    Settings, Writers,
};
use gnomon_protocol::ids::{LeaderEpoch, TopicId};
use gnomon_replication::{
    Connect, Gone, LinkService, Site, Unavailable, source::scripted::Scripted,
};
use gnomon_storage::{Boot, Disk, MemDisk, disk::Fault};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use uuid::Uuid;

/// The wall time when a test begins.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// The state that a killed process leaves: its metadata log, its disk, and what its groups were
/// told.
#[derive(Clone)]
pub struct Moment {
    /// The call of replication at which the process died.
    pub at: &'static str,
    log: Vec<EncodedRecord>,
    disk: MemDisk,
    sync_ended: Vec<SyncEnded>,
}

/// Trouble in a process that lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The next append to the metadata log is refused, as on a full disk.
    AppendRefused,
    /// The next sync of a file fails, which closes its partition.
    SyncFails,
}

/// The moments of a process that is watched: each state of log and disk in which replication called
/// the site.
#[derive(Default)]
struct Watch {
    moments: Vec<Moment>,
    /// Records of the log, and calls of the disk, at the last moment.
    seen: Option<(usize, u64)>,
    /// By number of moment.
    troubles: Vec<(usize, Trouble)>,
    refuse: bool,
}

pub struct TestSite {
    machine: Mutex<Running>,
    published: Mutex<Arc<Image>>,
    handles: Mutex<BTreeMap<(TopicId, i32), Handle>>,
    env: Env,
    pub disk: MemDisk,
    began: Instant,
    ids: AtomicU64,
    failovers: AtomicU64,
    service: Mutex<Option<Arc<LinkService>>>,
    /// The metadata log, every record that is durable.
    log: Mutex<Vec<EncodedRecord>>,
    watch: Mutex<Option<Watch>>,
    /// An event of somebody else's, decided right after the next discovery, before that one's
    /// answer is read.
    pub behind_discovery: Mutex<Option<Event>>,
    /// Events that the metadata decides while the next group sync is under way.
    pub during_sync: Mutex<Vec<Event>>,
    /// Every group sync that was asked for, in order; those that only asked what would be are not
    /// among them.
    pub synced: Mutex<Vec<SyncOffsets>>,
    /// Every end of syncing that was told, in order.
    pub sync_ended: Mutex<Vec<SyncEnded>>,
    /// Where groups stand that take no position from a link: by group.
    pub stand: Mutex<BTreeMap<String, Option<i64>>>,
}

#[derive(Default)]
struct Running {
    image: Image,
    soft: Soft,
    tokens: u64,
    waiting: BTreeMap<ReplyToken, oneshot::Sender<Reply>>,
}

/// Site b with a link `from-a` on a scripted source.
pub struct LinkedSites {
    pub site: Arc<TestSite>,
    pub service: Arc<LinkService>,
    pub source: Scripted,
    pub link: LinkId,
}

/// The link of every [`LinkedSites`].
const LINK: LinkId = LinkId(Uuid::from_u128(0x11));

fn link_config(address: &str, start: Start) -> LinkConfig {
    LinkConfig {
        name: LinkName::new("from-a").expect("a legal name"),
        client: ClientOptions {
            bootstrap_servers: vec![address.to_owned()],
            ..ClientOptions::default()
        },
        topics: TopicSync {
            filters: vec![NameFilter::include_prefix("a_")],
            start,
            ..TopicSync::default()
        },
        groups: GroupSync {
            filters: vec![NameFilter::include_prefix("a_")],
            ..GroupSync::default()
        },
    }
}

impl LinkedSites {
    pub async fn start() -> LinkedSites {
        LinkedSites::start_at(Start::Earliest).await
    }

    /// The link begins new topics there.
    pub async fn start_at(start: Start) -> LinkedSites {
        let source = Scripted::new("cluster-a");
        LinkedSites::of(
            source.clone(),
            link_config("scripted:9092", start),
            Arc::new(source),
        )
        .await
    }

    /// The same with another source; the scripted one stands idle.
    pub async fn start_on(address: &str, connect: Arc<dyn Connect>) -> LinkedSites {
        LinkedSites::of(
            Scripted::new("idle"),
            link_config(address, Start::Earliest),
            connect,
        )
        .await
    }

    async fn of(source: Scripted, config: LinkConfig, connect: Arc<dyn Connect>) -> LinkedSites {
        let site = TestSite::start(MemDisk::new(), Boot::Same);
        let service = Arc::new(LinkService::new(site.clone(), connect));
        *site.service.lock().unwrap() = Some(service.clone());
        let register = Register {
            fresh_cluster_id: Uuid::from_u128(0xb),
            name: "b".into(),
            broker_id: 2,
            producer_tag: Some(2),
            owns: vec!["b_".into()],
            endpoints: Vec::new(),
        };
        assert!(matches!(
            site.submit(Event::Register(register)).await,
            Ok(Reply::Register(Ok(_)))
        ));
        let link = LINK;
        let create = Event::CreateLink {
            id: link,
            config: Box::new(config),
            source: LinkSource::Command,
        };
        assert!(matches!(
            site.submit(create).await,
            Ok(Reply::CreateLink(Ok(_)))
        ));
        LinkedSites {
            site,
            service,
            source,
            link,
        }
    }

    /// The next process on what a killed one left, or one whose power went with this seed. Its
    /// source is out of reach. As the broker does: it replays the log, leads, becomes the next
    /// incarnation, and only then carries out what is under way.
    pub async fn start_from(moment: &Moment, power_lost: Option<u64>) -> LinkedSites {
        let disk = moment.disk.copy();
        if let Some(seed) = power_lost {
            disk.power_loss(seed);
        }
        let boot = match power_lost {
            Some(_) => Boot::Other,
            None => Boot::Same,
        };
        let source = Scripted::new("cluster-a");
        source.set(|cluster| cluster.down = true);
        let site = TestSite::start(disk, boot);
        let service = Arc::new(LinkService::new(site.clone(), Arc::new(source.clone())));
        *site.service.lock().unwrap() = Some(service.clone());
        *site.sync_ended.lock().unwrap() = moment.sync_ended.clone();
        *site.log.lock().unwrap() = moment.log.clone();
        let under_way = site.lead();
        site.submit(Event::Incarnate)
            .await
            .expect("the machine leads");
        under_way
            .into_iter()
            .for_each(|action| service.carry_out(action));
        LinkedSites {
            site,
            service,
            source,
            link: LINK,
        }
    }

    /// Ends every task.
    pub async fn end(self) {
        self.service.shutdown().await;
        // The two hold each other.
        self.site.service.lock().unwrap().take();
        self.site.handles.lock().unwrap().clear();
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.site.image().topic_by_name(name).cloned()
    }

    pub fn state(&self, name: &str) -> Option<(TopicState, Option<String>)> {
        let shadow = self.topic(name)?.shadow.clone()?;
        Some((shadow.state, shadow.reason))
    }

    pub fn handle(&self, name: &str, partition: i32) -> Handle {
        let topic = self.topic(name).expect("a topic that is here");
        self.site
            .handle(topic.id, partition)
            .expect("a partition that opens")
    }

    /// Opens again every partition that a disk error closed, as far as the disk lets it, as the
    /// broker does.
    pub async fn reopen_all(&self) {
        let failed: Vec<(TopicId, i32, LeaderEpoch)> = {
            let handles = self.site.handles.lock().unwrap();
            let failed = handles
                .iter()
                .filter(|(_, handle)| handle.control().failed().is_some());
            failed
                .map(|((topic, partition), handle)| {
                    (*topic, *partition, LeaderEpoch(handle.latest_epoch().0))
                })
                .collect()
        };
        for (topic, partition, used) in failed {
            let raise = Event::Reopening {
                topic,
                partition,
                used,
            };
            let raised = self.site.submit(raise).await.is_ok();
            let image = self.site.image();
            if let Some(topic) = image.topic(topic).filter(|_| raised) {
                // A disk that does not work yet is tried again.
                let _ = self.try_reopen(&topic.name, partition);
            }
        }
    }

    /// Opens a partition again that a disk error closed, as the broker does.
    pub fn reopen(&self, name: &str, partition: i32) {
        self.try_reopen(name, partition).expect("the disk works");
    }

    fn try_reopen(&self, name: &str, partition: i32) -> Result<(), ReopenError> {
        let failed = self.handle(name, partition);
        let successor = failed
            .control()
            .reopen(failed.role(), (*failed.settings()).clone())?;
        let topic = self.topic(name).expect("a topic that is here");
        self.site
            .handles
            .lock()
            .unwrap()
            .insert((topic.id, partition), successor.clone());
        failed.control().succeeded_by(&successor);
        Ok(())
    }

    /// All bytes of a partition here.
    pub fn bytes(&self, name: &str, partition: i32) -> Vec<u8> {
        let handle = self.handle(name, partition);
        let (mut at, mut bytes) = (handle.offsets().log_start, Vec::new());
        while at < handle.offsets().high_watermark {
            let read = handle
                .reader()
                .read(
                    at,
                    1 << 20,
                    gnomon_partition::Isolation::ReadUncommitted,
                    true,
                )
                .expect("a read inside the log");
            let Some(range) = read.range else { break };
            bytes.extend_from_slice(&range.bytes().expect("bytes of a disk in memory"));
            at = range.next_offset;
        }
        bytes
    }

    /// All bytes of a partition at the source.
    pub fn source_bytes(&self, name: &str, partition: usize) -> Vec<u8> {
        self.source
            .partition(name, partition, |p| p.batches.concat())
    }

    /// Waits, in test time, until this holds.
    pub async fn until(&self, what: &str, within: Duration, holds: impl Fn(&LinkedSites) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(
                began.elapsed() < within,
                "not within {within:?}: {what}; {:#?}",
                self.service.statuses()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn high_watermark(&self, name: &str, partition: i32) -> i64 {
        self.topic(name)
            .and_then(|topic| self.site.handle(topic.id, partition).ok())
            .map_or(-1, |handle| handle.offsets().high_watermark)
    }

    /// Waits until a partition here has reached this offset.
    pub async fn copied(&self, name: &str, partition: i32, offset: i64) {
        let what = format!("{name}-{partition} copied up to {offset}");
        self.until(&what, Duration::from_secs(30), |world| {
            world.high_watermark(name, partition) >= offset
        })
        .await;
    }

    pub async fn faulted(&self, name: &str) -> String {
        self.until("a fault", Duration::from_secs(120), |world| {
            matches!(world.state(name), Some((TopicState::Faulted, _)))
        })
        .await;
        self.state(name)
            .and_then(|(_, reason)| reason)
            .expect("a fault has a reason")
    }
}

impl TestSite {
    fn start(disk: MemDisk, boot: Boot) -> Arc<TestSite> {
        disk.create_dir_all(Path::new("/data"))
            .and_then(|()| disk.sync_dir(Path::new("/")))
            .expect("a folder on a disk in memory");
        Arc::new(TestSite {
            machine: Mutex::default(),
            published: Mutex::default(),
            handles: Mutex::default(),
            env: Env {
                disk: Arc::new(disk.clone()),
                flusher: Flusher::start(Blocking::Inline {
                    flush: Duration::ZERO,
                })
                .expect("inside a runtime"),
                boot,
                troubles: Default::default(),
                reserved: Default::default(),
            },
            disk,
            began: Instant::now(),
            ids: AtomicU64::new(1_000),
            failovers: AtomicU64::new(0),
            behind_discovery: Mutex::default(),
            during_sync: Mutex::default(),
            service: Mutex::default(),
            log: Mutex::default(),
            watch: Mutex::default(),
            synced: Mutex::default(),
            sync_ended: Mutex::default(),
            stand: Mutex::default(),
        })
    }

    /// Commands to fail over so far.
    pub fn failovers(&self) -> u64 {
        self.failovers.load(Ordering::Relaxed)
    }

    /// From now on every moment is kept, and these troubles come at the moments of their numbers.
    pub fn watch(&self, troubles: &[(usize, Trouble)]) {
        *self.watch.lock().unwrap() = Some(Watch {
            troubles: troubles.to_vec(),
            ..Watch::default()
        });
        self.moment("begin");
    }

    /// The moments since [`TestSite::watch`]; no more are kept.
    pub fn watched(&self) -> Vec<Moment> {
        let watch = self.watch.lock().unwrap().take();
        watch.map_or_else(Vec::new, |watch| watch.moments)
    }

    /// Replication calls; the process could die right here.
    fn moment(&self, at: &'static str) {
        let mut watch = self.watch.lock().unwrap();
        let Some(watch) = &mut *watch else { return };
        let log = self.log.lock().unwrap().clone();
        let now = Some((log.len(), self.disk.calls()));
        if watch.seen == now {
            return;
        }
        watch.seen = now;
        let number = watch.moments.len();
        watch.moments.push(Moment {
            at,
            log,
            disk: self.disk.copy(),
            sync_ended: self.sync_ended.lock().unwrap().clone(),
        });
        for (_, trouble) in watch.troubles.iter().filter(|(at, _)| *at == number) {
            match trouble {
                Trouble::AppendRefused => watch.refuse = true,
                Trouble::SyncFails => self.disk.fail_next(Fault::Sync),
            }
        }
    }

    /// The start of a process: the image from the log, and what is under way in it.
    fn lead(&self) -> Vec<Action> {
        let mut running = self.machine.lock().unwrap();
        for EncodedRecord { key, value } in &*self.log.lock().unwrap() {
            let record = DurableRecord::decode(key.as_deref(), value.as_deref())
                .expect("a record that reads back");
            Catalog::replay(&mut running.image, &record);
        }
        self.take_up(&mut running)
    }

    /// The actions that the machine begins with when it leads; gives the actions.
    fn take_up(&self, running: &mut Running) -> Vec<Action> {
        let mut effects = Catalog::led(&running.image, &mut running.soft, self.now());
        let actions = std::mem::take(&mut effects.actions);
        self.apply(running, effects);
        actions
    }

    /// One event through the machine.
    fn step(&self, event: Event) -> oneshot::Receiver<Reply> {
        let mut running = self.machine.lock().unwrap();
        let running = &mut *running;
        running.tokens += 1;
        let token = ReplyToken(running.tokens);
        let (sender, receiver) = oneshot::channel();
        running.waiting.insert(token, sender);
        let effects = Catalog::step(&running.image, &mut running.soft, self.now(), event, token);
        if !effects.records.is_empty() && self.refuses() {
            self.refused(running, token);
        } else {
            self.apply(running, effects);
        }
        receiver
    }

    fn refuses(&self) -> bool {
        let mut watch = self.watch.lock().unwrap();
        watch
            .as_mut()
            .is_some_and(|watch| std::mem::take(&mut watch.refuse))
    }

    /// As `gnomon_driver::Driver` does: the caller gets no answer, the machine lays
    /// down what is not durable, and takes it up again after a second.
    fn refused(&self, running: &mut Running, token: ReplyToken) {
        running.waiting.remove(&token);
        for (token, reply) in Catalog::resigned(&mut running.soft) {
            if let Some(sender) = running.waiting.remove(&token) {
                let _ = sender.send(reply);
            }
        }
        running.soft = Soft::default();
        let actions = self.take_up(running);
        let service = self.service.lock().unwrap().clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            for action in actions {
                service
                    .iter()
                    .for_each(|service| service.carry_out(action.clone()));
            }
        });
    }

    /// Records, image, roles, links, actions, replies, in this order.
    fn apply(&self, running: &mut Running, effects: Effects<Catalog>) {
        for record in &effects.records {
            let encoded = record.encode();
            let record = DurableRecord::decode(encoded.key.as_deref(), encoded.value.as_deref())
                .expect("a record that reads back");
            Catalog::replay(&mut running.image, &record);
            self.log.lock().unwrap().push(encoded);
        }
        let image = Arc::new(running.image.clone());
        *self.published.lock().unwrap() = image.clone();
        for ((topic, index), handle) in self.handles.lock().unwrap().iter() {
            if let Some(topic) = image.topic(*topic) {
                handle.control().set_role(role(&image, topic, *index));
            }
        }
        if let Some(service) = self.service.lock().unwrap().clone() {
            service.reconcile(&image);
            effects
                .actions
                .into_iter()
                .for_each(|action: Action| service.carry_out(action));
        }
        for (token, reply) in effects.replies {
            if let Some(sender) = running.waiting.remove(&token) {
                let _ = sender.send(reply);
            }
        }
    }
}

fn role(image: &Image, topic: &Topic, index: i32) -> Role {
    let partition = topic.partition(index).expect("a partition of the topic");
    let writers = match image.writers(topic) {
        May::Clients => Writers::Clients,
        May::Site => Writers::Site,
        May::FailingOver => Writers::FailingOver,
        May::Link {
            name,
            source,
            advice,
            fence,
            ..
        } => Writers::Link {
            link: Arc::new(LinkLabel {
                name,
                source,
                advice,
            }),
            fence: Fence(fence),
        },
    };
    Role {
        replica: Replica::Leader(partition.leader_epoch),
        writers,
    }
}

impl Site for TestSite {
    fn image(&self) -> Arc<Image> {
        self.published.lock().unwrap().clone()
    }

    fn handle(&self, topic: TopicId, partition: i32) -> Result<Handle, Unavailable> {
        self.moment("a partition is opened");
        let mut handles = self.handles.lock().unwrap();
        if let Some(handle) = handles.get(&(topic, partition)) {
            return Ok(handle.clone());
        }
        let image = self.image();
        let gone = |why: &str| Unavailable {
            topic,
            partition,
            why: why.to_owned(),
        };
        let known = image.topic(topic).ok_or_else(|| gone("no such topic"))?;
        let record = known
            .partition(partition)
            .ok_or_else(|| gone("no such partition"))?;
        let settings = Settings {
            compacted: known
                .configs
                .get("cleanup.policy")
                .is_some_and(|policy| policy.contains("compact")),
            retention_ms: None,
            copied_to: record.cut.map_or(0, |cut| cut.end),
            ..Settings::named(&known.name)
        };
        let dir = PathBuf::from(format!("/data/{topic}-{partition}"));
        let id = PartitionId {
            topic_id: topic,
            index: partition,
        };
        let handle = Handle::open(&self.env, dir, id, role(&image, known, partition), settings)
            .map_err(|error| gone(&error.to_string()))?;
        handles.insert((topic, partition), handle.clone());
        Ok(handle)
    }

    fn submit(&self, event: Event) -> BoxFuture<'static, Result<Reply, Gone>> {
        let discovered = matches!(event, Event::Discovered(_));
        if matches!(event, Event::FailOver(_)) {
            self.failovers.fetch_add(1, Ordering::Relaxed);
        }
        self.moment("before an event");
        let reply = self.step(event);
        self.moment("after an event");
        let meanwhile = discovered
            .then(|| self.behind_discovery.lock().unwrap().take())
            .flatten();
        if let Some(event) = meanwhile {
            drop(self.step(event));
        }
        Box::pin(async move {
            reply.await.map_err(|_| Gone {
                what: "the metadata machine",
                why: "it ended".into(),
            })
        })
    }

    fn sync_offsets(
        &self,
        mut sync: SyncOffsets,
    ) -> BoxFuture<'static, Result<Vec<SyncedPartition>, Gone>> {
        let stand = self.stand.lock().unwrap().get(&*sync.group).copied();
        let image = self.image();
        for offset in &mut sync.offsets {
            offset.is_current = image.names.get(&*offset.topic) == Some(&offset.topic_id);
        }
        let answer = |offset: &SyncOffset| SyncedPartition {
            topic: offset.topic.clone(),
            partition: offset.partition,
            outcome: if !offset.is_current {
                SyncOutcome::Skipped(SkipReason::TopicGone)
            } else if stand.is_some() {
                SyncOutcome::Skipped(SkipReason::Local)
            } else {
                SyncOutcome::Applied
            },
            stands: stand.unwrap_or(Some(offset.offset)),
        };
        let answers = sync.offsets.iter().map(answer).collect();
        if !sync.validate_only {
            self.synced.lock().unwrap().push(sync);
            for event in std::mem::take(&mut *self.during_sync.lock().unwrap()) {
                drop(self.step(event));
            }
        }
        Box::pin(async { Ok(answers) })
    }

    fn sync_ended(&self, ended: SyncEnded) -> BoxFuture<'static, Result<(), Gone>> {
        self.moment("before the end of syncing");
        self.sync_ended.lock().unwrap().push(ended);
        Box::pin(async { Ok(()) })
    }

    fn now(&self) -> Now {
        let passed = self.began.elapsed().as_millis() as u64;
        Now {
            mono: Mono(passed),
            wall: Wall(EPOCH_MS + passed as i64),
        }
    }

    fn random(&self) -> u64 {
        u64::MAX / 2
    }

    fn fresh_id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)))
    }
}

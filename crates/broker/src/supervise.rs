//! Start and stop order of a site.
//!
//! Start: addresses, data directory, metadata log, incarnation, internal topics, group coordinators, links, and only then the first
//! connection. Stop: connections, links, coordinators, and last the partitions, with their checkpoints.

use crate::{
    admin,
    api::fetch::session::Sessions,
    clock::Clock,
    config::Config,
    coordinators::{
        catalog::{self, CatalogError, CatalogHandle, Surroundings},
        groups::{GroupCoordinators, GroupsError, OFFSETS_PARTITIONS, OFFSETS_TOPIC},
        producer_ids::ProducerIds,
    },
    data_dir::{DataDir, DataDirError},
    housekeeping,
    net::listener::{BindError, Listener, bind},
    partitions::Partitions,
    reopen::{self, Reopener},
    replicated::NoReply,
    shadow,
    site::Site,
};
use gnomon_catalog::{
    CreateTopicError, CreateTopics, Endpoint, Event, NewTopic, Origin, Register, RegisterError, Reply, Settings, SiteDefaults,
};
use gnomon_groups::GroupConfig;
use gnomon_links::failover::EpochPolicy;
use gnomon_partition::{Blocking, Env, Flusher};
use gnomon_protocol::ids::{TopicId, Uuid};
use gnomon_storage::Disk;
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

/// Threads that flush partitions beside each other.
const FLUSH_THREADS: usize = 4;

/// Why a site does not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory is not usable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The flusher's threads cannot be started.
    #[error("cannot start the flusher: {0}")]
    Flusher(#[source] io::Error),
    /// The metadata cannot be brought up.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The data directory belongs to another site.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A group coordinator cannot be brought up.
    #[error(transparent)]
    Groups(#[from] GroupsError),
    /// An internal topic cannot be made.
    #[error("cannot make {OFFSETS_TOPIC}: {0}")]
    InternalTopic(#[from] CreateTopicError),
    /// A link file is wrong.
    #[error(transparent)]
    Link(#[from] shadow::LinkFileError),
    /// The metadata log was lost during the start.
    #[error("the metadata log was lost during the start: see the log")]
    Lost,
    /// The metadata log takes no records.
    #[error("the start cannot be recorded: {why}")]
    Unrecorded {
        /// What its disk says.
        why: Arc<str>,
    },
}

impl From<NoReply> for StartError {
    fn from(no_reply: NoReply) -> Self {
        match no_reply {
            NoReply::Gone => StartError::Lost,
            NoReply::Refused { why } => StartError::Unrecorded { why },
        }
    }
}

/// What a site says of itself when it is ready.
#[derive(Clone, Debug)]
pub struct SiteInfo {
    /// Its short name.
    pub name: String,
    /// What Kafka clients connect to.
    pub kafka: String,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Prefixes of its own topics.
    pub owns: Vec<String>,
    /// Its data directory.
    pub data: PathBuf,
    /// Whether power loss may take acknowledged records.
    pub write_caching: bool,
}

/// A running site.
pub struct Broker {
    site: Arc<Site>,
    info: SiteInfo,
    stopping: watch::Sender<bool>,
    /// Connections and the admin address: ended first.
    front: Vec<JoinHandle<()>>,
    /// Machines, actions, housekeeping: ended last.
    back: Vec<JoinHandle<()>>,
    failed: Mutex<mpsc::UnboundedReceiver<String>>,
    data_dir: Arc<DataDir>,
}

impl Broker {
    /// Brings a site up; when this returns it serves.
    pub async fn start(config: Config, disk: Arc<dyn Disk>) -> Result<Broker, StartError> {
        let clock = Clock::start();
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(Listener::bind(listener).await?);
        }
        let admin_socket = bind(config.admin).await?;
        let admin_address = admin_socket.local_addr().map_err(|source| BindError { address: config.admin, source })?;

        let data_dir = Arc::new(DataDir::take(disk.clone(), &config.data)?);
        let flusher = Flusher::start(Blocking::Pool { threads: FLUSH_THREADS }).map_err(StartError::Flusher)?;
        let env = Env { disk, flusher, boot: data_dir.boot() };
        let partitions = Arc::new(Partitions::new(env, config.data.clone(), config.broker_id, defaults(&config)));
        let published = Arc::new(OnceLock::new());
        let (actions, to_do) = mpsc::unbounded_channel();
        let (fail, failed) = mpsc::unbounded_channel();
        let around = Surroundings { partitions: partitions.clone(), published: published.clone(), actions, failed: fail };
        let (catalog, catalog_task) = catalog::start(around, catalog_settings(&config), clock)?;
        register(&catalog, &config, &listeners).await?;
        let offsets_topic = offsets_topic(&catalog).await?;
        let group_config = GroupConfig { initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms, ..GroupConfig::default() };
        let reopener = Reopener::new(catalog.clone(), partitions.clone());
        let (groups, mut back) = GroupCoordinators::start(&partitions, offsets_topic, &group_config, clock, &reopener)?;
        back.push(catalog_task);

        let info = SiteInfo {
            name: config.site_name.clone(),
            kafka: listeners.first().map_or(String::new(), |listener| listener.advertised().to_string()),
            admin: admin_address,
            owns: config.owns.clone(),
            data: config.data.clone(),
            write_caching: config.write_caching,
        };
        let site = Arc::new(Site {
            config,
            clock,
            catalog,
            partitions,
            groups,
            producer_ids: ProducerIds::default(),
            fetch_sessions: Sessions::default(),
            links: OnceLock::new(),
            link_file_differs: parking_lot::Mutex::default(),
        });
        shadow::start(&site, &published).await?;
        let (stopping, stop) = watch::channel(false);
        back.push(tokio::spawn(shadow::carry_out(site.clone(), to_do)));
        back.push(tokio::spawn(housekeeping::run(site.clone(), data_dir.clone(), stop.clone())));
        back.push(tokio::spawn(reopen::run(site.clone(), reopener, stop.clone())));
        let mut front: Vec<_> = listeners.into_iter().map(|listener| tokio::spawn(listener.accept(site.clone(), stop.clone()))).collect();
        front.push(tokio::spawn(admin::http::serve(admin_socket, site.clone(), stop)));
        Ok(Broker { site, info, stopping, front, back, failed: Mutex::new(failed), data_dir })
    }

    /// What the ready line says.
    pub fn info(&self) -> &SiteInfo {
        &self.info
    }

    /// Returns, with a sentence, when the site can go on no longer. Cancel safe.
    pub async fn failed(&self) -> String {
        match self.failed.lock().await.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Stops cleanly: what is acknowledged is durable, checkpoints are written.
    pub async fn stop(mut self) {
        // Nobody listens only when every task has ended already.
        let _ = self.stopping.send(true);
        for task in self.front.drain(..) {
            let _ = task.await;
        }
        if let Some(links) = self.site.links.get() {
            links.shutdown().await;
        }
        self.site.groups.stop();
        for task in &self.back {
            task.abort();
        }
        for task in self.back.drain(..) {
            // Aborted above, or ended by itself.
            let _ = task.await;
        }
        for (id, handle) in self.site.partitions.all_open() {
            match timeout(crate::config::limits::STOP_MAX, handle.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(partition = %id, "not closed cleanly: {error}"),
                Err(_) => warn!(partition = %id, "not closed in time; the next start recovers it"),
            }
        }
        drop(self.data_dir);
    }
}

/// Returns when the site is to stop, or is gone. Cancel safe.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the site with it.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// What the site sets for topics that do not say.
fn defaults(config: &Config) -> SiteDefaults {
    let mut defaults = SiteDefaults::default();
    if config.write_caching {
        defaults.set("write.caching", "true").expect("a row of the table with a value of its type");
    }
    defaults
}

/// What the catalog decides by.
fn catalog_settings(config: &Config) -> Settings {
    Settings {
        default_partitions: config.default_partitions,
        partitions_max: crate::config::limits::PARTITIONS_PER_TOPIC_MAX,
        epoch_policy: epoch_policy(),
        site_defaults: defaults(config),
    }
}

fn epoch_policy() -> EpochPolicy {
    // Planted fault for tests of failover: the old owner's next elections meet our epochs.
    fail::fail_point!("failover_epoch_plus_one", |_| EpochPolicy::PlusOne);
    EpochPolicy::default()
}

/// Records this start before anything is led.
async fn register(catalog: &CatalogHandle, config: &Config, listeners: &[Listener]) -> Result<(), StartError> {
    let endpoints = listeners.iter().map(|listener| {
        let advertised = listener.advertised();
        Endpoint { listener: "PLAINTEXT".into(), host: advertised.host.clone(), port: advertised.port }
    });
    let register = Register {
        fresh_cluster_id: Uuid::new_v4(),
        name: config.site_name.clone(),
        broker_id: config.broker_id,
        producer_tag: config.producer_tag,
        owns: config.owns.clone(),
        endpoints: endpoints.collect(),
    };
    match catalog.submit(Event::Register(register)).await? {
        Reply::Register(registered) => registered?,
        _ => return Err(StartError::Lost),
    };
    // Planted fault for tests of durability: offsets that power loss took back come again under the same epoch.
    fail::fail_point!("same_epoch_after_restart", |_| Ok(()));
    match catalog.submit(Event::Incarnate).await? {
        Reply::Incarnate(Ok(_)) => Ok(()),
        _ => Err(StartError::Lost),
    }
}

/// The id of `__consumer_offsets`, made at the first start.
async fn offsets_topic(catalog: &CatalogHandle) -> Result<TopicId, StartError> {
    if let Some(topic) = catalog.image().topic_by_name(OFFSETS_TOPIC) {
        return Ok(topic.id);
    }
    let topic = NewTopic {
        partitions: OFFSETS_PARTITIONS,
        configs: vec![("cleanup.policy".into(), Some("compact".into()))],
        ..NewTopic::named(OFFSETS_TOPIC, Uuid::new_v4())
    };
    let event = CreateTopics { topics: vec![topic], origin: Origin::Site, validate_only: false };
    match catalog.submit(Event::CreateTopics(event)).await? {
        Reply::CreateTopics(mut made) => match made.pop() {
            Some(creation) => Ok(creation.result?.id),
            None => Err(StartError::Lost),
        },
        _ => Err(StartError::Lost),
    }
}

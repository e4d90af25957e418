//! Start and stop order of a site.
//!
//! Start: addresses, data directory, metadata log, incarnation, internal topics, group
//! coordinators, links, and only then the first connection. Stop: connections, links, coordinators,
//! and last the partitions, with their checkpoints.

use crate::{
    admin,
    api::fetch::session::Sessions,
    clock::Clock,
    config::{Config, limits::CONNECTIONS_MAX},
    coordinators::{
        catalog::{self, CatalogError, CatalogHandle, Surroundings},
        groups::{GroupCoordinators, GroupsError, OFFSETS_PARTITIONS, OFFSETS_TOPIC},
        producer_ids::ProducerIds,
    },
    data_dir::{DataDir, DataDirError},
    essential, housekeeping,
    net::listener::{BindError, Listener, bind},
    partitions::Partitions,
    reopen::{self, Reopener},
    replicated::NoReply,
    shadow,
    site::Site,
    world::{Chance, World},
};
use gnomon_catalog::{
    CreateTopicError, CreateTopics, Endpoint, Event, NewTopic, Origin, Register, RegisterError,
    Reply, Settings, SiteDefaults,
};
use gnomon_groups::GroupConfig;
use gnomon_links::failover::EpochPolicy;
use gnomon_partition::{Env, Flusher};
use gnomon_protocol::ids::TopicId;
use rustix::process::{Resource, getrlimit};
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
};
use tokio::{
    sync::{Mutex, Semaphore, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

/// Why a site does not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory is not usable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The data directory's file system cannot be had.
    #[error("cannot open the file system of the data directory: {0}")]
    FileSystem(#[source] io::Error),
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
    #[error("the metadata log was lost during the start: {0}")]
    Lost(String),
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
            NoReply::Gone => StartError::Lost(no_reply.to_string()),
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
    pub async fn start(config: Config, world: World) -> Result<Broker, StartError> {
        let World {
            disk,
            network,
            blocking,
            wall,
            chance,
        } = world;
        let clock = Clock::start(wall);
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(Listener::bind(&*network, listener).await?);
        }
        let admin_socket = bind(&*network, config.admin).await?;
        let admin_address = admin_socket.local_addr().map_err(|source| BindError {
            address: config.admin,
            source,
        })?;

        let data_dir = Arc::new(DataDir::take(disk.clone(), &config.data)?);
        let file_system = disk
            .file_system(&config.data)
            .map_err(StartError::FileSystem)?;
        let flusher = Flusher::over(file_system, blocking).map_err(StartError::Flusher)?;
        let env = Env {
            disk,
            flusher,
            boot: data_dir.boot(),
            troubles: Default::default(),
            growing: Default::default(),
        };
        let partitions = Arc::new(Partitions::new(
            env,
            config.data.clone(),
            config.broker_id,
            defaults(&config),
        ));
        let published = Arc::new(OnceLock::new());
        let (actions, to_do) = mpsc::unbounded_channel();
        let (fail, mut failed) = mpsc::unbounded_channel();
        let around = Surroundings {
            partitions: partitions.clone(),
            published: published.clone(),
            actions,
            failed: fail.clone(),
        };
        let (catalog, catalog_task) = catalog::start(around, catalog_settings(&config), clock)?;
        let offsets_topic = begin(&catalog, &config, &listeners, &chance)
            .await
            .map_err(|error| match failed.try_recv() {
                Ok(why) => StartError::Lost(why),
                Err(_) => error,
            })?;
        let group_config = GroupConfig {
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
            ..GroupConfig::default()
        };
        let reopener = Reopener::new(catalog.clone(), partitions.clone());
        let (groups, mut back) =
            GroupCoordinators::start(&partitions, offsets_topic, &group_config, clock, &reopener)?;
        back.push(catalog_task);

        let info = SiteInfo {
            name: config.site_name.clone(),
            kafka: listeners
                .first()
                .map_or(String::new(), |listener| listener.advertised().to_string()),
            admin: admin_address,
            owns: config.owns.clone(),
            data: config.data.clone(),
            write_caching: config.write_caching,
        };
        let fetch_sessions = Sessions::new(chance.number() as u32);
        let site = Arc::new(Site {
            config,
            clock,
            chance,
            net: network,
            catalog,
            partitions,
            groups,
            producer_ids: ProducerIds::default(),
            fetch_sessions,
            links: OnceLock::new(),
            link_file_differs: parking_lot::Mutex::default(),
        });
        shadow::start(&site, &published).await?;
        let (stopping, stop) = watch::channel(false);
        back.push(essential::spawn(
            "what the metadata ask for",
            &fail,
            shadow::carry_out(site.clone(), to_do),
        ));
        back.push(essential::spawn(
            "housekeeping",
            &fail,
            housekeeping::run(site.clone(), data_dir.clone(), stop.clone()),
        ));
        back.push(essential::spawn(
            "opening after disk errors",
            &fail,
            reopen::run(site.clone(), reopener, stop.clone()),
        ));
        let places = Arc::new(Semaphore::new(connections_max(
            getrlimit(Resource::Nofile).current,
        )));
        let accept = |listener: Listener| {
            tokio::spawn(listener.accept(site.clone(), places.clone(), stop.clone()))
        };
        let mut front: Vec<_> = listeners.into_iter().map(accept).collect();
        front.push(tokio::spawn(admin::http::serve(
            admin_socket,
            site.clone(),
            stop,
        )));
        Ok(Broker {
            site,
            info,
            stopping,
            front,
            back,
            failed: Mutex::new(failed),
            data_dir,
        })
    }

    /// For tests that look inside.
    #[cfg(test)]
    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.site
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
        self.site.partitions.stop_opening().await;
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

impl Broker {
    /// Ends the site as the death of its process would: nothing more is answered, written or
    /// flushed; what is under way is dropped where it waits. When this returns none of its tasks is
    /// left, save connections of the admin address that have an answer under way. For simulations,
    /// in which several sites share a process.
    pub async fn kill(mut self) {
        let tasks: Vec<_> = self.front.drain(..).chain(self.back.drain(..)).collect();
        tasks.iter().for_each(JoinHandle::abort);
        if let Some(links) = self.site.links.get() {
            links.shutdown().await;
        }
        for task in tasks {
            // Aborted above, or ended by itself.
            let _ = task.await;
        }
    }
}

/// Returns when the site is to stop, or is gone. Cancel safe.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the site with it.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Connections at once, of all listeners together. Half of the files that may be open are kept for
/// logs: a partition that cannot open a file takes no more writes, and clients that only connect
/// must not bring that about.
fn connections_max(open_files: Option<u64>) -> usize {
    let half = open_files.map_or(usize::MAX, |files| {
        usize::try_from(files / 2).unwrap_or(usize::MAX)
    });
    CONNECTIONS_MAX.min(half)
}

/// What the site sets for topics that do not say.
fn defaults(config: &Config) -> SiteDefaults {
    let mut defaults = SiteDefaults::default();
    if config.write_caching {
        defaults
            .set("write.caching", "true")
            .expect("a row of the table with a value of its type");
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
    gnomon_failpoints::fail_point!("failover_epoch_plus_one", |_| EpochPolicy::PlusOne);
    EpochPolicy::default()
}

/// What is recorded before anything is served: this start, and the topic of the groups, whose id is
/// the answer.
async fn begin(
    catalog: &CatalogHandle,
    config: &Config,
    listeners: &[Listener],
    chance: &Chance,
) -> Result<TopicId, StartError> {
    register(catalog, config, listeners, chance).await?;
    offsets_topic(catalog, chance).await
}

/// Records this start before anything is led.
async fn register(
    catalog: &CatalogHandle,
    config: &Config,
    listeners: &[Listener],
    chance: &Chance,
) -> Result<(), StartError> {
    let endpoints = listeners.iter().map(|listener| {
        let advertised = listener.advertised();
        Endpoint {
            listener: "PLAINTEXT".into(),
            host: advertised.host.clone(),
            port: advertised.port,
        }
    });
    let register = Register {
        fresh_cluster_id: chance.id(),
        name: config.site_name.clone(),
        broker_id: config.broker_id,
        producer_tag: config.producer_tag,
        owns: config.owns.clone(),
        endpoints: endpoints.collect(),
    };
    match catalog.submit(Event::Register(register)).await? {
        Reply::Register(registered) => registered?,
        _ => return Err(unexpected()),
    };
    // Planted fault for tests of durability: offsets that power loss took back come again under the
    // same epoch.
    gnomon_failpoints::fail_point!("same_epoch_after_restart", |_| Ok(()));
    match catalog.submit(Event::Incarnate).await? {
        Reply::Incarnate(Ok(_)) => Ok(()),
        _ => Err(unexpected()),
    }
}

/// The metadata machine gave the answer to another question.
fn unexpected() -> StartError {
    StartError::Lost("it gave an answer that fits no question".into())
}

/// The id of `__consumer_offsets`, made at the first start.
async fn offsets_topic(catalog: &CatalogHandle, chance: &Chance) -> Result<TopicId, StartError> {
    if let Some(topic) = catalog.image().topic_by_name(OFFSETS_TOPIC) {
        return Ok(topic.id);
    }
    let topic = NewTopic {
        partitions: OFFSETS_PARTITIONS,
        configs: vec![("cleanup.policy".into(), Some("compact".into()))],
        ..NewTopic::named(OFFSETS_TOPIC, chance.id())
    };
    let event = CreateTopics {
        topics: vec![topic],
        origin: Origin::Site,
        validate_only: false,
    };
    match catalog.submit(Event::CreateTopics(event)).await? {
        Reply::CreateTopics(mut made) => match made.pop() {
            Some(creation) => Ok(creation.result?.id),
            None => Err(unexpected()),
        },
        _ => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_logs() {
        assert_eq!(
            (connections_max(None), connections_max(Some(1 << 20))),
            (CONNECTIONS_MAX, CONNECTIONS_MAX)
        );
        assert_eq!(
            (
                connections_max(Some(1_024)),
                connections_max(Some(u64::MAX))
            ),
            (512, CONNECTIONS_MAX)
        );
    }
}

//! Start and stop order of a site.
//!
//! Start: addresses, data directory, metadata log, incarnation, internal topics, group machines,
//! links, and only then the first connection. Stop: connections, links, group machines, and last
//! the partitions, with their checkpoints.

use crate::{
    admin,
    closing::close_all,
    config::{
        Config,
        limits::{CONNECTIONS_MAX, FILES_KEPT},
    },
    context::Connection,
    coordinators::{
        groups::{GroupLogs, Groups},
        producer_ids::ProducerIds,
    },
    dispatch::dispatch,
    environment::Environment,
    fetch_sessions::FetchSessions,
    links::{Actions, LinkParts, Links},
    net::{
        listener::{BindError, Dispatch, Listener, bind},
        network::{Accept, Network},
    },
    registration::{metadata_settings, register_site, site_defaults},
    services::Services,
};
use gnomon_driver::{
    Clock,
    supervise::{Stop, StopSignal, spawn_essential},
};
use gnomon_host::{
    DataDir, Metadata, MetadataParts, Partitions, PublishedImage, Reopener,
    housekeeping::Housekeeping,
};
use gnomon_partition::{Blocking, Env, Flusher};
use gnomon_storage::Disk;
use rustix::process::{Resource, getrlimit};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{
    sync::{Mutex, Semaphore, mpsc},
    task::JoinHandle,
};

pub use crate::start_error::StartError;

/// A site that is ready, for the line that says so.
#[derive(Clone, Debug)]
pub struct SiteInfo {
    /// Its short name.
    pub name: String,
    /// The address that Kafka clients connect to.
    pub kafka: String,
    /// The address that operators connect to.
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
    services: Arc<Services>,
    info: SiteInfo,
    stop: Stop,
    /// Connections and the admin address: ended first.
    front: Vec<JoinHandle<()>>,
    /// Machines, actions, housekeeping: ended last.
    back: Vec<JoinHandle<()>>,
    failed: Mutex<mpsc::UnboundedReceiver<String>>,
    data_dir: Arc<DataDir>,
}

impl Broker {
    /// Brings a site up; when this returns it serves.
    pub async fn start(config: Config, environment: Environment) -> Result<Broker, StartError> {
        let Environment {
            disk,
            network,
            blocking,
            wall,
            random,
        } = environment;
        let clock = Clock::start(wall);
        let sockets = Sockets::bind(&config, &*network).await?;
        let info = info(&config, &sockets);
        let data_dir = Arc::new(DataDir::take(disk.clone(), &config.data)?);
        let env = partitions_env(&config, disk, blocking, &data_dir)?;
        let image = Arc::<PublishedImage>::default();
        let partitions = Partitions::new(
            env.clone(),
            config.data.clone(),
            config.broker_id,
            site_defaults(&config),
            image.clone(),
        );
        let (actions, to_do) = mpsc::unbounded_channel();
        let (fail, mut failed) = mpsc::unbounded_channel();
        let parts = MetadataParts {
            image,
            actions,
            fail: fail.clone(),
            settings: metadata_settings(&config),
        };
        let (metadata, metadata_task) = Metadata::start(&env, &config.data, parts, clock)?;
        let offsets_topic = register_site(&metadata, &config, &sockets.listeners, &random)
            .await
            .map_err(|error| match failed.try_recv() {
                Ok(why) => StartError::Lost(why),
                Err(_) => error,
            })?;
        partitions
            .find_lost(config.accept_loss)
            .map_err(StartError::LostFiles)?;
        let reopener = Reopener::new(metadata.clone(), partitions.clone());
        let group_logs = GroupLogs {
            partitions: partitions.clone(),
            reopener: reopener.clone(),
            topic_id: offsets_topic,
            config: config.groups(),
        };
        let (groups, mut back) = Groups::start(group_logs, clock)?;
        back.push(metadata_task);

        let link_parts = LinkParts {
            metadata: metadata.clone(),
            partitions: partitions.clone(),
            groups: groups.clone(),
            clock,
            random: random.clone(),
        };
        let links = start_links(link_parts, network, &config).await?;
        let (stop, stop_signal) = Stop::new();
        let actions = Actions {
            partitions: partitions.clone(),
            groups: groups.clone(),
            links: links.clone(),
        };
        let housekeeping = Housekeeping {
            metadata: metadata.clone(),
            partitions: partitions.clone(),
            data_dir: data_dir.clone(),
            clock,
        };
        back.push(spawn_essential(
            "the task that carries out the actions of the metadata machine",
            &fail,
            actions.run(to_do),
        ));
        back.extend(spawn_upkeep(housekeeping, reopener, &fail, &stop_signal));
        let services = Arc::new(Services {
            fetch_sessions: FetchSessions::new(random.number() as u32),
            config,
            clock,
            random,
            metadata,
            partitions,
            groups,
            producer_ids: ProducerIds::default(),
            links,
            traffic: Arc::default(),
        });
        let front = sockets.serve(&services, stop_signal);
        Ok(Broker {
            services,
            info,
            stop,
            front,
            back,
            failed: Mutex::new(failed),
            data_dir,
        })
    }

    /// For tests that look inside.
    #[cfg(test)]
    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// The facts of the ready line.
    pub fn info(&self) -> &SiteInfo {
        &self.info
    }

    /// Returns, with a sentence, when the site cannot go on. Cancel safe.
    pub async fn failed(&self) -> String {
        match self.failed.lock().await.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Stops cleanly: everything acknowledged is durable, checkpoints are written.
    pub async fn stop(mut self) {
        self.stop.stop();
        for task in self.front.drain(..) {
            let _ = task.await;
        }
        self.services.links.shutdown().await;
        self.services.groups.stop();
        for task in &self.back {
            task.abort();
        }
        for task in self.back.drain(..) {
            // Aborted above, or ended by itself.
            let _ = task.await;
        }
        let partitions = &self.services.partitions;
        partitions.stop_opening().await;
        close_all(&partitions.image(), partitions.all_open()).await;
        drop(self.data_dir);
    }

    /// Ends the site as the death of its process would: nothing more is answered, written or
    /// flushed; work under way is dropped where it waits. When this returns none of its tasks is
    /// left, except that tasks of connections may still have to be dropped. For simulations, in
    /// which several sites share a process.
    pub async fn kill(mut self) {
        let tasks: Vec<_> = self.front.drain(..).chain(self.back.drain(..)).collect();
        tasks.iter().for_each(JoinHandle::abort);
        self.services.links.shutdown().await;
        for task in tasks {
            // Aborted above, or ended by itself.
            let _ = task.await;
        }
    }
}

/// The links that the metadata has, and those of the configuration's link files.
async fn start_links(
    parts: LinkParts,
    network: Arc<dyn Network>,
    config: &Config,
) -> Result<Arc<Links>, StartError> {
    let random = parts.random.clone();
    let links = Arc::new(Links::new(parts, network, &config.site_name));
    for path in &config.link_files {
        links.create_from_file(path, &random).await?;
    }
    links.run();
    Ok(links)
}

/// The tasks that look after partitions.
fn spawn_upkeep(
    housekeeping: Housekeeping,
    reopener: Reopener,
    fail: &mpsc::UnboundedSender<String>,
    stop: &StopSignal,
) -> [JoinHandle<()>; 2] {
    [
        spawn_essential("housekeeping", fail, housekeeping.run(stop.clone())),
        spawn_essential(
            "the task that opens partitions again after disk errors",
            fail,
            reopener.run(stop.clone()),
        ),
    ]
}

/// Addresses that are bound and do not answer yet.
struct Sockets {
    listeners: Vec<Listener>,
    admin: Box<dyn Accept>,
    admin_address: SocketAddr,
}

impl Sockets {
    async fn bind(config: &Config, network: &dyn Network) -> Result<Sockets, BindError> {
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(Listener::bind(network, listener, config.request_bytes_max).await?);
        }
        let admin = bind(network, config.admin).await?;
        let admin_address = admin.local_addr().map_err(|source| BindError {
            address: config.admin,
            source,
        })?;
        Ok(Sockets {
            listeners,
            admin,
            admin_address,
        })
    }

    /// Accepts connections, a task for each address.
    fn serve(self, services: &Arc<Services>, stop: StopSignal) -> Vec<JoinHandle<()>> {
        let places = connections_max(getrlimit(Resource::Nofile).current);
        let places = Arc::new(Semaphore::new(places));
        let dispatch: Arc<Dispatch> = {
            let services = services.clone();
            Arc::new(move |connection: &Arc<Connection>, frame| {
                dispatch(&services, connection, frame)
            })
        };
        let accept = |listener: Listener| {
            tokio::spawn(listener.accept(
                dispatch.clone(),
                places.clone(),
                services.traffic.clone(),
                stop.clone(),
            ))
        };
        let mut tasks: Vec<_> = self.listeners.into_iter().map(accept).collect();
        let admin = admin::http::serve(self.admin, services.clone(), stop);
        tasks.push(tokio::spawn(admin));
        tasks
    }
}

/// State that the partitions of this site share.
fn partitions_env(
    config: &Config,
    disk: Arc<dyn Disk>,
    blocking: Blocking,
    data_dir: &DataDir,
) -> Result<Env, StartError> {
    let file_system = disk
        .file_system(&config.data)
        .map_err(StartError::FileSystem)?;
    Ok(Env {
        disk,
        flusher: Flusher::over(file_system, blocking).map_err(StartError::Flusher)?,
        boot: data_dir.boot(),
        troubles: Default::default(),
        reserved: Default::default(),
    })
}

fn info(config: &Config, sockets: &Sockets) -> SiteInfo {
    SiteInfo {
        name: config.site_name.clone(),
        kafka: sockets.listeners.first().map_or(String::new(), |listener| {
            listener.info().advertised.to_string()
        }),
        admin: sockets.admin_address,
        owns: config.owns.clone(),
        data: config.data.clone(),
        write_caching: config.write_caching,
    }
}

/// The most connections at one time, of all listeners together. Half of the files that may be open
/// are kept for logs: a partition that cannot open a file takes no more writes, and clients that
/// only connect must not cause that. Some more are kept for links and the admin address.
fn connections_max(open_files: Option<u64>) -> usize {
    let half = open_files.map_or(usize::MAX, |files| {
        usize::try_from(files / 2).unwrap_or(usize::MAX)
    });
    CONNECTIONS_MAX.min(half - half.min(FILES_KEPT) / 2)
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
            (480, CONNECTIONS_MAX)
        );
    }
}

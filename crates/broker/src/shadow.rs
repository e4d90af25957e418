//! Shadow links inside the broker: what they need of the site ([`Site`](gnomon_replication::Site)),
//! the link files of the start, and the actions of the catalog that reach into partitions and
//! groups.
//!
//! Not here: copying, discovery, lag (`gnomon-replication`), what a link is (`gnomon-links`), who
//! owns a topic (`gnomon-catalog`).

use crate::{
    clock::Clock,
    coordinators::{
        catalog::{CatalogHandle, Published},
        groups::GroupCoordinators,
    },
    partitions::Partitions,
    site::Site,
    world::Chance,
};
use gnomon_catalog::{
    Action, CreateLinkError, Event, Image, Link, LinkId, LinkOutcome, LinkSource, Reply,
};
use gnomon_client::BoxFuture;
use gnomon_groups::{
    DeletedTopic, Event as GroupEvent, SyncEnded, SyncOffsets, SyncedPartition, TopicsDeleted,
};
use gnomon_links::{
    ConfigError, LinkConfig, LinkStatus, config::SecretRef, loss::Loss, parse_link_file,
};
use gnomon_machine::Now;
use gnomon_partition::{Handle, PartitionId};
use gnomon_protocol::ids::{TopicId, Uuid};
use gnomon_replication::{
    Gone, LinkService, Unavailable,
    source::{Connect, kafka::KafkaConnect},
};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::{info, warn};

/// After this long a group machine that could not take news is told them again.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A link file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkFileError {
    /// It cannot be read.
    #[error("cannot read the link file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something wrong.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<ConfigError>,
    },
    /// The link cannot be made.
    #[error("{path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<CreateLinkError>,
    },
    /// The metadata log was lost.
    #[error("{path}: the link cannot be recorded")]
    Unrecorded {
        /// The file.
        path: PathBuf,
    },
}

/// Replication's view of the site: its parts, not the site itself, which has the links in it.
struct SiteDoor {
    catalog: CatalogHandle,
    partitions: Arc<Partitions>,
    groups: GroupCoordinators,
    clock: Clock,
    chance: Chance,
}

impl SiteDoor {
    fn of(site: &Site) -> SiteDoor {
        SiteDoor {
            catalog: site.catalog.clone(),
            partitions: site.partitions.clone(),
            groups: site.groups.clone(),
            clock: site.clock,
            chance: site.chance.clone(),
        }
    }
}

impl gnomon_replication::Site for SiteDoor {
    fn image(&self) -> Arc<Image> {
        self.catalog.image()
    }

    fn handle(&self, topic: TopicId, partition: i32) -> Result<Handle, Unavailable> {
        self.partitions
            .by_id(topic, partition)
            .map_err(|error| Unavailable {
                topic,
                partition,
                why: error.to_string(),
            })
    }

    fn submit(&self, event: Event) -> BoxFuture<'static, Result<Reply, Gone>> {
        let catalog = self.catalog.clone();
        Box::pin(async move {
            catalog.submit(event).await.map_err(|error| Gone {
                what: "the metadata machine",
                why: error.to_string(),
            })
        })
    }

    fn sync_offsets(
        &self,
        sync: SyncOffsets,
    ) -> BoxFuture<'static, Result<Vec<SyncedPartition>, Gone>> {
        let groups = self.groups.clone();
        Box::pin(async move {
            let group = sync.group.clone();
            let reply = groups.submit(&group, GroupEvent::SyncOffsets(sync)).await;
            reply
                .and_then(gnomon_groups::Reply::into_offsets_synced)
                .map_err(|error| Gone {
                    what: "the group machine",
                    why: error.to_string(),
                })
        })
    }

    fn sync_ended(&self, ended: SyncEnded) -> BoxFuture<'static, Result<(), Gone>> {
        let groups = self.groups.clone();
        Box::pin(async move {
            let mut all = Ok(());
            for coordinator in groups.all() {
                let told = coordinator.tell(GroupEvent::SyncEnded(ended.clone())).await;
                // One that does not answer keeps no other from being told.
                all = all.and(told.map_err(|error| Gone {
                    what: "a group machine",
                    why: error.to_string(),
                }));
            }
            all
        })
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn random(&self) -> u64 {
        self.chance.number()
    }

    fn fresh_id(&self) -> Uuid {
        self.chance.id()
    }
}

/// Makes the links of the link files and starts all there are.
pub async fn start(
    site: &Arc<Site>,
    published: &Arc<OnceLock<Published>>,
) -> Result<(), LinkFileError> {
    for path in &site.config.link_files {
        create_from_file(site, path.clone()).await?;
    }
    let service = LinkService::new(Arc::new(SiteDoor::of(site)), Arc::new(sources(site)));
    site.links.get_or_init(|| service);
    let follower = Arc::downgrade(site);
    // An image that is published from here on reaches the links by itself.
    let _ = published.set(Box::new(move |image| {
        if let Some(site) = follower.upgrade()
            && let Some(links) = site.links.get()
        {
            links.reconcile(&image);
        }
    }));
    if let Some(links) = site.links.get() {
        links.reconcile(&site.catalog.image());
    }
    Ok(())
}

async fn create_from_file(site: &Site, path: PathBuf) -> Result<(), LinkFileError> {
    let text = std::fs::read_to_string(&path).map_err(|source| LinkFileError::Read {
        path: path.clone(),
        source,
    })?;
    let config = parse(&text).map_err(|source| LinkFileError::Parse {
        path: path.clone(),
        source: Box::new(source),
    })?;
    let name = config.name.to_string();
    let event = Event::CreateLink {
        id: LinkId(site.fresh_id()),
        config: Box::new(config),
        source: LinkSource::File,
    };
    match site.catalog.submit(event).await {
        Ok(Reply::CreateLink(Ok(created))) => match created.outcome {
            LinkOutcome::Made => info!(link = name, "made from {}", path.display()),
            LinkOutcome::Stands { differences } => {
                for difference in &differences {
                    warn!(
                        link = name,
                        "{} differs from the link as it stands: {difference}",
                        path.display()
                    );
                }
                site.link_file_differs.lock().insert(name, differences);
            }
        },
        Ok(Reply::CreateLink(Err(error @ CreateLinkError::Deleted { .. }))) => {
            warn!("{}: {error}", path.display())
        }
        Ok(Reply::CreateLink(Err(source))) => {
            return Err(LinkFileError::Create {
                path,
                source: Box::new(source),
            });
        }
        Ok(_) | Err(_) => return Err(LinkFileError::Unrecorded { path }),
    }
    Ok(())
}

/// Reads a link file's text; secrets come from the environment and from files.
pub fn parse(text: &str) -> Result<LinkConfig, ConfigError> {
    parse_link_file(text, &resolve)
}

fn resolve(secret: &SecretRef) -> Result<String, String> {
    match secret {
        SecretRef::Env(name) => {
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
        }
        SecretRef::File(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| format!("cannot read {path}: {error}")),
    }
}

/// Makes the sources of links.
fn sources(site: &Site) -> KafkaConnect {
    KafkaConnect::over(site.net.clone(), &site.config.site_name)
}

/// A link that is made by a command must reach its source.
pub async fn try_source(site: &Site, config: &LinkConfig) -> Result<(), String> {
    let source = sources(site).connect(config);
    match source.contact().await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "the source of link '{}' does not answer: {error}",
            config.name
        )),
    }
}

/// What an operator sees of a link; `None` before links run.
pub fn status(site: &Site, link: &Link) -> Option<LinkStatus> {
    let file_differs = site
        .link_file_differs
        .lock()
        .get(link.name())
        .cloned()
        .unwrap_or_default();
    Some(LinkStatus {
        file_differs,
        ..site.links.get()?.status(link.id)?
    })
}

/// What a failover would lose; `None` before links run.
pub async fn loss(site: &Site, link: &Link, topics: Option<&[String]>) -> Option<Loss> {
    site.links.get()?.loss(link.id, topics).await
}

/// Carries out what the catalog asks for, until the site stops. Each is harmless when repeated: the
/// catalog asks again after a restart.
pub async fn carry_out(site: Arc<Site>, mut actions: mpsc::UnboundedReceiver<Action>) {
    let mut dropping = JoinSet::new();
    while let Some(action) = actions.recv().await {
        match action {
            // Files may be many and slow to go, and a failover must not wait for them.
            Action::DropTopic {
                id,
                name,
                partitions,
            } => {
                while dropping.try_join_next().is_some() {}
                let site = site.clone();
                dropping.spawn(async move { drop_topic(&site, id, &name, partitions).await });
            }
            Action::Cut { .. } | Action::AbortOpen { .. } | Action::ApplyOffsets { .. } => {
                if let Some(links) = site.links.get() {
                    links.carry_out(action);
                }
            }
        }
    }
}

async fn drop_topic(site: &Site, id: TopicId, name: &str, partitions: i32) {
    tokio::join!(
        forget_offsets(site, id, name),
        remove_files(site, id, name, partitions)
    );
}

/// What is committed on a topic of the same name that is made meanwhile stays. Goes on until every
/// machine has been told, or the site stops: then the next start sees what is left.
async fn forget_offsets(site: &Site, id: TopicId, name: &str) {
    sleep(news_after()).await;
    let deleted = GroupEvent::TopicsDeleted(TopicsDeleted {
        topics: vec![DeletedTopic {
            name: name.into(),
            id: Some(id),
        }],
    });
    for coordinator in site.groups.all() {
        let mut warned = false;
        while let Err(error) = coordinator.tell(deleted.clone()).await {
            if !std::mem::replace(&mut warned, true) {
                warn!(
                    topic = name,
                    "committed offsets of a deleted topic are removed later: {error}"
                );
            }
            sleep(TELL_AGAIN_AFTER).await;
        }
    }
}

/// Tests make the news late, so that they come long after the name is used again.
fn news_after() -> Duration {
    gnomon_failpoints::fail_point!("late_news_of_deletions", |ms| Duration::from_millis(
        ms.and_then(|ms| ms.parse().ok()).unwrap_or(0)
    ));
    Duration::ZERO
}

async fn remove_files(site: &Site, id: TopicId, name: &str, partitions: i32) {
    for index in 0..partitions {
        if let Err(stopping) = site
            .partitions
            .delete(PartitionId {
                topic_id: id,
                index,
            })
            .await
        {
            // The next start removes what is left.
            return warn!(
                topic = name,
                "not all files of a deleted topic are removed: {stopping}"
            );
        }
    }
}

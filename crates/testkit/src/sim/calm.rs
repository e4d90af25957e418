//! Checks when everything is healed and nobody works: that links are level again, every log whole,
//! shadows as their sources, positions of groups where they belong.

use super::{
    admin,
    check::{Check, links, shadows},
    model::{Kind, LogId, Model, SITES, Topic},
    work::{committed::read_committed, reader},
    world::World,
};
use gnomon_client::{Client, ClientError, Topics, fetcher::FetchTarget};
use gnomon_links::LinkStatus;
use gnomon_protocol::{error_code::ErrorCode, ids::Offset};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// R13: after a fault has healed, everything is level again within this time. A connection that a
/// fault left half open at the last moment shows only as a request that is not answered: its
/// deadline is ten seconds, and then the link backs off for up to ten more.
pub const WELL_AGAIN: Duration = Duration::from_secs(25);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Log start and end, by topic and partition.
type Bounds = BTreeMap<(String, i32), (Offset, Offset)>;

/// Looks at everything, once it has had the time since `healed` to come to order.
pub async fn look(world: &Arc<World>, healed: Instant) {
    let auditor = Auditor {
        world: world.clone(),
        until: (healed + WELL_AGAIN).max(Instant::now() + Duration::from_secs(5)),
    };
    let topics: Vec<Topic> = world.model.lock().topics.values().cloned().collect();
    let sources = auditor.read_all(&topics, |topic| topic.owner).await;
    auditor.well_again(healed).await;
    let shadows = auditor.read_all(&topics, |topic| 1 - topic.owner).await;
    world.hold("auditor", |model| {
        compare_all(model, &topics, &sources, &shadows)
    });
    auditor.groups_have_come_along().await;
}

struct Auditor {
    world: Arc<World>,
    until: Instant,
}

impl Auditor {
    /// R13, R11, R5: every shadow has caught up, or stands still for a reason that is one.
    async fn well_again(&self, healed: Instant) {
        while !self.world.is_over() {
            let Err(violation) = self.are_well().await else {
                return self.world.tell(
                    "auditor",
                    format!("well again after {:?}", healed.elapsed()),
                );
            };
            if violation.invariant != "R13" || Instant::now() >= self.until {
                self.world.hold("auditor", |_| Err(violation));
            }
            sleep(LOOK).await;
        }
    }

    async fn are_well(&self) -> Check {
        for (site, name) in SITES.iter().enumerate() {
            let links = match admin::links(&self.world.net, name).await {
                Ok(links) => links,
                Err(failed) => return links::unanswered(name, &failed.to_string()),
            };
            let model = self.world.model.lock();
            for topic in model.topics.values().filter(|topic| topic.owner != site) {
                is_well(&model, topic, &links)?;
            }
        }
        Ok(())
    }

    /// L1, L2: every partition of these topics at the site that is wanted of each, read whole.
    async fn read_all(&self, topics: &[Topic], site_of: impl Fn(&Topic) -> usize) -> Bounds {
        let mut bounds = Bounds::new();
        for topic in topics {
            let site = site_of(topic);
            let client = self.world.client(SITES[site], "auditor");
            for partition in (0..topic.partitions).take_while(|_| !self.world.is_over()) {
                match self.read_one(&client, topic, partition, site).await {
                    Ok(found) => drop(bounds.insert((topic.name.clone(), partition), found)),
                    Err(error) => {
                        let what = format!(
                            "{}-{partition} cannot be read at {} in the calm: {error}",
                            topic.name, SITES[site]
                        );
                        self.world.broken("auditor", "L1", what);
                    }
                }
            }
        }
        bounds
    }

    async fn read_one(
        &self,
        client: &Client,
        topic: &Topic,
        partition: i32,
        site: usize,
    ) -> Result<(Offset, Offset), ClientError> {
        let metadata = client
            .metadata(Topics::Names(vec![topic.name.clone()]), false)
            .await?;
        let found = metadata.topics.get(&topic.name).and_then(|found| found.id);
        let known = {
            let mut model = self.world.model.lock();
            model.topics.get_mut(&topic.name).and_then(|topic| {
                topic.ids[site] = topic.ids[site].or(found);
                topic.ids[site]
            })
        };
        let Some(topic_id) = found.filter(|id| known == Some(*id)) else {
            return Err(ClientError::Missing {
                api: "Metadata",
                subject: format!("{} as {known:?}, but of {found:?}", topic.name),
            });
        };
        let target = FetchTarget {
            topic: topic.name.as_str().into(),
            topic_id,
            partition,
        };
        let bounds = loop {
            match reader::read_whole(&self.world, client, site, &target).await {
                // Retention was quicker than the reader.
                Err(error)
                    if topic.kind == Kind::Trimmed
                        && error.code() == Some(ErrorCode::OffsetOutOfRange.code()) => {}
                read => break read?,
            }
        };
        if topic.kind == Kind::Transactional {
            let id = LogId {
                site,
                topic: topic_id,
                partition,
            };
            let read = read_committed(client, &target, bounds.0).await?;
            self.world.tell(
                "auditor",
                format!(
                    "{}-{partition}: {} records committed, last stable offset {}",
                    topic.name,
                    read.records.len(),
                    read.last_stable
                ),
            );
            self.world
                .hold("auditor", |model| model.read_committed(id, bounds.0, &read));
        }
        Ok(bounds)
    }

    /// L7, R12: what groups have committed stands, and has come along to the other site.
    async fn groups_have_come_along(&self) {
        let groups: BTreeSet<String> = self
            .world
            .model
            .lock()
            .commits
            .keys()
            .map(|(_, group, _)| group.clone())
            .collect();
        let groups: Vec<String> = groups.into_iter().collect();
        while !self.world.is_over() {
            let mut found = Vec::new();
            for site in SITES {
                let client = self.world.client(site, "auditor");
                match client.fetch_group_offsets(&groups).await {
                    Ok(offsets) => found.push(offsets),
                    Err(error) => {
                        return self.world.broken(
                            "auditor",
                            "L7",
                            format!("{site} does not show its groups in the calm: {error}"),
                        );
                    }
                }
            }
            let at = |site: usize, group: &str, place: &(String, i32)| {
                let offsets = found[site].get(group)?.as_ref().ok()?;
                offsets.get(place).map(|committed| committed.offset)
            };
            let compared = self.world.model.lock().compare_groups(at);
            match compared {
                Ok(()) => return,
                // Offsets of a group come along once its members are gone, and then at the link's
                // next interval.
                Err(violation) if violation.invariant == "R12" && Instant::now() < self.until => {
                    sleep(LOOK).await
                }
                Err(violation) => self.world.hold("auditor", |_| Err(violation)),
            }
        }
    }
}

fn is_well(model: &Model, topic: &Topic, links: &[LinkStatus]) -> Check {
    let status = links
        .iter()
        .flat_map(|link| &link.topics)
        .find(|status| status.name == topic.name);
    if let Some(status) = status {
        links::r11_no_fault_without_reason(topic, status)?;
        links::r5_done_is_done(topic, status)?;
    }
    let known = |partition| {
        model
            .id(topic.owner, &topic.name, partition)
            .map_or(0, |id| model.marks(id).high_watermark)
    };
    links::r13_level(
        topic,
        status,
        &(0..topic.partitions).map(known).collect::<Vec<_>>(),
    )
}

/// R1, R2, R3, R5: shadows and their sources, both read whole while nobody wrote.
fn compare_all(model: &Model, topics: &[Topic], sources: &Bounds, shadows: &Bounds) -> Check {
    for topic in topics
        .iter()
        .filter_map(|topic| model.topics.get(&topic.name))
    {
        for partition in 0..topic.partitions {
            let key = (topic.name.clone(), partition);
            if let (Some(source), Some(shadow)) = (sources.get(&key), shadows.get(&key)) {
                compare(model, topic, partition, *source, *shadow)?;
            }
        }
    }
    Ok(())
}

fn compare(
    model: &Model,
    topic: &Topic,
    partition: i32,
    at_source: (Offset, Offset),
    at_shadow: (Offset, Offset),
) -> Check {
    let log = |site: usize| {
        model
            .id(site, &topic.name, partition)
            .and_then(|id| model.logs.get(&id))
    };
    let (Some(source), Some(shadow)) = (log(topic.owner), log(1 - topic.owner)) else {
        return Ok(());
    };
    if let Some(failover) = &topic.failover {
        let Some(cut) = failover.cuts.get(&partition) else {
            return Ok(());
        };
        shadows::r1_same_logs(source, shadow, cut.end)?;
        return shadows::r5_epochs_part(source, shadow, cut.end);
    }
    shadows::r1_same_logs(source, shadow, at_shadow.1)?;
    shadows::r2_not_ahead(at_shadow.1, at_source.1)?;
    if topic.kind != Kind::Trimmed {
        shadows::r3_same_start(at_shadow.0, at_source.0)?;
        shadows::r13_same_end(at_shadow.1, at_source.1)?;
    }
    Ok(())
}

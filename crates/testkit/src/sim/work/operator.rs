//! Operators: they make the links, fail topics over, and try what must be refused.

use super::{goes_on, producer::poach};
use crate::sim::{
    admin::{self, Failed},
    check::links,
    model::{SITES, Topic},
    rng::Rng,
    world::World,
};
use gnomon_client::admin::NewTopic;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Numbers of poachers begin here: no producer has one.
const FIRST_POACHER: u32 = 1_000_000;

/// How the present link of a site stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    Runs,
    Ended,
}

/// A failover that was asked for.
#[derive(Clone, Debug)]
struct RequestedFailover {
    topics: Vec<String>,
    /// Every topic, and the link itself.
    all: bool,
}

/// One operator for both sites.
pub struct Operator {
    world: Arc<World>,
    rng: Rng,
    /// By site: how many links it has had.
    made: [u32; 2],
    links: [Link; 2],
    /// By site: not answered yet.
    unanswered: [Option<RequestedFailover>; 2],
    poached: [u64; 2],
}

impl Operator {
    /// No link yet.
    pub fn new(world: &Arc<World>, rng: Rng) -> Operator {
        Operator {
            world: world.clone(),
            rng,
            made: [0; 2],
            links: [Link::None; 2],
            unanswered: [None, None],
            poached: [0; 2],
        }
    }

    /// Every failover that was asked for is through, and both sites have a link that runs.
    pub async fn settle(&mut self, until: Instant) {
        for site in 0..SITES.len() {
            self.finish_failover(site, until).await;
            while self.links[site] != Link::Runs && goes_on(&self.world, until) {
                self.make_link(site).await;
                sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Does what operators do until `until`.
    pub async fn run(mut self, until: Instant) -> Operator {
        while goes_on(&self.world, until) {
            sleep(self.rng.millis(500..6_000)).await;
            let site = self.rng.index(SITES.len());
            match self.rng.within(0..12) {
                0..=1 => self.fail_over(site, until).await,
                2..=3 => self.intrude(site).await,
                _ => {
                    let poacher = FIRST_POACHER + site as u32;
                    poach(
                        &self.world,
                        &mut self.rng,
                        poacher,
                        &mut self.poached[site],
                        site,
                    )
                    .await;
                }
            }
        }
        self
    }

    fn link_name(&self, site: usize) -> String {
        format!("from-{}-{}", SITES[1 - site], self.made[site])
    }

    async fn make_link(&mut self, site: usize) {
        let source = SITES[1 - site];
        self.made[site] += 1;
        let filter = format!("[{{ pattern_type: PREFIX, filter_type: INCLUDE, name: {source}_ }}]");
        let file = format!(
            "name: {}\nclient_options:\n  bootstrap_servers: [\"{source}:9092\"]\ntopic_metadata_sync_options:\n  auto_create_shadow_topic_filters: {filter}\nconsumer_offset_sync_options:\n  group_filters: {filter}\n",
            self.link_name(site)
        );
        let made = admin::create_link(&self.world.net, SITES[site], &file).await;
        self.world.tell(
            "operator",
            format!("link {} at {}: {made:?}", self.link_name(site), SITES[site]),
        );
        // A name that a link here ever had is not used again.
        self.links[site] = if made.is_ok() { Link::Runs } else { Link::None };
    }

    /// Some shadows of a site, or its whole link.
    async fn fail_over(&mut self, site: usize, until: Instant) {
        let shadows: Vec<Topic> = {
            let model = self.world.model.lock();
            let of = |topic: &&Topic| topic.owner != site && !topic.retired;
            model.topics.values().filter(of).cloned().collect()
        };
        let all = self.rng.once_in(5);
        let mut chosen: Vec<String> = shadows
            .iter()
            .filter(|topic| topic.ids[site].is_some() && topic.stale.is_none())
            .map(|topic| topic.name.clone())
            .collect();
        if !all {
            chosen.retain(|_| self.rng.once_in(3));
        }
        if self.links[site] != Link::Runs || chosen.is_empty() {
            return;
        }
        // What has not been discovered yet may be when the command comes.
        let topics = if all {
            shadows.iter().map(|topic| topic.name.clone()).collect()
        } else {
            chosen
        };
        self.unanswered[site] = Some(RequestedFailover { topics, all });
        self.world.failover[site].notify_waiters();
        self.finish_failover(site, until).await;
    }

    /// Asks until there is an answer.
    async fn finish_failover(&mut self, site: usize, until: Instant) {
        let link = self.link_name(site);
        while let Some(RequestedFailover { topics, all }) = self.unanswered[site]
            .clone()
            .filter(|_| goes_on(&self.world, until))
        {
            topics
                .iter()
                .for_each(|name| self.world.model.lock().failover_asked(name));
            self.world.tell(
                "operator",
                format!(
                    "failover of {topics:?} (all: {all}) asked of {}",
                    SITES[site]
                ),
            );
            match admin::fail_over(
                &self.world.net,
                SITES[site],
                &link,
                (!all).then_some(&topics[..]),
            )
            .await
            {
                Ok(done) => {
                    // A topic that a disk keeps on the way is asked for again.
                    let stuck = done.iter().any(|topic| topic.stuck.is_some());
                    for topic in done {
                        self.world.tell("operator", format!("{topic:?}"));
                        if topic.stuck.is_none() {
                            self.world.hold("operator", |model| {
                                model.failed_over(&topic.topic, &topic.cuts)
                            });
                        }
                    }
                    if stuck {
                        sleep(self.rng.millis(500..3_000)).await;
                        continue;
                    }
                    self.unanswered[site] = None;
                    if all {
                        self.links[site] = Link::Ended;
                    }
                }
                Err(Failed::Refused(status, why)) if status < 500 => {
                    self.world
                        .tell("operator", format!("failover refused with {status}: {why}"));
                    self.unanswered[site] = None;
                }
                Err(failed) => {
                    self.world
                        .tell("operator", format!("failover not answered: {failed}"));
                    sleep(self.rng.millis(200..2_000)).await;
                }
            }
        }
    }

    /// R8: a name that another site owns, or that a link claims, is not made here.
    async fn intrude(&mut self, site: usize) {
        let name = format!("{}_intruder", SITES[1 - site]);
        let new = NewTopic {
            name: name.clone(),
            partitions: 1,
            replication_factor: -1,
            configs: BTreeMap::new(),
        };
        let client = self.world.client(SITES[site], "intruder");
        if let Ok(outcomes) = client.create_topics(&[new], false).await {
            for outcome in outcomes {
                self.world.tell(
                    "operator",
                    format!("{name} at {}: {:?}", SITES[site], outcome.error),
                );
                if self.links[site] == Link::Runs && self.unanswered[site].is_none() {
                    self.world.hold("operator", |_| {
                        links::r8_one_owner(&name, SITES[site], outcome.error.is_some())
                    });
                }
            }
        }
    }
}

//! An actor that makes topics and deletes them, at their owners; now and then one is made again
//! under its name while the other site still shadows the former one.

use super::goes_on;
use crate::sim::{
    admin,
    check::links,
    model::{Kind, SITES, Topic},
    rng::Rng,
    world::World,
};
use gnomon_client::{Client, ClientError, Topics, admin::NewTopic};
use gnomon_protocol::ids::TopicId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Topics of each site that are there at a time, about.
const TOPICS: usize = 3;

/// A name that cannot be made because it is there.
const TOPIC_ALREADY_EXISTS: i16 = 36;

pub struct Landlord {
    world: Arc<World>,
    rng: Rng,
    clients: [Client; 2],
    made: u64,
}

impl Landlord {
    /// Nothing is made yet.
    pub fn new(world: &Arc<World>, rng: Rng) -> Landlord {
        let clients = SITES.map(|site| world.client(site, "landlord"));
        Landlord {
            world: world.clone(),
            rng,
            clients,
            made: 0,
        }
    }

    /// Makes and deletes until `until`.
    pub async fn run(mut self, until: Instant) -> Landlord {
        while goes_on(&self.world, until) {
            sleep(self.rng.millis(3_000..15_000)).await;
            self.step(until).await;
        }
        self
    }

    /// Fills up what is missing, and ends what is under way.
    pub async fn settle(&mut self, until: Instant) {
        for site in 0..SITES.len() {
            while self.topics_of(site).len() < TOPICS && goes_on(&self.world, until) {
                self.make_new(site, until).await;
            }
        }
        while self.is_busy() && goes_on(&self.world, until) {
            self.tidy().await;
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Whether a deletion is not through yet.
    pub fn is_busy(&self) -> bool {
        self.world
            .model
            .lock()
            .topics
            .values()
            .any(|topic| topic.retired || topic.stale.is_some())
    }

    fn topics_of(&self, site: usize) -> Vec<Topic> {
        let model = self.world.model.lock();
        model
            .topics
            .values()
            .filter(|topic| topic.owner == site && !topic.retired)
            .cloned()
            .collect()
    }

    async fn step(&mut self, until: Instant) {
        self.tidy().await;
        let site = self.rng.index(SITES.len());
        let topics = self.topics_of(site);
        if topics.len() < TOPICS {
            return self.make_new(site, until).await;
        }
        let spent: Vec<Topic> = topics
            .iter()
            .filter(|topic| {
                topic
                    .failover
                    .as_ref()
                    .is_some_and(|failover| failover.done)
            })
            .cloned()
            .collect();
        if !spent.is_empty() && self.rng.once_in(2) {
            let topic = self.rng.pick(&spent).name.clone();
            self.retire(&topic);
        } else if self.rng.once_in(4) {
            let topic = self.rng.pick(&topics).clone();
            let shadowed =
                topic.ids[1 - site].is_some() && topic.failover.is_none() && topic.stale.is_none();
            if shadowed && self.rng.once_in(2) {
                self.make_again(&topic, until).await;
            } else {
                self.retire(&topic.name);
            }
        }
    }

    fn retire(&self, name: &str) {
        self.world
            .tell("landlord", format!("{name} is to be deleted"));
        if let Some(topic) = self.world.model.lock().topics.get_mut(name) {
            topic.retired = true;
        }
    }

    async fn make_new(&mut self, site: usize, until: Instant) {
        self.made += 1;
        let name = format!("{}_{}", SITES[site], self.made);
        let kind = *self.rng.pick(&[
            Kind::Plain,
            Kind::Plain,
            Kind::Trimmed,
            Kind::Transactional,
            Kind::Transactional,
        ]);
        let partitions = self.rng.within(1..4) as i32;
        self.make(site, name, partitions, kind, None, until).await;
    }

    /// Makes a topic, however often that takes, and tells the model its id.
    async fn make(
        &mut self,
        site: usize,
        name: String,
        partitions: i32,
        kind: Kind,
        stale: Option<TopicId>,
        until: Instant,
    ) {
        let configs: &[(&str, &str)] = match kind {
            Kind::Plain | Kind::Transactional => &[],
            Kind::Trimmed => &[("segment.ms", "5000"), ("retention.ms", "20000")],
        };
        let configs = configs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>();
        let new = NewTopic {
            name: name.clone(),
            partitions,
            replication_factor: -1,
            configs,
        };
        let generation = self.made;
        while goes_on(&self.world, until) {
            match self.made_at(site, &new).await {
                Ok(id) => {
                    self.world.tell(
                        "landlord",
                        format!(
                            "{name} with {partitions} partitions made at {}: {id}",
                            SITES[site]
                        ),
                    );
                    let mut ids = [None; 2];
                    ids[site] = Some(id);
                    let (owner, failover, retired) = (site, None, false);
                    let topic = Topic {
                        name: name.clone(),
                        generation,
                        owner,
                        partitions,
                        kind,
                        ids,
                        failover,
                        retired,
                        former: stale,
                        stale,
                    };
                    self.world.model.lock().topics.insert(name, topic);
                    return;
                }
                Err(error) => {
                    self.world
                        .tell("landlord", format!("{name} is not made: {error}"));
                    sleep(self.rng.millis(100..1_000)).await;
                }
            }
        }
    }

    async fn made_at(&self, site: usize, new: &NewTopic) -> Result<TopicId, ClientError> {
        let refused = |code, message: String| ClientError::Refused {
            api: "CreateTopics",
            subject: new.name.clone(),
            code,
            message,
        };
        for outcome in self.clients[site]
            .create_topics(std::slice::from_ref(new), false)
            .await?
        {
            match outcome.error {
                None | Some((TOPIC_ALREADY_EXISTS, _)) => {}
                Some((code, message)) => return Err(refused(code, message)),
            }
        }
        let found = self.there(site, &new.name).await?;
        found.ok_or_else(|| refused(-1, "made, and not there".to_owned()))
    }

    /// The id that a site has under a name.
    async fn there(&self, site: usize, name: &str) -> Result<Option<TopicId>, ClientError> {
        let metadata = self.clients[site].metadata(Topics::All, false).await?;
        Ok(metadata.topics.get(name).and_then(|topic| topic.id))
    }

    /// Deletes a topic and makes it again at once, while its shadow stands.
    async fn make_again(&mut self, topic: &Topic, until: Instant) {
        let (site, name) = (topic.owner, &topic.name);
        self.retire(name);
        while goes_on(&self.world, until) {
            if self.delete(site, name, topic.ids[site]).await {
                self.made += 1;
                self.make(
                    site,
                    name.clone(),
                    topic.partitions,
                    topic.kind,
                    topic.ids[1 - site],
                    until,
                )
                .await;
                return;
            }
            sleep(self.rng.millis(100..1_000)).await;
        }
    }

    /// Deletes what a site has under a name, if it is `id`; true when it is gone.
    async fn delete(&self, site: usize, name: &str, id: Option<TopicId>) -> bool {
        let gone = async {
            match self.there(site, name).await? {
                None => return Ok(true),
                Some(there) if id.is_some_and(|id| id != there) => return Ok(true),
                Some(_) => {}
            }
            for outcome in self.clients[site].delete_topics(&[name.to_owned()]).await? {
                self.world.tell(
                    "landlord",
                    format!("deletion of {name} at {}: {:?}", SITES[site], outcome.error),
                );
            }
            Ok::<bool, ClientError>(self.there(site, name).await?.is_none())
        };
        match gone.await {
            Ok(gone) => gone,
            Err(error) => {
                self.world.tell(
                    "landlord",
                    format!("{name} is not deleted at {}: {error}", SITES[site]),
                );
                false
            }
        }
    }

    /// One step of every deletion that is not through.
    async fn tidy(&mut self) {
        let topics: Vec<Topic> = self
            .world
            .model
            .lock()
            .topics
            .values()
            .filter(|topic| topic.retired || topic.stale.is_some())
            .cloned()
            .collect();
        for topic in topics {
            let other = 1 - topic.owner;
            if topic.retired {
                if self.delete(topic.owner, &topic.name, None).await
                    && self.delete(other, &topic.name, None).await
                {
                    self.world
                        .tell("landlord", format!("{} is gone", topic.name));
                    self.world.model.lock().topics.remove(&topic.name);
                }
            } else if self.is_faulted(other, &topic).await
                && self.delete(other, &topic.name, topic.stale).await
                && let Some(known) = self.world.model.lock().topics.get_mut(&topic.name)
            {
                known.stale = None;
            }
        }
    }

    /// R11: whether the shadow of what was made again has become a fault; a link that never sees it
    /// leaves the deletion stuck.
    async fn is_faulted(&self, site: usize, topic: &Topic) -> bool {
        let Ok(shown) = admin::links(&self.world.net, SITES[site]).await else {
            return false;
        };
        let found = shown
            .iter()
            .flat_map(|link| &link.topics)
            .find(|status| Some(status.id) == topic.stale);
        match found {
            None => true,
            Some(status) => {
                let judged = links::r11_made_again_is_a_fault(status);
                if judged.is_ok() {
                    self.world.tell(
                        "landlord",
                        format!(
                            "{} at {} is {}: {:?}",
                            topic.name, SITES[site], status.state, status.reason
                        ),
                    );
                }
                judged.is_ok()
            }
        }
    }
}

//! The replay law over random lives of a site, and what must hold at every moment of one.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod support;

use gnomon_catalog::*;
use gnomon_links::{
    ClientOptions, GroupSync, LinkConfig, LinkName, LinkState, TopicState, TopicSync,
    peer::{PeerSite, TopicOrigin},
    plan_topics::{SourcePartition, SourceTopic},
};
use gnomon_machine::{
    Machine, Now, ReplyToken,
    replay_law::{Rng, World, holds},
};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, TopicId, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use support::{filter, id_of};

const NAMES: [&str; 6] = ["a_1", "a_2", "b_1", "b_2", "c_1", "own"];
const LINKS: [&str; 3] = ["from-a", "from-b", "from-c"];

/// Callers, sources and partitions that do as they like.
#[derive(Default)]
struct CatalogRng {
    fresh: u128,
    blocks: BTreeSet<i64>,
    incarnations: BTreeSet<u64>,
}

impl CatalogRng {
    fn fresh(&mut self) -> Uuid {
        self.fresh += 1;
        Uuid::from_u128(self.fresh)
    }

    fn topic(&mut self, dice: &mut Rng, image: &Image) -> TopicId {
        let known: Vec<TopicId> = image.topics.keys().copied().collect();
        if known.is_empty() || dice.percent(3) {
            self.fresh()
        } else {
            *dice.pick(&known)
        }
    }

    fn link(&mut self, dice: &mut Rng, image: &Image) -> LinkId {
        let known: Vec<LinkId> = image.links.keys().copied().collect();
        if known.is_empty() || dice.percent(3) {
            LinkId(self.fresh())
        } else {
            *dice.pick(&known)
        }
    }

    /// A link's source as of now: some of its names, sometimes created again, sometimes with more
    /// partitions.
    fn look(&mut self, dice: &mut Rng, image: &Image) -> Event {
        let mut topics = Vec::new();
        for name in NAMES
            .iter()
            .filter(|_| dice.percent(70))
            .collect::<Vec<_>>()
        {
            let partitions = 1 + dice.below(3) as i32;
            let configs = [
                ("retention.ms", dice.below(3).to_string()),
                ("cleanup.policy", "delete".to_owned()),
            ];
            topics.push(SourceTopic {
                name: (*name).to_owned(),
                id: dice
                    .percent(90)
                    .then(|| id_of(&format!("{name}@{}", dice.below(12) / 11))),
                internal: false,
                partitions: (0..partitions)
                    .map(|index| SourcePartition {
                        index,
                        leader_epoch: LeaderEpoch(dice.below(9) as i32),
                    })
                    .collect(),
                configs: configs
                    .into_iter()
                    .filter(|_| dice.percent(80))
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect(),
                origin: None,
            });
        }
        let fresh_ids = topics
            .iter()
            .map(|topic| (topic.name.clone(), self.fresh()))
            .collect();
        Event::Discovered(Discovered {
            link: self.link(dice, image),
            topics,
            fresh_ids,
            complete: dice.percent(80),
        })
    }
}

impl World for CatalogRng {
    type M = Catalog;

    fn event(&mut self, dice: &mut Rng, image: &Image, _: Now) -> Event {
        if image.site.is_none() && dice.percent(60) {
            let (fresh_cluster_id, name, endpoints) = (self.fresh(), "s".to_owned(), Vec::new());
            return Event::Register(Register {
                fresh_cluster_id,
                name,
                broker_id: 0,
                producer_tag: Some(9),
                owns: vec!["own".to_owned()],
                endpoints,
            });
        }
        let (topic, partition) = (self.topic(dice, image), dice.below(3) as i32);
        match dice.below(34) {
            0 => Event::Register(Register {
                fresh_cluster_id: self.fresh(),
                name: (*dice.pick(&["s", "t"])).to_owned(),
                broker_id: 0,
                producer_tag: Some(9 + (dice.below(8) / 7) as u16),
                owns: Vec::new(),
                endpoints: Vec::new(),
            }),
            1 => Event::Incarnate,
            2 => Event::AllocateProducerIds {
                count: dice.below(5) as u32,
            },
            3..=5 => Event::CreateTopics(CreateTopics {
                topics: (0..1 + dice.below(3))
                    .map(|_| NewTopic {
                        partitions: dice.below(4) as i32 - 1,
                        ..NewTopic::named(*dice.pick(&NAMES), self.fresh())
                    })
                    .collect(),
                origin: *dice.pick(&[Origin::Client, Origin::AutoCreate, Origin::Site]),
                validate_only: dice.percent(10),
            }),
            6 | 7 => Event::DeleteTopics {
                ids: vec![topic, self.topic(dice, image)],
            },
            8 => Event::AlterTopicConfigs(AlterTopicConfigs {
                id: topic,
                set: BTreeMap::from([("retention.ms".to_owned(), dice.below(3).to_string())]),
                unset: Vec::new(),
                validate_only: false,
            }),
            9 | 10 => {
                let name = *dice.pick(&LINKS);
                let prefix = name.trim_start_matches("from-");
                Event::CreateLink {
                    id: LinkId(self.fresh()),
                    config: Box::new(LinkConfig {
                        name: LinkName::new(name).unwrap(),
                        client: ClientOptions {
                            bootstrap_servers: vec!["h:1".to_owned()],
                            ..ClientOptions::default()
                        },
                        topics: TopicSync {
                            filters: vec![filter(&format!("{prefix}_*"))],
                            ..TopicSync::default()
                        },
                        groups: GroupSync::default(),
                    }),
                    source: *dice.pick(&[LinkSource::File, LinkSource::Command]),
                }
            }
            11 => Event::DeleteLink {
                name: (*dice.pick(&LINKS)).to_owned(),
            },
            12 | 13 => {
                let cluster_id = format!("cluster-{}", dice.below(10) / 9);
                let site = PeerSite {
                    name: "p".to_owned(),
                    cluster_id: cluster_id.clone(),
                    producer_tag: 1 + dice.below(9) as u16,
                    owns: Vec::new(),
                };
                let peer = dice.percent(50).then(|| SourceSite {
                    site,
                    links: Vec::new(),
                });
                Event::LinkContact {
                    link: self.link(dice, image),
                    cluster_id: Some(cluster_id),
                    peer,
                }
            }
            14..=19 => self.look(dice, image),
            20 => Event::EpochsSeen {
                epochs: (0..3)
                    .map(|p| (topic, p, LeaderEpoch(dice.below(70_000) as i32)))
                    .collect(),
            },
            21 if dice.percent(50) => Event::Reopening {
                topic,
                partition,
                used: LeaderEpoch(dice.below(70_000) as i32),
            },
            21 => {
                let from = dice.below(5) as i64;
                let gap = dice.percent(50).then(|| Gap {
                    partition,
                    from,
                    to: from + 1 + dice.below(9) as i64,
                    how: "lost".to_owned(),
                });
                Event::TopicFaulted {
                    topic,
                    reason: "it diverged".to_owned(),
                    gap,
                }
            }
            22 => Event::TopicRecovered { topic },
            23 => Event::TakenOver {
                reports: vec![TakeoverReport {
                    topic,
                    by: "p".to_owned(),
                    cluster_id: "cluster-0".to_owned(),
                    origin: TopicOrigin {
                        cluster_id: image.cluster_id().to_owned(),
                        link: "l".to_owned(),
                        state: *dice.pick(&TopicState::ALL),
                        cuts: BTreeMap::from([(0, dice.below(3) as i64)]),
                        epochs: BTreeMap::new(),
                    },
                }],
            },
            24 => Event::FailOver(FailOver {
                link: (*dice.pick(&LINKS)).to_owned(),
                which: match dice.below(3) {
                    0 => Which::All,
                    1 => Which::Prefix((*dice.pick(&["a_", "b_1"])).to_owned()),
                    _ => Which::Topics(vec![(*dice.pick(&NAMES)).to_owned()]),
                },
            }),
            25..=28 => Event::CutReached {
                topic,
                partition,
                end: dice.below(100) as i64,
                last_epoch: BatchEpoch(dice.below(5) as i32 - 1),
                highest_seen: dice.below(100_000) as i32 - 1,
            },
            29 => Event::CutFailed {
                topic,
                partition,
                why: "disk".to_owned(),
            },
            30 | 31 => Event::MarkersWritten { topic, partition },
            32 => Event::MarkersFailed {
                topic,
                partition,
                why: "disk".to_owned(),
            },
            _ => {
                let link = self.link(dice, image);
                Event::OffsetsApplied {
                    link,
                    topics: image.topics_of(link).map(|topic| topic.id).collect(),
                }
            }
        }
    }

    fn told(&mut self, _: ReplyToken, reply: Reply) {
        match reply {
            Reply::AllocateProducerIds(Ok(block)) => {
                for id in block.start..block.start + i64::from(block.count) {
                    assert!(self.blocks.insert(id), "producer id {id} is given twice");
                    assert_eq!(id >> 40, 9, "producer id {id} has another tag");
                }
            }
            Reply::Incarnate(Ok(n)) => {
                assert!(self.incarnations.insert(n), "incarnation {n} twice")
            }
            _ => {}
        }
    }

    fn check(&self, image: &Image, _: &Soft) -> Result<(), String> {
        let names: BTreeMap<String, TopicId> = image
            .topics
            .values()
            .map(|topic| (topic.name.clone(), topic.id))
            .collect();
        if names != *image.names || names.len() != image.topics.len() {
            return Err("names and topics differ".to_owned());
        }
        for topic in image.topics.values() {
            let cuts = topic.partitions.iter().filter(|p| p.cut.is_some()).count();
            let writers = image.writers(topic);
            let fits = match topic
                .shadow
                .as_ref()
                .map(|shadow| (shadow.state, shadow.step))
            {
                None => {
                    cuts == 0
                        && writers
                            == if topic.internal {
                                Writers::Site
                            } else {
                                Writers::Clients
                            }
                }
                Some((TopicState::FailedOver, None)) => {
                    cuts == topic.partitions.len() && writers == Writers::Clients
                }
                Some((TopicState::FailingOver, Some(FailoverStep::Cut))) => {
                    cuts == topic.partitions.len() && writers == Writers::FailingOver
                }
                Some((TopicState::FailingOver, Some(FailoverStep::Fenced))) => {
                    cuts == 0 && writers == Writers::FailingOver
                }
                Some((TopicState::Active | TopicState::Faulted, None)) => {
                    cuts == 0 && matches!(writers, Writers::Link { .. })
                }
                Some(_) => false,
            };
            if !fits {
                return Err(format!("a topic that cannot be: {topic:?}, {writers:?}"));
            }
            // The epoch may have gone on since the cut, never below it.
            if topic.partitions.iter().any(|p| {
                p.cut
                    .is_some_and(|cut| cut.epoch.0 % 65_536 != 0 || p.leader_epoch < cut.epoch)
            }) {
                return Err(format!("a cut that cannot be: {topic:?}"));
            }
        }
        for link in image.links.values() {
            let ours = image
                .topics_of(link.id)
                .filter(|topic| !topic.is_shadow())
                .map(|topic| topic.name.clone())
                .collect();
            if link.released != ours {
                return Err(format!(
                    "link {} has released {:?}, not {ours:?}",
                    link.name(),
                    link.released
                ));
            }
            if link.state == LinkState::FailedOver
                && image.topics_of(link.id).any(|topic| topic.is_shadow())
            {
                return Err(format!(
                    "link {} has failed over and still has shadows",
                    link.name()
                ));
            }
            if !image.link_names.contains(link.name()) {
                return Err(format!("the name of link {} is forgotten", link.name()));
            }
        }
        Ok(())
    }
}

#[test]
fn holds_for_random_sites() {
    for seed in 0..120 {
        holds(seed, 400, CatalogRng::default());
    }
}

/// The random lives are worth something: they reach the ends of failovers.
#[test]
fn random_sites_reach_every_state() {
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let (mut dice, mut world, mut image, mut soft) = (
            Rng::new(seed),
            CatalogRng::default(),
            Image::default(),
            Soft::default(),
        );
        let now = Now {
            mono: gnomon_machine::Mono(0),
            wall: gnomon_machine::Wall(0),
        };
        for step in 0..2_000 {
            let event = world.event(&mut dice, &image, now);
            let effects = Catalog::step(&image, &mut soft, now, event, ReplyToken(step));
            effects
                .records
                .iter()
                .for_each(|record| image.apply(record));
            seen.extend(
                image
                    .topics
                    .values()
                    .filter_map(|topic| topic.shadow.as_ref())
                    .map(|shadow| shadow.state),
            );
        }
    }
    let reached = [
        TopicState::Active,
        TopicState::Faulted,
        TopicState::FailingOver,
        TopicState::FailedOver,
    ];
    assert_eq!(seen, BTreeSet::from(reached));
}

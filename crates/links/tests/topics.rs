//! Plans of discovery for the source's topics: the stories in `testdata/topics`, and that carrying
//! a plan out leaves nothing more to do.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::{Command, Seed, commands, filters, run_scripts};
use gnomon_links::{
    NameFilter, TopicState,
    peer::TopicOrigin,
    plan_topics::{Holder, Inputs, LocalTopic, SourcePartition, SourceTopic, TopicPlan, plan},
};
use gnomon_protocol::ids::{LeaderEpoch, Uuid};
use std::collections::BTreeMap;

const LINK: u128 = 1;

#[derive(Clone)]
struct Here {
    id: u128,
    epochs: Vec<i32>,
    /// Link, state, source's id, missing; `None` for an own topic.
    shadow: Option<(u128, TopicState, Option<u128>, bool)>,
}

#[derive(Default)]
struct TopicsCase {
    filters: Vec<NameFilter>,
    source: BTreeMap<String, SourceTopic>,
    here: BTreeMap<String, Here>,
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(command: &Command, key: &str) -> Vec<T> {
    command
        .list(key)
        .iter()
        .map(|n| n.parse().unwrap())
        .collect()
}

fn source_topic(name: &str, id: Option<u128>, epochs: &[i32]) -> SourceTopic {
    let partitions = epochs
        .iter()
        .enumerate()
        .map(|(index, e)| SourcePartition {
            index: index as i32,
            leader_epoch: LeaderEpoch(*e),
        })
        .collect();
    SourceTopic {
        name: name.to_owned(),
        id: id.map(Uuid::from_u128),
        internal: false,
        partitions,
        configs: BTreeMap::new(),
        origin: None,
    }
}

impl TopicsCase {
    fn plan(&self, complete: bool) -> Vec<TopicPlan> {
        let local: Vec<_> = self
            .here
            .iter()
            .map(|(name, here)| LocalTopic {
                id: Uuid::from_u128(here.id),
                name,
                epochs: here.epochs.iter().map(|e| LeaderEpoch(*e)).collect(),
                holder: match here.shadow {
                    None => Holder::Own,
                    Some((link, state, id, source_missing)) => Holder::Link {
                        link: Uuid::from_u128(link),
                        link_name: if link == LINK { "from-a" } else { "from-c" },
                        state,
                        source_topic_id: id.map(Uuid::from_u128),
                        source_missing,
                    },
                },
            })
            .collect();
        let source: Vec<_> = self.source.values().cloned().collect();
        plan(&Inputs {
            link: Uuid::from_u128(LINK),
            filters: &self.filters,
            our_cluster_id: "cluster-b",
            source: &source,
            complete,
            local: &local,
        })
    }

    fn name_of(&self, topic: &Uuid) -> String {
        self.here
            .iter()
            .find(|(_, here)| here.id == topic.as_u128())
            .expect("a topic that is here")
            .0
            .clone()
    }

    /// Carries a plan out as the catalog does.
    fn apply(&mut self, plans: &[TopicPlan]) {
        for plan in plans {
            match plan {
                TopicPlan::Create {
                    name,
                    source_topic_id,
                    epochs,
                } => {
                    let shadow = Some((
                        LINK,
                        TopicState::Active,
                        source_topic_id.map(|id| id.as_u128()),
                        false,
                    ));
                    let id = 1_000 + self.here.len() as u128;
                    assert!(
                        self.here
                            .insert(
                                name.clone(),
                                Here {
                                    id,
                                    epochs: epochs.iter().map(|e| e.0).collect(),
                                    shadow
                                }
                            )
                            .is_none(),
                        "{name} is taken over"
                    );
                }
                TopicPlan::AddPartitions { topic, epochs } => {
                    let name = self.name_of(topic);
                    self.here
                        .get_mut(&name)
                        .unwrap()
                        .epochs
                        .extend(epochs.iter().map(|e| e.0));
                }
                TopicPlan::RaiseEpochs { topic, epochs } => {
                    let name = self.name_of(topic);
                    for (index, epoch) in epochs {
                        let ours = &mut self.here.get_mut(&name).unwrap().epochs[*index as usize];
                        assert!(epoch.0 > *ours, "{name}: an epoch is never lowered");
                        *ours = epoch.0;
                    }
                }
                TopicPlan::LearnSourceId {
                    topic,
                    source_topic_id,
                } => {
                    let name = self.name_of(topic);
                    self.here.get_mut(&name).unwrap().shadow.as_mut().unwrap().2 =
                        Some(source_topic_id.as_u128());
                }
                TopicPlan::Fault { topic, .. } => {
                    let name = self.name_of(topic);
                    let state = &mut self.here.get_mut(&name).unwrap().shadow.as_mut().unwrap().1;
                    gnomon_links::topic_state::step(*state, TopicState::Faulted).unwrap();
                    *state = TopicState::Faulted;
                }
                TopicPlan::SourceMissing { topic } | TopicPlan::SourceBack { topic } => {
                    let name = self.name_of(topic);
                    self.here.get_mut(&name).unwrap().shadow.as_mut().unwrap().3 =
                        matches!(plan, TopicPlan::SourceMissing { .. });
                }
                TopicPlan::Unselected { .. } => {}
            }
        }
    }

    fn show(&self, plan: &TopicPlan) -> String {
        let epochs = |epochs: &[LeaderEpoch]| {
            epochs
                .iter()
                .map(|e| e.0.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        match plan {
            TopicPlan::Create {
                name,
                source_topic_id,
                epochs: e,
            } => {
                format!(
                    "create {name}: source id {}, epochs {}",
                    source_topic_id.map_or("none".into(), |id| id.as_u128().to_string()),
                    epochs(e)
                )
            }
            TopicPlan::AddPartitions { topic, epochs: e } => format!(
                "add partitions to {}: epochs {}",
                self.name_of(topic),
                epochs(e)
            ),
            TopicPlan::RaiseEpochs { topic, epochs } => {
                let list: Vec<_> = epochs
                    .iter()
                    .map(|(index, e)| format!("{index} to {}", e.0))
                    .collect();
                format!(
                    "raise epochs of {}: {}",
                    self.name_of(topic),
                    list.join(", ")
                )
            }
            TopicPlan::LearnSourceId {
                topic,
                source_topic_id,
            } => {
                format!(
                    "{} is {} there",
                    self.name_of(topic),
                    source_topic_id.as_u128()
                )
            }
            TopicPlan::Fault { topic, reason } => {
                format!("fault {}: {reason}", self.name_of(topic))
            }
            TopicPlan::SourceMissing { topic } => {
                format!("{} is missing at the source", self.name_of(topic))
            }
            TopicPlan::SourceBack { topic } => {
                format!("{} is back at the source", self.name_of(topic))
            }
            TopicPlan::Unselected { name, reason } => format!("no shadow of {name}: {reason}"),
        }
    }

    fn answer(&mut self, command: &Command) -> Vec<String> {
        match command.name.as_str() {
            "filters" => self.filters = filters(&command.words[0]),
            "source" => {
                let id = command.get("id").map(|id| id.parse().unwrap());
                let mut topic = source_topic(&command.words[0], id, &numbers(command, "epochs"));
                topic.internal = command.flag("internal");
                if let Some(indexes) = command.get("indexes") {
                    for (partition, index) in topic.partitions.iter_mut().zip(indexes.split(',')) {
                        partition.index = index.parse().unwrap();
                    }
                }
                topic.origin = command.get("shadow-of").map(|cluster_id| TopicOrigin {
                    cluster_id: cluster_id.to_owned(),
                    link: command.get("by").unwrap_or("from-b").to_owned(),
                    state: TopicState::from_name(command.get("state").unwrap_or("active")).unwrap(),
                    cuts: BTreeMap::new(),
                    epochs: BTreeMap::new(),
                });
                self.source.insert(topic.name.clone(), topic);
            }
            "source-without" => drop(self.source.remove(&command.words[0])),
            "here" => {
                let id = 1_000 + self.here.len() as u128;
                let shadow = command.get("link").map(|link| {
                    let state =
                        TopicState::from_name(command.get("state").unwrap_or("active")).unwrap();
                    (
                        link.parse().unwrap(),
                        state,
                        command.get("id").map(|id| id.parse().unwrap()),
                        command.flag("missing"),
                    )
                });
                self.here.insert(
                    command.words[0].clone(),
                    Here {
                        id,
                        epochs: numbers(command, "epochs"),
                        shadow,
                    },
                );
            }
            "plan" => {
                let plans = self.plan(!command.flag("partial"));
                self.apply(&plans);
                return if plans.is_empty() {
                    vec!["(nothing)".into()]
                } else {
                    plans.iter().map(|p| self.show(p)).collect()
                };
            }
            other => panic!("{other} is not a command"),
        }
        Vec::new()
    }
}

#[test]
fn scripts() {
    run_scripts("topics", || {
        let mut world = TopicsCase::default();
        move |block: &str| {
            commands(block)
                .iter()
                .flat_map(|command| world.answer(command))
                .collect::<Vec<_>>()
                .join("\n")
        }
    });
}

/// For any topics on both sides: a plan carried out leaves nothing to do but to say why some names
/// are no shadows; and nobody else's topic is touched.
#[test]
fn a_plan_carried_out_leaves_nothing_to_do() {
    let names = ["a_1", "a_2", "a_tmp", "b_1", "__x"];
    for n in 0..5_000 {
        let seed = &mut Seed::new(n);
        let mut world = TopicsCase {
            filters: filters(seed.one_of::<&str>(&["a_*", "*", "*,!a_tmp*", "a_1", ""])),
            ..TopicsCase::default()
        };
        for round in 0..3 {
            for name in names {
                if seed.chance(60) {
                    let id = if seed.chance(70) {
                        Some(1 + u128::from(seed.below(2)))
                    } else {
                        None
                    };
                    let epochs: Vec<i32> = (0..1 + seed.below(3))
                        .map(|_| seed.below(4) as i32 - 1)
                        .collect();
                    let mut topic = source_topic(name, id, &epochs);
                    topic.origin = seed.chance(15).then(|| TopicOrigin {
                        cluster_id: "cluster-b".into(),
                        link: "from-b".into(),
                        state: *seed.one_of(&TopicState::ALL),
                        cuts: BTreeMap::new(),
                        epochs: BTreeMap::new(),
                    });
                    world.source.insert(name.to_owned(), topic);
                } else {
                    world.source.remove(name);
                }
                if round == 0 && seed.chance(40) {
                    let id = if seed.chance(50) { Some(1) } else { None };
                    let shadow = seed.chance(70).then(|| {
                        (
                            1 + u128::from(seed.below(2)),
                            *seed.one_of(&TopicState::ALL),
                            id,
                            seed.chance(30),
                        )
                    });
                    let epochs = (0..1 + seed.below(2))
                        .map(|_| seed.below(3) as i32)
                        .collect();
                    world.here.insert(
                        name.to_owned(),
                        Here {
                            id: 1_000 + world.here.len() as u128,
                            epochs,
                            shadow,
                        },
                    );
                }
            }
            let before = world.here.clone();
            let complete = seed.chance(70);
            let plans = world.plan(complete);
            world.apply(&plans);
            for (name, was) in &before {
                if was
                    .shadow
                    .is_none_or(|(link, state, ..)| link != LINK || !state.is_shadow())
                {
                    assert_eq!(
                        world.here[name].epochs, was.epochs,
                        "seed {n}: {name} is not this link's to change"
                    );
                }
            }
            let again = world.plan(complete);
            let left: Vec<_> = again
                .iter()
                .filter(|p| !matches!(p, TopicPlan::Unselected { .. }))
                .collect();
            assert!(left.is_empty(), "seed {n}: {left:?} after {plans:?}");
        }
    }
}

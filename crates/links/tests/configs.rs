//! Which topic configs a link syncs, and what it changes.

mod common;

use common::{Command, Seed, commands, run_scripts};
use gnomon_links::{
    TopicSync,
    plan_configs::{ConfigChange, keeping, plan, synced_keys},
};
use std::collections::BTreeMap;

type Map = BTreeMap<String, String>;

#[derive(Default)]
struct ConfigsCase {
    sync: TopicSync,
    source: Map,
    here: Map,
    defaults: Map,
}

fn apply(here: &mut Map, changes: &[ConfigChange]) {
    for change in changes {
        assert_eq!(here.get(&change.key), change.from.as_ref());
        match &change.to {
            Some(value) => drop(here.insert(change.key.clone(), value.clone())),
            None => drop(here.remove(&change.key)),
        }
    }
}

impl ConfigsCase {
    fn plan(&mut self) -> Vec<ConfigChange> {
        let changes = plan(&synced_keys(&self.sync), &self.source, &self.here, |key| {
            self.defaults.get(key).cloned()
        });
        apply(&mut self.here, &changes);
        changes
    }

    fn answer(&mut self, command: &Command) -> Vec<String> {
        let pairs = command.pairs.iter().cloned();
        match command.name.as_str() {
            "sync" => {
                self.sync = TopicSync {
                    synced_properties: command.list("also"),
                    exclude_default: command.flag("exclude-default"),
                    ..TopicSync::default()
                };
                return vec![
                    synced_keys(&self.sync)
                        .into_iter()
                        .collect::<Vec<_>>()
                        .join(" "),
                ];
            }
            "source" => self.source = pairs.collect(),
            "here" => self.here = pairs.collect(),
            "default" => self.defaults = pairs.collect(),
            "plan" => {
                let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "(unset)".into());
                let changes: Vec<_> = self
                    .plan()
                    .iter()
                    .map(|c| format!("{}: {} to {}", c.key, or(&c.from), or(&c.to)))
                    .collect();
                return if changes.is_empty() {
                    vec!["(nothing)".into()]
                } else {
                    changes
                };
            }
            other => panic!("{other} is not a command"),
        }
        Vec::new()
    }
}

#[test]
fn scripts() {
    run_scripts("configs", || {
        let mut world = ConfigsCase::default();
        move |block: &str| {
            commands(block)
                .iter()
                .flat_map(|command| world.answer(command))
                .collect::<Vec<_>>()
                .join("\n")
        }
    });
}

#[test]
fn after_a_plan_the_effective_values_are_the_source_s() {
    let keys = [
        "retention.ms",
        "cleanup.policy",
        "max.message.bytes",
        "segment.ms",
        "gnomon.shadow.link",
    ];
    for n in 0..2_000 {
        let seed = &mut Seed::new(n);
        let mut some = || -> Map {
            let mut map = Map::new();
            for key in keys {
                if seed.chance(60) {
                    map.insert(key.to_owned(), seed.word(&['1', '2'], 1, 1));
                }
            }
            map
        };
        let mut world = ConfigsCase {
            sync: TopicSync::default(),
            source: some(),
            here: some(),
            defaults: some(),
        };
        let before = world.here.clone();
        world.plan();
        for key in keys {
            let effective = world.here.get(key).or(world.defaults.get(key));
            match world.source.get(key) {
                _ if !synced_keys(&world.sync).contains(key) => {
                    assert_eq!(world.here.get(key), before.get(key), "seed {n}: {key}")
                }
                Some(value) => assert_eq!(effective, Some(value), "seed {n}: {key}"),
                None if before.contains_key(key) => {
                    assert_eq!(world.here.get(key), before.get(key), "seed {n}: {key}")
                }
                None => match keeping(key) {
                    Some(kept) => {
                        assert_eq!(effective.map(String::as_str), Some(kept), "seed {n}: {key}")
                    }
                    None => assert_eq!(world.here.get(key), None, "seed {n}: {key}"),
                },
            }
        }
        assert_eq!(
            world.plan(),
            [],
            "seed {n}: a second plan finds something to do"
        );
    }
}

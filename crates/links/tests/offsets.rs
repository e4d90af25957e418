//! Group offsets: what becomes of a commit, and when it may be applied.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::{Command, Seed, commands, run_scripts};
use gnomon_links::{
    TopicState,
    filter::NameFilter,
    plan_offsets::{
        BARRIER_MS, Barrier, LocalPartition, Pass, Progress, SourceCommit, TopicRelation, plan,
        plan_last, plan_one, unselected_groups,
    },
};
use gnomon_protocol::ids::{BatchEpoch, TopicId, Uuid};
use std::collections::BTreeMap;

#[derive(Default)]
struct OffsetsCase {
    here: BTreeMap<(String, i32), LocalPartition>,
    barrier: Option<Barrier>,
}

fn place(word: &str) -> (String, i32) {
    let (topic, partition) = word.rsplit_once('-').expect("TOPIC-PARTITION");
    (topic.to_owned(), partition.parse().unwrap())
}

impl OffsetsCase {
    fn answer(&mut self, command: &Command) -> Option<String> {
        match command.name.as_str() {
            "here" => {
                let relation = match command.get("as").unwrap_or("active") {
                    "own" => TopicRelation::ShadowedBySource,
                    "unrelated" => TopicRelation::Unrelated,
                    state => TopicRelation::Shadow(TopicState::from_name(state).expect("a state")),
                };
                self.here.insert(
                    place(&command.words[0]),
                    LocalPartition {
                        topic: TopicId::nil(),
                        relation,
                        log_start: command.number("start", 0).unwrap(),
                        high_watermark: command.number("hw", 0).unwrap(),
                        newest_epoch: BatchEpoch(command.number("epoch", -1).unwrap()),
                    },
                );
                None
            }
            "commit" | "last" => {
                let (topic, partition) = place(&command.words[0]);
                let commit = SourceCommit {
                    topic: topic.clone(),
                    partition,
                    offset: command.number("offset", -1).unwrap(),
                    leader_epoch: command.number("epoch", -1).unwrap(),
                    metadata: None,
                };
                let local = self.here.get(&(topic, partition));
                let planned = match command.name.as_str() {
                    "last" => plan_last(&commit, local.expect("a partition")),
                    _ => plan_one(&commit, local),
                };
                Some(match planned {
                    Ok(p) => format!(
                        "{} epoch {}{}",
                        p.offset,
                        p.leader_epoch,
                        p.clamped_from
                            .map(|o| format!(", clamped from {o}"))
                            .unwrap_or_default()
                    ),
                    Err(skip) => format!("skipped: {skip:?}"),
                })
            }
            "asked" => {
                self.barrier = Some(Barrier::new(command.number("at", 0).unwrap()));
                None
            }
            // look at=5 a:hw=3:end=10@4 means partition a with high watermark 3 and source end 10
            // seen at 4
            "look" => {
                let progress = command.words.iter().map(|word| {
                    let parts: Vec<&str> = word.split(':').collect();
                    let number = |at: usize| parts[at].parse().unwrap();
                    let source_end = parts.get(2).map(|end| {
                        let (end, at) = end.split_once('@').unwrap();
                        (end.parse().unwrap(), at.parse().unwrap())
                    });
                    Progress {
                        topic: Uuid::from_u128(1),
                        partition: number(0) as i32,
                        high_watermark: number(1),
                        source_end,
                    }
                });
                let pass = self.barrier.as_mut().expect("a barrier").look(
                    command.number("at", 0).unwrap(),
                    progress.collect::<Vec<_>>(),
                );
                Some(match pass {
                    Pass::Reached => "reached".to_owned(),
                    Pass::Wait => "wait".to_owned(),
                    Pass::TimedOut(missing) => format!(
                        "timed out, missing {:?}",
                        missing.iter().map(|(_, p)| p).collect::<Vec<_>>()
                    ),
                })
            }
            other => panic!("{other} is not a command"),
        }
    }
}

#[test]
fn scripts() {
    run_scripts("offsets", || {
        let mut world = OffsetsCase::default();
        move |block: &str| {
            commands(block)
                .iter()
                .filter_map(|command| world.answer(command))
                .collect::<Vec<_>>()
                .join("\n")
        }
    });
}

#[test]
fn a_planned_position_never_outruns_the_data() {
    for n in 0..5_000 {
        let seed = &mut Seed::new(n);
        let log_start = seed.below(50) as i64;
        let local = LocalPartition {
            topic: TopicId::nil(),
            relation: *seed.one_of(&[
                TopicRelation::ShadowedBySource,
                TopicRelation::Unrelated,
                TopicRelation::Shadow(TopicState::Active),
                TopicRelation::Shadow(TopicState::Faulted),
            ]),
            log_start,
            high_watermark: log_start + seed.below(50) as i64,
            newest_epoch: BatchEpoch(seed.below(5) as i32 - 1),
        };
        let commits: Vec<_> = (0..4)
            .map(|partition| SourceCommit {
                topic: "t".into(),
                partition,
                offset: seed.below(120) as i64 - 2,
                leader_epoch: seed.below(6) as i32 - 1,
                metadata: Some("m".into()),
            })
            .collect();
        let planned = plan(&commits, |_, partition| (partition < 3).then_some(&local));
        assert_eq!(
            planned.commits.len() + planned.skipped.values().sum::<usize>(),
            4
        );
        for p in &planned.commits {
            let commit = &commits[p.partition as usize];
            assert!(
                (local.log_start..=local.high_watermark).contains(&p.offset),
                "seed {n}"
            );
            assert_eq!(p.clamped_from.is_none(), p.offset == commit.offset);
            assert!(
                p.leader_epoch == -1
                    || (p.leader_epoch == commit.leader_epoch
                        && p.leader_epoch <= local.newest_epoch.0
                        && p.clamped_from.is_none())
            );
            assert_eq!(p.metadata.as_deref(), Some("m"));
        }
    }
}

#[test]
fn a_barrier_ends_in_time() {
    let stuck = Progress {
        topic: Uuid::from_u128(1),
        partition: 0,
        source_end: None,
        high_watermark: 0,
    };
    let mut barrier = Barrier::new(5);
    assert_eq!(barrier.look(4 + BARRIER_MS, [stuck]), Pass::Wait);
    assert_eq!(
        barrier.look(5 + BARRIER_MS, [stuck]),
        Pass::TimedOut(vec![(Uuid::from_u128(1), 0)])
    );
    assert_eq!(Barrier::new(5).look(5, []), Pass::Reached);
}

#[test]
fn groups_that_no_link_selects() {
    let (a, b) = (
        [NameFilter::include_prefix("a_")],
        [NameFilter::include_literal("x")],
    );
    assert_eq!(unselected_groups(["a_1", "x", "y"], &[&a, &b]), ["y"]);
    assert_eq!(unselected_groups(["y"], &[]), ["y"]);
}

//! The replay law by seeds: random members, commits, links, deletions, restarts and crashes. The
//! invariants of living groups and the bounds of tables are checked at every step.

use crate::words::{id, name, subscription};
use gnomon_groups::*;
use gnomon_machine::{
    Machine, Now, ReplyToken,
    replay_law::{Rng, World, holds},
};
use gnomon_protocol::ids::TopicId;
use std::collections::BTreeMap;

/// Clients that act on the last answer that they got, most of the time.
#[derive(Default)]
pub struct Clients {
    fresh: u32,
    /// Members that an answer named, with their group and generation.
    members: Vec<(Name, Name, i32)>,
    /// The group of each request.
    requested: BTreeMap<ReplyToken, Name>,
    tokens: u64,
    /// How often the topics have been deleted and created again. Some requests still name the
    /// earlier ones.
    recreated: u128,
}

const GROUPS: [&str; 3] = ["g", "h", "k"];
const TOPICS: [&str; 3] = ["t", "u", "v"];
const LINKS: [&str; 2] = ["from-a", "from-c"];

fn any(dice: &mut Rng, of: &[&str]) -> Name {
    name(dice.pick::<&str>(of))
}

impl Clients {
    /// Small bounds and short times, so that a run of some hundred steps meets all of them.
    pub fn config(&self) -> GroupConfig {
        GroupConfig {
            initial_rebalance_delay_ms: 300,
            session_timeout_min_ms: 1,
            members_max: 4,
            pending_members_max: 2,
            pending_bytes_max: 2_500,
            offsets_retention_ms: 20_000,
            offsets_check_interval_ms: 5_000,
            new_member_join_timeout_ms: 8_000,
            ..GroupConfig::default()
        }
    }

    fn member(&self, dice: &mut Rng, group: &Name) -> (Name, i32) {
        let here: Vec<_> = self.members.iter().filter(|(of, ..)| of == group).collect();
        match here.len() {
            0 => (name("nobody"), dice.below(3) as i32 - 1),
            known => {
                let recent = known - 1 - dice.below(known.min(4) as u64) as usize;
                let (_, member_id, generation) = here[recent];
                (member_id.clone(), generation - i32::from(dice.percent(5)))
            }
        }
    }

    fn join(&mut self, dice: &mut Rng, group: Name) -> Event {
        self.fresh += 1;
        let instance_id = dice
            .percent(30)
            .then(|| name(["i1", "i2"][dice.below(2) as usize]));
        let (member_id, _) = if dice.percent(65) {
            self.member(dice, &group)
        } else {
            (name(""), 0)
        };
        let offered = |dice: &mut Rng, protocol: &str| Protocol {
            name: name(protocol),
            metadata: subscription(&any(dice, &["t", "t+u", "u!x"])),
        };
        let mut protocols = vec![offered(dice, "range")];
        if dice.percent(40) {
            let other = offered(dice, "sticky");
            protocols.insert(dice.below(2) as usize, other);
        }
        Event::Join(Join {
            group,
            member_id,
            instance_id,
            fresh_member_id: name(&format!("m-{}", self.fresh)),
            client_id: name("c"),
            client_host: name("/127.0.0.1"),
            session_timeout_ms: 1_000 * (5 + dice.below(6)) as i32,
            rebalance_timeout_ms: dice.below(5_000) as i32 - 100,
            protocol_type: name(if dice.percent(97) {
                "consumer"
            } else {
                "connect"
            }),
            protocols,
            require_known_member_id: dice.percent(50),
            supports_skip_assignment: dice.percent(50),
        })
    }

    /// The topic that has a name now.
    fn newest(&self) -> TopicId {
        id(self.recreated + 1)
    }

    fn topic_id(&self, dice: &mut Rng) -> TopicId {
        id(self.recreated + u128::from(dice.percent(95)))
    }

    fn offsets(&self, dice: &mut Rng) -> Vec<(Name, i32, i64)> {
        (0..dice.below(4))
            .map(|_| {
                (
                    any(dice, &TOPICS),
                    dice.below(2) as i32,
                    dice.below(5) as i64,
                )
            })
            .collect()
    }

    fn commit(&self, dice: &mut Rng, group: Name) -> Event {
        let (member_id, generation) = if dice.percent(70) {
            self.member(dice, &group)
        } else {
            (name(""), -1)
        };
        let topic_id = self.topic_id(dice);
        let offsets = self
            .offsets(dice)
            .into_iter()
            .map(|(topic, partition, offset)| CommitOffset {
                topic,
                topic_id,
                is_current: topic_id == self.newest(),
                partition,
                offset,
                leader_epoch: dice.below(3) as i32 - 1,
                metadata: any(dice, &["", "note"]),
                paired: dice.percent(40),
            });
        let offsets = offsets.collect();
        let retention_ms = dice.percent(10).then_some(30_000);
        Event::Commit(Commit {
            group,
            member_id,
            generation,
            instance_id: None,
            retention_ms,
            offsets,
        })
    }

    fn link_brings(&self, dice: &mut Rng, group: Name) -> Event {
        let link = any(dice, &LINKS);
        if dice.percent(10) {
            return Event::SyncEnded(SyncEnded {
                link,
                topics: dice.percent(50).then(|| vec![any(dice, &TOPICS)]),
            });
        }
        let topic_id = self.topic_id(dice);
        let offset = |(topic, partition, offset)| SyncOffset {
            topic,
            topic_id,
            is_current: topic_id == self.newest(),
            partition,
            offset,
            leader_epoch: -1,
            metadata: name(""),
        };
        let offsets = self.offsets(dice).into_iter().map(offset).collect();
        Event::SyncOffsets(SyncOffsets {
            link,
            group,
            offsets,
            complete: dice.percent(20),
            last: dice.percent(10),
            validate_only: dice.percent(10),
        })
    }
}

impl World for Clients {
    type M = Groups;

    fn event(&mut self, dice: &mut Rng, _: &Durable, _: Now) -> Event {
        self.tokens += 1;
        let group = any(dice, &GROUPS);
        self.requested
            .insert(ReplyToken(self.tokens), group.clone());
        let (member_id, generation) = self.member(dice, &group);
        match dice.below(100) {
            0..=29 => self.join(dice, group),
            30..=49 => {
                let assignments = self
                    .members
                    .iter()
                    .map(|(_, id, _)| (id.clone(), "some".into()))
                    .collect();
                Event::Sync(Sync {
                    group,
                    member_id,
                    instance_id: None,
                    generation,
                    protocol_type: None,
                    protocol: None,
                    assignments,
                })
            }
            50..=59 => Event::Heartbeat(Heartbeat {
                group,
                member_id,
                instance_id: None,
                generation,
            }),
            60..=65 => {
                let instance_id = dice.percent(20).then(|| name("i1"));
                let member_id = if instance_id.is_some() {
                    name("")
                } else {
                    member_id
                };
                Event::Leave(Leave {
                    group,
                    members: vec![LeaveMember {
                        member_id,
                        instance_id,
                    }],
                })
            }
            66..=79 => self.commit(dice, group),
            80..=89 => self.link_brings(dice, group),
            90..=91 => {
                let topics = vec![DeletedTopic {
                    name: any(dice, &TOPICS),
                    id: dice.percent(90).then(|| self.topic_id(dice)),
                }];
                self.recreated += u128::from(dice.percent(50));
                Event::TopicsDeleted(TopicsDeleted { topics })
            }
            92..=93 => Event::DeleteGroups(DeleteGroups {
                groups: vec![group],
            }),
            94..=95 => Event::Fetch(Fetch {
                group,
                which: OffsetSelection::All,
            }),
            96..=97 => Event::List(List::default()),
            _ => Event::Describe(Describe {
                groups: vec![group],
            }),
        }
    }

    fn told(&mut self, token: ReplyToken, reply: Reply) {
        let Some(group) = self.requested.remove(&token) else {
            return;
        };
        match reply {
            Reply::Joined(joined) => {
                self.members
                    .push((group, joined.member_id, joined.generation))
            }
            Reply::Refused(GroupError::MemberIdRequired { member_id }) => {
                self.members.push((group, member_id, -1))
            }
            _ => {}
        }
    }

    fn check(&self, durable: &Durable, soft: &Soft) -> Result<(), String> {
        let (config, (ids, bytes)) = (self.config(), soft.pending());
        if ids > config.pending_members_max * GROUPS.len() || bytes > config.pending_bytes_max {
            return Err(format!("{ids} ids of {bytes} bytes are kept"));
        }
        soft.check(durable)
    }

    fn soft(&self) -> Soft {
        Soft::new(self.config())
    }
}

#[test]
fn the_log_rebuilds_the_state_whatever_clients_and_links_do() {
    for seed in 0..60 {
        holds(seed, 2_000, Clients::default());
    }
}

/// The random runs must reach the states that they are meant to test; else they would prove
/// nothing.
#[test]
fn random_runs_reach_stable_groups_fenced_instances_and_marks() {
    let (mut stable, mut local, mut linked, mut fenced) = (0, 0, 0, 0);
    for seed in 0..20 {
        let mut clients = Clients::default();
        let mut dice = Rng::new(seed);
        let (mut durable, mut soft) = (Durable::default(), clients.soft());
        let mut now = Now {
            mono: gnomon_machine::Mono(0),
            wall: gnomon_machine::Wall(0),
        };
        for token in 1..=1_000 {
            let event = clients.event(&mut dice, &durable, now);
            let mut effects = Groups::step(&durable, &mut soft, now, event, ReplyToken(token));
            now = Now {
                mono: now.mono.after(100),
                wall: gnomon_machine::Wall(now.wall.0 + 100),
            };
            for record in &effects.records {
                Groups::replay(&mut durable, record);
            }
            let ticked = Groups::tick(&durable, &mut soft, now);
            for record in &ticked.records {
                Groups::replay(&mut durable, record);
            }
            effects.replies.extend(ticked.replies);
            for (token, reply) in effects.replies {
                fenced += u32::from(matches!(
                    reply,
                    Reply::Refused(GroupError::FencedInstance { .. })
                ));
                stable += u32::from(matches!(reply, Reply::Synced(_)));
                clients.told(token, reply);
            }
            local += durable
                .topics()
                .filter(|(_, _, origin)| *origin == Some(&Origin::Local))
                .count();
            linked += durable
                .topics()
                .filter(|(_, _, origin)| matches!(origin, Some(Origin::Link(_))))
                .count();
        }
    }
    assert!(
        stable > 100 && local > 100 && linked > 100 && fenced > 10,
        "{stable} {local} {linked} {fenced}"
    );
}

/// No topic that has its name loses a client's commits to a link, not even to a request that waited
/// while the topic was deleted and created again.
#[test]
fn a_sync_never_removes_what_a_client_committed_here() {
    let (mut outdated, mut kept) = (0, 0);
    for seed in 0..20 {
        let mut clients = Clients::default();
        let mut dice = Rng::new(seed);
        let (mut durable, mut soft) = (Durable::default(), clients.soft());
        let now = Now {
            mono: gnomon_machine::Mono(0),
            wall: gnomon_machine::Wall(0),
        };
        for token in 1..=1_000 {
            let group = any(&mut dice, &GROUPS);
            let event = match dice.below(4) {
                0 => {
                    clients.recreated += u128::from(dice.percent(10));
                    continue;
                }
                1 => clients.commit(&mut dice, group),
                _ => clients.link_brings(&mut dice, group),
            };
            if let Event::SyncOffsets(sync) = &event {
                outdated += sync.offsets.iter().filter(|o| !o.is_current).count();
            }
            let is_sync = matches!(event, Event::SyncOffsets(_));
            let before = committed_by_clients(&durable, clients.newest());
            let effects = Groups::step(&durable, &mut soft, now, event, ReplyToken(token));
            for record in &effects.records {
                Groups::replay(&mut durable, record);
            }
            if is_sync {
                let after = committed_by_clients(&durable, clients.newest());
                assert_eq!(after, before, "seed {seed}, step {token}");
                kept += before.len();
            }
        }
    }
    assert!(outdated > 100 && kept > 100, "{outdated} {kept}");
}

/// The marks and offsets of groups that have committed on topics that have their names now.
fn committed_by_clients(durable: &Durable, newest: TopicId) -> Vec<(Name, Name, i32, Committed)> {
    let local = durable
        .topics()
        .filter(|(_, _, origin)| *origin == Some(&Origin::Local));
    local
        .flat_map(|(group, topic, _)| {
            (0..2).filter_map(|partition| {
                let here = durable.committed(group, topic, partition)?;
                (here.topic_id == Some(newest))
                    .then(|| (group.clone(), topic.clone(), partition, here.clone()))
            })
        })
        .collect()
}

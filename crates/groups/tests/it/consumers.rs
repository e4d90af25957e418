//! Consumers that follow the protocol, against a coordinator that restarts and a network that loses
//! answers: after any disturbance each partition belongs to exactly one consumer.
//!
//! On the way: generations do not go back; a generation has one leader, and one assignment for each
//! member; only commits of the present generation are taken; nobody waits for an answer longer than
//! the rebalance timeout.

use crate::{
    site::GroupSite,
    words::{id, name, subscription},
};
use bytes::Bytes;
use gnomon_groups::*;
use gnomon_machine::{ReplyToken, replay_law::Rng};
use std::collections::{BTreeMap, BTreeSet};

const GROUP: &str = "g";
const PARTITIONS: usize = 7;
const SESSION_MS: i32 = 6_000;
const REBALANCE_MS: i32 = 9_000;
const INITIAL_DELAY_MS: u64 = 700;

/// The step of the protocol that a consumer is in.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// It has to send a join.
    Outside,
    Joining(ReplyToken),
    Syncing(ReplyToken),
    Working(Bytes),
    /// Another process has its instance: it has ended itself, as clients do.
    Fenced,
}

#[derive(Debug)]
struct Consumer {
    number: u32,
    instance_id: Option<Name>,
    member_id: Name,
    generation: i32,
    /// It knows versions that need an id (4) and `skip_assignment` (9).
    modern: bool,
    stage: Stage,
}

impl Consumer {
    fn join(&mut self, site: &mut GroupSite, fresh: &mut u32) {
        *fresh += 1;
        let token = site.send(Event::Join(Join {
            group: name(GROUP),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            fresh_member_id: name(&format!("{}-{fresh}", self.number)),
            client_id: name("c"),
            client_host: name("/127.0.0.1"),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: name("consumer"),
            protocols: vec![Protocol {
                name: name("range"),
                metadata: subscription("t"),
            }],
            require_known_member_id: self.modern,
            supports_skip_assignment: self.modern,
        }));
        self.stage = Stage::Joining(token);
    }

    fn joined(&mut self, site: &mut GroupSite, joined: Joined) {
        self.member_id = joined.member_id.clone();
        self.generation = joined.generation;
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let assignments = if leads { assign(&joined) } else { Vec::new() };
        let token = site.send(Event::Sync(Sync {
            group: name(GROUP),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
            protocol_type: joined.protocol_type,
            protocol: joined.protocol,
            assignments,
        }));
        self.stage = Stage::Syncing(token);
    }

    /// The reaction of a client to a refused join, sync, heartbeat or commit.
    fn refused(&mut self, error: GroupError) {
        self.stage = Stage::Outside;
        match error {
            GroupError::MemberIdRequired { member_id } => self.member_id = member_id,
            GroupError::UnknownMember { .. } => self.member_id = name(""),
            GroupError::RebalanceInProgress | GroupError::IllegalGeneration { .. } => {}
            GroupError::FencedInstance { .. } => self.stage = Stage::Fenced,
            other => panic!("a consumer that follows the protocol was told: {other}"),
        }
    }

    fn heartbeat(&mut self, site: &mut GroupSite) {
        let alive = site.ask(Event::Heartbeat(Heartbeat {
            group: name(GROUP),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
        }));
        if let Err(error) = alive.into_alive() {
            self.refused(error);
        }
    }

    fn commit(&mut self, site: &mut GroupSite, generation: i32) -> Result<(), GroupError> {
        let outcomes = site.ask(Event::Commit(Commit {
            group: name(GROUP),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation,
            retention_ms: None,
            offsets: vec![CommitOffset {
                topic: name("t"),
                topic_id: id(1),
                is_current: true,
                partition: 0,
                offset: 1,
                leader_epoch: -1,
                metadata: name(""),
                paired: false,
            }],
        }));
        outcomes.into_committed().map(drop)
    }
}

/// The leader deals the partitions out in turn; an assignment is a list of their numbers.
fn assign(joined: &Joined) -> Vec<(Name, Bytes)> {
    let count = joined.members.len();
    let dealt = joined.members.iter().enumerate().map(|(at, member)| {
        let own: Vec<u8> = (at..PARTITIONS)
            .step_by(count)
            .map(|partition| partition as u8)
            .collect();
        (member.member_id.clone(), Bytes::from(own))
    });
    dealt.collect()
}

/// A group of consumers, and the answers that have been observed.
struct ConsumersWorld {
    site: GroupSite,
    dice: Rng,
    consumers: Vec<Consumer>,
    numbers: u32,
    fresh: u32,
    /// The highest generation that anybody was told since the coordinator last started.
    newest: i32,
    /// By generation: its leader, once the leader has been told.
    leaders: BTreeMap<i32, Name>,
    /// By generation and member: the assignment that was told.
    assignments: BTreeMap<(i32, Name), Bytes>,
    commits: [u32; 2],
}

impl ConsumersWorld {
    fn new(seed: u64) -> ConsumersWorld {
        ConsumersWorld {
            site: GroupSite::new(GroupConfig {
                initial_rebalance_delay_ms: INITIAL_DELAY_MS,
                ..GroupConfig::default()
            }),
            dice: Rng::new(seed),
            consumers: Vec::new(),
            numbers: 0,
            fresh: 0,
            newest: 0,
            leaders: BTreeMap::new(),
            assignments: BTreeMap::new(),
            commits: [0, 0],
        }
    }

    fn start(&mut self, instance_id: Option<Name>) {
        self.numbers += 1;
        self.consumers.push(Consumer {
            number: self.numbers,
            instance_id,
            member_id: name(""),
            generation: -1,
            modern: self.dice.percent(60),
            stage: Stage::Outside,
        });
    }

    /// Something happens to a consumer, to an answer or to the coordinator.
    fn disturb(&mut self) {
        let some = |dice: &mut Rng, count: usize| dice.below(count.max(1) as u64) as usize;
        let at = some(&mut self.dice, self.consumers.len());
        match self.dice.below(100) {
            0..=24 if self.consumers.len() < 5 => {
                let instance_id = self.dice.percent(40).then(|| {
                    let number = self.dice.below(3);
                    name(&format!("i{number}"))
                });
                self.start(instance_id);
            }
            25..=36 if !self.consumers.is_empty() => drop(self.consumers.remove(at)),
            37..=48 if !self.consumers.is_empty() => {
                let consumer = self.consumers.remove(at);
                self.site.send(Event::Leave(Leave {
                    group: name(GROUP),
                    members: vec![LeaveMember {
                        member_id: consumer.member_id,
                        instance_id: consumer.instance_id,
                    }],
                }));
            }
            // An answer is lost: the client gives up waiting and joins again.
            49..=60 if !self.consumers.is_empty() => {
                let consumer = &mut self.consumers[at];
                if matches!(consumer.stage, Stage::Joining(_) | Stage::Syncing(_)) {
                    consumer.stage = Stage::Outside;
                }
            }
            61..=66 => self.restart(),
            _ => {}
        }
    }

    fn restart(&mut self) {
        self.site.restart();
        let written = self.site.durable.group(GROUP);
        self.newest = written.map_or(0, |group| group.generation);
        // An unfinished generation is forgotten: its number is given again.
        let newest = self.newest;
        self.leaders.retain(|generation, _| *generation <= newest);
        self.assignments
            .retain(|(generation, _), _| *generation <= newest);
        for consumer in &mut self.consumers {
            if matches!(consumer.stage, Stage::Joining(_) | Stage::Syncing(_)) {
                consumer.stage = Stage::Outside;
            }
        }
    }

    /// Every consumer takes its next step.
    fn act(&mut self) {
        for at in 0..self.consumers.len() {
            let consumer = &mut self.consumers[at];
            match consumer.stage {
                Stage::Outside => consumer.join(&mut self.site, &mut self.fresh),
                Stage::Joining(token) => match self.site.reply(token).map(Reply::into_joined) {
                    Some(Ok(joined)) => self.told_generation(at, joined),
                    Some(Err(error)) => consumer.refused(error),
                    None => {}
                },
                Stage::Syncing(token) => match self.site.reply(token).map(Reply::into_synced) {
                    Some(Ok(synced)) => self.told_assignment(at, synced.assignment),
                    Some(Err(error)) => consumer.refused(error),
                    None => consumer.heartbeat_while_waiting(&mut self.site),
                },
                Stage::Working(_) => {
                    self.commit(at);
                    self.consumers[at].heartbeat(&mut self.site);
                }
                Stage::Fenced => {}
            }
        }
        self.consumers
            .retain(|consumer| consumer.stage != Stage::Fenced);
    }

    fn told_generation(&mut self, at: usize, joined: Joined) {
        assert!(
            joined.generation >= self.newest,
            "generation {} after {}",
            joined.generation,
            self.newest
        );
        self.newest = joined.generation;
        if joined.leader == joined.member_id && !joined.skip_assignment {
            let leader = self.leaders.entry(joined.generation);
            assert_eq!(
                *leader.or_insert_with(|| joined.member_id.clone()),
                joined.member_id
            );
        }
        self.consumers[at].joined(&mut self.site, joined);
    }

    fn told_assignment(&mut self, at: usize, assignment: Bytes) {
        let consumer = &mut self.consumers[at];
        let member = (consumer.generation, consumer.member_id.clone());
        let first = self.assignments.entry(member).or_insert(assignment.clone());
        assert_eq!(*first, assignment, "a second assignment in one generation");
        consumer.stage = Stage::Working(assignment);
    }

    /// A commit is taken if, and only if, its generation is the present one. Sometimes the consumer
    /// names an earlier generation, as one that slept through a rebalance would.
    fn commit(&mut self, at: usize) {
        let late = self.dice.percent(20);
        let consumer = &mut self.consumers[at];
        let generation = consumer.generation - i32::from(late);
        let present = generation == self.newest;
        match consumer.commit(&mut self.site, generation) {
            Ok(()) => {
                assert!(present, "committed in {generation} of {}", self.newest);
                self.commits[0] += 1;
            }
            Err(GroupError::IllegalGeneration { requested, current }) => {
                assert_eq!(requested, generation);
                assert_ne!(requested, current);
                self.commits[1] += 1;
            }
            Err(_) => self.commits[1] += 1,
        }
    }

    fn check(&self) {
        // A tick of slack: requests are made between two moments at which answers are looked for.
        let most = REBALANCE_MS as u64 + INITIAL_DELAY_MS;
        for (token, since) in &self.site.parked {
            let waits = self.site.now.mono.0 - since.0;
            assert!(waits <= most, "{token:?} waits for {waits} ms");
        }
        let mut owned = BTreeSet::new();
        for consumer in &self.consumers {
            if let Stage::Working(assignment) = &consumer.stage
                && consumer.generation == self.newest
            {
                for partition in assignment {
                    assert!(owned.insert(*partition), "two consumers own {partition}");
                }
            }
        }
    }

    fn run(&mut self, steps: usize, disturbed: bool) {
        for _ in 0..steps {
            if disturbed && self.dice.percent(30) {
                self.disturb();
            }
            self.act();
            self.check();
            let pause = self.dice.below(900);
            self.site.pass(pause);
        }
    }
}

impl Consumer {
    /// Clients send heartbeats from the answer to the join on.
    fn heartbeat_while_waiting(&mut self, site: &mut GroupSite) {
        let waiting = std::mem::replace(&mut self.stage, Stage::Outside);
        let heartbeat = site.ask(Event::Heartbeat(Heartbeat {
            group: name(GROUP),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
        }));
        match heartbeat.into_alive() {
            Ok(()) => self.stage = waiting,
            Err(error) => self.refused(error),
        }
    }
}

#[test]
fn consumers_share_all_partitions_once_the_disturbance_ends() {
    let (mut taken, mut refused, mut shared) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = ConsumersWorld::new(seed);
        world.run(150, true);
        while world.consumers.len() < 2 {
            world.start(None);
        }
        world.run(120, false);

        let generations: BTreeSet<i32> = world.consumers.iter().map(|c| c.generation).collect();
        assert_eq!(generations.len(), 1, "seed {seed}: {:?}", world.consumers);
        let mut owned = Vec::new();
        for consumer in &world.consumers {
            let Stage::Working(assignment) = &consumer.stage else {
                panic!("seed {seed}: {consumer:?}");
            };
            owned.extend(assignment.iter().map(|partition| usize::from(*partition)));
        }
        owned.sort_unstable();
        let all: Vec<usize> = (0..PARTITIONS).collect();
        assert_eq!(owned, all, "seed {seed}: {:?}", world.consumers);
        shared += world.consumers.len();
        taken += world.commits[0];
        refused += world.commits[1];
    }
    assert!(
        taken > 1_000 && refused > 200 && shared > 150,
        "{taken} commits, {refused} refused, {shared} consumers"
    );
}

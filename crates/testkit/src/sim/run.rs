//! One simulation: rounds of trouble, each followed by calm, in which everything must come back to
//! order and every log is read whole.

use super::{
    calm::{self, WELL_AGAIN},
    check::Violation,
    faults::{Keeper, trouble_network},
    model::{SITES, Topic},
    net::Net,
    process::{Process, Task},
    rng::Rng,
    txns::Scribe,
    work::{
        landlord::Landlord, member::Member, operator::Operator, producer::Producer, reader,
        watcher::watch,
    },
    world::{CLIENTS, World},
};
use std::{fmt, ops::Range, sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// How long a simulation goes on, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds of trouble and calm.
    pub rounds: u32,
    /// Whether every line is printed as it comes.
    pub aloud: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            rounds: 4,
            aloud: false,
        }
    }
}

/// The result of a simulation.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The seed that everything follows from.
    pub seed: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Sum over everything that anybody was told.
    pub sum: u64,
    pub lines: u64,
    /// The first broken invariant.
    pub broken: Option<Violation>,
    /// The last lines of the story.
    pub last: Vec<String>,
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunReport {
            seed,
            simulated,
            lines,
            sum,
            ..
        } = self;
        write!(
            f,
            "seed {seed}: {:.0} s, {lines} lines, sum {sum:016x}",
            simulated.as_secs_f64()
        )?;
        match &self.broken {
            Some(violation) => write!(f, ", BROKEN {violation}"),
            None => Ok(()),
        }
    }
}

/// How long a round's trouble lasts, milliseconds.
const TROUBLE_MS: Range<u64> = 20_000..80_000;

/// Milliseconds between two batches of a producer.
const PAUSE_MS: Range<u64> = 20..900;

pub fn simulate(seed: u64, plan: &Plan) -> RunReport {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut simulation = Simulation::new(seed, plan.aloud);
        simulation.begin().await;
        for round in 0..plan.rounds {
            if simulation.world.is_over() {
                break;
            }
            simulation
                .world
                .tell("simulation", format!("round {round}"));
            simulation.write_transactions().await;
            simulation.trouble().await;
            simulation.calm().await;
        }
        simulation.outcome(seed)
    })
}

struct Simulation {
    world: Arc<World>,
    rng: Rng,
    keepers: Vec<Keeper>,
    landlord: Option<Landlord>,
    operator: Option<Operator>,
    producers: Vec<Producer>,
    tails: Vec<reader::Tail>,
    scribe: Scribe,
    /// By site: how many groups there have been, about.
    groups: [u64; 2],
    next_producer: u32,
}

impl Simulation {
    fn new(seed: u64, aloud: bool) -> Simulation {
        let mut rng = Rng::new(seed);
        let net = Net::new(rng.fork("network"), &[SITES[0], SITES[1], CLIENTS]);
        let world = World::new(net, aloud);
        let mut keeper = |site: usize| {
            let name = SITES[site];
            let process = Process::new(
                name,
                &format!("10.0.0.{}", site + 1),
                site as u16 + 1,
                &world.net,
                rng.fork(name),
            );
            Keeper::new(&world, rng.fork("keeper"), site, process)
        };
        let keepers = (0..SITES.len()).map(&mut keeper).collect();
        let tails = (0..SITES.len())
            .map(|site| reader::Tail::new(&world, rng.fork("tail"), site))
            .collect();
        Simulation {
            landlord: Some(Landlord::new(&world, rng.fork("landlord"))),
            operator: Some(Operator::new(&world, rng.fork("operator"))),
            keepers,
            producers: Vec::new(),
            tails,
            scribe: Scribe::new(&world, rng.fork("scribe")),
            groups: [0; 2],
            next_producer: 1,
            world,
            rng,
        }
    }

    async fn begin(&mut self) {
        for keeper in &mut self.keepers {
            keeper.settle().await;
        }
        self.order().await;
    }

    /// While each site stands still for a moment.
    async fn write_transactions(&mut self) {
        for keeper in &mut self.keepers {
            keeper.interrupt(&mut self.scribe).await;
        }
    }

    /// Everything goes wrong for a while, and everybody works.
    async fn trouble(&mut self) {
        self.hire();
        let until = Instant::now() + self.rng.millis(TROUBLE_MS);
        let network = Task::spawn(trouble_network(
            self.world.clone(),
            self.rng.fork("trouble"),
            until,
        ));
        let keepers: Vec<_> = self
            .keepers
            .drain(..)
            .map(|keeper| Task::spawn(keeper.run(until)))
            .collect();
        let tails: Vec<_> = self
            .tails
            .drain(..)
            .map(|tail| Task::spawn(tail.run(until)))
            .collect();
        let producers: Vec<_> = self
            .producers
            .drain(..)
            .map(|producer| Task::spawn(producer.run(until, PAUSE_MS)))
            .collect();
        let landlord = self
            .landlord
            .take()
            .map(|landlord| Task::spawn(landlord.run(until)));
        let operator = self
            .operator
            .take()
            .map(|operator| Task::spawn(operator.run(until)));
        let members: Vec<_> = self
            .members()
            .into_iter()
            .map(|member| Task::spawn(member.run(until)))
            .collect();
        let watcher = Task::spawn(watch(self.world.clone(), self.rng.fork("watcher"), until));
        network.join().await;
        watcher.join().await;
        for keeper in keepers {
            self.keepers.push(keeper.join().await);
        }
        for tail in tails {
            self.tails.push(tail.join().await);
        }
        for producer in producers {
            self.producers.push(producer.join().await);
        }
        if let Some(landlord) = landlord {
            self.landlord = Some(landlord.join().await);
        }
        if let Some(operator) = operator {
            self.operator = Some(operator.join().await);
        }
        for member in members {
            member.join().await;
        }
    }

    /// Members of two groups of each site; they work together, mostly at home. Some groups are new.
    fn members(&mut self) -> Vec<Member> {
        let mut members = Vec::new();
        for (home, owner) in SITES.iter().enumerate() {
            for group in 0..2 {
                self.groups[home] += self.rng.within(0..2);
                let name = format!("{owner}_group_{}_{group}", self.groups[home]);
                let site = if self.rng.once_in(4) { 1 - home } else { home };
                for number in 0..self.rng.within(1..4) as u32 {
                    members.push(Member::new(
                        &self.world,
                        self.rng.fork("member"),
                        &name,
                        number,
                        site,
                    ));
                }
            }
        }
        members
    }

    /// Producers for topics that have none, and those of topics that are gone go.
    fn hire(&mut self) {
        let topics: Vec<Topic> = self
            .world
            .model
            .lock()
            .topics
            .values()
            .filter(|topic| !topic.retired)
            .cloned()
            .collect();
        self.producers
            .retain(|producer| topics.iter().any(|topic| producer.is_of(topic)));
        self.producers.iter_mut().for_each(Producer::may_move);
        for topic in &topics {
            if self.producers.iter().any(|producer| producer.is_of(topic)) {
                continue;
            }
            for partition in 0..topic.partitions {
                for _ in 0..self.rng.within(1..3) {
                    let id = self.next_producer;
                    self.next_producer += 1;
                    self.producers.push(Producer::new(
                        &self.world,
                        self.rng.fork("producer"),
                        id,
                        topic,
                        partition,
                    ));
                }
            }
        }
    }

    /// Everything is healed; then nobody writes, and everything is looked at.
    async fn calm(&mut self) {
        self.world.net.heal();
        for keeper in &mut self.keepers {
            keeper.settle().await;
        }
        let healed = Instant::now();
        self.world.tell("simulation", "calm");
        let (over, watchers): (Vec<_>, Vec<_>) = self
            .keepers
            .drain(..)
            .map(|keeper| {
                let (over, told) = oneshot::channel();
                (over, Task::spawn(keeper.watch(told)))
            })
            .unzip();
        self.come_to_order(healed).await;
        // Dropped, they tell the keepers.
        drop(over);
        for watcher in watchers {
            self.keepers.push(watcher.join().await);
        }
    }

    async fn come_to_order(&mut self, healed: Instant) {
        let until = healed + WELL_AGAIN;
        let producers: Vec<_> = self
            .producers
            .drain(..)
            .map(|producer| Task::spawn(producer.settle(until)))
            .collect();
        for producer in producers {
            let producer = producer.join().await;
            if producer.is_waiting() && producer.has_a_topic() && !self.world.is_over() {
                self.world.broken(
                    "simulation",
                    "R13",
                    format!("producer {} of {} has no answer {WELL_AGAIN:?} after everything was healed", producer.id, producer.topic),
                );
            }
            self.producers.push(producer);
        }
        self.order().await;
        calm::look(&self.world, healed).await;
    }

    /// Failovers are through, links run, topics are there.
    async fn order(&mut self) {
        let until = Instant::now() + WELL_AGAIN + Duration::from_secs(35);
        if let Some(operator) = &mut self.operator {
            operator.settle(until).await;
        }
        if let Some(landlord) = &mut self.landlord {
            landlord.settle(until).await;
            if landlord.is_busy() && !self.world.is_over() {
                self.world.broken(
                    "simulation",
                    "R11",
                    "a deletion is not through though everything was healed",
                );
            }
        }
    }

    fn outcome(&self, seed: u64) -> RunReport {
        let model = self.world.model.lock();
        RunReport {
            seed,
            simulated: self.world.elapsed(),
            sum: model.trace.sum(),
            lines: model.trace.lines(),
            broken: model.broken.clone(),
            last: model.trace.last(),
        }
    }
}

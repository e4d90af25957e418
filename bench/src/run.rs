//! How scenarios are run: case by case, in rounds in which the peers take turns, each on an empty
//! folder, between two readings of the canaries.
//!
//! Invariant: a figure in the report comes from a block (one round of one case) whose canaries did
//! not move; what was thrown away is said. A peer that fails is named with its reason and does not
//! end the run.

use crate::{
    birds,
    canary::{self, Bird, Reading},
    case::{Case, Sample},
    failure::Failure,
    figure::Figure,
    goal::{Evidence, Judgement},
    links::Linker,
    peers::{self, Durability, Given, Peer, PeerName},
    place::{self, RunFolder},
    progress::Progress,
    report::{self, Absent, Block, Section},
    scenarios::Scenario,
    settings::Settings,
    stage::{Stage, Tools},
};

/// Space that is left to others beside what a run writes.
const DISK_SPARE_BYTES: u64 = 2 << 30;

/// Repeats of blocks whose canaries moved, for each round that is wanted.
const REPEATS_PER_ROUND: u32 = 1;

/// A peer that could be built.
struct Built {
    name: PeerName,
    broker: Box<dyn Peer>,
    linker: Option<Box<dyn Linker>>,
}

/// All peers of a run, and its settings.
pub struct Bench {
    built: Vec<Built>,
    pub absent: Vec<Absent>,
    settings: Settings,
    tools: Tools,
}

/// A peer in a case.
struct Contender<'a> {
    peer: &'a Built,
    durability: Durability,
    /// Those of the blocks that were kept.
    runs: Vec<Vec<Sample>>,
    failure: Option<String>,
}

impl Bench {
    /// Builds the peers; those that cannot be are absent with a reason.
    pub fn build(names: &[PeerName], given: Option<&Given>, settings: Settings) -> Bench {
        let mut bench = Bench {
            built: Vec::new(),
            absent: Vec::new(),
            settings,
            tools: Tools::default(),
        };
        for &name in names {
            match peers::build(name, given) {
                Ok(broker) => bench.built.push(Built {
                    name,
                    linker: broker.linker,
                    broker: broker.peer,
                }),
                Err(failure) => {
                    eprintln!("gnomon-bench: {} is not measured: {failure}", name.name());
                    bench.absent.push(Absent {
                        peer: name,
                        why: failure.to_string(),
                    });
                }
            }
        }
        bench
    }

    /// Scenarios that none of the peers here can be asked, as sentences.
    pub fn not_asked(&self, scenarios: &[&Scenario]) -> Vec<String> {
        let not_asked = scenarios
            .iter()
            .filter(|scenario| self.cases(scenario).is_empty());
        not_asked
            .map(|scenario| format!("{}: no peer of this run can be asked", scenario.name))
            .collect()
    }

    /// Runs scenarios one after another and hands over each case as it is done: hours of others are
    /// not to be lost with it.
    pub fn run(
        &self,
        scenarios: &[&Scenario],
        mut done: impl FnMut(Section) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let cases: Vec<(&Scenario, Case)> = scenarios
            .iter()
            .flat_map(|&scenario| {
                self.cases(scenario)
                    .into_iter()
                    .map(move |case| (scenario, case))
            })
            .collect();
        let steps = |case: &Case| self.contenders(case).len() * self.rounds(case) as usize;
        let seconds: f64 = cases
            .iter()
            .map(|(_, case)| steps(case) as f64 * case.seconds)
            .sum();
        let mut progress = Progress::new(cases.iter().map(|(_, case)| steps(case)).sum(), seconds);
        cases
            .iter()
            .try_for_each(|(scenario, case)| done(self.run_case(scenario, case, &mut progress)?))
    }

    /// Those of a scenario that somebody here can be asked. A broker that is as it is cannot be
    /// asked for one durability and then for another: of cases that differ in that alone it gets
    /// the first.
    fn cases(&self, scenario: &Scenario) -> Vec<Case> {
        let mut cases = (scenario.cases)(&self.settings);
        cases.retain(|case| !self.contenders(case).is_empty());
        if self.built.iter().any(|built| built.name == PeerName::Given) {
            let mut titles = Vec::new();
            cases.retain(|case| {
                let first = !titles.contains(&case.title);
                titles.push(case.title.clone());
                first
            });
        }
        cases
    }

    /// The peers that can be asked, the ceiling only beside others.
    fn contenders(&self, case: &Case) -> Vec<Contender<'_>> {
        let contender = |peer| {
            let Built { name, broker, .. }: &Built = peer;
            let durability = if case.peers.contains(name) {
                broker.offers(case.durability)?
            } else {
                return None;
            };
            Some(Contender {
                peer,
                durability,
                runs: Vec::new(),
                failure: None,
            })
        };
        let found: Vec<Contender<'_>> = self.built.iter().filter_map(contender).collect();
        if found
            .iter()
            .all(|contender| contender.peer.name == PeerName::Mock)
            && self.built.len() > 1
        {
            Vec::new()
        } else {
            found
        }
    }

    fn rounds(&self, case: &Case) -> u32 {
        self.settings.rounds * case.rounds
    }

    fn run_case(
        &self,
        scenario: &Scenario,
        case: &Case,
        progress: &mut Progress,
    ) -> Result<Section, Failure> {
        let mut contenders = self.contenders(case);
        let mut blocks: Vec<Block> = Vec::new();
        let rounds = self.rounds(case);
        let tries = rounds * (1 + REPEATS_PER_ROUND);
        let mut before = self.canaries()?;
        while blocks.iter().filter(|block| block.kept).count() < rounds as usize
            && blocks.len() < tries as usize
        {
            if blocks.len() >= rounds as usize {
                progress.more(contenders.len(), case.seconds * contenders.len() as f64);
            }
            let samples = self.block(scenario, case, &mut contenders, blocks.len(), progress);
            let after = self.canaries()?;
            let moved = canary::moved(&before, &after);
            let kept = moved.is_none() || self.settings.keep_moved;
            if let Some(why) = moved.as_ref().filter(|_| !kept) {
                eprintln!("    block thrown away, the machine moved: {why}");
            }
            for (contender, samples) in contenders.iter_mut().zip(samples).filter(|_| kept) {
                contender.runs.extend(samples);
            }
            blocks.push(Block {
                before,
                after: after.clone(),
                moved,
                kept,
            });
            before = after;
        }
        Ok(self.section(scenario, case, contenders, blocks))
    }

    fn canaries(&self) -> Result<Reading, Failure> {
        birds::sing(RunFolder::new()?.path())
    }

    /// One round: what each contender showed, in their order; who goes first changes from round to
    /// round.
    fn block(
        &self,
        scenario: &Scenario,
        case: &Case,
        contenders: &mut [Contender<'_>],
        round: usize,
        progress: &mut Progress,
    ) -> Vec<Option<Vec<Sample>>> {
        let mut block = vec![None; contenders.len()];
        for turn in 0..contenders.len() {
            let place = (round + turn) % contenders.len();
            let contender = &mut contenders[place];
            let title = if case.title.is_empty() {
                String::new()
            } else {
                format!(", {}", case.title)
            };
            let what = format!(
                "{}{title}: {}, {}, round {}",
                scenario.name,
                contender.peer.name.name(),
                contender.durability.name(),
                round + 1
            );
            progress.begin(&what);
            let outcome = match &contender.failure {
                Some(_) => "has failed before: passed over".to_owned(),
                None => match self.measure(case, contender) {
                    Ok(samples) => {
                        let said = report::in_short(&samples);
                        block[place] = Some(samples);
                        said
                    }
                    Err(failure) => {
                        contender.failure = Some(failure.to_string());
                        format!("FAILED: {failure}")
                    }
                },
            };
            progress.end(case.seconds, &outcome);
        }
        block
    }

    fn measure(&self, case: &Case, contender: &Contender<'_>) -> Result<Vec<Sample>, Failure> {
        let folder = RunFolder::new()?;
        let (free, needed) = (
            place::free_bytes(folder.path())?,
            case.disk_bytes + DISK_SPARE_BYTES,
        );
        if free < needed {
            return Err(format!(
                "it needs {} MiB of disk, {} MiB are free",
                needed >> 20,
                free >> 20
            )
            .into());
        }
        (case.measure)(&Stage {
            peer: contender.peer.name,
            durability: contender.durability,
            folder: folder.path(),
            settings: &self.settings,
            tools: &self.tools,
            broker: contender.peer.broker.as_ref(),
            linker: contender.peer.linker.as_deref(),
        })
    }

    fn section(
        &self,
        scenario: &Scenario,
        case: &Case,
        contenders: Vec<Contender<'_>>,
        blocks: Vec<Block>,
    ) -> Section {
        let as_it_is = contenders
            .iter()
            .any(|contender| contender.durability == Durability::ItsOwn)
            && !contenders
                .iter()
                .any(|contender| contender.durability == case.durability);
        let rows = contenders.into_iter().flat_map(|contender| {
            let Contender {
                peer,
                durability,
                runs,
                failure,
            } = contender;
            report::rows(peer.name, durability, &runs, failure)
        });
        let mut section = Section {
            scenario: scenario.name,
            title: case.title.clone(),
            durability: if as_it_is {
                Durability::ItsOwn
            } else {
                case.durability
            },
            load: case.load.clone(),
            rows: rows.collect(),
            blocks,
            goals: Vec::new(),
        };
        section.goals = self.judge(case, &section);
        section
    }

    fn judge(&self, case: &Case, section: &Section) -> Vec<Judgement> {
        let kept: Vec<&Reading> = section
            .blocks
            .iter()
            .filter(|block| block.kept)
            .flat_map(|block| [&block.before, &block.after])
            .collect();
        let evidence = Found {
            section,
            canaries: Reading::mean(&kept),
            reservation: self.settings.reservation(),
        };
        let judged = |subject: PeerName| case.goals.iter().map(move |goal| (goal, subject));
        let subjects = [PeerName::Gnomon, PeerName::Given]
            .into_iter()
            .filter(|&peer| section.rows.iter().any(|row| row.peer == peer));
        subjects
            .flat_map(judged)
            .map(|(goal, subject)| goal.judge(subject, &evidence))
            .collect()
    }
}

/// The evidence that goals of a section are judged by.
struct Found<'a> {
    section: &'a Section,
    canaries: Reading,
    reservation: Option<&'static str>,
}

impl Evidence for Found<'_> {
    fn figure(&self, peer: PeerName, part: &str, figure: Figure) -> Option<f64> {
        let row = self
            .section
            .rows
            .iter()
            .find(|row| row.peer == peer && row.part == part)?;
        row.figures.get(&figure).map(|spread| spread.median)
    }

    fn canary(&self, bird: Bird) -> Option<f64> {
        self.canaries.get(bird)
    }

    fn strange_machine(&self) -> bool {
        self.canaries.is_strange()
    }

    fn reservation(&self) -> Option<&'static str> {
        self.reservation
    }
}

//! The replay law, tested by random events: at any moment `Durable` equals the state that its
//! records, through their bytes, rebuild.
//!
//! The seed alone decides a run. Beside events, it ticks at deadlines, restarts, resigns, replaces
//! the log by its snapshot, and crashes: then the last records, not yet durable, are lost together
//! with the replies that waited for them, as with the real driver. A [`World`] makes the events,
//! sees the replies that got out, and states further invariants.
//!
//! Test code, behind the feature `harness`. Not here: a clock or real randomness.

use crate::{
    DurableRecord, Effects, EncodedRecord, Machine, Mono, Now, ReplyToken, Wall, harness::rebuild,
};
use std::{collections::BTreeSet, fmt::Debug};

/// Random numbers by seed (splitmix64): the same on every machine and in every build.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The dice of this seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True with this probability, in percent.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// The surroundings of a machine in a random run: its callers, and what must hold for them.
pub trait World {
    type M: Machine<Durable: PartialEq + Debug>;

    fn event(
        &mut self,
        dice: &mut Rng,
        durable: &<Self::M as Machine>::Durable,
        now: Now,
    ) -> <Self::M as Machine>::Event;

    /// A reply got out: everything before it is durable.
    fn told(&mut self, token: ReplyToken, reply: <Self::M as Machine>::Reply) {
        let _ = (token, reply);
    }

    /// The process crashed or resigned: callers without a reply never get one.
    fn restarted(&mut self) {}

    /// Checked after each step. An error is the sentence with which the test fails.
    fn check(
        &self,
        durable: &<Self::M as Machine>::Durable,
        soft: &<Self::M as Machine>::Soft,
    ) -> Result<(), String> {
        let _ = (durable, soft);
        Ok(())
    }

    /// A new `Soft`, at the beginning and after each restart.
    fn soft(&self) -> <Self::M as Machine>::Soft {
        Default::default()
    }
}

/// Runs `steps` random steps of this seed.
///
/// # Panics
/// When the law or a check of the world does not hold, naming seed and step.
pub fn holds<W: World>(seed: u64, steps: usize, world: W) {
    let mut run = Run::new(world);
    let mut dice = Rng::new(seed);
    for step in 0..steps {
        if let Err(error) = run.step(&mut dice) {
            panic!("seed {seed}, step {step}: {error}");
        }
    }
}

struct Run<W: World> {
    world: W,
    durable: <W::M as Machine>::Durable,
    soft: <W::M as Machine>::Soft,
    /// All records appended; the first `synced` of them are durable. Cut at `ends` only: a step's
    /// records are one batch.
    log: Vec<EncodedRecord>,
    synced: usize,
    ends: Vec<usize>,
    /// Replies with the log length that they wait for.
    waiting: Vec<(usize, ReplyToken, <W::M as Machine>::Reply)>,
    answered: BTreeSet<ReplyToken>,
    now: Now,
    tokens: u64,
}

impl<W: World> Run<W> {
    fn new(world: W) -> Self {
        let now = Now {
            mono: Mono(1_000),
            wall: Wall(1_700_000_000_000),
        };
        let durable = Default::default();
        let mut soft = world.soft();
        let _ = W::M::led(&durable, &mut soft, now);
        Run {
            world,
            durable,
            soft,
            log: Vec::new(),
            synced: 0,
            ends: vec![0],
            waiting: Vec::new(),
            answered: BTreeSet::new(),
            now,
            tokens: 0,
        }
    }

    fn step(&mut self, dice: &mut Rng) -> Result<(), String> {
        self.pass(dice.below(400));
        match dice.below(100) {
            0..=77 => {
                self.tokens += 1;
                let event = self.world.event(dice, &self.durable, self.now);
                let effects = W::M::step(
                    &self.durable,
                    &mut self.soft,
                    self.now,
                    event,
                    ReplyToken(self.tokens),
                );
                self.take(effects)?;
            }
            78..=87 => self.pass_to_deadline(),
            88..=92 => self.sync(),
            93 => {
                let encoded: Vec<_> = W::M::snapshot(&self.durable)
                    .iter()
                    .map(DurableRecord::encode)
                    .collect();
                let restored = rebuild::<W::M>(&encoded)?;
                same("the snapshot", &self.durable, &restored)?;
                (self.log, self.ends) = (encoded, vec![0]);
                self.ends.push(self.log.len());
                self.sync();
            }
            94 | 95 => {
                same("the log", &self.durable, &rebuild::<W::M>(&self.log)?)?;
                let replies = W::M::resigned(&mut self.soft);
                for (token, _) in &replies {
                    self.once(*token)?;
                }
                self.crash(dice)?;
            }
            96 => self.crash(dice)?,
            _ => {
                let effects = W::M::tick(&self.durable, &mut self.soft, self.now);
                self.take(effects)?;
            }
        }
        while W::M::deadline(&self.soft).is_some_and(|deadline| deadline <= self.now.mono) {
            let effects = W::M::tick(&self.durable, &mut self.soft, self.now);
            self.take(effects)?;
            if W::M::deadline(&self.soft).is_some_and(|deadline| deadline <= self.now.mono) {
                return Err("a tick left a deadline in the past".to_owned());
            }
        }
        self.world.check(&self.durable, &self.soft)
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now = Now {
            mono: self.now.mono.after(milliseconds),
            wall: Wall(self.now.wall.0 + milliseconds as i64),
        };
    }

    fn pass_to_deadline(&mut self) {
        if let Some(deadline) = W::M::deadline(&self.soft) {
            self.pass(deadline.0.saturating_sub(self.now.mono.0));
        }
    }

    fn take(&mut self, effects: Effects<W::M>) -> Result<(), String> {
        for record in &effects.records {
            self.log.push(record.encode());
            W::M::replay(&mut self.durable, record);
        }
        if !effects.records.is_empty() {
            self.ends.push(self.log.len());
        }
        for (token, reply) in effects.replies {
            self.once(token)?;
            self.waiting.push((self.log.len(), token, reply));
        }
        Ok(())
    }

    fn once(&mut self, token: ReplyToken) -> Result<(), String> {
        if self.answered.insert(token) {
            Ok(())
        } else {
            Err(format!("caller {} is answered twice", token.0))
        }
    }

    /// Everything appended becomes durable, and the replies that waited for it get out.
    fn sync(&mut self) {
        self.synced = self.log.len();
        for (_, token, reply) in self.waiting.drain(..) {
            self.world.told(token, reply);
        }
    }

    /// Loses the records after a random place at or beyond the durable end.
    fn crash(&mut self, dice: &mut Rng) -> Result<(), String> {
        let kept: Vec<usize> = self
            .ends
            .iter()
            .copied()
            .filter(|end| *end >= self.synced)
            .collect();
        let cut = if kept.is_empty() {
            self.log.len()
        } else {
            *dice.pick(&kept)
        };
        if cut == self.log.len() {
            same("the log", &self.durable, &rebuild::<W::M>(&self.log)?)?;
        }
        self.log.truncate(cut);
        self.ends.retain(|end| *end <= cut);
        let out = self
            .waiting
            .iter()
            .take_while(|(end, ..)| *end <= cut && *end <= self.synced)
            .count();
        for (_, token, reply) in self.waiting.drain(..).take(out) {
            self.world.told(token, reply);
        }
        self.synced = cut;
        self.durable = rebuild::<W::M>(&self.log)?;
        self.soft = self.world.soft();
        self.world.restarted();
        let effects = W::M::led(&self.durable, &mut self.soft, self.now);
        self.take(effects)
    }
}

fn same<D: PartialEq + Debug>(what: &str, live: &D, rebuilt: &D) -> Result<(), String> {
    if live == rebuilt {
        Ok(())
    } else {
        Err(format!(
            "{what} does not rebuild the state\n  live:    {live:?}\n  rebuilt: {rebuilt:?}"
        ))
    }
}

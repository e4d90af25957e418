//! The test of the replay law itself: it holds for a correct machine, and a broken check is found.

mod counter;

use counter::{Counter, Event};
use gnomon_machine::{
    Now,
    replay_law::{Rng, World, holds},
};
use std::collections::BTreeMap;

struct LawRng;

impl World for LawRng {
    type M = Counter;

    fn event(&mut self, dice: &mut Rng, _: &BTreeMap<u8, u8>, _: Now) -> Event {
        let (name, number) = (dice.below(3) as u8, dice.below(5) as u8);
        if dice.percent(70) {
            Event::Add(name, number)
        } else {
            Event::WaitFor(name, number, dice.below(2_000))
        }
    }
}

#[test]
fn the_law_holds_for_a_correct_machine() {
    for seed in 0..50 {
        holds(seed, 300, LawRng);
    }
}

/// Its check fails at some step, as that of a broken machine would.
struct Wrong;

impl World for Wrong {
    type M = Counter;

    fn event(&mut self, dice: &mut Rng, durable: &BTreeMap<u8, u8>, now: Now) -> Event {
        LawRng.event(dice, durable, now)
    }

    fn check(&self, durable: &BTreeMap<u8, u8>, _: &counter::Soft) -> Result<(), String> {
        if durable.len() < 3 {
            Ok(())
        } else {
            Err("three counters".to_owned())
        }
    }
}

#[test]
#[should_panic(expected = "three counters")]
fn a_check_that_fails_ends_the_run_with_its_sentence() {
    holds(7, 1_000, Wrong);
}

#[test]
fn a_seed_gives_the_same_numbers_everywhere() {
    let mut dice = Rng::new(1);
    assert_eq!(
        [dice.number(), dice.number()],
        [10451216379200822465, 13757245211066428519]
    );
}

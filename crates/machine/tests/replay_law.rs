//! The replay law's own test: it holds for a good machine, and a machine that forgets something is
//! found.

mod counter;

use counter::{Counter, Event};
use gnomon_machine::{
    Now,
    replay_law::{Dice, World, holds},
};
use std::collections::BTreeMap;

struct Random;

impl World for Random {
    type M = Counter;

    fn event(&mut self, dice: &mut Dice, _: &BTreeMap<u8, u8>, _: Now) -> Event {
        let (name, number) = (dice.below(3) as u8, dice.below(5) as u8);
        if dice.percent(70) {
            Event::Add(name, number)
        } else {
            Event::WaitFor(name, number, dice.below(2_000))
        }
    }
}

#[test]
fn holds_for_the_counter() {
    for seed in 0..50 {
        holds(seed, 300, Random);
    }
}

/// Checks something untrue, as a stand-in for a broken machine: the run must say so, with its seed.
struct Wrong;

impl World for Wrong {
    type M = Counter;

    fn event(&mut self, dice: &mut Dice, durable: &BTreeMap<u8, u8>, now: Now) -> Event {
        Random.event(dice, durable, now)
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
fn a_broken_check_is_found() {
    holds(7, 1_000, Wrong);
}

#[test]
fn dice_are_the_same_everywhere() {
    let mut dice = Dice::new(1);
    assert_eq!(
        [dice.number(), dice.number()],
        [10451216379200822465, 13757245211066428519]
    );
}

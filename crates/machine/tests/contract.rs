//! Each clause of the machine's contract, broken once: the script runner names the line, and the
//! replay law the seed and step.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod broken;
mod counter;

use broken::*;
use counter::{Event, Reply, Soft};
use gnomon_machine::{
    Now, ReplyToken,
    harness::{Command, Dialect, run_script},
    replay_law::{Rng, World, holds},
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

struct CounterWords<const FLAW: u8>;

impl<const FLAW: u8> Dialect for CounterWords<FLAW> {
    type M = Broken<FLAW>;

    fn events(&mut self, command: &Command, _: &mut Soft) -> Result<Vec<Event>, String> {
        let name = command.word(0)?.as_bytes()[0];
        match command.name.as_str() {
            "add" => Ok(vec![Event::Add(name, command.number("by", 1)?)]),
            _ => Ok(vec![Event::WaitFor(name, 200, 1_000)]),
        }
    }

    fn record(&mut self, record: &Written<FLAW>) -> String {
        format!("{:?}", record.0)
    }

    fn reply(&mut self, reply: &Reply) -> String {
        format!("{reply:?}")
    }

    fn action(&mut self, action: &u8) -> String {
        action.to_string()
    }

    fn show(&mut self, _: &Command, _: &BTreeMap<u8, u8>, _: &Soft) -> Result<String, String> {
        Ok(String::new())
    }
}

fn script_error<const FLAW: u8>(text: &str) -> String {
    let error = run_script(text, CounterWords::<FLAW>).expect_err("the script runner saw nothing");
    // Without the flaw the same script is a good one: it is the flaw that was seen.
    run_script(text, CounterWords::<0>).unwrap();
    error
}

#[test]
fn a_script_names_the_line_at_which_a_caller_is_answered_twice() {
    let error = script_error::<ANSWERS_TWICE>("# Why.\nwait a\nadd a\n----\n");
    assert_eq!(error, "line 3: caller 2 is answered twice");
    let error = script_error::<RESIGNS_TWICE>("add a\n----\n\nwait a\nresign\n----\n");
    assert_eq!(error, "line 5: caller 1 is answered twice");
}

#[test]
fn a_script_names_the_block_after_which_the_log_does_not_rebuild_the_state() {
    let error = script_error::<WRITES_LESS>("add a by=5\n----\n\nadd a by=2\n----\n");
    assert!(
        error.starts_with("line 5: the log does not rebuild the state"),
        "{error}"
    );
    assert!(
        error.contains("live:    {97: 7}") && error.contains("rebuilt: {97: 5}"),
        "{error}"
    );
}

#[test]
fn a_script_names_the_block_after_which_the_snapshot_does_not_rebuild_the_state() {
    let error = script_error::<SNAPSHOT_LEAVES_OUT>("wait a\n----\n\nadd a\nadd b\n----\n");
    assert!(
        error.starts_with("line 6: the snapshot does not rebuild the state"),
        "{error}"
    );
}

#[test]
fn a_script_names_the_record_that_a_start_cannot_read() {
    let error = script_error::<WRITES_UNREADABLE>("add a by=5\n----\n");
    assert_eq!(
        error,
        "line 2: unreadable counter record (type -1, version -1): not one byte each"
    );
}

#[test]
fn a_script_ends_when_a_deadline_stays_in_the_past() {
    let error = script_error::<KEEPS_DEADLINES>("wait a\nadvance 2s\n----\n");
    assert!(
        error.starts_with("line 2: 10,000 ticks did nothing"),
        "{error}"
    );
}

/// Random additions and waits, from callers that remember their replies.
#[derive(Default)]
struct Callers<const FLAW: u8> {
    tokens: u64,
    added: BTreeMap<ReplyToken, u8>,
    told: BTreeMap<u8, u8>,
    restarts: u32,
}

impl<const FLAW: u8> World for Callers<FLAW> {
    type M = Broken<FLAW>;

    fn event(&mut self, dice: &mut Rng, _: &BTreeMap<u8, u8>, _: Now) -> Event {
        self.tokens += 1;
        let name = dice.below(3) as u8;
        if dice.percent(30) {
            return Event::WaitFor(name, 200, dice.below(2_000));
        }
        self.added.insert(ReplyToken(self.tokens), name);
        Event::Add(name, 1)
    }

    fn told(&mut self, token: ReplyToken, reply: Reply) {
        if let (Some(name), Reply::Is(is)) = (self.added.remove(&token), reply) {
            let most = self.told.entry(name).or_default();
            *most = is.max(*most);
        }
    }

    fn restarted(&mut self) {
        self.restarts += 1;
    }

    /// A value that a caller was told is never taken back, not by a crash either.
    fn check(&self, durable: &BTreeMap<u8, u8>, _: &Soft) -> Result<(), String> {
        let lost = |(name, told): &(&u8, &u8)| durable.get(name).is_none_or(|is| is < told);
        match self.told.iter().find(lost) {
            Some((name, told)) => Err(format!("counter {name} was told to be {told}")),
            None => Ok(()),
        }
    }
}

/// The sentence with which the law fails in one of some runs.
fn law_error<const FLAW: u8>() -> String {
    for seed in 0..20 {
        let run = || holds(seed, 300, Callers::<FLAW>::default());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            return panic.downcast_ref::<String>().unwrap().clone();
        }
    }
    panic!("20 runs saw nothing");
}

#[test]
fn what_a_caller_was_told_survives_every_crash() {
    for seed in 0..100 {
        holds(seed, 300, Callers::<0>::default());
    }
}

#[test]
fn the_law_finds_a_caller_that_is_answered_twice() {
    assert!(law_error::<ANSWERS_TWICE>().contains("is answered twice"));
    assert!(law_error::<RESIGNS_TWICE>().contains("caller 1 is answered twice"));
}

#[test]
fn the_law_finds_bytes_that_say_less_than_the_state() {
    assert!(law_error::<WRITES_LESS>().contains("the log does not rebuild the state"));
}

#[test]
fn the_law_finds_a_snapshot_that_leaves_something_out() {
    assert!(law_error::<SNAPSHOT_LEAVES_OUT>().contains("the snapshot does not rebuild the state"));
}

#[test]
fn the_law_finds_a_record_that_a_start_cannot_read() {
    assert!(law_error::<WRITES_UNREADABLE>().contains("unreadable counter record"));
}

#[test]
fn the_law_finds_a_deadline_that_stays_in_the_past() {
    let error = law_error::<KEEPS_DEADLINES>();
    assert!(
        error.contains("a tick left a deadline in the past"),
        "{error}"
    );
    assert!(error.starts_with("seed 0, step "), "{error}");
}

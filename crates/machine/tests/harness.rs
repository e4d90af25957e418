//! The script runner: the text that it prints, and the scripts that it rejects.

mod counter;

use counter::{Counter, Event, Reply, Set, Soft};
use gnomon_machine::harness::{Command, Dialect, milliseconds, run_script, run_scripts};
use gnomon_machine::replay_law::Rng;
use std::collections::BTreeMap;

struct Words;

impl Dialect for Words {
    type M = Counter;

    fn events(&mut self, command: &Command, _: &mut Soft) -> Result<Vec<Event>, String> {
        let name = command.word(0)?.as_bytes()[0];
        match command.name.as_str() {
            "add" => Ok(vec![Event::Add(name, command.number("by", 1)?)]),
            "wait" => Ok(vec![Event::WaitFor(
                name,
                command.number("for", 1)?,
                command.milliseconds("at-most", 1_000)?,
            )]),
            other => Err(format!("{other} is not a command")),
        }
    }

    fn record(&mut self, record: &Set) -> String {
        format!("{} = {}", record.0 as char, record.1)
    }

    fn reply(&mut self, reply: &Reply) -> String {
        format!("{reply:?}")
    }

    fn action(&mut self, action: &u8) -> String {
        format!("{} is nine", *action as char)
    }

    fn show(
        &mut self,
        _: &Command,
        durable: &BTreeMap<u8, u8>,
        soft: &Soft,
    ) -> Result<String, String> {
        Ok(format!(
            "{} counters, {} wait",
            durable.len(),
            soft.parked.len()
        ))
    }
}

#[test]
fn the_runner_prints_records_replies_actions_and_time() {
    run_scripts(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"), || Words);
}

#[test]
fn wrong_effects_in_a_script_are_replaced_by_the_real_ones() {
    let found = run_script("# why\nadd a\n----\nreply 1: Is(7)\n\nadd a\n----\n", Words).unwrap();
    assert_eq!(
        found,
        "# why\nadd a\n----\nrecord: a = 1\nreply 1: Is(1)\n\nadd a\n----\nrecord: a = 2\nreply 2: Is(2)\n"
    );
}

#[test]
fn an_unknown_command_is_an_error_that_names_its_line() {
    assert_eq!(
        run_script("add a\nsubtract a\n----\n", Words).unwrap_err(),
        "line 2: subtract is not a command"
    );
    assert_eq!(
        run_script("add a\n", Words).unwrap_err(),
        "line 1: \"add\" has no ---- after it"
    );
}

#[test]
fn a_command_line_is_split_into_words_pairs_and_lists() {
    let command = Command::parse("join g  client=\"a b\" flag empty= list=a,b n=5").unwrap();
    assert_eq!((command.name.as_str(), command.words.len()), ("join", 2));
    assert_eq!(
        (
            command.get("client"),
            command.get("empty"),
            command.get("none")
        ),
        (Some("a b"), Some(""), None)
    );
    assert_eq!(
        (command.list("list"), command.list("empty")),
        (vec!["a".to_owned(), "b".to_owned()], vec![])
    );
    assert_eq!(
        (
            command.number("n", 0),
            command.flag("flag"),
            command.flag("g5")
        ),
        (Ok(5), true, false)
    );
    assert!(
        command.number("client", 0).is_err()
            && Command::parse("a \"b").is_err()
            && Command::parse(" ").is_err()
    );
    assert_eq!(
        (milliseconds("250ms"), milliseconds("7d")),
        (Ok(250), Ok(604_800_000))
    );
    assert!(milliseconds("5").is_err() && milliseconds("s").is_err());
}

/// Any word and value can be written on a command line, in quotes if need be.
#[test]
fn a_line_that_was_written_from_parts_gives_the_parts_back() {
    let texts = ["a", "a b", "x-1", "", "1,2", "k=v", "t!owned", "\u{e9}"];
    let mut dice = Rng::new(3);
    for _ in 0..2_000 {
        let mut expected = Command {
            name: "verb".to_owned(),
            ..Command::default()
        };
        let mut line = "verb".to_owned();
        for _ in 0..dice.below(6) {
            let text = *dice.pick(&texts);
            if dice.percent(50) {
                let key = *dice.pick(&["k", "key", "at"]);
                line += &format!("  {key}=\"{text}\"");
                expected.pairs.push((key.to_owned(), text.to_owned()));
            } else {
                line += &format!(" \"{text}\"");
                expected.words.push(text.to_owned());
            }
        }
        assert_eq!(Command::parse(&line), Ok(expected), "{line}");
    }
}

#[test]
fn a_duration_too_long_for_a_clock_is_an_error() {
    assert!(milliseconds("18446744073709551615ms").is_ok());
    assert!(milliseconds("18446744073709551615d").is_err());
    assert!(milliseconds("18446744073709551616ms").is_err());
}

/// Deadlines on the way are met one by one, at their own moments, whatever the size of the step.
#[test]
fn one_long_advance_does_what_many_short_ones_do() {
    let waits = "wait a for=9 at-most=1s\nwait a for=9 at-most=2500ms\nwait b for=9 at-most=1s\n";
    let once = run_script(&format!("{waits}advance 3s\n----\n"), Words).unwrap();
    let steps = "advance 100ms\n".repeat(30);
    let often = run_script(&format!("{waits}{steps}----\n"), Words).unwrap();
    let effects = |text: &str| text.split_once("----\n").unwrap().1.to_owned();
    assert_eq!(effects(&once), effects(&often));
    assert_eq!(
        effects(&once),
        "reply 1: TimedOut\nreply 3: TimedOut\nreply 2: TimedOut\n"
    );
}

/// The text after `----` never changes the effects of a script; it is only compared with them.
#[test]
fn a_script_that_was_written_by_the_runner_stays_as_it_is() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/counter.txt"))
            .unwrap();
    let bare: String = text
        .split("\n\n")
        .map(|block| {
            block
                .split_once("----")
                .map_or(block, |(asked, _)| asked)
                .to_owned()
        })
        .map(|asked| {
            format!(
                "{asked}{}\n\n",
                if asked.contains("\n") { "----" } else { "" }
            )
        })
        .collect();
    let first = run_script(&bare, Words).unwrap();
    assert_eq!(run_script(&first, Words).unwrap(), first);
    assert!(first.contains("reply 5: Is(2)\nreply 3: Is(2)"), "{first}");
}

//! Advice must be right: every `gnomon ...` command and every flag that an error text, a log line,
//! help, a page or a deployed file names is one that the command line has.

use crate::args::Args;
use clap::CommandFactory;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Words that follow `gnomon` where no command is meant.
const NO_COMMANDS: &[&str] = &["help", "in", "is"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files below a folder with one of these endings, tests of all kinds left out.
fn files(below: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains("test") || name == "target" {
            continue;
        }
        if path.is_dir() {
            files(&path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// Source that users read: literals and help, which is doc comments of the command line's arguments.
fn texts() -> Vec<(PathBuf, String)> {
    let mut found = vec![root().join("README.md")];
    for folder in ["docs", "deploy", "bench"] {
        files(
            &root().join(folder),
            &[".md", ".toml", ".yaml", ".yml", ".service"],
            &mut found,
        );
    }
    for crate_folder in fs::read_dir(root().join("crates")).expect("crates") {
        let source = crate_folder.expect("a crate").path().join("src");
        files(&source, &[".rs"], &mut found);
    }
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a readable file");
            (path, text)
        })
        .collect()
}

/// The wrong advice in a text, a sentence each.
fn wrong_advice(text: &str) -> Vec<String> {
    let root = Args::command();
    let mut wrong = Vec::new();
    for (at, _) in text.match_indices("gnomon ") {
        let before = text[..at].chars().next_back();
        let advice = &text[at + "gnomon ".len()..];
        // The end of another word, or a column of a table.
        if before.is_some_and(|c| c.is_alphanumeric() || "-_/'".contains(c))
            || advice.starts_with(' ')
        {
            continue;
        }
        let end = advice
            .find(['\n', '`', '"', ';', ',', '(', ')', '#', '|'])
            .unwrap_or(advice.len());
        if let Err(why) = check(&root, &advice[..end]) {
            wrong.push(why);
        }
    }
    wrong
}

/// Follows the words of a command line through its subcommands; words that are neither a command
/// nor a flag are values, or the sentence that goes on.
fn check(root: &clap::Command, advice: &str) -> Result<(), String> {
    let mut words = advice.split_whitespace().peekable();
    let named = |word: &&str| !NO_COMMANDS.contains(word) && word.starts_with(char::is_lowercase);
    let Some(first) = words.peek().copied().filter(named) else {
        return Ok(());
    };
    let mut command = root;
    if command.find_subcommand(first).is_none() {
        return Err(format!("no command: gnomon {advice}"));
    }
    while let Some(sub) = words.peek().and_then(|word| command.find_subcommand(word)) {
        command = sub;
        words.next();
    }
    if command.has_subcommands() && words.peek().is_some_and(named) {
        return Err(format!("no command: gnomon {advice}"));
    }
    for word in words {
        let flag = word
            .trim_end_matches(['.', ':', '\'', ']'])
            .trim_start_matches('[');
        let flag = flag.split('=').next().unwrap_or_default();
        if let Some(long) = flag.strip_prefix("--") {
            if !has_flag(command, long) {
                return Err(format!(
                    "`gnomon {}` has no --{long}: gnomon {advice}",
                    command.get_name()
                ));
            }
        } else if let Some(short) = flag.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            let known = command
                .get_arguments()
                .any(|argument| argument.get_short() == Some(short));
            if short.is_alphabetic() && !known {
                return Err(format!(
                    "`gnomon {}` has no -{short}: gnomon {advice}",
                    command.get_name()
                ));
            }
        }
    }
    Ok(())
}

fn has_flag(command: &clap::Command, long: &str) -> bool {
    command
        .get_arguments()
        .any(|argument| argument.get_long() == Some(long))
        || ["help", "version"].contains(&long)
}

fn any_command_has(command: &clap::Command, long: &str) -> bool {
    has_flag(command, long)
        || command
            .get_subcommands()
            .any(|sub| any_command_has(sub, long))
}

/// Flags that a literal of the source names anywhere.
fn unknown_flags(text: &str) -> Vec<&str> {
    let root = Args::command();
    text.match_indices("--")
        .filter_map(|(at, _)| {
            let before = text[..at].chars().next_back();
            if !before.is_none_or(|c| " `'\"([".contains(c)) {
                return None;
            }
            let flag = &text[at + 2..];
            let end = flag
                .find(|c: char| !(c.is_ascii_lowercase() || c == '-'))
                .unwrap_or(flag.len());
            let flag = &flag[..end];
            let known =
                !flag.starts_with(|c: char| c.is_ascii_lowercase()) || any_command_has(&root, flag);
            (!known).then_some(flag)
        })
        .collect()
}

#[test]
fn commands_that_texts_name_exist() {
    let mut commands = 0;
    for (path, text) in texts() {
        commands += text.matches("gnomon ").count();
        let wrong = wrong_advice(&text);
        assert!(wrong.is_empty(), "{}: {}", path.display(), wrong.join("\n"));
    }
    assert!(commands > 50, "only {commands} commands were found");
}

#[test]
fn flags_that_our_sources_name_exist() {
    for (path, text) in texts() {
        if path.extension().is_none_or(|ending| ending != "rs")
            || path.starts_with(root().join("crates/xtask"))
        {
            continue;
        }
        let unknown = unknown_flags(&text);
        assert!(
            unknown.is_empty(),
            "{}: there is no flag --{}",
            path.display(),
            unknown.join(", --")
        );
    }
}

#[test]
fn wrong_advice_is_found() {
    for right in [
        "run gnomon link failover {name} --all --yes, or wait",
        "gnomon link create -f FILE makes one",
        "`gnomon log check`; gnomon link status {name} says why",
        "a directory of gnomon-data is not a command",
        "ask gnomon help serve",
    ] {
        assert_eq!(wrong_advice(right), Vec::<String>::new(), "{right}");
        assert_eq!(unknown_flags(right), Vec::<&str>::new(), "{right}");
    }
    for wrong in [
        "run gnomon link delete {name}\ngnomon links",
        "gnomon topic create NAME --replicas 3",
        "gnomon link create -x FILE",
    ] {
        assert_eq!(
            wrong_advice(wrong).len(),
            1 + wrong.matches('\n').count(),
            "{wrong}"
        );
    }
    assert_eq!(
        unknown_flags("start it with --forget-loss"),
        ["forget-loss"]
    );
}

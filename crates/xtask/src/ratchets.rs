//! Ratchets: figures of the code that may only get better. `crates/xtask/ratchets.txt` records
//! today's, one a line; `tests/ratchets.rs` fails when the code and the record differ.
//!
//! A worse figure means: repair the code. A better one means: `cargo xtask ratchets --write`, so
//! that it cannot get worse again. A figure of zero has no line.

mod circles;
mod figures;
mod prose;
mod size;

use crate::source;
use figures::Figures;
use std::{cmp::Ordering, collections::BTreeSet, fs, path::PathBuf};

const HEADER: &str = "\
# Written by `cargo xtask ratchets --write`: figures that may only get better.
# long-file PATH: lines of a file with more than 400; long-function PATH NAME: lines of a function
# with more than 70; shared-name NAME: types of that name; short-doc CRATE: doc comments of four
# words or fewer; riddle CRATE: doc comments that open with a pronoun instead of a noun;
# circle PATH: files that use each other in a circle, named by the first of them.
";

/// The command: prints where the code and the record differ; `--write` records today's figures.
///
/// # Errors
///
/// A file that cannot be read, parsed or written.
pub fn run(arguments: &[String]) -> Result<bool, String> {
    let now = measure()?;
    match arguments {
        [] => {
            let differences = compare(&recorded()?, &now);
            for line in &differences {
                println!("{line}");
            }
            println!(
                "ratchets: {} figures, {} differ",
                now.len(),
                differences.len()
            );
            Ok(differences.is_empty())
        }
        [write] if write == "--write" => {
            let worse: Vec<String> = compare(&recorded()?, &now)
                .into_iter()
                .filter(|line| line.starts_with("worse"))
                .collect();
            for line in &worse {
                println!("{line}");
            }
            write_record(&now)?;
            Ok(true)
        }
        _ => Err("usage: cargo xtask ratchets [--write]".to_owned()),
    }
}

/// Where the code and the record differ, a sentence each.
///
/// # Errors
///
/// A file that cannot be read or parsed.
pub fn differences() -> Result<Vec<String>, String> {
    Ok(compare(&recorded()?, &measure()?))
}

fn measure() -> Result<Figures, String> {
    let files = source::parsed()?;
    let mut figures = Figures::new();
    size::measure(&files, &mut figures);
    prose::measure(&files, &mut figures);
    circles::measure(&files, &mut figures);
    Ok(figures)
}

fn compare(recorded: &Figures, now: &Figures) -> Vec<String> {
    let subjects: BTreeSet<&String> = recorded.keys().chain(now.keys()).collect();
    let value = |figures: &Figures, subject: &String| figures.get(subject).copied().unwrap_or(0);
    subjects
        .into_iter()
        .filter_map(|subject| {
            let (before, after) = (value(recorded, subject), value(now, subject));
            match after.cmp(&before) {
                Ordering::Greater => Some(format!(
                    "worse: {subject} was {before}, is {after}: repair it"
                )),
                Ordering::Less => Some(format!(
                    "better: {subject} was {before}, is {after}: run `cargo xtask ratchets --write`"
                )),
                Ordering::Equal => None,
            }
        })
        .collect()
}

fn record_file() -> PathBuf {
    source::root().join("crates/xtask/ratchets.txt")
}

fn recorded() -> Result<Figures, String> {
    let file = record_file();
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (subject, figure) = line
                .rsplit_once(' ')
                .ok_or_else(|| format!("{}: {line:?} has no figure", file.display()))?;
            let figure = figure
                .parse()
                .map_err(|e| format!("{}: {line:?}: {e}", file.display()))?;
            Ok((subject.to_owned(), figure))
        })
        .collect()
}

fn write_record(figures: &Figures) -> Result<(), String> {
    let lines: String = figures
        .iter()
        .map(|(subject, figure)| format!("{subject} {figure}\n"))
        .collect();
    fs::write(record_file(), format!("{HEADER}{lines}"))
        .map_err(|e| format!("{}: {e}", record_file().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(of: &[(&str, usize)]) -> Figures {
        of.iter().map(|(s, f)| ((*s).to_owned(), *f)).collect()
    }

    #[test]
    fn a_figure_that_rose_or_fell_is_a_difference() {
        let differences = compare(
            &figures(&[("long-file a", 401), ("long-file b", 500), ("same c", 3)]),
            &figures(&[("long-file a", 402), ("same c", 3), ("new d", 1)]),
        );
        let verdicts: Vec<&str> = differences
            .iter()
            .map(|line| line.split(" was").next().unwrap_or_default())
            .collect();
        assert_eq!(
            verdicts,
            ["worse: long-file a", "better: long-file b", "worse: new d"]
        );
    }
}

//! `gnomon log check`: what is wrong with the logs of a data directory, for people and for
//! programs.

use crate::{Failure, args::Format, failed, output::Output};
use gnomon_inspect::{CheckedPartition, Checks};
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode};

/// Something is not what was written.
const FOUND: u8 = 1;
/// It could not be looked at.
const NOT_LOOKED: u8 = 2;

/// Checks and prints as it goes. When not everything could be printed nobody has the verdict: that
/// is [`NOT_LOOKED`], too, and is quiet if the reader has gone.
pub fn run(dir: &Path, partitions: &[String], format: Format, out: &mut Output) -> ExitCode {
    let checked = match format {
        Format::Text => text(dir, partitions, out),
        Format::Json => json(dir, partitions, out),
    };
    let printed = checked.and_then(|wrong| {
        out.flush()?;
        Ok(wrong)
    });
    match printed {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FOUND),
        Err(failure) => {
            failed(&failure);
            ExitCode::from(NOT_LOOKED)
        }
    }
}

/// How many partitions are not clean.
fn text(dir: &Path, partitions: &[String], out: &mut Output) -> Result<usize, Failure> {
    let checks = Checks::of(dir, partitions)?;
    if let Some(why) = &checks.nameless {
        writeln!(out, "partitions are named by their folders: {why}")?;
    }
    let (mut all, mut wrong) = (0, 0);
    for partition in checks {
        let partition = partition?;
        write!(out, "{}", lines(&partition))?;
        all += 1;
        wrong += usize::from(!partition.checked.is_clean());
    }
    writeln!(
        out,
        "{all} partitions, {}",
        if wrong == 0 {
            "all clean".to_owned()
        } else {
            format!("{wrong} not clean")
        }
    )?;
    Ok(wrong)
}

fn lines(
    CheckedPartition {
        name,
        folder,
        checked,
    }: &CheckedPartition,
) -> String {
    let damaged = !checked.damage.is_empty();
    let state = match (&checked.lost, damaged, checked.wrong.is_empty()) {
        (Some(_), _, _) => "LOST",
        (None, true, _) => "DAMAGED",
        (None, false, false) => "to be rebuilt",
        (None, false, true) => "clean",
    };
    let mut lines = format!(
        "{name}  offsets {}..{}  segments {}  batches {}  bytes {}  {state}\n",
        checked.start, checked.end, checked.segments, checked.batches, checked.bytes
    );
    if let Some(why) = &checked.lost {
        lines += &format!(
            "  the partition had records, and {why}: {}; it is neither read nor written until its files are back, or the site is started with --accept-loss\n",
            folder.display()
        );
    }
    for damage in &checked.damage {
        let place = match damage.bytes {
            0 => "bytes are missing".to_owned(),
            bytes => format!("{bytes} bytes"),
        };
        lines += &format!(
            "  offsets {}..{} are damaged: {place} at position {} of {}; they are answered with CORRUPT_MESSAGE, and what is around them is served\n",
            damage.from,
            damage.to,
            damage.position,
            damage.file.display()
        );
    }
    for wrong in &checked.wrong {
        lines += &format!("  {} {}\n", wrong.file.display(), wrong.why);
    }
    if let Some(cut) = &checked.unfinished {
        lines += &format!(
            "  unfinished: a start cuts {} bytes, {} whole batches among them, behind offset {}: {}\n",
            cut.bytes, cut.batches, cut.at, cut.why
        );
    }
    lines
}

fn json(dir: &Path, partitions: &[String], out: &mut Output) -> Result<usize, Failure> {
    let checks = Checks::of(dir, partitions)?;
    let nameless = checks.nameless.as_ref().map(ToString::to_string);
    let found: Vec<CheckedPartition> = checks.collect::<Result<_, _>>()?;
    let wrong = found
        .iter()
        .filter(|partition| !partition.checked.is_clean())
        .count();
    let all: Vec<Value> = found.iter().map(object).collect();
    let report = json!({ "partitions": all, "not_clean": wrong, "nameless": nameless });
    writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    Ok(wrong)
}

fn object(
    CheckedPartition {
        name,
        folder,
        checked,
    }: &CheckedPartition,
) -> Value {
    let damage = checked.damage.iter().map(
        |damage| json!({ "from": damage.from, "to": damage.to, "file": damage.file, "position": damage.position, "bytes": damage.bytes }),
    );
    json!({
        "partition": name,
        "folder": folder,
        "clean": checked.is_clean(),
        "start": checked.start,
        "end": checked.end,
        "lost": checked.lost,
        "flushed": checked.flushed,
        "segments": checked.segments,
        "batches": checked.batches,
        "bytes": checked.bytes,
        "damaged": damage.collect::<Vec<_>>(),
        "to_be_rebuilt": checked.wrong.iter().map(|wrong| json!({ "file": wrong.file, "why": wrong.why })).collect::<Vec<_>>(),
        "unfinished": checked.unfinished.as_ref().map(|cut| json!({ "at": cut.at, "bytes": cut.bytes, "batches": cut.batches, "why": cut.why })),
    })
}

//! `gnomon log`: looks into the log files of a data directory without its lock, also while a site
//! is using it.

use crate::{
    args::{Log, LogCommand},
    cmd::{log_check, log_dump},
    failure::Failure,
    output::Output,
};
use gnomon_inspect as inspect;
use sha2::{Digest, Sha256};
use std::{path::Path, process::ExitCode};

/// Runs one of the `gnomon log` commands.
pub fn run(log: Log, out: &mut Output) -> Result<ExitCode, Failure> {
    match log.command {
        LogCommand::Hash { dir, partition, to } => hash(&dir, &partition, to, out)?,
        LogCommand::Check {
            dir,
            partitions,
            format,
        } => return Ok(log_check::run(&dir, &partitions, format, out)),
        LogCommand::Dump { file, records } => log_dump::run(&file, records, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn hash(dir: &Path, partition: &str, to: Option<i64>, out: &mut Output) -> Result<(), Failure> {
    let mut hash = Sha256::new();
    let span = inspect::whole_batches(dir, partition, to, |bytes| hash.update(bytes))?;
    let hex: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    writeln!(
        out,
        "{hex}  {partition}  offsets {}..{}  batches {}  bytes {}",
        span.start, span.end, span.batches, span.bytes
    )?;
    Ok(())
}

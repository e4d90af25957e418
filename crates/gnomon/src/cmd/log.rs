//! `gnomon log`: looks into the log files of a data directory without its lock, also while a site is using it.

use crate::{
    Failure,
    args::{Log, LogCommand},
};
use gnomon_broker::inspect;
use sha2::{Digest, Sha256};

/// Runs one of the `gnomon log` commands.
pub fn run(log: Log) -> Result<(), Failure> {
    match log.command {
        LogCommand::Hash { dir, partition, to } => {
            let mut hash = Sha256::new();
            let span = inspect::whole_batches(&dir, &partition, to, |bytes| hash.update(bytes))?;
            let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            println!("{hex}  {partition}  offsets {}..{}  batches {}  bytes {}", span.start, span.end, span.batches, span.bytes);
            Ok(())
        }
    }
}

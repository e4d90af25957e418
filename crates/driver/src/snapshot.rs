//! When a machine's log is rewritten as a snapshot, and how.
//!
//! The state goes between two markers, in batches of a bounded size, with no step in between; once
//! that is durable the log before the first marker is removed.

use crate::{Journal, JournalError, LogPosition, replay::Marker};
use bytes::Bytes;
use gnomon_machine::{DurableRecord, EncodedRecord, Machine};
use tracing::warn;

/// A log that grew by less than this since its last snapshot is not rewritten.
const LOG_BYTES_MIN: u64 = 4 << 20;

/// A log that grew by this many times the size of its state is rewritten.
const LOG_TO_STATE: u64 = 4;

/// Records of a snapshot are appended in batches of about this size.
const BATCH_BYTES: usize = 1 << 20;

/// The snapshots of one log.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// Size of the state as last written.
    state_bytes: u64,
    /// Appended since.
    grown_bytes: u64,
    /// The first marker of a snapshot that is not durable yet, and the position after the snapshot.
    not_durable: Option<(LogPosition, LogPosition)>,
    /// The log ends within a snapshot that was given up: the next record must not be read as a part
    /// of it.
    unfinished: bool,
}

impl Snapshots {
    /// The snapshots of a log that was just read back.
    pub(crate) fn of<M: Machine>(
        durable: &M::Durable,
        journal: &impl Journal,
        unfinished: bool,
    ) -> Snapshots {
        let state = M::snapshot(durable);
        Snapshots {
            state_bytes: state.iter().map(|r| record_bytes(&r.encode()) as u64).sum(),
            grown_bytes: journal.bytes(),
            not_durable: None,
            unfinished,
        }
    }

    /// Appends one batch of a step; it is in the log whole or not at all.
    pub(crate) fn append(
        &mut self,
        journal: &mut impl Journal,
        records: &[EncodedRecord],
        wall_ms: i64,
    ) -> Result<(), JournalError> {
        if self.unfinished {
            journal.append(&[Marker::Abandoned.encode()], wall_ms)?;
            self.unfinished = false;
        }
        journal.append(records, wall_ms)?;
        self.grown_bytes += records.iter().map(|r| record_bytes(r) as u64).sum::<u64>();
        Ok(())
    }

    /// Whether the log has grown enough since the last snapshot, which is durable.
    pub(crate) fn is_due(&self) -> bool {
        let due = LOG_BYTES_MIN.max(LOG_TO_STATE * self.state_bytes);
        self.not_durable.is_none() && self.grown_bytes >= due
    }

    /// Appends a snapshot. Returns the position after it; `None` if the disk refused it.
    pub(crate) fn append_snapshot<M: Machine>(
        &mut self,
        journal: &mut impl Journal,
        durable: &M::Durable,
        wall_ms: i64,
    ) -> Result<Option<LogPosition>, JournalError> {
        let first_marker = journal.end();
        let written = self.append_all::<M>(journal, durable, wall_ms);
        self.grown_bytes = 0;
        match written {
            Ok(bytes) => self.state_bytes = bytes,
            Err(JournalError::Refused { name, why }) => {
                // No step was refused, and the log is as good as before. The next attempt comes
                // when the log has grown as much again.
                warn!(log = name, why, "no snapshot");
                self.unfinished |= journal.end() > first_marker;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let after = journal.end();
        self.not_durable = Some((first_marker, after));
        Ok(Some(after))
    }

    /// Appends the state between its markers; returns its bytes.
    fn append_all<M: Machine>(
        &mut self,
        journal: &mut impl Journal,
        durable: &M::Durable,
        wall_ms: i64,
    ) -> Result<u64, JournalError> {
        let mut batch = vec![Marker::Begin.encode()];
        let (mut batch_bytes, mut bytes) = (0, 0);
        for record in M::snapshot(durable) {
            let record = record.encode();
            batch_bytes += record_bytes(&record);
            batch.push(record);
            if batch_bytes >= BATCH_BYTES {
                self.append(journal, &batch, wall_ms)?;
                bytes += batch_bytes as u64;
                (batch, batch_bytes) = (Vec::new(), 0);
            }
        }
        if !planted_missing_marker() {
            batch.push(Marker::End.encode());
        }
        self.append(journal, &batch, wall_ms)?;
        Ok(bytes + batch_bytes as u64)
    }

    /// Everything before `durable` is durable: the log before a snapshot in there is removed.
    pub(crate) fn durable_to(
        &mut self,
        durable: LogPosition,
        journal: &mut impl Journal,
    ) -> Result<(), JournalError> {
        let Some((first_marker, _)) = self.not_durable.take_if(|(_, after)| *after <= durable)
        else {
            return Ok(());
        };
        match journal.trim(first_marker) {
            Err(JournalError::Refused { name, why }) => {
                warn!(
                    log = name,
                    why, "not trimmed; the next snapshot tries again"
                );
                Ok(())
            }
            trimmed => trimmed,
        }
    }
}

fn record_bytes(record: &EncodedRecord) -> usize {
    record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len)
}

/// Planted fault for tests of machines: the end of a snapshot is not marked.
fn planted_missing_marker() -> bool {
    gnomon_failpoints::fail_point!("snapshot_without_marker", |_| true);
    false
}

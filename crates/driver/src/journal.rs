//! The log under a machine, as its driver needs it. A partition of an internal topic implements it
//! ([`crate::PartitionJournal`]); a log that several brokers replicate can do so as well.
//!
//! Not here: what records mean.

use bytes::Bytes;
use gnomon_machine::{EncodedRecord, UnreadableRecord};
use gnomon_protocol::ids::Offset;

/// A position in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition(pub(crate) Offset);

impl LogPosition {
    /// The position of the record at `offset` of a partition.
    pub fn at(offset: Offset) -> LogPosition {
        LogPosition(offset)
    }

    /// The offset in a partition.
    pub fn offset(self) -> Offset {
        self.0
    }
}

/// An operation on a journal that failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The append was refused and the log is unchanged: the disk is full, or the records do not
    /// make a batch.
    #[error("cannot append to {name}: {why}")]
    Refused {
        /// The log's name.
        name: String,
        /// The log's reason.
        why: String,
    },
    /// Appended records may be gone: the log must be opened again.
    #[error("{name} was lost: {why}")]
    Lost {
        /// The log's name.
        name: String,
        /// The log's reason.
        why: String,
    },
    /// The log could not be read back.
    #[error("cannot read {name} at offset {offset}: {why}")]
    Read {
        /// The log's name.
        name: String,
        /// The first offset that could not be read.
        offset: Offset,
        /// The log's reason.
        why: String,
    },
    /// The log holds a record that this build cannot read.
    #[error("cannot read {name}: {source}")]
    Unreadable {
        /// The log's name.
        name: String,
        source: UnreadableRecord,
    },
}

/// The log under a machine.
///
/// `append` MUST place the records of one call after those of every earlier call, all or none of
/// them; `committed` MUST return only when everything before the position would be read back after
/// any crash. After [`JournalError::Lost`] every call fails until `reopen` has succeeded, and
/// records that were appended and not committed may be there or not.
pub trait Journal: ReadLog + Send + 'static {
    /// The log's name, for messages.
    fn name(&self) -> &str;
    /// Appends one atomic batch; returns the position after it.
    fn append(
        &mut self,
        records: &[EncodedRecord],
        wall_ms: i64,
    ) -> Result<LogPosition, JournalError>;
    /// Waits until everything before `position` is durable. Cancel safe.
    fn committed(
        &self,
        position: LogPosition,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// Waits until something after `position` is committed that another leader appended. Cancel
    /// safe.
    fn grown(&self, position: LogPosition)
    -> impl Future<Output = Result<(), JournalError>> + Send;
    /// The position after the last append.
    fn end(&self) -> LogPosition;
    /// Removes everything before `position`.
    fn trim(&mut self, position: LogPosition) -> Result<(), JournalError>;
    /// Opens a lost log again, as soon as its disk allows it. An error means that only another
    /// start can. Cancel safe.
    fn reopen(&mut self) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// Bytes from the first record kept to the last.
    fn bytes(&self) -> u64;
}

/// Called with each record: its key and its value.
pub type Visit<'a> = dyn FnMut(Option<Bytes>, Option<Bytes>) -> Result<(), JournalError> + 'a;

/// A log that can be read back.
pub trait ReadLog {
    /// The position of the first record kept.
    fn start(&self) -> LogPosition;
    /// Visits every record from `from` on, in order; returns the position after the last. With
    /// `committed_only`, records that a crash or a new leader could take back are left out.
    fn read_from(
        &self,
        from: LogPosition,
        committed_only: bool,
        visit: &mut Visit<'_>,
    ) -> Result<LogPosition, JournalError>;
}

//! The durable log under a machine: appends batches, says what is durable, reads itself back.
//!
//! A machine's driver knows positions only as [`LogPos`]: nothing but their order means anything,
//! so that a log replicated by several brokers can take this one's place. Not here: what records
//! mean.

use crate::reopen::Reopener;
use bytes::Bytes;
use gnomon_machine::{EncodedRecord, UnreadableRecord};
use gnomon_partition::{Handle, Isolation, Origin};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchError, BatchView, records},
    ids::Offset,
};

/// A place in a journal, to be compared and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPos(Offset);

/// What went wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nothing was changed, and the log is as it was: the disk is full, or the records make no
    /// batch.
    #[error("cannot append to {name}: {why}")]
    Refused {
        /// The log's name.
        name: String,
        /// What the log said.
        why: String,
    },
    /// What was appended may not be there any more: the log must be opened anew.
    #[error("{name} was lost: {why}")]
    Lost {
        /// The log's name.
        name: String,
        /// What the log said.
        why: String,
    },
    /// The log could not be read back.
    #[error("cannot read {name} at offset {offset}: {why}")]
    Read {
        /// The log's name.
        name: String,
        /// Where.
        offset: Offset,
        /// What the log said.
        why: String,
    },
    /// The log holds what this build does not know.
    #[error("cannot read {name}: {source}")]
    Unreadable {
        /// The log's name.
        name: String,
        /// What it holds.
        source: UnreadableRecord,
    },
}

/// The log under a machine.
///
/// `append` MUST place the records of one call behind those of every earlier call, all or none of
/// them; `committed` MUST return only when everything up to the position would be read back after
/// any crash. `committed` is cancel safe. After [`JournalError::Lost`] every call fails until
/// `reopen` has succeeded, and what was appended and not committed may be there or not.
pub trait Journal: ReadLog + Send + 'static {
    /// Appends one atomic batch; returns the position behind it.
    fn append(&mut self, records: &[EncodedRecord], wall_ms: i64) -> Result<LogPos, JournalError>;
    /// Waits until everything before `position` is durable.
    fn committed(&self, position: LogPos) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// The position behind the last append.
    fn end(&self) -> LogPos;
    /// Forgets everything before `position`.
    fn trim(&mut self, position: LogPos) -> Result<(), JournalError>;
    /// Opens a lost log anew, as soon as its disk lets it. An error: there is no way but another
    /// start. Cancel safe.
    fn reopen(&mut self) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// Bytes from the first record kept to the last.
    fn bytes(&self) -> u64;
}

/// What is done with each record: the position of its batch, its key, its value.
pub type Visit<'a> =
    dyn FnMut(LogPos, Option<Bytes>, Option<Bytes>) -> Result<(), JournalError> + 'a;

/// A log that can be read back.
pub trait ReadLog {
    /// Every record kept, in order.
    fn read_all(&self, visit: &mut Visit<'_>) -> Result<(), JournalError>;
}

/// How many bytes of an internal log are read at a time.
const READ_BYTES: usize = 1 << 20;

/// What a batch of an internal log may unpack to: ours are never compressed, a copied or restored
/// one may be.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// A journal that is one partition of an internal topic.
pub struct PartitionJournal {
    name: String,
    handle: Handle,
    reopener: Option<Reopener>,
}

impl PartitionJournal {
    /// The journal in `handle`; `name` is for messages. Without a `reopener` a lost one stays lost.
    pub fn new(name: String, handle: Handle, reopener: Option<Reopener>) -> PartitionJournal {
        PartitionJournal {
            name,
            handle,
            reopener,
        }
    }

    /// What a failed change means.
    fn failed(&self, why: impl ToString) -> JournalError {
        let (name, why) = (self.name.clone(), why.to_string());
        match self.handle.closed() {
            Some(_) => JournalError::Lost { name, why },
            None => JournalError::Refused { name, why },
        }
    }

    /// Names the file too, where damage is the reason.
    fn unreadable(&self, offset: Offset, why: impl ToString) -> JournalError {
        let health = self.handle.health();
        let damage = health
            .damage
            .iter()
            .find(|damage| damage.from <= offset && offset < damage.to);
        let place = damage.map_or_else(String::new, |d| {
            format!(
                ", in {} at position {}: see `gnomon log check`",
                d.file.display(),
                d.position
            )
        });
        JournalError::Read {
            name: self.name.clone(),
            offset,
            why: format!("{}{place}", why.to_string()),
        }
    }
}

impl Journal for PartitionJournal {
    fn append(&mut self, records: &[EncodedRecord], wall_ms: i64) -> Result<LogPos, JournalError> {
        // Planted fault for tests of groups: what is committed is applied and answered, and written
        // nowhere.
        gnomon_failpoints::fail_point!(
            "lose_group_commit",
            self.name.starts_with("__consumer_offsets"),
            |_| Ok(self.end())
        );
        let mut builder = BatchBuilder::new(wall_ms);
        for record in records {
            builder.push(wall_ms, record.key.as_deref(), record.value.as_deref(), &[]);
        }
        let bytes = builder.build().map_err(|error| self.failed(error))?;
        let batch = BatchView::parse_only(bytes).map_err(|error| self.failed(error))?;
        let appended = self
            .handle
            .append(batch, Origin::Site, wall_ms)
            .map_err(|error| self.failed(error))?;
        Ok(LogPos(appended.last_offset + 1))
    }

    async fn committed(&self, position: LogPos) -> Result<(), JournalError> {
        self.handle
            .durable(position.0)
            .await
            .map_err(|lost| JournalError::Lost {
                name: self.name.clone(),
                why: lost.to_string(),
            })
    }

    fn end(&self) -> LogPos {
        LogPos(self.handle.offsets().end)
    }

    fn trim(&mut self, position: LogPos) -> Result<(), JournalError> {
        self.handle
            .trim_own_to(position.0)
            .map(drop)
            .map_err(|error| self.failed(error))
    }

    async fn reopen(&mut self) -> Result<(), JournalError> {
        let lost = |why: String| JournalError::Lost {
            name: self.name.clone(),
            why,
        };
        let Some(reopener) = &self.reopener else {
            return Err(lost("it is opened at the start only".to_owned()));
        };
        self.handle = reopener
            .until_open(self.handle.clone())
            .await
            .map_err(|error| lost(error.to_string()))?;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.handle.size_bytes()
    }
}

impl ReadLog for PartitionJournal {
    fn read_all(&self, visit: &mut Visit<'_>) -> Result<(), JournalError> {
        let offsets = self.handle.offsets();
        let mut next = offsets.log_start;
        while next < offsets.end {
            let read = self
                .handle
                .read(next, READ_BYTES, Isolation::LogEnd, true)
                .map_err(|error| self.unreadable(next, error))?;
            let range = read
                .range
                .ok_or_else(|| self.unreadable(next, "no batch where one must be"))?;
            let mut bytes = range
                .bytes()
                .map_err(|error| self.unreadable(next, error))?;
            while let Some(batch) =
                BatchView::parse_first(&mut bytes).map_err(|error| self.unreadable(next, error))?
            {
                visit_batch(&batch, next, &self.name, visit)?;
                next = batch.header().next_offset();
            }
        }
        Ok(())
    }
}

/// Hands a batch's records from offset `from` on to `visit`.
pub fn visit_batch(
    batch: &BatchView,
    from: Offset,
    name: &str,
    visit: &mut Visit<'_>,
) -> Result<(), JournalError> {
    let position = LogPos(batch.header().base_offset);
    let unreadable = |error: BatchError| JournalError::Read {
        name: name.to_owned(),
        offset: position.0,
        why: error.to_string(),
    };
    for record in records(batch, UNPACKED_BYTES_MAX).map_err(unreadable)? {
        let record = record.map_err(unreadable)?;
        if record.offset >= from {
            visit(position, record.key, record.value)?;
        }
    }
    Ok(())
}

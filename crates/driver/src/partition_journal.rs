//! A journal that is one partition of an internal topic.

use crate::{Journal, JournalError, LogPosition, ReadLog, Visit};
use gnomon_machine::EncodedRecord;
use gnomon_partition::{Handle, Isolation, Origin};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchError, BatchView, records},
    ids::Offset,
};
use std::{pin::Pin, sync::Arc};

/// Bytes of an internal log that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// The most that a batch of an internal log may unpack to. Our own are never compressed; a copied
/// or restored one may be.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// The partition will not be opened again: it was deleted, or the site stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition is closed for good")]
pub struct ClosedForGood;

/// Opens a partition again that a disk error closed.
pub trait Reopen: Send + Sync {
    /// The successor of `failed`, as soon as its disk allows one; `failed` itself if it is open.
    /// Cancel safe.
    fn until_open(
        &self,
        failed: Handle,
    ) -> Pin<Box<dyn Future<Output = Result<Handle, ClosedForGood>> + Send + '_>>;
}

/// One partition as a journal.
pub struct PartitionJournal {
    name: String,
    handle: Handle,
    reopen: Option<Arc<dyn Reopen>>,
}

impl PartitionJournal {
    /// The journal in `handle`, named `name` in messages. Without `reopen` a lost one stays lost.
    pub fn new(name: String, handle: Handle, reopen: Option<Arc<dyn Reopen>>) -> PartitionJournal {
        PartitionJournal {
            name,
            handle,
            reopen,
        }
    }

    /// The error that a failed change is: lost if it closed the partition.
    fn failed(&self, why: impl ToString) -> JournalError {
        let (name, why) = (self.name.clone(), why.to_string());
        match self.handle.closed() {
            Some(_) => JournalError::Lost { name, why },
            None => JournalError::Refused { name, why },
        }
    }

    fn lost(&self, why: String) -> JournalError {
        JournalError::Lost {
            name: self.name.clone(),
            why,
        }
    }

    /// Names the file as well, where damage is the reason.
    fn unreadable(&self, offset: Offset, why: impl ToString) -> JournalError {
        let health = self.handle.control().health();
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
    fn name(&self) -> &str {
        &self.name
    }

    fn append(
        &mut self,
        records: &[EncodedRecord],
        wall_ms: i64,
    ) -> Result<LogPosition, JournalError> {
        // Planted fault for tests of groups: a commit is applied and answered, and not written.
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
            .appender()
            .append(batch, Origin::Site, wall_ms)
            .map_err(|error| self.failed(error))?;
        Ok(LogPosition(appended.last_offset + 1))
    }

    async fn committed(&self, position: LogPosition) -> Result<(), JournalError> {
        self.handle
            .appender()
            .durable(position.0)
            .await
            .map_err(|lost| self.lost(lost.to_string()))
    }

    async fn grown(&self, position: LogPosition) -> Result<(), JournalError> {
        let waiter = self.handle.reader().wait();
        loop {
            if let Some(why) = self.handle.closed() {
                return Err(self.lost(why.to_string()));
            }
            if self.handle.offsets().high_watermark > position.0 {
                return Ok(());
            }
            waiter.changed().await;
        }
    }

    fn end(&self) -> LogPosition {
        LogPosition(self.handle.offsets().end)
    }

    fn trim(&mut self, position: LogPosition) -> Result<(), JournalError> {
        self.handle
            .control()
            .trim_own_to(position.0)
            .map(drop)
            .map_err(|error| self.failed(error))
    }

    async fn reopen(&mut self) -> Result<(), JournalError> {
        let Some(reopen) = self.reopen.clone() else {
            return Err(self.lost("it is opened only at a start".to_owned()));
        };
        let reopened = reopen.until_open(self.handle.clone()).await;
        self.handle = reopened.map_err(|closed| self.lost(closed.to_string()))?;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.handle.control().size_bytes()
    }
}

impl ReadLog for PartitionJournal {
    fn start(&self) -> LogPosition {
        LogPosition(self.handle.offsets().log_start)
    }

    fn read_from(
        &self,
        from: LogPosition,
        committed_only: bool,
        visit: &mut Visit<'_>,
    ) -> Result<LogPosition, JournalError> {
        let offsets = self.handle.offsets();
        let (end, isolation) = match committed_only {
            true => (offsets.high_watermark, Isolation::ReadUncommitted),
            false => (offsets.end, Isolation::LogEnd),
        };
        let mut next = from.0.max(offsets.log_start);
        while next < end {
            let read = self
                .handle
                .reader()
                .read(next, READ_BYTES, isolation, true)
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
        Ok(LogPosition(next))
    }
}

/// Visits a batch's records from offset `from` on. `name` is the log's, for messages.
pub fn visit_batch(
    batch: &BatchView,
    from: Offset,
    name: &str,
    visit: &mut Visit<'_>,
) -> Result<LogPosition, JournalError> {
    let unreadable = |error: BatchError| JournalError::Read {
        name: name.to_owned(),
        offset: batch.header().base_offset,
        why: error.to_string(),
    };
    for record in records(batch, UNPACKED_BYTES_MAX).map_err(unreadable)? {
        let record = record.map_err(unreadable)?;
        if record.offset >= from {
            visit(record.key, record.value)?;
        }
    }
    Ok(LogPosition(batch.header().next_offset()))
}

//! Finding records by their time (KIP-79, KIP-734), below what an isolation level may see.
//!
//! The time index leads near, headers nearer, and the records of few batches decide; they come
//! through a window and are never held. Headers are believed as far as indexes believe them
//! (`gnomon_protocol::batch::max_timestamp`).

use crate::{
    error::ReadError,
    handle::{Handle, PartitionReader},
    look::may_be_too_little,
    offsets::Offsets,
    reader::Isolation,
};
use gnomon_protocol::{
    batch::{BatchError, BatchHeader, BatchView, Effort, walk_records},
    ids::{BatchEpoch, Offset},
};
use gnomon_storage::LogReader;
use std::ops::{ControlFlow, Range};

/// The effort for a batch without waiting for a turn ([`crate::Flusher::run_heavy`]).
const LIGHT: Effort = Effort {
    unpacked_max: 4 << 20,
    window_max: 8 << 20,
};

/// The record to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByTime {
    /// The first record whose timestamp is at or after this one, in milliseconds.
    AtOrAfter(i64),
    /// The record with the largest timestamp, the first of several.
    Newest,
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    pub offset: Offset,
    pub timestamp_ms: i64,
    /// Its leader epoch.
    pub epoch: BatchEpoch,
}

/// Why a search has no answer.
enum Stop {
    /// A batch may need more effort than was allowed.
    TooLittle,
    Read(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Stop {
        Stop::Read(error)
    }
}

/// A search under way.
struct Search<'a> {
    handle: PartitionReader<'a>,
    reader: LogReader,
    /// Where records may be found.
    within: Range<Offset>,
    /// The last stable offset: no later search ends below it.
    stable: Offset,
    effort: Effort,
    /// More effort may be had.
    may_retry: bool,
}

impl PartitionReader<'_> {
    /// Looks a record up where that holds nobody up. `None` if the runtime is shutting down.
    pub async fn find_by_time(
        &self,
        wanted: ByTime,
        isolation: Isolation,
    ) -> Option<Result<Option<TimedOffset>, ReadError>> {
        let handle = Handle(self.0.clone());
        let light = handle
            .blocking(move |handle| handle.reader().search(wanted, isolation, LIGHT, true))
            .await?;
        match light {
            Ok(found) => Some(Ok(found)),
            Err(Stop::Read(error)) => Some(Err(error)),
            Err(Stop::TooLittle) => {
                let heavy = move || handle.reader().find_by_time_here(wanted, isolation);
                self.0.env.flusher.run_heavy(heavy).await.ok()
            }
        }
    }

    /// The same on this thread, with all the effort that the topic allows.
    pub fn find_by_time_here(
        &self,
        wanted: ByTime,
        isolation: Isolation,
    ) -> Result<Option<TimedOffset>, ReadError> {
        let effort = Effort::up_to(self.0.settings().unpacked_bytes_max);
        self.search(wanted, isolation, effort, false)
            .map_err(|stop| match stop {
                Stop::Read(error) => error,
                Stop::TooLittle => unreachable!("a search that may not retry does not ask to"),
            })
    }

    fn search(
        &self,
        wanted: ByTime,
        isolation: Isolation,
        effort: Effort,
        may_retry: bool,
    ) -> Result<Option<TimedOffset>, Stop> {
        let (offsets, reader): (Offsets, _) = {
            let view = self.0.view.read();
            view.readable()?;
            (view.offsets(), view.reader.clone())
        };
        let Some(reader) = reader else {
            return Ok(None);
        };
        let search = Search {
            handle: *self,
            reader,
            within: offsets.log_start..isolation.bound(offsets),
            stable: offsets.last_stable,
            effort,
            may_retry,
        };
        match wanted {
            ByTime::AtOrAfter(timestamp_ms) => search.at_or_after(timestamp_ms),
            ByTime::Newest => match search.newest()? {
                Some(timestamp_ms) => search.at_or_after(timestamp_ms),
                None => Ok(None),
            },
        }
    }
}

impl Search<'_> {
    fn at_or_after(&self, timestamp_ms: i64) -> Result<Option<TimedOffset>, Stop> {
        let read_error = |error| Stop::Read(self.handle.read_error(error));
        let indexed = self
            .reader
            .offset_for_timestamp_from_index(timestamp_ms)
            .map_err(read_error)?;
        for entry in self.reader.headers(indexed.max(self.within.start)) {
            let (header, _) = entry.map_err(read_error)?;
            if header.base_offset >= self.within.end {
                break;
            }
            if header.max_timestamp < timestamp_ms && header.max_timestamp_is_plausible() {
                continue;
            }
            let Some(batch) = self.batch(&header)? else {
                break;
            };
            if let Some(found) = self.first_in(&batch, timestamp_ms)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The largest timestamp. Looks only at batches that came since the last search.
    fn newest(&self) -> Result<Option<i64>, Stop> {
        let Range { start, end } = self.within;
        let newest = self
            .reader
            .newest(start, self.stable.min(end), end)
            .map_err(|error| self.handle.read_error(error))?;
        Ok(newest.map(|newest| newest.timestamp))
    }

    fn batch(&self, header: &BatchHeader) -> Result<Option<BatchView>, Stop> {
        self.reader
            .batch_at(header.base_offset)
            .map_err(|error| Stop::Read(self.handle.read_error(error)))
    }

    /// Looks at one batch's records. Those outside of the search do not count.
    fn first_in(&self, batch: &BatchView, timestamp_ms: i64) -> Result<Option<TimedOffset>, Stop> {
        let header = batch.header();
        let mut found = None;
        let walked = walk_records(batch, self.effort, |record| {
            let offset = header.base_offset + i64::from(record.offset_delta);
            if offset >= self.within.end {
                return ControlFlow::Break(());
            }
            if record.timestamp < timestamp_ms || offset < self.within.start {
                return ControlFlow::Continue(());
            }
            found = Some(TimedOffset {
                offset,
                timestamp_ms: record.timestamp,
                epoch: header.leader_epoch,
            });
            ControlFlow::Break(())
        });
        walked.map_err(|why| self.stop(header, why))?;
        Ok(found)
    }

    fn stop(&self, header: &BatchHeader, why: BatchError) -> Stop {
        if self.may_retry && may_be_too_little(&why) {
            return Stop::TooLittle;
        }
        Stop::Read(ReadError::Corrupt {
            offset: header.base_offset,
            why,
        })
    }
}

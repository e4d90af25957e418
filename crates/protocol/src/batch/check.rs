//! Looks at every record of a batch without holding it: what producers send is judged here before it
//! is acknowledged, and what sources deliver before it is copied.
//!
//! Records come piece by piece through a window of [`WINDOW`] bytes; beside it a codec holds its own
//! window or block ([`Effort::window_max`]). Nothing is copied of an uncompressed batch. Invariant:
//! a batch that passes is read to its end by [`super::records`], whatever a client wrote. Strict as
//! Kafka's broker and, where it is not, as strict as the strictest reader: all lengths, counts and
//! varints, fields that fill their record exactly, no byte after the last record. Not here: what a
//! topic wants (keys, times), which the visitor of each record sees.

use super::{
    BatchError, BatchHeader, BatchView, Codec, RecordFault,
    compress::{Streams, WINDOW_BYTES_MAX, damaged, unpacker},
    varint,
};
use std::{io::Read, ops::ControlFlow};

/// Bytes of unpacked records in memory at once, beside the codec's own.
const WINDOW: usize = 16 * 1024;

/// The effort that may be spent on one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Bytes that may be unpacked in all: a bound on time.
    pub unpacked_max: usize,
    /// Bytes that the codec may hold at once: a bound on memory.
    pub window_max: usize,
}

impl Effort {
    /// So many bytes in all, and the largest window that consumers have.
    pub fn up_to(unpacked_max: usize) -> Effort {
        Effort {
            unpacked_max,
            window_max: WINDOW_BYTES_MAX,
        }
    }
}

/// Which offset deltas the records of a batch may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// 0, 1, 2, ...: from a producer.
    Consecutive,
    /// Any up to the header's last: in a log that may have been compacted.
    Within,
}

/// One record, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Its place among the records that are there, from 0.
    pub index: i32,
    /// Its offset less the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds since the Unix epoch, as [`super::Record::timestamp`].
    pub timestamp: i64,
    /// Its key is not null.
    pub has_key: bool,
}

/// Facts about a batch, by its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The largest timestamp, -1 if no record has one; of a batch without records the header's.
    pub max_timestamp: i64,
    /// The smallest one of those that have one.
    pub min_timestamp: Option<i64>,
    /// Bytes that were unpacked; 0 for an uncompressed batch.
    pub unpacked: usize,
}

/// The timestamp of a record without one.
const NO_TIMESTAMP: i64 = -1;

/// Judges all records. `visit` sees each.
///
/// # Errors
/// The first thing that is wrong. [`BatchError::DecompressedTooLarge`] and
/// [`BatchError::Decompress`] may also say that the effort was too small.
pub fn check_records(
    view: &BatchView,
    offsets: Offsets,
    effort: Effort,
    mut visit: impl FnMut(&Brief),
) -> Result<Facts, BatchError> {
    let header = view.header();
    let streams = match offsets {
        Offsets::Consecutive => Streams::One,
        Offsets::Within => Streams::Any,
    };
    let mut max_timestamp = match header.record_count {
        0 => header.max_timestamp,
        _ => NO_TIMESTAMP,
    };
    let mut min_timestamp = None::<i64>;
    let mut misplaced = None;
    let unpacked = walk_streams(view, effort, streams, |brief| {
        if offsets == Offsets::Consecutive && brief.offset_delta != brief.index {
            misplaced = Some(*brief);
            return ControlFlow::Break(());
        }
        max_timestamp = max_timestamp.max(brief.timestamp);
        if brief.timestamp != NO_TIMESTAMP {
            min_timestamp = Some(min_timestamp.map_or(brief.timestamp, |t| t.min(brief.timestamp)));
        }
        visit(brief);
        ControlFlow::Continue(())
    })?;
    if let Some(Brief {
        index,
        offset_delta: found,
        ..
    }) = misplaced
    {
        let why = RecordFault::OffsetOrder {
            found,
            expected: index,
        };
        return Err(BatchError::Record { index, why });
    }
    Ok(Facts {
        max_timestamp,
        min_timestamp,
        unpacked,
    })
}

/// Goes over the records until `visit` has seen enough; returns the bytes that were unpacked. What
/// lies after is judged only if it never had enough.
///
/// # Errors
/// As [`check_records`].
pub fn walk_records(
    view: &BatchView,
    effort: Effort,
    visit: impl FnMut(&Brief) -> ControlFlow<()>,
) -> Result<usize, BatchError> {
    walk_streams(view, effort, Streams::Any, visit)
}

fn walk_streams(
    view: &BatchView,
    effort: Effort,
    streams: Streams,
    visit: impl FnMut(&Brief) -> ControlFlow<()>,
) -> Result<usize, BatchError> {
    let header = view.header();
    let payload = &view.bytes()[super::HEADER_BYTES..];
    match header.codec()? {
        Codec::None => {
            walk(header, &mut Whole(payload), visit)?;
            Ok(0)
        }
        // Compaction took them all out: there is nothing to unpack.
        _ if header.record_count == 0 => Ok(0),
        codec => {
            let mut feed = Stream {
                codec,
                source: unpacker(codec, payload, effort.window_max, streams)?,
                window: vec![0; WINDOW],
                at: 0,
                filled: 0,
                unpacked: 0,
                unpacked_max: effort.unpacked_max,
            };
            walk(header, &mut feed, visit)?;
            Ok(feed.unpacked)
        }
    }
}

fn walk<F: Feed>(
    header: &BatchHeader,
    feed: &mut F,
    mut visit: impl FnMut(&Brief) -> ControlFlow<()>,
) -> Result<(), BatchError> {
    for index in 0..header.record_count {
        let brief = record(header, feed, index).map_err(|stop| match stop {
            Stop::Feed(error) => *error,
            Stop::Record(why) => BatchError::Record { index, why },
        })?;
        if visit(&brief).is_break() {
            return Ok(());
        }
    }
    if feed.byte().map_err(|error| *error)?.is_some() {
        return Err(BatchError::RecordsTrailing {
            count: header.record_count,
            bytes: feed.left() + 1,
        });
    }
    Ok(())
}

/// Unpacked bytes of records, one after the other. Errors are boxed: every byte goes through here.
trait Feed {
    /// The next one; `None` at the end.
    fn byte(&mut self) -> Result<Option<u8>, Box<BatchError>>;
    /// Passes over so many; false if there are fewer.
    fn skip(&mut self, count: usize) -> Result<bool, Box<BatchError>>;
    /// How many are known to be left.
    fn left(&self) -> usize;
}

/// All of them at hand.
struct Whole<'a>(&'a [u8]);

impl Feed for Whole<'_> {
    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, Box<BatchError>> {
        Ok(self.0.split_off_first().copied())
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<bool, Box<BatchError>> {
        match self.0.get(count..) {
            Some(rest) => {
                self.0 = rest;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn left(&self) -> usize {
        self.0.len()
    }
}

/// A window full at a time.
struct Stream<'a> {
    codec: Codec,
    source: Box<dyn Read + 'a>,
    window: Vec<u8>,
    at: usize,
    filled: usize,
    unpacked: usize,
    unpacked_max: usize,
}

impl Stream<'_> {
    /// Unpacks more once all was taken; false at the end.
    fn fill(&mut self) -> Result<bool, Box<BatchError>> {
        if self.at < self.filled {
            return Ok(true);
        }
        let codec = self.codec;
        self.filled = loop {
            match self.source.read(&mut self.window) {
                Ok(read) => break read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Box::new(damaged(codec, error))),
            }
        };
        self.at = 0;
        self.unpacked += self.filled;
        if self.unpacked > self.unpacked_max {
            let max = self.unpacked_max;
            return Err(Box::new(BatchError::DecompressedTooLarge { codec, max }));
        }
        Ok(self.filled > 0)
    }
}

impl Feed for Stream<'_> {
    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, Box<BatchError>> {
        if !self.fill()? {
            return Ok(None);
        }
        let byte = self.window[self.at];
        self.at += 1;
        Ok(Some(byte))
    }

    fn skip(&mut self, mut count: usize) -> Result<bool, Box<BatchError>> {
        while count > 0 {
            if !self.fill()? {
                return Ok(false);
            }
            let step = count.min(self.left());
            self.at += step;
            count -= step;
        }
        Ok(true)
    }

    fn left(&self) -> usize {
        self.filled - self.at
    }
}

enum Stop {
    Feed(Box<BatchError>),
    Record(RecordFault),
}

impl From<Box<BatchError>> for Stop {
    fn from(error: Box<BatchError>) -> Stop {
        Stop::Feed(error)
    }
}

impl From<RecordFault> for Stop {
    fn from(why: RecordFault) -> Stop {
        Stop::Record(why)
    }
}

/// The record that begins here.
fn record<F: Feed>(header: &BatchHeader, feed: &mut F, index: i32) -> Result<Brief, Stop> {
    let raw = varint::read_with(32, || feed.byte()?.ok_or(RecordFault::Truncated.into()))
        .map_err(|stop: Stop| stop)?;
    let length = varint::unzigzag(raw);
    let left = usize::try_from(length).map_err(|_| RecordFault::Length(length))?;
    let mut within = Within { feed, left };
    // Record attributes: no bit has a meaning.
    within.byte()?;
    let timestamp_delta = within.varint(64)?;
    let offset_delta = within.varint(32)? as i32;
    if offset_delta < 0 || offset_delta > header.last_offset_delta {
        return Err(RecordFault::OffsetDelta(offset_delta).into());
    }
    let timestamp = match header.log_append_time() {
        true => header.max_timestamp,
        false => header
            .base_timestamp
            .checked_add(timestamp_delta)
            .ok_or(RecordFault::TimestampDelta(timestamp_delta))?,
    };
    let has_key = within.pass_nullable()?;
    within.pass_nullable()?;
    let headers = within.varint(32)?;
    // A header takes at least its two lengths.
    if headers < 0 || headers as usize > within.left / 2 {
        return Err(RecordFault::Length(headers).into());
    }
    for _ in 0..headers {
        if !within.pass_nullable()? {
            return Err(RecordFault::Length(-1).into());
        }
        within.pass_nullable()?;
    }
    if within.left > 0 {
        return Err(RecordFault::Trailing(within.left).into());
    }
    Ok(Brief {
        index,
        offset_delta,
        timestamp,
        has_key,
    })
}

/// The bytes of one record.
struct Within<'f, F> {
    feed: &'f mut F,
    left: usize,
}

impl<F: Feed> Within<'_, F> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Stop> {
        self.left = self.left.checked_sub(1).ok_or(RecordFault::Truncated)?;
        self.feed.byte()?.ok_or(RecordFault::Truncated.into())
    }

    #[inline]
    fn varint(&mut self, bits: u32) -> Result<i64, Stop> {
        varint::read_with(bits, || self.byte()).map(varint::unzigzag)
    }

    /// Passes over bytes with a length in front; false for null.
    #[inline]
    fn pass_nullable(&mut self) -> Result<bool, Stop> {
        let length = self.varint(32)?;
        if length == -1 {
            return Ok(false);
        }
        let count = usize::try_from(length).map_err(|_| RecordFault::Length(length))?;
        self.left = self.left.checked_sub(count).ok_or(RecordFault::Truncated)?;
        match self.feed.skip(count)? {
            true => Ok(true),
            false => Err(RecordFault::Truncated.into()),
        }
    }
}

//! Reading beside the writer, without its lock: whole batches, up to a bound that the caller names.
//!
//! Invariants: a range holds whole batches of one segment and none that reaches beyond the bound;
//! bytes that this process did not write are verified before they are first served; damage is an
//! error that names its offsets, and what is around it is served. Not here: which bound a reader
//! may see (the partition knows), and sending.

use crate::{
    disk::ReadWait,
    error::ReadError,
    range::FileRange,
    segment::Segment,
    shared::Shared,
    verify::verify,
    walk::{Step, Walk},
};
use gnomon_protocol::{
    batch::{BatchHeader, BatchView},
    ids::Offset,
};
use std::{io, sync::Arc};

/// Reads a log without the writer's lock. Cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    pub(crate) shared: Arc<Shared>,
}

/// The arguments of [`LogReader::read`].
#[derive(Clone, Copy)]
struct Wanted {
    from: Offset,
    upper: Offset,
    bytes_max: usize,
    at_least_one: bool,
    wait: ReadWait,
}

impl LogReader {
    /// First offset that may be read.
    pub fn start(&self) -> Offset {
        self.shared.start()
    }

    /// Offset after the last batch written.
    pub fn end(&self) -> Offset {
        self.shared.end()
    }

    /// Whole batches below `upper` (a batch that reaches beyond `upper` is not in it), at most
    /// `bytes_max` bytes; with `at_least_one` the first batch is in it whatever its size. The first
    /// batch is the one that holds `from`, or the next one after a gap. All come from one segment.
    /// `from == end` gives an empty range.
    pub fn read(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<FileRange, ReadError> {
        self.answer(Wanted {
            from,
            upper,
            bytes_max,
            at_least_one,
            wait: ReadWait::Waits,
        })
    }

    /// The same for callers that must not block; `None` where an index or headers would have to
    /// come from the disk, or bytes to be verified first. Sending the range may wait all the same
    /// ([`FileRange::is_resident`]).
    pub fn read_now(
        &self,
        from: Offset,
        upper: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Option<FileRange>, ReadError> {
        match self.answer(Wanted {
            from,
            upper,
            bytes_max,
            at_least_one,
            wait: ReadWait::Never,
        }) {
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => read.map(Some),
        }
    }

    fn answer(&self, wanted: Wanted) -> Result<FileRange, ReadError> {
        loop {
            let generation = self.shared.generation();
            let answer = self.try_read(wanted);
            // What looks like damage may be a truncation under our feet.
            if answer.is_ok() || generation == self.shared.generation() {
                return answer;
            }
        }
    }

    fn try_read(&self, wanted: Wanted) -> Result<FileRange, ReadError> {
        let Wanted { from, upper, .. } = wanted;
        let (start, end) = (self.shared.start(), self.shared.end());
        if from < start {
            return Err(ReadError::BelowStart { start });
        }
        if from > end {
            return Err(ReadError::AboveEnd { end });
        }
        let segments = self.shared.segments.load();
        let mut at = index_of(&segments, from);
        if from >= upper {
            return Ok(nothing(&segments[at], from));
        }
        loop {
            let segment = &segments[at];
            if let Some(range) = self.read_segment(segment, wanted)? {
                return Ok(range);
            }
            at += 1;
            if at == segments.len() {
                return Ok(nothing(segment, from));
            }
        }
    }

    /// `None` when all batches of the segment lie below `from`.
    fn read_segment(
        &self,
        segment: &Arc<Segment>,
        wanted: Wanted,
    ) -> Result<Option<FileRange>, ReadError> {
        let Wanted {
            from,
            upper,
            bytes_max,
            at_least_one,
            wait,
        } = wanted;
        let (len, end) = segment.extent();
        if from >= end {
            return Ok(None);
        }
        let mut cursor = Cursor::with(wait, self.shared.clone(), segment.clone(), from)?;
        let (first, position) = loop {
            match cursor.next()? {
                Item::Batch(header, position) if header.last_offset() >= from => {
                    break (header, position);
                }
                Item::Batch(..) => {}
                Item::Damaged { from: lost, to, .. } if from < to => {
                    return Err(ReadError::Damaged { from: lost, to });
                }
                Item::Damaged { .. } => {}
                Item::End => return Ok(None),
            }
        };
        let whole = first.total_bytes();
        if first.next_offset() > upper || (whole > bytes_max && !at_least_one) {
            return Ok(Some(nothing(segment, from)));
        }
        let range = |stop: u64, next_offset| FileRange {
            file: segment.file.clone(),
            position,
            len: (stop - position) as usize,
            base_offset: first.base_offset,
            next_offset,
        };
        let limit = position + bytes_max.max(whole) as u64;
        if end <= upper && len <= limit && segment.is_clean(position, len, wait) {
            return Ok(Some(range(len, end)));
        }
        let mut stop = position + whole as u64;
        let mut next_offset = first.next_offset();
        if let Some(jump) = segment.jump(&*self.shared.disk, limit, upper, wait)?
            && jump > stop
            && segment.is_clean(position, jump, wait)
        {
            cursor.jump(jump);
            stop = jump;
        }
        // Behind a jump, `stop` is where the next batch begins: the range ends with its base
        // offset, or within the gap before it.
        let jumped = stop > position + whole as u64;
        while let Item::Batch(header, at) = cursor.next()? {
            if jumped && at == stop {
                next_offset = header.base_offset.min(upper);
            }
            let behind = at + header.total_bytes() as u64;
            if header.next_offset() > upper || behind > limit {
                break;
            }
            (stop, next_offset) = (behind, header.next_offset());
        }
        Ok(Some(range(stop, next_offset)))
    }

    /// The headers of all batches from the one that holds `from` on, each with its place. Damage is
    /// an item, and what is behind it follows. Ends where the log ended when it was called; a
    /// truncation meanwhile may show as damage or an I/O error.
    pub fn headers(&self, from: Offset) -> Headers {
        let segments = self.shared.segments.load_full();
        let from = from.max(self.shared.start());
        let at = index_of(&segments, from);
        Headers {
            shared: self.shared.clone(),
            segments,
            at,
            from,
            cursor: None,
        }
    }

    /// The batch that holds `offset`, or the next one after a gap, with its checksum verified;
    /// `None` at the end.
    pub fn batch_at(&self, offset: Offset) -> Result<Option<BatchView>, ReadError> {
        let range = self.read(offset, Offset::MAX, 0, true)?;
        if range.is_empty() {
            return Ok(None);
        }
        // What was verified when it was first read may have rotted since.
        let damaged = ReadError::Damaged {
            from: range.base_offset,
            to: range.next_offset,
        };
        BatchView::parse_only(range.bytes()?)
            .map(Some)
            .map_err(|_| damaged)
    }

    /// An offset at or before the batch with the first record of a timestamp of at least
    /// `timestamp`: where to scan from. The log's end when no segment has such a timestamp.
    pub fn offset_for_timestamp_from_index(&self, timestamp: i64) -> Result<Offset, ReadError> {
        let segments = self.shared.segments.load();
        for segment in segments.iter() {
            if segment.max_timestamp() >= timestamp {
                return Ok(segment
                    .time_floor(&*self.shared.disk, timestamp)?
                    .max(self.shared.start()));
            }
        }
        Ok(self.shared.end())
    }
}

/// The last segment that begins at or below `offset`.
fn index_of(segments: &[Arc<Segment>], offset: Offset) -> usize {
    segments
        .partition_point(|segment| segment.base <= offset)
        .saturating_sub(1)
}

fn nothing(segment: &Segment, from: Offset) -> FileRange {
    FileRange {
        file: segment.file.clone(),
        position: segment.len(),
        len: 0,
        base_offset: from,
        next_offset: from,
    }
}

/// Walks over batch headers; see [`LogReader::headers`].
pub struct Headers {
    shared: Arc<Shared>,
    segments: Arc<Vec<Arc<Segment>>>,
    at: usize,
    from: Offset,
    cursor: Option<Cursor>,
}

impl Headers {
    fn step(&mut self) -> io::Result<Option<Result<(BatchHeader, FileRange), ReadError>>> {
        while let Some(segment) = self.segments.get(self.at) {
            let cursor = match &mut self.cursor {
                Some(cursor) => cursor,
                None => self.cursor.insert(Cursor::new(
                    self.shared.clone(),
                    segment.clone(),
                    self.from,
                )?),
            };
            match cursor.next()? {
                Item::Batch(header, _) if header.last_offset() < self.from => {}
                Item::Batch(header, position) => {
                    let range = FileRange {
                        file: segment.file.clone(),
                        position,
                        len: header.total_bytes(),
                        base_offset: header.base_offset,
                        next_offset: header.next_offset(),
                    };
                    return Ok(Some(Ok((header, range))));
                }
                Item::Damaged { to, .. } if to <= self.from => {}
                Item::Damaged { from, to, .. } => {
                    return Ok(Some(Err(ReadError::Damaged { from, to })));
                }
                Item::End => {
                    self.at += 1;
                    self.cursor = None;
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Headers {
    type Item = Result<(BatchHeader, FileRange), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(item) => item.transpose().transpose(),
            Err(error) => {
                // Nothing can be said about what is behind.
                self.at = self.segments.len();
                Some(Err(error.into()))
            }
        }
    }
}

/// One thing that a cursor passes.
pub(crate) enum Item {
    /// A batch at a position.
    Batch(BatchHeader, u64),
    /// Offsets that cannot be read, and the position where that begins.
    Damaged {
        from: Offset,
        to: Offset,
        start: u64,
    },
    End,
}

/// Goes over the batches of one segment that can be trusted, and verifies on the way what has not
/// been yet.
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    walk: Walk,
    /// No batch from here on begins below.
    lowest: Offset,
    end: Offset,
    wait: ReadWait,
}

impl Cursor {
    /// Begins at or before the batch that holds `from`.
    pub fn new(shared: Arc<Shared>, segment: Arc<Segment>, from: Offset) -> io::Result<Cursor> {
        Cursor::with(ReadWait::Waits, shared, segment, from)
    }

    /// The same with that much patience.
    fn with(
        wait: ReadWait,
        shared: Arc<Shared>,
        segment: Arc<Segment>,
        from: Offset,
    ) -> io::Result<Cursor> {
        let (len, end) = segment.extent();
        let anchor = segment.anchor(&*shared.disk, from, wait)?;
        let walk = Walk::new(segment.file.clone(), anchor.position, len).with(wait);
        Ok(Cursor {
            shared,
            segment,
            walk,
            lowest: anchor.lowest,
            end,
            wait,
        })
    }

    /// Begins at a batch.
    pub fn at(shared: Arc<Shared>, segment: Arc<Segment>, position: u64) -> Cursor {
        let (len, end) = segment.extent();
        let walk = Walk::new(segment.file.clone(), position, len);
        Cursor {
            shared,
            lowest: segment.base,
            segment,
            walk,
            end,
            wait: ReadWait::Waits,
        }
    }

    /// Goes on at an indexed batch.
    fn jump(&mut self, position: u64) {
        self.walk.position = position;
    }

    pub fn next(&mut self) -> io::Result<Item> {
        loop {
            let at = self.walk.position;
            if at < self.segment.unverified_below() {
                let mut verified = self.segment.verified(self.wait)?;
                if let Some(damage) = verified.damage_at(at) {
                    drop(verified);
                    return Ok(self.damaged(damage.from, damage.to, damage.start, damage.stop));
                }
                if !verified.covers(at) {
                    // All of it has to be read.
                    if self.wait == ReadWait::Never {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    verify(&self.shared, &self.segment, &mut verified, at, self.lowest)?;
                    continue;
                }
            }
            return Ok(match self.walk.next()? {
                Step::Batch(header) => {
                    self.lowest = header.next_offset();
                    Item::Batch(header, at)
                }
                Step::End if self.lowest < self.end => self.damaged(self.lowest, self.end, at, at),
                Step::End => Item::End,
                // Changed under us after it was written or verified: nothing after it can be found
                // by walking.
                Step::Bad(bad) => {
                    tracing::error!(segment = %self.segment.path.display(), position = at, %bad, "log does not read back as it was written");
                    self.damaged(self.lowest, self.end, at, self.walk.end)
                }
            });
        }
    }

    fn damaged(&mut self, from: Offset, to: Offset, start: u64, stop: u64) -> Item {
        gnomon_failpoints::fail_point!("pass_over_damage", |_| {
            (self.walk.position, self.lowest) = (stop, to);
            Item::Damaged {
                from: to,
                to,
                start,
            }
        });
        let item = Item::Damaged { from, to, start };
        (self.walk.position, self.lowest) = (stop, self.lowest.max(to));
        item
    }
}

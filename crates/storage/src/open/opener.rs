//! Opening the segments of a log, one after the other: which are taken as the checkpoint describes
//! them, which are scanned, and what becomes of one in which something is wrong, as `recover.rs`
//! decides it.

use super::{
    cut::{Place, any_valid, cut_off},
    known::Known,
    segment_file::SegmentFile,
};
use crate::{
    checkpoint::{CheckpointExtra, Summary},
    disk::{Boot, Disk},
    durability::Durable,
    error::LogError,
    recover::{Action, FlushedState, FoundAt, Recovery, action},
    reserve::RESERVED_FROM,
    resync::{Search, resync},
    scan::{Rules, Scan},
    segment::{Content, Indexer, Loaded, Segment, Synced},
    verified::{Damage, Verified},
    walk::{Bad, Step, Walk},
};
use gnomon_protocol::{batch::BatchHeader, ids::Offset};
use std::{io, path::Path};

/// Opens segments, oldest first.
pub(super) struct Opener<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    /// Bytes between two entries of an index.
    interval: u32,
    known: &'a Known,
    durable: Durable,
    history: CheckpointExtra,
    scanned: Scanned,
}

/// The segments of a log, and what became of them.
pub(super) struct Scanned {
    pub segments: Vec<Segment>,
    /// Summaries of the sealed segments; `None` where the indexes could not be written.
    pub summaries: Vec<Option<Summary>>,
    /// The indexer of the last segment.
    pub indexer: Indexer,
    pub recovery: Recovery,
    /// The last segment ends in damage: nothing may be written after it.
    pub ends_damaged: bool,
}

/// The next step in a segment.
enum Next {
    Done,
    GoOn,
    CutHere,
}

impl<'a> Opener<'a> {
    /// For a log whose oldest segment begins at `first`.
    pub fn new(
        disk: &'a dyn Disk,
        dir: &'a Path,
        interval: u32,
        known: &'a Known,
        first: Offset,
    ) -> Opener<'a> {
        Opener {
            disk,
            dir,
            interval,
            known,
            durable: known.durable(first),
            history: known.history(),
            scanned: Scanned {
                segments: Vec::new(),
                summaries: Vec::new(),
                indexer: Indexer::new(first, interval),
                recovery: Recovery {
                    boot: known.boot,
                    cut: None,
                    damaged: Vec::new(),
                    scanned_batches: 0,
                },
                ends_damaged: false,
            },
        }
    }

    /// Opens the segments until the log ends.
    pub fn open_all(mut self, bases: &[Offset]) -> Result<Scanned, LogError> {
        for at in 0..bases.len() {
            let (base, later) = (bases[at], &bases[at + 1..]);
            let found = SegmentFile::open(self.disk, self.dir, self.known, base, later)?;
            if !self.segment(found)? {
                break;
            }
        }
        Ok(self.scanned)
    }

    /// Opens one segment; false when the log ends there.
    fn segment(&mut self, found: SegmentFile<'_>) -> Result<bool, LogError> {
        if let (Some(summary), Some(&next)) = (found.summary, found.later.first())
            && summary.sealed
            && summary.len == found.len
            && (self.known.boot == Boot::Same || summary.end <= self.durable.flushed)
        {
            self.vouched_for(found, summary, next);
            return Ok(true);
        }
        let path = found.path.clone();
        self.scan(found).map_err(LogError::io("recover", &path))
    }

    /// A segment that need not be scanned; the log goes on at `next`. Where the checkpoint knows of
    /// one in between, that one's file is lost.
    fn vouched_for(&mut self, found: SegmentFile<'_>, mut summary: Summary, next: Offset) {
        let mut verified = Verified::default();
        let between = |other: &Summary| summary.base < other.base && other.base < next;
        let mut noted = self.known.checkpoint.iter().flat_map(|c| &c.segments);
        if noted.any(between) {
            verified.add_damage(Damage {
                start: summary.len,
                stop: summary.len,
                from: summary.end,
                to: next,
            });
            self.scanned.recovery.damaged.push(summary.end..next);
            summary.end = next;
        }
        let content = self.content(summary.len, summary.end, summary.max_timestamp, verified);
        self.scanned
            .segments
            .push(Segment::sealed(found.path, found.file, content, summary));
        self.scanned.summaries.push(Some(summary));
    }

    fn content(&self, len: u64, end: Offset, max_timestamp: i64, verified: Verified) -> Content {
        let durable = end <= self.durable.flushed;
        let synced = Synced {
            generation: 0,
            len: if durable { len } else { 0 },
        };
        // Of an empty segment nothing was ever flushed, its name neither.
        Content {
            len,
            end,
            max_timestamp,
            synced,
            name_synced: durable && len > 0,
            verified,
        }
    }

    fn scan(&mut self, found: SegmentFile<'_>) -> io::Result<bool> {
        let len = found.len;
        let below = found
            .later
            .first()
            .copied()
            .unwrap_or(Offset::MAX)
            .min(found.base.saturating_add(i64::from(u32::MAX)));
        let crc_above = match self.known.boot {
            Boot::Same if !self.known.place_unknown => Offset::MAX,
            Boot::Other if !self.known.place_unknown => self.durable.flushed,
            Boot::Same | Boot::Other => Offset::MIN,
        };
        let history = self.history.clone();
        let rules = Rules {
            crc_above,
            below,
            boundary: self.durable.flushed_data,
            history: &history,
        };
        let (resumed, lowest) = self.resume(&found)?;
        let mut scan = Scan::new(found.file.clone(), len, rules, resumed, lowest);
        let mut verified = Verified::default();
        let mut end = None;
        let mut cut = None;
        loop {
            let bad = scan.run()?;
            match self.decide(&found, &mut scan, bad.as_ref(), &mut verified, &mut end)? {
                Next::Done => break,
                Next::GoOn => {}
                Next::CutHere => {
                    cut = Some(bad.map_or_else(
                        || "the segment's end is missing".to_owned(),
                        |bad| bad.to_string(),
                    ));
                    break;
                }
            }
        }
        self.scanned.recovery.scanned_batches += scan.batches;
        for (start, stop) in scan.verified.drain(..) {
            verified.add_range(start, stop);
        }
        let len = if let Some(why) = cut {
            let at = Place {
                file: &found.file,
                len,
                position: scan.position(),
                offset: scan.next,
            };
            let cut = cut_off(self.disk, self.dir, &at, found.later, why)?;
            self.scanned.recovery.cut = Some(cut);
            scan.position()
        } else {
            len
        };
        let whole = self.scanned.recovery.cut.is_none();
        let last = found.later.is_empty() || !whole;
        let end = end.unwrap_or(scan.next);
        let content = self.content(len, end, scan.indexer.max_timestamp, verified);
        if last {
            self.scanned.ends_damaged = end != scan.next || len != scan.position();
            self.push_active(found, content, scan);
        } else {
            self.push_sealed(found, content, scan);
        }
        Ok(whole)
    }

    /// Where the scan begins: after what the checkpoint's indexes cover and, if the power was
    /// lost, what was synced.
    fn resume(&self, found: &SegmentFile<'_>) -> io::Result<((Indexer, Loaded, u64), Offset)> {
        let (base, len) = (found.base, found.len);
        let afresh = (Indexer::new(base, self.interval), Loaded::empty(), 0);
        let Some(summary) = found.summary else {
            return Ok((afresh, base));
        };
        let Some(loaded) = Loaded::read(self.disk, &found.path, &summary)? else {
            return Ok((afresh, base));
        };
        let below = match self.known.boot {
            Boot::Same => summary.end,
            Boot::Other => summary.end.min(self.durable.flushed),
        };
        let resumed = Indexer::resume(
            base,
            self.interval,
            summary.first_timestamp,
            &loaded,
            below,
            summary.len.min(len),
        );
        let position = resumed.2;
        if position == 0 {
            return Ok((resumed, base));
        }
        // The index vouches for the batch there. If it is another one, the scan has to find out
        // what happened.
        let last = loaded
            .offsets
            .floor(|entry| u64::from(entry.position) <= position)
            .map(|entry| base + i64::from(entry.last));
        match Walk::new(found.file.clone(), position, len).peek()? {
            Step::Batch(header) if Some(header.last_offset()) == last => {
                Ok((resumed, header.base_offset))
            }
            Step::Batch(_) | Step::Bad(_) | Step::End => Ok((afresh, base)),
        }
    }

    /// Decides about the place where a scan has stopped, by the table in `recover.rs`, and carries it
    /// out in memory.
    fn decide(
        &mut self,
        segment: &SegmentFile<'_>,
        scan: &mut Scan<'_>,
        bad: Option<&Bad>,
        verified: &mut Verified,
        end: &mut Option<Offset>,
    ) -> io::Result<Next> {
        let place = match scan.next < self.durable.flushed_data {
            _ if self.known.place_unknown => FlushedState::Unknown,
            true => FlushedState::BelowFlushed,
            false => FlushedState::AboveFlushed,
        };
        // Where the log goes on if not here.
        let goes_on = segment
            .later
            .first()
            .copied()
            .unwrap_or(self.durable.flushed_data);
        let (found, behind) = match bad {
            None if scan.next < goes_on => (FoundAt::Missing, None),
            None => (FoundAt::Whole, None),
            Some(bad) => self.look_behind(segment, scan, bad, place)?,
        };
        match action(found, self.known.boot, place) {
            Action::Keep => Ok(Next::Done),
            Action::Cut => Ok(Next::CutHere),
            Action::Damage => {
                let (start, from) = (scan.position(), scan.next);
                let (stop, to) = behind
                    .map_or((segment.len, goes_on.max(from)), |(position, header)| {
                        (position, header.base_offset)
                    });
                verified.add_damage(Damage {
                    start,
                    stop,
                    from,
                    to,
                });
                verified.add_range(start, stop);
                self.scanned.recovery.damaged.push(from..to);
                if behind.is_some() {
                    scan.go_on_at(stop, to);
                    return Ok(Next::GoOn);
                }
                *end = Some(to);
                Ok(Next::Done)
            }
        }
    }

    /// Whether there are batches after a bad place, and the first one of the same segment.
    fn look_behind(
        &self,
        segment: &SegmentFile<'_>,
        scan: &Scan<'_>,
        bad: &Bad,
        place: FlushedState,
    ) -> io::Result<(FoundAt, Option<(u64, BatchHeader)>)> {
        // A record may hold what looks like batches: inside a batch that was never completed
        // nothing is looked for.
        let incomplete = matches!(bad, Bad::Partial { .. }) && place == FlushedState::AboveFlushed;
        let behind = match incomplete {
            true => None,
            false => resync(
                &segment.file,
                &Search {
                    from: scan.position() + 1,
                    end: segment.len,
                    lowest: scan.next,
                    below: segment.later.first().copied().unwrap_or(Offset::MAX),
                    target: None,
                },
            )?,
        };
        let inside = behind.is_some() || any_valid(self.disk, self.dir, segment.later)?;
        let found = match inside {
            true => FoundAt::BadInside,
            false => FoundAt::BadTail,
        };
        Ok((found, behind))
    }

    /// The segment that will be written.
    fn push_active(&mut self, found: SegmentFile<'_>, content: Content, scan: Scan<'_>) {
        let SegmentFile {
            path, file, base, ..
        } = found;
        let len = content.len;
        if len >= RESERVED_FROM && file.set_len(len).is_err() {
            tracing::debug!(segment = %path.display(), "reserved space not given back");
        }
        self.scanned.indexer = scan.indexer;
        let segment = Segment::new(base, path, file, content, scan.loaded);
        self.scanned.segments.push(segment);
    }

    /// A segment that others follow. Indexes that cannot be written stay in memory.
    fn push_sealed(&mut self, found: SegmentFile<'_>, content: Content, mut scan: Scan<'_>) {
        let SegmentFile {
            path, file, base, ..
        } = found;
        scan.indexer.finish(&mut scan.loaded.times);
        let mut summary = Summary {
            base,
            end: content.end,
            len: content.len,
            first_timestamp: scan.indexer.first_timestamp,
            max_timestamp: scan.indexer.max_timestamp,
            offset_entries: 0,
            time_entries: 0,
            offset_crc: 0,
            time_crc: 0,
            sealed: true,
        };
        let (segment, summary) = match scan.loaded.write(self.disk, &path, &mut summary) {
            Ok(()) => (Segment::sealed(path, file, content, summary), Some(summary)),
            Err(error) => {
                tracing::warn!(segment = %path.display(), %error, "index not written, it is kept in memory");
                (Segment::new(base, path, file, content, scan.loaded), None)
            }
        };
        self.scanned.segments.push(segment);
        self.scanned.summaries.push(summary);
    }
}

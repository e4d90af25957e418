//! Opening the segments of a log, one after the other: which are taken as the checkpoint describes
//! them, which are scanned, and what becomes of one in which something is wrong, as `recover.rs`
//! decides it.

use super::{Cut, Recovery, remove_segment};
use crate::{
    checkpoint::{Checkpoint, CheckpointExtra, Summary},
    disk::{Boot, Disk, DiskFile, OpenMode},
    error::LogError,
    recover::{Action, FlushedState, Found, action},
    reserve::RESERVED_FROM,
    resync::{Search, resync},
    scan::{Rules, Scan},
    segment::{Content, Indexer, Loaded, Segment, Synced, log_path},
    verify::{Damage, Verified},
    walk::{Bad, Step, Walk},
};
use gnomon_protocol::ids::Offset;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) struct Opener<'a> {
    pub disk: &'a dyn Disk,
    pub dir: &'a Path,
    pub history: &'a CheckpointExtra,
    pub interval: u32,
    pub boot: Boot,
    pub checkpoint: Option<&'a Checkpoint>,
    pub place_unknown: bool,
    pub flushed: Offset,
    pub flushed_data: Offset,
    pub recovery: Recovery,
    pub segments: Vec<Segment>,
    pub summaries: Vec<Option<Summary>>,
    pub indexer: Indexer,
    /// The last segment ends in damage: nothing may be written behind it.
    pub ends_damaged: bool,
}

/// What to do next in a segment.
enum Next {
    Done,
    GoOn,
    CutHere,
}

impl Opener<'_> {
    /// Opens one segment; false when the log ends there.
    pub fn segment(&mut self, bases: &[Offset], at: usize) -> Result<bool, LogError> {
        let base = bases[at];
        let later = &bases[at + 1..];
        let path = log_path(self.dir, base);
        let file = self
            .disk
            .open(&path, OpenMode::ReadWrite)
            .map_err(LogError::io("open", &path))?;
        let len = file.len().map_err(LogError::io("look at", &path))?;
        let summary = self
            .checkpoint
            .and_then(|checkpoint| {
                checkpoint
                    .segments
                    .iter()
                    .find(|summary| summary.base == base)
            })
            .copied();
        if let Some(summary) = summary
            && summary.sealed
            && !later.is_empty()
            && summary.len == len
            && (self.boot == Boot::Same || summary.end <= self.flushed)
        {
            self.vouched_for(path, file, summary, later[0]);
            return Ok(true);
        }
        self.scan(&path, file, base, len, later, summary)
            .map_err(LogError::io("recover", &path))
    }

    /// A segment that need not be scanned; the log goes on at `next`. Where the checkpoint knows of
    /// one in between, that one's file is lost.
    fn vouched_for(
        &mut self,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        mut summary: Summary,
        next: Offset,
    ) {
        let mut verified = Verified::default();
        let between = |other: &Summary| summary.base < other.base && other.base < next;
        if self
            .checkpoint
            .is_some_and(|checkpoint| checkpoint.segments.iter().any(between))
        {
            verified.add_damage(Damage {
                start: summary.len,
                stop: summary.len,
                from: summary.end,
                to: next,
            });
            self.recovery.damaged.push(summary.end..next);
            summary.end = next;
        }
        let content = self.content(summary.len, summary.end, summary.max_timestamp, verified);
        self.segments
            .push(Segment::sealed(path, file, content, summary));
        self.summaries.push(Some(summary));
    }

    fn content(&self, len: u64, end: Offset, max_timestamp: i64, verified: Verified) -> Content {
        let durable = end <= self.flushed;
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

    fn scan(
        &mut self,
        path: &Path,
        file: Arc<dyn DiskFile>,
        base: Offset,
        len: u64,
        later: &[Offset],
        summary: Option<Summary>,
    ) -> io::Result<bool> {
        let below = later
            .first()
            .copied()
            .unwrap_or(Offset::MAX)
            .min(base.saturating_add(i64::from(u32::MAX)));
        let crc_above = match self.boot {
            Boot::Same if !self.place_unknown => Offset::MAX,
            Boot::Other if !self.place_unknown => self.flushed,
            Boot::Same | Boot::Other => Offset::MIN,
        };
        let rules = Rules {
            crc_above,
            below,
            boundary: self.flushed_data,
            history: self.history,
        };
        let (resumed, lowest) = self.resume(path, &file, base, len, summary)?;
        let mut scan = Scan::new(file.clone(), len, rules, resumed, lowest);
        let mut verified = Verified::default();
        let mut end = None;
        let mut cut = None;
        loop {
            let bad = scan.run()?;
            match self.decide(
                &file,
                &mut scan,
                len,
                later,
                bad.as_ref(),
                &mut verified,
                &mut end,
            )? {
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
        self.recovery.scanned_batches += scan.batches;
        for (start, stop) in scan.verified.drain(..) {
            verified.add_range(start, stop);
        }
        let len = if let Some(why) = cut {
            self.cut(&file, &scan, len, later, why)?;
            scan.position()
        } else {
            len
        };
        let last = later.is_empty() || self.recovery.cut.is_some();
        self.finish(
            path,
            file,
            base,
            len,
            end.unwrap_or(scan.next),
            last,
            scan,
            verified,
        )?;
        Ok(self.recovery.cut.is_none())
    }

    /// Where the scan begins: behind what the checkpoint's indexes cover and, if the power was
    /// lost, what was synced.
    fn resume(
        &self,
        path: &Path,
        file: &Arc<dyn DiskFile>,
        base: Offset,
        len: u64,
        summary: Option<Summary>,
    ) -> io::Result<((Indexer, Loaded, u64), Offset)> {
        let afresh = (Indexer::new(base, self.interval), Loaded::empty(), 0);
        let Some(summary) = summary else {
            return Ok((afresh, base));
        };
        let Some(loaded) = Loaded::read(self.disk, path, &summary)? else {
            return Ok((afresh, base));
        };
        let below = match self.boot {
            Boot::Same => summary.end,
            Boot::Other => summary.end.min(self.flushed),
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
        match Walk::new(file.clone(), position, len).peek()? {
            Step::Batch(header) if Some(header.last_offset()) == last => {
                Ok((resumed, header.base_offset))
            }
            Step::Batch(_) | Step::Bad(_) | Step::End => Ok((afresh, base)),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn decide(
        &mut self,
        file: &Arc<dyn DiskFile>,
        scan: &mut Scan<'_>,
        len: u64,
        later: &[Offset],
        bad: Option<&Bad>,
        verified: &mut Verified,
        end: &mut Option<Offset>,
    ) -> io::Result<Next> {
        let place = match scan.next < self.flushed_data {
            _ if self.place_unknown => FlushedState::Unknown,
            true => FlushedState::BelowFlushed,
            false => FlushedState::AboveFlushed,
        };
        // Where the log goes on if not here.
        let goes_on = later.first().copied().unwrap_or(self.flushed_data);
        let mut behind = None;
        let found = match bad {
            None if scan.next < goes_on => Found::Missing,
            None => Found::Whole,
            Some(bad) => {
                // A record may hold what looks like batches: inside a batch that was never
                // completed nothing is looked for.
                let incomplete =
                    matches!(bad, Bad::Partial { .. }) && place == FlushedState::AboveFlushed;
                if !incomplete {
                    let below = later.first().copied().unwrap_or(Offset::MAX);
                    let search = Search {
                        from: scan.position() + 1,
                        end: len,
                        lowest: scan.next,
                        below,
                        target: None,
                    };
                    behind = resync(file, &search)?;
                }
                if behind.is_some() || self.any_valid(later)? {
                    Found::BadInside
                } else {
                    Found::BadTail
                }
            }
        };
        match action(found, self.boot, place) {
            Action::Keep => Ok(Next::Done),
            Action::Cut => Ok(Next::CutHere),
            Action::Damage => {
                let (start, from) = (scan.position(), scan.next);
                let (stop, to) = behind.map_or((len, goes_on.max(from)), |(position, header)| {
                    (position, header.base_offset)
                });
                verified.add_damage(Damage {
                    start,
                    stop,
                    from,
                    to,
                });
                verified.add_range(start, stop);
                self.recovery.damaged.push(from..to);
                if behind.is_some() {
                    scan.go_on_at(stop, to);
                    return Ok(Next::GoOn);
                }
                *end = Some(to);
                Ok(Next::Done)
            }
        }
    }

    /// Whether a later segment begins with a batch.
    fn any_valid(&self, later: &[Offset]) -> io::Result<bool> {
        for base in later {
            let file = self.disk.open(&log_path(self.dir, *base), OpenMode::Read)?;
            let len = file.len()?;
            if let Step::Batch(header) = Walk::new(file, 0, len).peek()?
                && header.base_offset >= *base
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The log ends where the scan stands.
    fn cut(
        &mut self,
        file: &Arc<dyn DiskFile>,
        scan: &Scan<'_>,
        len: u64,
        later: &[Offset],
        why: String,
    ) -> io::Result<()> {
        let mut cut = Cut {
            at: scan.next,
            batches: 0,
            bytes: len - scan.position(),
            why,
        };
        let search = Search {
            from: scan.position(),
            end: len,
            lowest: scan.next,
            below: Offset::MAX,
            target: None,
        };
        if let Some((position, _)) = resync(file, &search)? {
            cut.batches += count(file.clone(), position, len)?;
        }
        for base in later.iter().rev() {
            let gone = self.disk.open(&log_path(self.dir, *base), OpenMode::Read)?;
            let bytes = gone.len()?;
            cut.bytes += bytes;
            cut.batches += count(gone, 0, bytes)?;
            remove_segment(self.disk, self.dir, *base).map_err(io::Error::other)?;
            self.disk.sync_dir(self.dir)?;
        }
        file.set_len(scan.position())?;
        file.sync_data()?;
        self.recovery.cut = Some(cut);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn finish(
        &mut self,
        path: &Path,
        file: Arc<dyn DiskFile>,
        base: Offset,
        len: u64,
        end: Offset,
        last: bool,
        mut scan: Scan<'_>,
        verified: Verified,
    ) -> io::Result<()> {
        let content = self.content(len, end, scan.indexer.max_timestamp, verified);
        if last {
            if len >= RESERVED_FROM && file.set_len(len).is_err() {
                tracing::debug!(segment = %path.display(), "reserved space not given back");
            }
            self.ends_damaged = end != scan.next || len != scan.position();
            self.indexer = scan.indexer;
            self.segments.push(Segment::new(
                base,
                path.to_owned(),
                file,
                content,
                scan.loaded,
            ));
            return Ok(());
        }
        scan.indexer.finish(&mut scan.loaded.times);
        let mut summary = Summary {
            base,
            end,
            len,
            first_timestamp: scan.indexer.first_timestamp,
            max_timestamp: scan.indexer.max_timestamp,
            offset_entries: 0,
            time_entries: 0,
            offset_crc: 0,
            time_crc: 0,
            sealed: true,
        };
        match scan.loaded.write(self.disk, path, &mut summary) {
            Ok(()) => {
                self.segments
                    .push(Segment::sealed(path.to_owned(), file, content, summary));
                self.summaries.push(Some(summary));
            }
            Err(error) => {
                tracing::warn!(segment = %path.display(), %error, "index not written, it is kept in memory");
                self.segments.push(Segment::new(
                    base,
                    path.to_owned(),
                    file,
                    content,
                    scan.loaded,
                ));
                self.summaries.push(None);
            }
        }
        Ok(())
    }
}

/// Headers that follow one another from `position` on.
fn count(file: Arc<dyn DiskFile>, position: u64, len: u64) -> io::Result<u64> {
    let mut walk = Walk::new(file, position, len);
    let mut batches = 0;
    while let Step::Batch(_) = walk.next()? {
        batches += 1;
    }
    Ok(batches)
}

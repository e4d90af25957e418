//! Checks batches that another process wrote before they are served: once per process and place,
//! when they are first read.
//!
//! A batch is right when its checksum is, its offsets follow the ones before and stay below the
//! segment's end, and the index agrees. Base offset and length lie outside of the checksum, so a
//! batch can also be found wrong by its neighbour: when a right batch does not follow the one
//! before, but follows the one before that, the one in between is the damaged one. The leader epoch
//! lies outside too; it is compared with the history in the checkpoint. Invariant: what
//! [`Verified`] covers either was found right or lies in its damage. Limit: the epoch of a batch
//! that no checkpoint covers yet. Not here: what this process wrote itself, which is served as it
//! is.

use crate::{
    checkpoint::CheckpointExtra,
    disk::DiskFile,
    index::OffsetEntry,
    resync::{Search, resync},
    segment::Segment,
    shared::Shared,
    verified::{Damage, Verified},
    walk::{Step, Walk, crc_holds},
};
use gnomon_protocol::{batch::BatchHeader, ids::Offset};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Bytes verified at once, at least.
const CHUNK: u64 = 256 << 10;

/// Looks at the batches from `start`, where one begins whose offsets are not below `lowest`, up to
/// an indexed batch some way behind.
pub(crate) fn verify(
    shared: &Shared,
    segment: &Segment,
    verified: &mut Verified,
    start: u64,
    lowest: Offset,
) -> io::Result<()> {
    let (len, end) = segment.extent();
    let limit = segment.unverified_below();
    let anchors = segment.anchors(&*shared.disk, start, limit.min(start + CHUNK))?;
    let stop = anchors
        .iter()
        .map(|anchor| u64::from(anchor.position))
        .find(|at| *at >= start + CHUNK)
        .unwrap_or(limit)
        .min(limit);
    let mut judge = Judge {
        file: &segment.file,
        history: &shared.history,
        base: segment.base,
        end,
        anchors,
        walk: Walk::new(segment.file.clone(), start, stop),
        limit,
        lowest,
        before: None,
        found: Vec::new(),
        buffer: Vec::new(),
    };
    judge.run(stop)?;
    // Unless that was found when the log was opened.
    let known = verified
        .damage()
        .last()
        .is_some_and(|damage| damage.to >= end);
    if stop == limit && len == limit && judge.lowest < end && !known {
        judge.note(Damage {
            start: stop,
            stop,
            from: judge.lowest,
            to: end,
        });
    }
    for damage in judge.found {
        tracing::error!(
            segment = %segment.path.display(), from = damage.from, to = damage.to, position = damage.start, bytes = damage.stop - damage.start,
            "log is damaged on disk; this range is answered with an error"
        );
        shared.damaged.store(true, Ordering::Release);
        verified.add_damage(damage);
    }
    verified.add_range(start, stop);
    Ok(())
}

/// The batch before.
struct Before {
    position: u64,
    /// The value of `lowest` at that position.
    lowest: Offset,
    /// Where it ends if there is no gap in front of it.
    dense_end: Offset,
}

/// Offsets that a batch takes: under its checksum, unlike where they begin.
fn span(header: &BatchHeader) -> Offset {
    i64::from(header.last_offset_delta) + 1
}

struct Judge<'a> {
    file: &'a Arc<dyn DiskFile>,
    history: &'a CheckpointExtra,
    base: Offset,
    end: Offset,
    anchors: Vec<OffsetEntry>,
    walk: Walk,
    limit: u64,
    /// Offsets of the next batch are not below this.
    lowest: Offset,
    before: Option<Before>,
    found: Vec<Damage>,
    buffer: Vec<u8>,
}

impl Judge<'_> {
    fn run(&mut self, stop: u64) -> io::Result<()> {
        while self.walk.position < stop {
            let at = self.walk.position;
            match self.walk.next()? {
                Step::Batch(header) if self.is_right(at, &header)? => {
                    if header.base_offset < self.lowest
                        && !self.blame_before(at, header.base_offset)
                    {
                        self.skip(at, stop)?;
                        continue;
                    }
                    self.before = Some(Before {
                        position: at,
                        lowest: self.lowest,
                        dense_end: self.lowest + span(&header),
                    });
                    self.lowest = header.next_offset();
                }
                Step::Batch(_) | Step::Bad(_) => self.skip(at, stop)?,
                Step::End => break,
            }
        }
        // The last batch's offsets are contradicted, if at all, by the indexed one after the
        // range.
        if stop < self.limit
            && let Step::Batch(header) = Walk::new(self.file.clone(), stop, self.limit).peek()?
            && header.base_offset < self.lowest
            && self.anchored(stop) == Some(header.last_offset())
        {
            self.blame_before(stop, header.base_offset);
        }
        Ok(())
    }

    /// The last offset that the index knows for a batch at that position.
    fn anchored(&self, position: u64) -> Option<Offset> {
        let at = self
            .anchors
            .binary_search_by_key(&position, |anchor| u64::from(anchor.position))
            .ok()?;
        Some(self.base + i64::from(self.anchors[at].last))
    }

    /// Everything about a batch that does not depend on the one before.
    fn is_right(&mut self, at: u64, header: &BatchHeader) -> io::Result<bool> {
        Ok(header.base_offset >= self.base
            && header.next_offset() <= self.end
            && self
                .anchored(at)
                .is_none_or(|last| last == header.last_offset())
            && self
                .history
                .epoch_of(header)
                .is_none_or(|epoch| epoch == header.leader_epoch || serve_wrong_epoch())
            && (crc_holds(&**self.file, at, header, &mut self.buffer)? || serve_bad_crc()))
    }

    /// The batch at `at` does not follow the one before: is it that one's fault? Certainly, when
    /// this one begins where that one would have ended without a gap in front of it. When it begins
    /// after that, either may be: then both are damaged.
    fn blame_before(&mut self, at: u64, base_offset: Offset) -> bool {
        match self
            .before
            .take_if(|before| base_offset >= before.dense_end)
        {
            Some(before) => {
                self.note(Damage {
                    start: before.position,
                    stop: at,
                    from: before.lowest,
                    to: base_offset,
                });
                self.lowest = before.lowest;
                base_offset == before.dense_end
            }
            None => false,
        }
    }

    /// Goes on at the next batch that can be trusted.
    fn skip(&mut self, at: u64, stop: u64) -> io::Result<()> {
        let target = self
            .anchors
            .iter()
            .map(|anchor| u64::from(anchor.position))
            .find(|position| *position > at)
            .unwrap_or(stop)
            .min(stop);
        let search = Search {
            from: at + 1,
            end: target,
            lowest: self.lowest,
            below: self.end,
            target: Some(target),
        };
        let (next, to) = match resync(self.file, &search)? {
            Some((position, header)) => (position, header.base_offset),
            None if target == self.limit => (target, self.end),
            None => match Walk::new(self.file.clone(), target, self.limit).peek()? {
                Step::Batch(header)
                    if self.anchored(target) == Some(header.last_offset())
                        && header.base_offset >= self.lowest =>
                {
                    (target, header.base_offset)
                }
                // Damaged too: the next round says up to where.
                Step::Batch(_) | Step::Bad(_) | Step::End => (target, self.lowest),
            },
        };
        self.note(Damage {
            start: at,
            stop: next,
            from: self.lowest,
            to,
        });
        (self.before, self.lowest, self.walk.position) = (None, to, next);
        Ok(())
    }

    /// Adjoining damage is one.
    fn note(&mut self, damage: Damage) {
        match self.found.last_mut() {
            Some(last) if last.stop == damage.start => {
                (last.stop, last.to) = (damage.stop, damage.to)
            }
            Some(_) | None => self.found.push(damage),
        }
    }
}

/// Planted fault for tests of damage: checksums are computed for nothing.
fn serve_bad_crc() -> bool {
    gnomon_failpoints::fail_point!("serve_bad_crc", |_| true);
    false
}

/// Planted fault for tests of damage: an epoch that was flipped passes.
fn serve_wrong_epoch() -> bool {
    gnomon_failpoints::fail_point!("serve_wrong_epoch", |_| true);
    false
}

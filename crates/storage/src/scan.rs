//! Looks at the batches of one segment for recovery, and builds its indexes on the way.
//!
//! Invariant: stops at the first thing that is wrong and says what and where; it judges nothing
//! (`recover.rs` does) and changes nothing.

use crate::{
    checkpoint::CheckpointExtra,
    disk::DiskFile,
    segment::{Indexer, Loaded},
    time_index::max_timestamp,
    walk::{Bad, Step, Walk, crc_holds},
};
use gnomon_protocol::{batch::BatchHeader, ids::Offset};
use std::{io, sync::Arc};

/// The facts that a scan may rely on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Checksums are looked at of batches that reach beyond this offset.
    pub crc_above: Offset,
    /// No batch reaches beyond this offset: where the next segment begins.
    pub below: Offset,
    /// A batch ends exactly here, if the log comes this far.
    pub boundary: Offset,
    /// The checkpoint's history of epochs.
    pub history: &'a CheckpointExtra,
}

/// A scan under way; after a stop it can be sent on from a later position.
pub(crate) struct Scan<'a> {
    file: Arc<dyn DiskFile>,
    rules: Rules<'a>,
    walk: Walk,
    pub indexer: Indexer,
    pub loaded: Loaded,
    /// Offset after the last good batch.
    pub next: Offset,
    pub batches: u64,
    before: Option<Before>,
    buffer: Vec<u8>,
    /// Byte ranges whose checksums were looked at.
    pub verified: Vec<(u64, u64)>,
}

/// The last good batch.
struct Before {
    position: u64,
    next: Offset,
    header: BatchHeader,
    verified: bool,
}

impl Before {
    fn dense_end(&self) -> Offset {
        self.next + i64::from(self.header.last_offset_delta) + 1
    }
}

impl<'a> Scan<'a> {
    pub fn new(
        file: Arc<dyn DiskFile>,
        len: u64,
        rules: Rules<'a>,
        resumed: (Indexer, Loaded, u64),
        lowest: Offset,
    ) -> Scan<'a> {
        let (indexer, loaded, position) = resumed;
        Scan {
            walk: Walk::new(file.clone(), position, len),
            file,
            rules,
            indexer,
            loaded,
            next: lowest,
            batches: 0,
            before: None,
            buffer: Vec::new(),
            verified: Vec::new(),
        }
    }

    pub fn position(&self) -> u64 {
        self.walk.position
    }

    /// Goes on at `position`, with batches from `lowest` on.
    pub fn go_on_at(&mut self, position: u64, lowest: Offset) {
        (self.walk.position, self.next, self.before) = (position, lowest, None);
    }

    /// Goes on until the end (`None`) or to the first bad place, and stands there.
    pub fn run(&mut self) -> io::Result<Option<Bad>> {
        loop {
            let position = self.walk.position;
            match self.walk.next()? {
                Step::End => return self.check_last(),
                Step::Bad(bad) => return Ok(Some(self.check_last()?.unwrap_or(bad))),
                Step::Batch(header) => {
                    if let Some(bad) = self.check(position, &header)? {
                        return Ok(Some(self.check_last()?.unwrap_or(bad)));
                    }
                }
            }
        }
    }

    fn check(&mut self, position: u64, header: &BatchHeader) -> io::Result<Option<Bad>> {
        let mut end = self.rules.below;
        if self.next < self.rules.boundary {
            end = end.min(self.rules.boundary);
        }
        let fits = header.base_offset >= self.next && header.next_offset() <= end;
        if !fits {
            let bad = Bad::Offsets {
                base: header.base_offset,
                last: header.last_offset(),
                lowest: self.next,
                end,
            };
            self.walk.position = position;
            // Does it follow where the last one would have ended without a gap in front? Then the
            // last one's offsets are the wrong ones.
            if let Some(before) = self
                .before
                .take_if(|before| (before.dense_end()..self.next).contains(&header.base_offset))
            {
                (self.walk.position, self.next) = (before.position, before.next);
                self.forget(before.position);
            }
            return Ok(Some(bad));
        }
        if let Some(was) = self
            .rules
            .history
            .epoch_of(header)
            .filter(|was| *was != header.leader_epoch)
        {
            self.walk.position = position;
            return Ok(Some(Bad::Epoch {
                found: header.leader_epoch.0,
                was: was.0,
            }));
        }
        let verified = header.next_offset() > self.rules.crc_above;
        if verified {
            if !crc_holds(&*self.file, position, header, &mut self.buffer)? {
                self.walk.position = position;
                return Ok(Some(Bad::Crc));
            }
            self.note_verified(position, header);
        }
        let timestamp = max_timestamp(&*self.file, header, position)?;
        if let Some(entries) = self.indexer.note(header, timestamp, position) {
            entries.push_to(&mut self.loaded);
        }
        self.before = Some(Before {
            position,
            next: self.next,
            header: *header,
            verified,
        });
        self.next = header.next_offset();
        self.batches += 1;
        Ok(None)
    }

    /// The last batch, be there nothing or something bad after it, is looked at in any case: it is
    /// the one that a dying process leaves half written.
    fn check_last(&mut self) -> io::Result<Option<Bad>> {
        let Some(before) = self.before.take_if(|before| !before.verified) else {
            return Ok(None);
        };
        gnomon_failpoints::fail_point!("keep_torn_batch", |_| Ok(None));
        if !cut_one_batch_too_far()
            && crc_holds(
                &*self.file,
                before.position,
                &before.header,
                &mut self.buffer,
            )?
        {
            self.note_verified(before.position, &before.header);
            return Ok(None);
        }
        (self.walk.position, self.next) = (before.position, before.next);
        self.forget(before.position);
        Ok(Some(Bad::Crc))
    }

    fn note_verified(&mut self, position: u64, header: &BatchHeader) {
        let end = position + header.total_bytes() as u64;
        match self.verified.last_mut() {
            Some(last) if last.1 == position => last.1 = end,
            Some(_) | None => self.verified.push((position, end)),
        }
    }

    /// The batch at `position` was not one after all. Its timestamp may stay in the indexer: too
    /// large is harmless there.
    fn forget(&mut self, position: u64) {
        self.batches -= 1;
        let offsets = self.loaded.offsets.head(
            self.loaded
                .offsets
                .partition_point(|entry| u64::from(entry.position) < position),
        );
        if offsets.len() < self.loaded.offsets.len() {
            let last = offsets.last().map(|entry| entry.last);
            let times = self
                .loaded
                .times
                .partition_point(|entry| last.is_some_and(|last| entry.last <= last));
            self.loaded = Loaded::growing(offsets, self.loaded.times.head(times));
        }
    }
}

/// Planted fault for tests of recovery: the last batch is taken for a torn one.
fn cut_one_batch_too_far() -> bool {
    gnomon_failpoints::fail_point!("cut_one_batch_too_far", |_| true);
    false
}

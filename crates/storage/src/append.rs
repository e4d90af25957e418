//! Appending batches, and beginning another segment where one is full.

use crate::{
    checkpoint::{Gap, Summary},
    error::LogError,
    log::Log,
    roll::{Active, Incoming, Why, must_roll},
    segment::{Indexer, Segment},
};
use gnomon_protocol::{batch::PlacedBatch, ids::Offset};
use std::{
    io::IoSlice,
    sync::{Arc, atomic::Ordering},
};

/// Batches written without memory for their slices.
const SMALL_APPEND: usize = 16;

impl Log {
    /// Appends whole batches, in one write per segment touched. Base offsets MUST NOT lie below
    /// [`Log::end`] (asserted); they may jump forward.
    ///
    /// # Errors
    /// Batches below [`Log::end`] are in, the others are not. [`LogError::is_disk_full`] and not
    /// [`Log::closed`]: the next append may do. Opening a log that was closed by this may find some
    /// of the others.
    pub fn append(&mut self, batches: &[PlacedBatch]) -> Result<(), LogError> {
        self.check_writable()?;
        let mut end = self.end();
        for batch in batches {
            assert!(
                batch.base_offset() >= end,
                "batch at {} in a log that ends at {end}",
                batch.base_offset()
            );
            end = batch.next_offset();
        }
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let mut active = self.active_facts();
            if let Some(why) = must_roll(&active, &incoming(first), &self.options) {
                self.roll(first.base_offset(), why)?;
                active = self.active_facts();
            }
            let mut count = 0;
            for batch in rest {
                let incoming = incoming(batch);
                if count > 0 && must_roll(&active, &incoming, &self.options).is_some() {
                    break;
                }
                active.bytes += incoming.bytes;
                active.first_timestamp = active.first_timestamp.or(Some(incoming.max_timestamp));
                count += 1;
            }
            let (run, behind) = rest.split_at(count);
            self.write_run(run)?;
            self.shared.set_end(self.active().end());
            rest = behind;
        }
        Ok(())
    }

    /// Writes batches to the active segment, all in one go.
    fn write_run(&mut self, run: &[PlacedBatch]) -> Result<(), LogError> {
        let segment = self.active().clone();
        let (len, _) = segment.extent();
        let bytes: u64 = run.iter().map(|batch| batch.total_bytes() as u64).sum();
        self.reserve.ahead_of(&segment, len + bytes, &self.options);
        let write = |slices: &mut [IoSlice<'_>]| {
            gnomon_failpoints::fail_point!("storage_append", |_| Err(std::io::Error::other(
                "fail point storage_append"
            )));
            gnomon_failpoints::fail_point!("ack_before_append", |_| Ok(()));
            gnomon_failpoints::fail_point!("swap_batches", |_| {
                slices.rotate_left(2);
                segment.file.write_all_at(slices, len)
            });
            segment.file.write_all_at(slices, len)
        };
        let written = if run.len() <= SMALL_APPEND {
            let mut slices = [IoSlice::new(&[]); 2 * SMALL_APPEND];
            for (pair, batch) in slices.chunks_exact_mut(2).zip(run) {
                pair[0] = IoSlice::new(batch.prefix());
                pair[1] = IoSlice::new(batch.body());
            }
            write(&mut slices[..2 * run.len()])
        } else {
            let mut slices: Vec<_> = run
                .iter()
                .flat_map(|batch| [IoSlice::new(batch.prefix()), IoSlice::new(batch.body())])
                .collect();
            write(&mut slices)
        };
        if let Err(source) = written {
            let error = LogError::Io {
                what: "write to",
                path: segment.path.clone(),
                source,
            };
            // What got there is not ours; if it cannot be taken away, recovery does it. Cutting
            // needs no space.
            let cut = segment.file.set_len(len);
            self.reserve.cut_off();
            if cut.is_err() || !error.is_disk_full() {
                self.close_writing(error.to_string());
            }
            return Err(error);
        }
        let mut position = len;
        let mut next_offset = segment.end();
        for batch in run {
            if let Some(entries) =
                self.indexer
                    .note(batch.header(), batch.max_timestamp(), position)
            {
                segment.grow(|loaded| entries.push_to(loaded));
            }
            position += batch.total_bytes() as u64;
            next_offset = batch.next_offset();
        }
        segment
            .max_timestamp
            .store(self.indexer.max_timestamp, Ordering::Release);
        segment.set_extent(position, next_offset);
        self.durability.written(bytes, run.len() as u64);
        Ok(())
    }

    /// Seals the active segment and begins another one where its batches end; at `base` when that
    /// is too far away to begin earlier.
    fn roll(&mut self, base: Offset, why: Why) -> Result<(), LogError> {
        let end = self.active().end();
        match why {
            Why::Bytes | Why::Age | Why::Index => self.begin_segment(end),
            Why::Offset => {
                // The only place where segments do not adjoin. The checkpoint must vouch for the
                // end of this one before the next one comes, or a start after a power loss would
                // take the jump for something missing.
                let point = self.flush_point();
                point
                    .sync()
                    .inspect_err(|error| self.close_writing(error.to_string()))?;
                self.flushed_to(&point);
                self.seal();
                // Sealed, and nothing after it: there is no segment to write to if this fails.
                let next = self
                    .checkpoint_write()
                    .write()
                    .and_then(|()| self.create_segment(base));
                let segment = next.inspect_err(|error| self.close_writing(error.to_string()))?;
                self.push_segment(segment);
                Ok(())
            }
        }
    }

    /// The active segment is sealed once the next one is there: when that cannot be made, nothing
    /// has happened.
    pub(crate) fn begin_segment(&mut self, base: Offset) -> Result<(), LogError> {
        let segment = self.create_segment(base)?;
        self.seal();
        self.push_segment(segment);
        Ok(())
    }

    fn create_segment(&self, base: Offset) -> Result<Segment, LogError> {
        let created = Segment::create(
            &*self.shared.disk,
            &self.shared.dir,
            base,
            self.shared.generation(),
        );
        created.map_err(LogError::io("create segment in", &self.shared.dir))
    }

    fn push_segment(&mut self, segment: Segment) {
        self.indexer = Indexer::new(segment.base, self.options.index_interval_bytes);
        self.segments.push(Arc::new(segment));
        self.publish_segments();
    }

    /// Writes the active segment's indexes and gives back what was reserved. That the indexes could
    /// not be written is not fatal: they are rebuilt.
    fn seal(&mut self) {
        self.release_reserved();
        let segment = self.active().clone();
        segment.grow(|loaded| self.indexer.finish(&mut loaded.times));
        let summary = self.write_indexes(&segment, true);
        if let Some(summary) = summary {
            segment.unload(summary);
        }
        self.durability.sealed(summary);
    }

    /// The indexes of the active segment as they are now, in their files.
    pub(crate) fn write_indexes(&self, segment: &Segment, sealed: bool) -> Option<Summary> {
        let (len, end) = segment.extent();
        let mut summary = Summary {
            base: segment.base,
            end,
            len,
            first_timestamp: self.indexer.first_timestamp,
            max_timestamp: self.indexer.max_timestamp,
            offset_entries: 0,
            time_entries: 0,
            offset_crc: 0,
            time_crc: 0,
            sealed,
        };
        let written = segment
            .indexes(&*self.shared.disk)
            .and_then(|l| l.write(&*self.shared.disk, &segment.path, &mut summary));
        match written {
            Ok(()) => Some(summary),
            Err(error) => {
                tracing::warn!(segment = %segment.path.display(), %error, "index not written, it will be rebuilt");
                None
            }
        }
    }

    /// Moves the end forward without a batch (a copied log whose tail was compacted away); durable
    /// when this returns.
    pub fn advance_end(&mut self, to: Offset) -> Result<(), LogError> {
        self.check_writable()?;
        assert!(
            to >= self.end(),
            "the end moves from {} to {to}",
            self.end()
        );
        if to == self.end() {
            return Ok(());
        }
        self.settle_gap()?;
        let gap = Some(Gap {
            after: self.active().end(),
            to,
        });
        let before = self.durability.move_end(gap);
        if let Err(error) = self.checkpoint(self.durability.extra().clone()) {
            self.durability.move_end(before);
            return Err(error);
        }
        self.shared.set_end(to);
        Ok(())
    }

    /// Makes what is written after the last move of the end durable: another move takes its place
    /// in the checkpoint.
    pub(crate) fn settle_gap(&mut self) -> Result<(), LogError> {
        if self
            .durability
            .unsettled_gap()
            .is_some_and(|gap| gap.after < self.active().end())
        {
            let point = self.flush_point();
            point.sync()?;
            self.flushed_to(&point);
        }
        Ok(())
    }

    pub(crate) fn active_facts(&self) -> Active {
        let segment = self.active();
        let index_entries = segment
            .indexes(&*self.shared.disk)
            .map_or(0, |loaded| loaded.offsets.len());
        Active {
            base: segment.base,
            bytes: segment.len(),
            first_timestamp: (self.indexer.first_timestamp >= 0)
                .then_some(self.indexer.first_timestamp),
            index_bytes: index_entries as u64 * 8,
        }
    }
}

fn incoming(batch: &PlacedBatch) -> Incoming {
    let header = batch.header();
    Incoming {
        bytes: batch.total_bytes() as u64,
        last_offset: header.last_offset(),
        max_timestamp: batch.max_timestamp(),
    }
}

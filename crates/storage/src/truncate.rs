//! Taking back: the end (truncation), the start (trim), or everything.
//!
//! Invariants: the checkpoint says so first (its `flushed` never claims what is about to go; its
//! start hides what is about to go), then names go, newest first when the end moves and oldest
//! first when the start does, so that a crash in between leaves a log without holes. Readers notice
//! by the log's generation.

use crate::{
    checkpoint::FILE,
    error::LogError,
    log::Log,
    reader::{Cursor, Item},
    segment::{Indexer, Segment},
    time_index::max_timestamp,
};
use gnomon_protocol::ids::Offset;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

/// Where a segment is cut.
struct CutAt {
    segment: usize,
    position: u64,
    /// Offset after the last batch that stays.
    data_end: Offset,
    /// The log's end after it.
    end: Offset,
}

impl Log {
    /// Cuts off every batch that reaches beyond `end`; returns the new end, which is lower when
    /// `end` is inside a batch. Durable. An end below the log's start empties the log, which then
    /// begins there.
    pub fn truncate_to(&mut self, end: Offset) -> Result<Offset, LogError> {
        self.check_writable()?;
        if end >= self.end() {
            return Ok(self.end());
        }
        if end < self.start() {
            self.restart_at(end)?;
            return Ok(end);
        }
        let cut = self
            .find_cut(end)
            .map_err(LogError::io("read", self.dir()))?;
        if cut.end < self.start() {
            // The start lies inside the batch that goes.
            let start = self.start();
            self.restart_at(start)?;
            return Ok(start);
        }
        let result = self.cut(&cut);
        if let Err(error) = &result {
            self.close_writing(format!("truncation to {end} failed: {error}"));
        }
        result.map(|()| cut.end)
    }

    fn find_cut(&self, end: Offset) -> io::Result<CutAt> {
        let at = self
            .segments
            .partition_point(|segment| segment.base <= end)
            .saturating_sub(1);
        let segment = &self.segments[at];
        // Begins at a batch that stays, or at the first one.
        let mut cursor = Cursor::new(self.shared.clone(), segment.clone(), end - 1)?;
        let mut cut = CutAt {
            segment: at,
            position: segment.len(),
            data_end: segment.end(),
            end,
        };
        let mut before = segment.base;
        loop {
            match cursor.next()? {
                Item::Batch(header, position) => {
                    if header.next_offset() > end {
                        cut.data_end = before;
                        cut.position = position;
                        cut.end = end.min(header.base_offset);
                        return Ok(cut);
                    }
                    before = header.next_offset();
                }
                // Of a damaged range nothing can be kept in part.
                Item::Damaged { from, to, start } if to > end => {
                    (cut.position, cut.data_end, cut.end) =
                        (start, before.max(from), end.min(before.max(from)));
                    return Ok(cut);
                }
                Item::Damaged { to, .. } => before = to,
                Item::End => return Ok(cut),
            }
        }
    }

    fn cut(&mut self, cut: &CutAt) -> Result<(), LogError> {
        self.settle_gap()?;
        // Segments after the cut, and the cut one's indexes, are nothing to rely on from here.
        self.durability.truncate(cut.end, cut.data_end, cut.segment);
        self.reserve.cut_off();
        self.shared.next_generation();
        self.checkpoint_write().write()?;

        self.shared.set_end(cut.end);
        let gone = self.segments.split_off(cut.segment + 1);
        self.publish_segments();
        for segment in gone.iter().rev() {
            self.remove_files(segment)?;
            self.sync_dir()?;
        }
        let segment = self.active().clone();
        let loaded = segment
            .indexes(&*self.shared.disk)
            .map_err(LogError::io("read index of", &segment.path))?;
        let first_timestamp = self.indexer_first_timestamp(&segment);
        let interval = self.options.index_interval_bytes;
        let (data_end, cut_at) = if keep_truncated_index_entry() {
            (Offset::MAX, u64::MAX)
        } else {
            (cut.data_end, cut.position)
        };
        let (mut indexer, mut kept, position) = Indexer::resume(
            segment.base,
            interval,
            first_timestamp,
            &loaded,
            data_end,
            cut_at,
        );
        drop(loaded);
        // Readers first: they must not be led after the end of the file.
        segment.set_extent(cut.position, cut.data_end);
        segment
            .file
            .set_len(cut.position)
            .map_err(LogError::io("truncate", &segment.path))?;
        segment
            .file
            .sync_data()
            .map_err(LogError::io("sync", &segment.path))?;
        segment.cut_verification(cut.position);
        let mut cursor = Cursor::at(self.shared.clone(), segment.clone(), position);
        loop {
            match cursor.next().map_err(LogError::io("read", &segment.path))? {
                Item::Batch(header, position) => {
                    let timestamp = max_timestamp(&*segment.file, &header, position)
                        .map_err(LogError::io("read", &segment.path))?;
                    if let Some(entries) = indexer.note(&header, timestamp, position) {
                        entries.push_to(&mut kept);
                    }
                }
                Item::Damaged { .. } => {}
                Item::End => break,
            }
        }
        segment
            .max_timestamp
            .store(indexer.max_timestamp, Ordering::Release);
        segment.set_indexes(kept);
        self.indexer = indexer;
        let generation = self.shared.generation();
        for segment in &self.segments {
            let mut synced = segment.synced.lock();
            synced.generation = generation;
            synced.len = synced.len.min(segment.len());
        }
        Ok(())
    }

    /// Only the active segment's is known; it matters for `segment.ms` alone.
    fn indexer_first_timestamp(&self, segment: &Arc<Segment>) -> i64 {
        if segment.max_timestamp() == self.indexer.max_timestamp {
            self.indexer.first_timestamp
        } else {
            -1
        }
    }

    /// Moves the log's start, inside a batch too, and removes segments wholly below it. Durable. A
    /// start beyond the end moves the end too. Files that cannot be removed go at the next opening.
    pub fn trim_to(&mut self, start: Offset) -> Result<(), LogError> {
        let start = start + trim_one_too_far();
        if start <= self.start() {
            return Ok(());
        }
        if start > self.end() {
            self.check_writable()?;
            return self.restart_at(start);
        }
        let count = self
            .segments
            .partition_point(|segment| segment.base <= start)
            .saturating_sub(1);
        let mut write = self.checkpoint_write();
        write.content.start = start;
        write
            .content
            .segments
            .retain(|summary| count == 0 || summary.base >= self.segments[count].base);
        write.write()?;
        let gone = self.start_behind(start, count);
        for segment in &gone {
            if let Err(error) = self.remove_files(segment) {
                tracing::warn!(%error, "what lies below the log's start still takes space");
            }
        }
        Ok(())
    }

    /// The same without a checkpoint that says so first: each segment is gone for good before the
    /// next one goes, so that a crash leaves no hole.
    pub(crate) fn trim_unnoted(&mut self, start: Offset, count: usize) {
        let gone = self.start_behind(start, count);
        let removed = gone.iter().try_for_each(|segment| {
            self.remove_files(segment)?;
            self.sync_dir()
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "what lies below the log's start still takes space");
        }
    }

    /// The log starts at `start`; its first `count` segments are no longer its own, and have files
    /// still.
    fn start_behind(&mut self, start: Offset, count: usize) -> Vec<Arc<Segment>> {
        self.shared.set_start(start);
        if count == 0 {
            return Vec::new();
        }
        let gone = self.segments.drain(..count).collect();
        self.durability.trimmed(count);
        self.publish_segments();
        gone
    }

    /// Drops everything; the log is empty and begins and ends at `at`.
    fn restart_at(&mut self, at: Offset) -> Result<(), LogError> {
        let result = self.try_restart_at(at);
        if let Err(error) = &result {
            self.close_writing(format!("restart at {at} failed: {error}"));
        }
        result
    }

    fn try_restart_at(&mut self, at: Offset) -> Result<(), LogError> {
        self.shared.next_generation();
        self.durability.forget_segments(at);
        self.reserve.cut_off();
        let mut write = self.checkpoint_write();
        (
            write.content.start,
            write.content.flushed,
            write.content.flushed_data,
        ) = (at, at, at);
        write.write()?;
        self.durability.restarted(at);

        let gone = std::mem::take(&mut self.segments);
        let dir = self.shared.dir.clone();
        let removed = gone.iter().rev().try_for_each(|segment| {
            self.remove_files(segment)?;
            self.sync_dir()
        });
        if let Err(error) = removed {
            self.segments = gone;
            return Err(error);
        }
        let created = Segment::create(&*self.shared.disk, &dir, at, self.shared.generation());
        match created.map_err(LogError::io("create segment in", &dir)) {
            Ok(segment) => self.segments.push(Arc::new(segment)),
            Err(error) => {
                self.segments = gone;
                return Err(error);
            }
        }
        self.indexer = Indexer::new(at, self.options.index_interval_bytes);
        self.publish_segments();
        self.shared.set_start(at);
        self.shared.set_end(at);
        self.sync_dir()?;
        self.active().name_synced.store(true, Ordering::Release);
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        self.shared
            .disk
            .sync_dir(&self.shared.dir)
            .map_err(LogError::io("sync directory", &self.shared.dir))
    }

    /// Removes a segment's files: its indexes first, they are nothing without it.
    fn remove_files(&self, segment: &Segment) -> Result<(), LogError> {
        debug_assert!(segment.path.file_name().is_none_or(|name| name != FILE));
        for extension in ["timeindex", "index", "log"] {
            let path = segment.path.with_extension(extension);
            match self.shared.disk.remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(LogError::Io {
                        what: "remove",
                        path,
                        source,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Planted fault for tests of truncation: the index goes on naming what was cut off.
fn keep_truncated_index_entry() -> bool {
    gnomon_failpoints::fail_point!("drop_truncated_index_entry", |_| true);
    false
}

/// Planted fault for tests of trims: one offset goes that was to stay.
fn trim_one_too_far() -> Offset {
    gnomon_failpoints::fail_point!("trim_one_too_far", |_| 1);
    0
}

//! How old a segment is, also when its records have no timestamp.
//!
//! Kafka's rules (`LogSegment.largestTimestamp`, `timeWaitedForRoll`): a segment is as old as its
//! newest record, and as its file where no record has a timestamp; a segment whose first batch has
//! no timestamp is followed by another one when it has been written for `segment.ms`. Without the
//! first rule such a segment, and every older one with it, would stay for ever; without the second
//! so would one that is written to now and then.
//!
//! The file's time is the file system's own, and is noted nowhere else: it stays through restarts
//! ([`crate::DiskFile::modified_ms`]), and a copy of a data directory that loses times keeps records
//! for longer, never for shorter. Not here: what goes at which age (`retention.rs`).

use crate::{
    error::LogError, log::Log, options::RetentionLimits, retention::Candidate, roll::Timeless,
    segment::Segment,
};

impl Log {
    /// The segments as retention looks at them.
    pub(crate) fn candidates(&self, limits: RetentionLimits) -> Vec<Candidate> {
        let by_age = limits.before_timestamp.is_some();
        let candidate = |segment: &std::sync::Arc<Segment>| {
            let (bytes, end) = segment.extent();
            let newest_ms = match segment.max_timestamp() {
                newest_ms if newest_ms >= 0 || !by_age || bytes == 0 => newest_ms,
                _no_timestamp => file_time(segment),
            };
            Candidate {
                end,
                bytes,
                newest_ms,
            }
        };
        self.segments.iter().map(candidate).collect()
    }

    /// Begins another segment when the first batch of the active one has no timestamp and the
    /// segment has been there for `segment.ms`. It counts from the first call that saw it (Kafka:
    /// from when it was made or opened), so this is to be called every so often. `now_ms`: wall
    /// time in milliseconds.
    ///
    /// # Errors
    /// The log is as it was, or closed.
    pub fn roll_if_timeless(&mut self, now_ms: i64) -> Result<(), LogError> {
        let active = self.active_facts();
        let seen = self.timeless.take();
        let Some(limit) = self.options.segment_ms else {
            return Ok(());
        };
        if active.bytes == 0 || active.first_timestamp.is_some() {
            return Ok(());
        }
        let seen = seen
            .filter(|seen| seen.base == active.base)
            .unwrap_or(Timeless {
                base: active.base,
                since_ms: now_ms,
            });
        if now_ms.saturating_sub(seen.since_ms) <= limit {
            self.timeless = Some(seen);
            return Ok(());
        }
        self.check_writable()?;
        let end = self.active().end();
        self.begin_segment(end)
    }
}

/// A file whose time cannot be told keeps its segment.
fn file_time(segment: &Segment) -> i64 {
    if never_ages() {
        return i64::MAX;
    }
    segment.file.modified_ms().unwrap_or_else(|error| {
        tracing::warn!(segment = %segment.path.display(), %error, "the age of records without timestamps is not known, they are kept");
        i64::MAX
    })
}

/// Planted fault for tests of retention: records without timestamps are of no age.
fn never_ages() -> bool {
    gnomon_failpoints::fail_point!("timeless_never_ages", |_| true);
    false
}

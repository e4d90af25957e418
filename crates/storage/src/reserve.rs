//! Space on the disk ahead of a log that grows, and a little that some logs always have.
//!
//! Invariant: what is reserved is never part of a log: the end of the file stays where the last
//! batch ends. It is given back when the segment is sealed, or when the log's writer says
//! that it rests; space that a dying process leaves reserved, the next open gives back. Not here: when a
//! log rests (the partition).

use crate::{options::LogOptions, segment::Segment};

/// Space is reserved ahead in steps of this, as much as this part of what is written, never more
/// than was written since it was given back, and never more than the last. What the kernel need not
/// look for block by block is written in two thirds of the time. It is given back when nothing is
/// written any more ([`Log::release_reserved`]).
const RESERVE_STEP: u64 = 64 << 10;
const RESERVE_PART: u64 = 16;
const RESERVE_MAX: u64 = 16 << 20;
/// From this size on a segment that was not sealed may have space reserved after its end.
pub(crate) const RESERVED_FROM: u64 = RESERVE_PART * RESERVE_STEP;

/// Space of the active segment that is reserved and not written.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    /// Up to this position of the active file; 0 for none.
    pub until: u64,
    /// Bytes that were written since reserved space was given back.
    grown: u64,
}

impl Reserve {
    /// Reserves some space beyond `end`, where the write that comes will end: of a segment that has
    /// become large, or as the options say. It may fail: then a write will say so.
    pub fn ahead_of(&mut self, segment: &Segment, end: u64, options: &LogOptions) {
        // A log that is written rarely is not worth two calls each time.
        self.grown += end - segment.len();
        let ahead = (segment.len() / RESERVE_PART)
            .min(self.grown)
            .min(RESERVE_MAX)
            / RESERVE_STEP
            * RESERVE_STEP;
        let ahead = ahead.max(options.reserve_bytes);
        // Half of what is always to be there may be used up before more is taken.
        if ahead == 0 || end + options.reserve_bytes / 2 <= self.until {
            return;
        }
        let from = self.until.max(segment.len());
        let until = (end + ahead).min(options.segment_bytes.max(end));
        if until > from && segment.file.allocate(from, until - from).is_err() {
            tracing::debug!(segment = %segment.path.display(), "no space reserved ahead");
            if options.reserve_bytes == 0 {
                // Others need what there is; how far it got is not known.
                let _ = segment.file.set_len(segment.len());
            }
        }
        self.until = until;
    }

    /// The file was cut where its batches end, or is another one.
    pub fn cut_off(&mut self) {
        self.until = 0;
    }

    pub fn give_back(&mut self, segment: &Segment) {
        if self.until > segment.len()
            && let Err(error) = segment.file.set_len(segment.len())
        {
            tracing::warn!(segment = %segment.path.display(), %error, "reserved space not given back");
        }
        *self = Reserve::default();
    }
}

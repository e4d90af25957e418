//! The line of a partition, and the only file that computes the high watermark.
//!
//! ```text
//!  log start <= last stable offset <= high watermark <= log end,      flushed <= log end
//! ```
//!
//! The rule: high watermark = flushed, or the log end where the topic chose `write.caching`. It
//! never goes back. With several brokers it becomes the minimum over the in-sync set; everything
//! else reads it here.

use gnomon_protocol::ids::Offset;

/// One consistent look at a partition's offsets. All are exclusive ends, `log_start` is the first
/// readable offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// First offset that may be read.
    pub log_start: Offset,
    /// Where read_committed stops: every transaction below it is decided, and the decision is as
    /// durable as the high watermark.
    pub last_stable: Offset,
    /// Where every consumer and every link stops.
    pub high_watermark: Offset,
    /// Next offset to be handed out.
    pub end: Offset,
    /// Below it everything survives a power cut.
    pub flushed: Offset,
}

/// Events in, watermarks out.
#[derive(Clone, Debug)]
pub struct Watermarks {
    log_start: Offset,
    high_watermark: Offset,
    end: Offset,
    flushed: Offset,
    write_caching: bool,
}

impl Watermarks {
    /// The watermarks of a log when it is opened.
    pub fn new(log_start: Offset, end: Offset, flushed: Offset, write_caching: bool) -> Watermarks {
        let mut line = Watermarks {
            log_start,
            high_watermark: log_start,
            end,
            flushed: flushed.clamp(log_start, end),
            write_caching,
        };
        line.advance();
        line
    }

    /// The log end moved up.
    pub fn appended(&mut self, end: Offset) {
        assert!(
            end >= self.end,
            "log end goes back from {} to {end}",
            self.end
        );
        self.end = end;
        self.advance();
    }

    /// Everything below `to` is on the disk.
    pub fn flushed(&mut self, to: Offset) {
        self.flushed = self.flushed.max(to.min(self.end));
        self.advance();
    }

    /// The log start moved up; on an emptied log the end may have moved with it.
    pub fn trimmed(&mut self, log_start: Offset) {
        self.log_start = self.log_start.max(log_start);
        self.end = self.end.max(self.log_start);
        self.flushed = self.flushed.max(self.log_start);
        self.high_watermark = self.high_watermark.max(self.log_start);
        self.advance();
    }

    /// The topic's `write.caching` changed. What consumers have seen stays seen.
    pub fn set_write_caching(&mut self, on: bool) {
        self.write_caching = on;
        self.advance();
    }

    /// First offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Whether an append moves the watermark by itself, without a flush.
    pub fn write_caching(&self) -> bool {
        self.write_caching
    }

    /// The line now. `first_unstable`: the first offset of the oldest transaction that is open, or
    /// whose marker is at or above the high watermark.
    pub fn offsets(&self, first_unstable: Option<Offset>) -> Offsets {
        // Planted fault for tests of transactions: what is open is shown.
        let first_unstable = first_unstable.filter(|_| !open_is_stable());
        let last_stable = first_unstable
            .unwrap_or(Offset::MAX)
            .clamp(self.log_start, self.high_watermark);
        let line = Offsets {
            log_start: self.log_start,
            last_stable,
            high_watermark: self.high_watermark,
            end: self.end,
            flushed: self.flushed,
        };
        line.check();
        line
    }

    fn advance(&mut self) {
        let reached = if self.write_caching || ack_before_flush() {
            self.end
        } else {
            self.flushed
        };
        self.high_watermark = self.high_watermark.max(reached).max(self.log_start);
    }
}

impl Offsets {
    fn check(&self) {
        assert!(
            self.log_start <= self.last_stable
                && self.last_stable <= self.high_watermark
                && self.high_watermark <= self.end
                && self.flushed <= self.end,
            "the line of a partition is broken: {self:?}"
        );
    }
}

fn open_is_stable() -> bool {
    gnomon_failpoints::fail_point!("open_is_stable", |_| true);
    false
}

/// Planted fault for tests of durability: the watermark runs ahead of the disk.
fn ack_before_flush() -> bool {
    gnomon_failpoints::fail_point!("ack_before_flush", |_| true);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_follows_the_disk() {
        let mut line = Watermarks::new(0, 0, 0, false);
        line.appended(10);
        assert_eq!(line.offsets(None).high_watermark, 0);
        line.flushed(7);
        assert_eq!(
            line.offsets(None),
            Offsets {
                log_start: 0,
                last_stable: 7,
                high_watermark: 7,
                end: 10,
                flushed: 7
            }
        );
        assert_eq!(line.offsets(Some(3)).last_stable, 3);
        line.trimmed(5);
        assert_eq!(
            line.offsets(Some(3)).last_stable,
            5,
            "an open transaction below the log start holds nothing up"
        );
    }

    #[test]
    fn write_caching_moves_it_at_once_and_never_back() {
        let mut line = Watermarks::new(0, 0, 0, true);
        line.appended(10);
        assert_eq!(line.offsets(None).high_watermark, 10);
        line.set_write_caching(false);
        line.appended(12);
        assert_eq!(line.offsets(None).high_watermark, 10);
        line.flushed(12);
        assert_eq!(line.offsets(None).high_watermark, 12);
    }

    #[test]
    fn a_start_beyond_the_end_takes_the_end_along() {
        let mut line = Watermarks::new(0, 0, 0, false);
        line.trimmed(42);
        assert_eq!(
            line.offsets(None),
            Offsets {
                log_start: 42,
                last_stable: 42,
                high_watermark: 42,
                end: 42,
                flushed: 42
            }
        );
    }
}

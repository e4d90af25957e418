//! The progress of one partition's copy while the process runs: the source's ends as last seen,
//! lag, counters, trouble.
//!
//! For status, metrics and the groups' barrier only. No decision about data is taken from it, but
//! one: the highest epoch that the source ever named goes into a failover's cut.

use gnomon_links::{
    lag::{CaughtUp, GRACE_MS, Lag, SourceEnds, of},
    status::Counters,
};
use gnomon_machine::Now;
use gnomon_partition::Offsets;
use gnomon_protocol::ids::Offset;
use parking_lot::Mutex;

/// Lag without progress for so long is STALLED, in milliseconds.
pub(crate) const STALLED_AFTER_MS: u64 = 10_000;
/// The rate is the mean over about this time.
const RATE_WINDOW_MS: u64 = 5_000;

/// The source's log as last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceSeen {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub last_stable: Offset,
    pub at: Now,
}

/// One partition's copy, as counted since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartitionMetrics {
    pub counters: Counters,
    /// Absent before the first contact.
    pub lag: Option<Lag>,
}

/// Everything that a status shows of a partition beyond its log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub source: Option<SourceSeen>,
    pub lag: Option<Lag>,
    pub last_caught_up_ms: Option<i64>,
    pub bytes_per_second: f64,
    pub stalled_seconds: Option<f64>,
    pub silent_seconds: Option<f64>,
    pub error: Option<String>,
    pub counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    source: Option<SourceSeen>,
    caught_up: CaughtUp,
    counters: Counters,
    highest_epoch: i32,
    our_end: Offset,
    moved_ms: Option<u64>,
    error: Option<String>,
    rate: Rate,
    /// Since when the source is asked for it.
    asked_ms: Option<u64>,
    /// A source that does not tell of it for longer is silent.
    silence_ms: u64,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            source: None,
            caught_up: CaughtUp::default(),
            counters: Counters::default(),
            highest_epoch: -1,
            our_end: 0,
            moved_ms: None,
            error: None,
            rate: Rate::default(),
            asked_ms: None,
            silence_ms: GRACE_MS,
        }
    }
}

impl Progress {
    /// The progress of a partition that the source is asked for from now on.
    pub fn since(now: Now) -> Progress {
        Progress(Mutex::new(Seen {
            asked_ms: Some(now.mono.0),
            ..Seen::default()
        }))
    }

    /// The source named its bounds; `our_end` is our high watermark now.
    pub fn saw_source(&self, seen: SourceSeen, our_end: Offset) {
        let mut state = self.0.lock();
        state.observe(seen.at.mono.0, our_end);
        state.source = Some(seen);
        state
            .caught_up
            .observe(seen.at.mono.0, seen.high_watermark, our_end);
    }

    /// An answer of the source says that it has nothing beyond the end that is known.
    pub fn heard(&self, now: Now) {
        self.0.lock().caught_up.heard(now.mono.0);
    }

    /// How long the source may leave this partition unheard, given how long a fetch may wait.
    pub fn set_wait_ms(&self, wait_ms: u64) {
        let mut state = self.0.lock();
        state.silence_ms = planted(wait_ms.saturating_add(GRACE_MS));
        let silence_ms = state.silence_ms;
        state.caught_up.set_silence_ms(silence_ms);
    }

    /// Whole batches came.
    pub fn fetched(&self, bytes: u64, records: u64) {
        let mut state = self.0.lock();
        state.counters.bytes_fetched += bytes;
        state.counters.records_fetched += records;
    }

    /// They were appended; `our_end` is our high watermark now.
    pub fn wrote(&self, now: Now, bytes: u64, records: u64, our_end: Offset) {
        let mut state = self.0.lock();
        state.counters.bytes_written += bytes;
        state.counters.records_written += records;
        state.rate.add(now.mono.0, bytes);
        state.error = None;
        state.observe(now.mono.0, our_end);
    }

    /// Something about it failed.
    pub fn failed(&self, why: impl Into<String>) {
        let mut state = self.0.lock();
        state.counters.client_errors += 1;
        state.error = Some(why.into());
    }

    /// The source answers for it again.
    pub fn recovered(&self) {
        self.0.lock().error = None;
    }

    /// The source named this epoch for it.
    pub fn saw_epoch(&self, epoch: i32) {
        let mut state = self.0.lock();
        state.highest_epoch = state.highest_epoch.max(epoch);
    }

    /// The highest epoch that the source named for it, -1 if none.
    pub fn highest_epoch(&self) -> i32 {
        self.0.lock().highest_epoch
    }

    /// Whether it is behind and has not moved for long.
    pub fn is_stalled(&self, now: Now, our_end: Offset) -> bool {
        let mut state = self.0.lock();
        state.observe(now.mono.0, our_end);
        state.stalled(now.mono.0).is_some()
    }

    /// For the status.
    pub fn shown(&self, now: Now, ours: Offsets) -> Shown {
        let mut state = self.0.lock();
        let now_ms = now.mono.0;
        state.observe(now_ms, ours.high_watermark);
        state.caught_up.observe_ours(now_ms, ours.high_watermark);
        let source = state.source;
        let ends = source.map(|s| SourceEnds {
            high_watermark: s.high_watermark,
            last_stable: s.last_stable,
        });
        let copied = (state.counters.records_written, state.counters.bytes_written);
        let ago = state
            .caught_up
            .last_ms(now_ms)
            .map(|at| now_ms.saturating_sub(at));
        Shown {
            source,
            lag: of(ends, ours.high_watermark, &state.caught_up, copied, now_ms),
            last_caught_up_ms: ago.map(|ago| now.wall.0.saturating_sub_unsigned(ago)),
            bytes_per_second: state.rate.per_second(now_ms),
            stalled_seconds: state.stalled(now_ms).map(|ms| ms as f64 / 1_000.0),
            silent_seconds: state.silent(now_ms).map(|ms| ms as f64 / 1_000.0),
            error: state.error.clone(),
            counters: state.counters,
        }
    }
}

/// Planted fault for tests of links: a source that is silent has nothing new.
fn planted(silence_ms: u64) -> u64 {
    gnomon_failpoints::fail_point!("silence_is_level", |_| u64::MAX);
    silence_ms
}

impl Seen {
    fn observe(&mut self, now_ms: u64, our_end: Offset) {
        let behind = self
            .source
            .is_some_and(|source| our_end < source.high_watermark);
        if self.moved_ms.is_none() || our_end > self.our_end || !behind {
            self.moved_ms = Some(now_ms);
        }
        self.our_end = our_end;
        self.caught_up.observe_ours(now_ms, our_end);
    }

    /// For how long the source has not told of it, if that is longer than an answer may take.
    fn silent(&self, now_ms: u64) -> Option<u64> {
        if self.source.is_some() {
            return self.caught_up.silent_ms(now_ms);
        }
        let silent_ms = now_ms.saturating_sub(self.asked_ms?);
        (silent_ms > self.silence_ms).then_some(silent_ms)
    }

    fn stalled(&self, now_ms: u64) -> Option<u64> {
        let behind = self
            .source
            .is_some_and(|source| self.our_end < source.high_watermark);
        let still = now_ms.saturating_sub(self.moved_ms?);
        (behind && still >= STALLED_AFTER_MS).then_some(still)
    }
}

/// Bytes per second over the last seconds: the present window, and what of the one before still
/// counts.
#[derive(Debug, Default)]
struct Rate {
    began_ms: u64,
    current: u64,
    previous: u64,
}

impl Rate {
    fn add(&mut self, now_ms: u64, bytes: u64) {
        self.roll(now_ms);
        self.current += bytes;
    }

    fn per_second(&mut self, now_ms: u64) -> f64 {
        self.roll(now_ms);
        let into = now_ms.saturating_sub(self.began_ms) as f64 / RATE_WINDOW_MS as f64;
        (self.previous as f64 * (1.0 - into).max(0.0) + self.current as f64) * 1_000.0
            / RATE_WINDOW_MS as f64
    }

    fn roll(&mut self, now_ms: u64) {
        let windows = now_ms.saturating_sub(self.began_ms) / RATE_WINDOW_MS;
        if windows > 0 {
            self.previous = if windows == 1 { self.current } else { 0 };
            self.current = 0;
            self.began_ms += windows * RATE_WINDOW_MS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_machine::{Mono, Wall};

    fn at(ms: u64) -> Now {
        Now {
            mono: Mono(ms),
            wall: Wall(1_000_000 + ms as i64),
        }
    }

    fn source(high_watermark: Offset, ms: u64) -> SourceSeen {
        SourceSeen {
            log_start: 0,
            high_watermark,
            last_stable: high_watermark,
            at: at(ms),
        }
    }

    #[test]
    fn lag_without_progress_becomes_a_stall_and_progress_ends_it() {
        let progress = Progress::default();
        progress.saw_source(source(10, 0), 0);
        assert!(!progress.is_stalled(at(9_999), 0));
        assert!(progress.is_stalled(at(10_000), 0));
        progress.wrote(at(11_000), 100, 5, 5);
        assert!(!progress.is_stalled(at(20_000), 5));
        assert!(progress.is_stalled(at(21_000), 5));
        progress.wrote(at(22_000), 100, 5, 10);
        assert!(!progress.is_stalled(at(1_000_000), 10));
    }

    /// With a fetch session, an answer leaves out the partitions that have nothing new.
    #[test]
    fn an_answer_without_the_partition_is_heard_and_silence_is_shown() {
        let progress = Progress::default();
        progress.set_wait_ms(500);
        progress.saw_source(source(10, 0), 10);
        let ours = Offsets {
            high_watermark: 10,
            end: 10,
            ..Offsets::default()
        };
        let shown = |ms| {
            let shown = progress.shown(at(ms), ours);
            (shown.lag.unwrap().seconds, shown.silent_seconds)
        };
        progress.heard(at(4_000));
        assert_eq!(shown(9_500), (0.0, None));
        assert_eq!(shown(9_501), (5.501, Some(5.501)));
        progress.heard(at(64_000));
        assert_eq!(shown(64_000), (0.0, None));
    }

    #[test]
    fn a_shown_partition_has_lag_in_records_and_seconds() {
        let progress = Progress::default();
        assert!(progress.shown(at(0), Offsets::default()).lag.is_none());
        progress.saw_source(source(10, 1_000), 10);
        progress.saw_source(source(14, 3_000), 10);
        let ours = Offsets {
            high_watermark: 10,
            end: 10,
            ..Offsets::default()
        };
        let lag = progress.shown(at(5_000), ours).lag.unwrap();
        assert_eq!((lag.records, lag.seconds), (4, 2.0));
        assert_eq!(
            progress.shown(at(5_000), ours).last_caught_up_ms,
            Some(1_003_000)
        );
    }
}

//! Whether the source of a link answers: for how long it has been silent, and when the link goes
//! down and comes back.
//!
//! A link is down while nothing was answered for longer than an answer may take. A single failed
//! request is not news; that it goes on is. Each going down and each coming back is told once. All
//! times are milliseconds of one clock that does not go back.
//!
//! Not here: what is not known because of it (`lag.rs`, `verdict.rs`).

/// The contact with one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// When the source was last heard, or since when it is asked if it never was.
    since_ms: u64,
    /// Why the last request that failed did so, since the last answer.
    why: Option<String>,
    /// It was told that the link is down.
    down: bool,
}

/// A change that is worth a line in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum ReachNews {
    /// The source has been silent for so many seconds.
    Down {
        /// Seconds since the last answer.
        seconds: f64,
        /// Why, as far as is known.
        why: String,
    },
    /// The source answers again.
    Up {
        /// Seconds between the two answers.
        seconds: f64,
    },
}

impl Reach {
    /// The source is asked from now on.
    pub fn new(now_ms: u64) -> Reach {
        Reach {
            since_ms: now_ms,
            why: None,
            down: false,
        }
    }

    /// The source answered something.
    pub fn answered(&mut self, now_ms: u64) -> Option<ReachNews> {
        let seconds = self.silent_seconds(now_ms);
        let was_down = std::mem::take(&mut self.down);
        self.why = None;
        self.since_ms = now_ms.max(self.since_ms);
        was_down.then_some(ReachNews::Up { seconds })
    }

    /// A request failed: why, if the silence goes on.
    pub fn failed(&mut self, why: impl Into<String>) {
        self.why = Some(why.into());
    }

    /// Looks whether the source has been silent for longer than `silence_ms`.
    pub fn look(&mut self, now_ms: u64, silence_ms: u64) -> Option<ReachNews> {
        if self.down || now_ms.saturating_sub(self.since_ms) <= silence_ms {
            return None;
        }
        self.down = true;
        Some(ReachNews::Down {
            seconds: self.silent_seconds(now_ms),
            why: self
                .why
                .clone()
                .unwrap_or_else(|| "no answer comes".to_owned()),
        })
    }

    /// Seconds since the last answer; where there was none, since the source is asked.
    pub fn silent_seconds(&self, now_ms: u64) -> f64 {
        now_ms.saturating_sub(self.since_ms) as f64 / 1_000.0
    }
}

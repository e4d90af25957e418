//! The only clock. Everything else is given the time.

use gnomon_machine::{Mono, Now, Wall};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until};

/// Where wall time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClock {
    /// The operating system.
    System,
    /// Milliseconds since 1970 at the start of the site; from there on it advances with the
    /// runtime's own time. For simulations.
    At(i64),
}

/// Reads the time: monotonic time from the runtime, so that it stands still while a test pauses the
/// runtime, and wall time from a [`WallClock`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    wall: WallClock,
}

impl Clock {
    /// Starts counting now. Must be called inside a runtime.
    pub fn start(wall: WallClock) -> Clock {
        Clock {
            start: Instant::now(),
            wall,
        }
    }

    /// The present time.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn now(&self) -> Now {
        let mono_ms = self.start.elapsed().as_millis() as u64;
        let wall_ms = match self.wall {
            WallClock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as i64),
            WallClock::At(start_ms) => start_ms + mono_ms as i64,
        };
        Now {
            mono: Mono(mono_ms),
            wall: Wall(wall_ms + planted_jump_ms()),
        }
    }

    /// Sleeps until `deadline`; without one, for ever. Cancel safe.
    pub async fn sleep_until(&self, deadline: Option<Mono>) {
        match deadline {
            Some(Mono(ms)) => sleep_until(self.start + Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    }
}

/// A test sets the wall clock forward or back, as an administrator or NTP may:
/// `wall_clock=return(MILLISECONDS)`.
fn planted_jump_ms() -> i64 {
    gnomon_failpoints::fail_point!("wall_clock", |ms| ms
        .and_then(|ms| ms.parse().ok())
        .unwrap_or(0));
    0
}

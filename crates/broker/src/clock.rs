//! The only clock. Everything else is told the time.

use crate::world::WallClock;
use gnomon_machine::{Mono, Now, Wall};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until};

/// Reads the time: monotonic from the runtime (so that a paused runtime stands still), wall from
/// the system or from the start on.
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
            wall: Wall(wall_ms + jumped_ms()),
        }
    }

    /// Sleeps until `deadline`, or for ever without one.
    pub async fn sleep_until(&self, deadline: Option<Mono>) {
        match deadline {
            Some(Mono(ms)) => sleep_until(self.start + Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    }
}

/// How far a test has the wall clock stepped away, as somebody who sets it does:
/// `wall_clock=return(MILLISECONDS)`.
fn jumped_ms() -> i64 {
    gnomon_failpoints::fail_point!("wall_clock", |ms| ms
        .and_then(|ms| ms.parse().ok())
        .unwrap_or(0));
    0
}

//! Two sites and a link from one to the other, as the peers that have such a thing do it.
//!
//! Where is what: `shadow` (Gnomon's shadow links), `mirror` (MirrorMaker 2 between two Apache
//! Kafkas).

mod mirror;
mod shadow;

pub use mirror::Mirror;
pub use shadow::Shadow;

use crate::{
    failure::Failure,
    peers::{Durability, Running},
    wire::Wire,
};
use std::{path::Path, thread, time::Duration, time::Instant};

/// The prefix of topics that a link carries.
pub const CARRIED: &str = "a_";

/// Until a link has carried what was asked: MirrorMaker 2 takes its time.
const CARRY_MAX: Duration = Duration::from_secs(900);

/// How often a target is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// A way to link two sites.
pub trait Linker {
    /// Sets both sites up on an empty folder, to be linked from a to b under the same topic names.
    fn install(&self, folder: &Path, durability: Durability) -> Result<Box<dyn Linked>, Failure>;
}

/// Two sites that were set up.
pub trait Linked {
    fn start_source(&self) -> Result<Running, Failure>;

    /// Starts the target and what carries records to it, which may be one process.
    fn start_link(&self) -> Result<Carrier, Failure>;
}

/// The target, and what carries records to it.
pub struct Carrier {
    pub target: Running,
    /// Where that is a process of its own.
    pub link: Option<Running>,
    /// When the link was started.
    pub since: Instant,
    /// CPU seconds that the target had used by then.
    pub cpu_seconds_before: f64,
}

/// How far a link was at some moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// When the first records were there, since the link was started, and how many.
    pub first: (Duration, i64),
    /// When all were.
    pub all: (Duration, i64),
}

impl Carrier {
    /// The ids of all its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.target
            .pids()
            .into_iter()
            .chain(self.link.iter().flat_map(Running::pids))
            .collect()
    }

    /// Waits until the target shows so many records of a topic.
    pub fn wait_for(
        &mut self,
        topic: &str,
        partitions: i32,
        records: i64,
    ) -> Result<Progress, Failure> {
        let mut wire = Wire::connect(self.target.bootstrap())?;
        let mut first = None;
        loop {
            // A topic that is not there yet has none.
            let seen = wire.high_watermarks(topic, partitions).unwrap_or(0);
            let now = self.since.elapsed();
            if seen > 0 && first.is_none() {
                first = Some((now, seen));
            }
            if let Some(first) = first.filter(|_| seen >= records) {
                return Ok(Progress {
                    first,
                    all: (now, seen),
                });
            }
            // An error when one of them has ended.
            self.target.usage()?;
            if let Some(link) = &mut self.link {
                link.usage()?;
            }
            if now > CARRY_MAX {
                return Err(format!(
                    "the link has carried {seen} of {records} records within {CARRY_MAX:?}"
                )
                .into());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Stops what runs.
    pub fn stop(self) -> Result<(), Failure> {
        self.link.map_or(Ok(()), Running::stop)?;
        self.target.stop()
    }
}

impl Progress {
    /// From the first records to the last; from the link's start when all came at once. Records a
    /// second.
    pub fn rate(&self) -> f64 {
        let (since, records) = if self.all.1 > self.first.1 {
            (self.all.0 - self.first.0, self.all.1 - self.first.1)
        } else {
            (self.all.0, self.all.1)
        };
        records as f64 / since.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_leaves_out_what_came_before_the_first_sight() {
        let seconds = Duration::from_secs;
        let progress = Progress {
            first: (seconds(11), 100),
            all: (seconds(13), 1100),
        };
        assert_eq!(progress.rate(), 500.0);
        let at_once = Progress {
            first: (seconds(2), 1000),
            all: (seconds(2), 1000),
        };
        assert_eq!(at_once.rate(), 500.0);
    }
}

//! What the machine under the brokers can do at this moment. A figure is only as good as the canary beside it.
//!
//! So far one bird: fdatasync. Memory copies, loopback and first touch come with the side-by-side runs that need them.

use crate::{Failure, latency::Summary};
use serde::Serialize;
use std::{fs, io::Write, path::Path, time::Instant};

const SYNCS: usize = 200;
const BYTES: usize = 4096;

/// When the median after a scenario is this many times the one before, or the other way round, the machine was not the same one.
const MOVED_TIMES: f64 = 2.0;

/// Before and after a scenario.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Canaries {
    pub fdatasync_before: Summary,
    pub fdatasync_after: Summary,
}

impl Canaries {
    /// Whether figures taken in between say more about the machine's other work than about brokers.
    pub fn moved(&self) -> bool {
        let (before, after) = (self.fdatasync_before.p50_ms, self.fdatasync_after.p50_ms);
        before.max(after) >= MOVED_TIMES * before.min(after)
    }

    /// As lines, with a warning when they moved.
    pub fn lines(&self) -> String {
        let line =
            |when: &str, canary: &Summary| format!("fdatasync of 4 KiB {when}: p50 {:.2}, p99 {:.2} ms\n", canary.p50_ms, canary.p99_ms);
        let mut lines = line("before", &self.fdatasync_before) + &line("after", &self.fdatasync_after);
        if self.moved() {
            lines += "NOT TO BE QUOTED: the canary moved, so something else was using this machine; run it again\n";
        }
        lines
    }
}

/// Latency of fdatasync after appending 4 KiB, in the folder where brokers will write.
pub fn fdatasync(folder: &Path) -> Result<Summary, Failure> {
    let path = folder.join("canary");
    let mut file = fs::File::create(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0x5a; BYTES])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    fs::remove_file(&path)?;
    Ok(Summary::of(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canaries(before_us: u64, after_us: u64) -> Canaries {
        let of = |us: u64| Summary::of([us * 1000]);
        Canaries { fdatasync_before: of(before_us), fdatasync_after: of(after_us) }
    }

    #[test]
    fn a_canary_that_moved_is_said_in_both_directions() {
        assert!(!canaries(280, 400).moved());
        for moved in [canaries(120, 3970), canaries(3970, 120)] {
            assert!(moved.lines().contains("NOT TO BE QUOTED"), "{moved:?}");
        }
    }

    #[test]
    fn a_sync_takes_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = fdatasync(folder.path()).expect("a file that can be synced");
        assert!(found.count == SYNCS as u64 && found.p50_ms > 0.0005, "{found:?}");
    }
}

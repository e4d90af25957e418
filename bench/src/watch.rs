//! A process's resident memory over time, looked at by a thread while a run goes on.

use crate::{failure::Failure, usage::Usage};
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Fine enough for a plot, too rare to cost anything.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Seconds since the watch began, and MiB.
pub type Memory = Vec<(f64, f64)>;

/// Watches until it is asked for what it saw.
pub struct Watch {
    stop: mpsc::Sender<()>,
    thread: thread::JoinHandle<Memory>,
}

impl Watch {
    /// Begins; with no process there is nothing to be seen.
    pub fn start(pids: Vec<u32>) -> Watch {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (start, mut seen) = (Instant::now(), Memory::new());
            // It ends with the processes, or when it is asked.
            while !pids.is_empty()
                && let Ok(usage) = Usage::sum(&pids)
            {
                seen.push((start.elapsed().as_secs_f64(), usage.resident_mib()));
                if stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            seen
        });
        Watch { stop, thread }
    }

    /// The memory that it saw.
    pub fn seen(self) -> Result<Memory, Failure> {
        // It may have ended with its process.
        let _ = self.stop.send(());
        self.thread
            .join()
            .map_err(|_| "the thread that watches memory panicked".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_seen_over_time() {
        let seen = Watch::start(vec![std::process::id()])
            .seen()
            .expect("a thread");
        assert!(
            !seen.is_empty() && seen.iter().all(|&(_, mib)| mib > 0.1),
            "{seen:?}"
        );
        assert_eq!(Watch::start(vec![]).seen().expect("a thread"), []);
    }
}

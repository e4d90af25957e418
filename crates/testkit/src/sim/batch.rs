//! Many simulations, one seed after the other, on a few threads: until so much time has been
//! simulated, or one fails.

use super::run::{Plan, RunReport, simulate};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Simulates seeds from `from` on until `simulated` has passed in all, and reports each outcome as
/// it comes; stops early at a broken invariant. Returns the time simulated.
pub fn simulate_many(
    from: u64,
    simulated: Duration,
    threads: usize,
    plan: &Plan,
    report: impl FnMut(&RunReport) + Send,
) -> Duration {
    let next = AtomicU64::new(from);
    let over = AtomicBool::new(false);
    let done = Mutex::new((Duration::ZERO, report));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let outcome = simulate(next.fetch_add(1, Ordering::AcqRel), plan);
                    let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    let (total, report) = &mut *done;
                    *total += outcome.simulated;
                    report(&outcome);
                    if outcome.broken.is_some() || *total >= simulated {
                        over.store(true, Ordering::Release);
                    }
                }
            });
        }
    });
    done.into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .0
}

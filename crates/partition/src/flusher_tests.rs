//! The flusher with partitions that take their time.

use super::*;
use crate::flushable::{Pass, Turn};
use gnomon_storage::LogError;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

/// Takes a while for each pass, and sees whether two overlap.
#[derive(Default)]
struct Slow {
    turn: Turn,
    passes: AtomicUsize,
    inside: AtomicUsize,
    wanted: AtomicUsize,
    covered: AtomicUsize,
}

impl Flushable for Slow {
    /// All there is to do is done here: nothing is left to sync.
    fn begin_pass(&self) -> Option<Pass> {
        assert_eq!(
            self.inside.fetch_add(1, Ordering::SeqCst),
            0,
            "one pass at a time"
        );
        let wanted = self.wanted.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(2));
        self.covered.store(wanted, Ordering::SeqCst);
        self.passes.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        None
    }

    fn end_pass(&self, _: Pass, _: Result<(), LogError>) {}

    fn turn(&self) -> &Turn {
        &self.turn
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "threads of a test are waited for"
)]
fn covered(slow: &Slow, wanted: usize) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if slow.covered.load(Ordering::SeqCst) >= wanted {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

#[test]
fn many_asks_few_passes_and_none_is_missed() {
    let flusher = Flusher::start(Blocking::Pool { threads: 3 }).unwrap();
    let slow = Arc::new(Slow::default());
    for _ in 0..500 {
        slow.wanted.fetch_add(1, Ordering::SeqCst);
        flusher.submit(&(slow.clone() as Arc<dyn Flushable>), true);
    }
    assert!(covered(&slow, 500));
    let passes = slow.passes.load(Ordering::SeqCst);
    assert!(passes < 100, "{passes} passes for 500 asks");
    slow.wanted.fetch_add(1, Ordering::SeqCst);
    flusher.submit(&(slow.clone() as Arc<dyn Flushable>), false);
    assert!(covered(&slow, 501), "what nobody waits for goes too");
}

#[tokio::test(start_paused = true)]
async fn inline_the_same() {
    let flusher = Flusher::start(Blocking::Inline {
        flush: Duration::ZERO,
    })
    .unwrap();
    let slow = Arc::new(Slow::default());
    for wanted in 1..=10 {
        slow.wanted.store(wanted, Ordering::SeqCst);
        flusher.submit(&(slow.clone() as Arc<dyn Flushable>), wanted == 10);
    }
    assert_eq!(slow.covered.load(Ordering::SeqCst), 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(slow.covered.load(Ordering::SeqCst), 10);
    assert_eq!(slow.passes.load(Ordering::SeqCst), 1);
    assert_eq!(flusher.run(|| 7).await.unwrap(), 7);
}

//! Yielding: a request may name a million elements, and a thread serves many connections. A loop
//! over the elements of a request lets the other tasks of its thread run now and then.
//!
//! Not here: how much one element costs. A loop whose elements cost more counts them as several.

use crate::config::limits::YIELD_EVERY;
use std::{collections::HashSet, hash::Hash};

/// Counts the elements that one request has been through.
#[derive(Default)]
pub struct Pace(usize);

impl Pace {
    /// One more element.
    pub async fn step(&mut self) {
        self.steps(1).await;
    }

    /// Work of as many elements.
    pub async fn steps(&mut self, count: usize) {
        self.0 += count;
        if self.0 < YIELD_EVERY {
            return;
        }
        self.0 = 0;
        // A planted bug.
        gnomon_failpoints::fail_point!("never_yield", |_| ());
        tokio::task::yield_now().await;
    }
}

/// Each once, in order, told apart by `key`. Where a few bytes of a request stand for a large part
/// of the answer, a name that comes a million times must not be answered a million times; no client
/// repeats one.
pub async fn distinct<T, K: Eq + Hash>(
    asked: impl IntoIterator<Item = T>,
    pace: &mut Pace,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut seen = HashSet::new();
    let mut once = Vec::new();
    for one in asked {
        pace.step().await;
        if seen.insert(key(&one)) {
            once.push(one);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        cell::Cell,
        task::{Context, Poll, Waker},
    };

    #[test]
    fn a_long_loop_yields_once_for_so_many_elements() {
        let elements = Cell::new(0);
        let work = async {
            let mut pace = Pace::default();
            let all = distinct(0..10 * YIELD_EVERY, &mut pace, |one| {
                elements.set(elements.get() + 1);
                one % 1_000
            });
            all.await.len()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let _inside = runtime.enter();
        let mut work = std::pin::pin!(work);
        let mut context = Context::from_waker(Waker::noop());
        let mut before = 0;
        loop {
            let polled = work.as_mut().poll(&mut context);
            let run = elements.get() - before;
            before = elements.get();
            assert!(run <= YIELD_EVERY, "{run} elements without a yield");
            if let Poll::Ready(count) = polled {
                break assert_eq!(count, 1_000);
            }
        }
    }
}

//! Deadlines inside a machine, in order of time.
//!
//! Each key has at most one deadline; setting it again moves it. Deadlines of the same moment come
//! out in the order of their keys, so that a run can be repeated exactly. Not here: a clock, or
//! anything that sleeps: the driver calls [`Timers::next`] and ticks the machine then.

use crate::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Deadlines by key. A machine keeps one of these in its `Soft`.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Mono>,
    by_time: BTreeSet<(Mono, K)>,
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets the key's deadline, in place of the one it had.
    pub fn set(&mut self, key: K, at: Mono) {
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Takes the key's deadline out; does nothing if it has none.
    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    pub fn get(&self, key: &K) -> Option<Mono> {
        self.by_key.get(key).copied()
    }

    /// The earliest deadline: the answer to `Machine::deadline`.
    pub fn next(&self) -> Option<Mono> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline that has passed (at or before `now`) out, and returns its key.
    /// Called until it returns `None`.
    pub fn pop_due(&mut self, now: Mono) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// The keys that have a deadline, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.by_key.keys()
    }

    /// How many deadlines are set.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_of_time_then_key() {
        let mut timers = Timers::default();
        timers.set("b", Mono(5));
        timers.set("a", Mono(5));
        timers.set("c", Mono(1));
        assert_eq!(timers.next(), Some(Mono(1)));
        assert_eq!(timers.pop_due(Mono(0)), None);
        assert_eq!(timers.pop_due(Mono(5)), Some("c"));
        assert_eq!(timers.pop_due(Mono(5)), Some("a"));
        assert_eq!(timers.pop_due(Mono(5)), Some("b"));
        assert_eq!(timers.pop_due(Mono(5)), None);
    }

    #[test]
    fn setting_again_moves_and_cancelling_forgets() {
        let mut timers = Timers::default();
        timers.set("a", Mono(1));
        timers.set("a", Mono(9));
        assert_eq!(
            (timers.len(), timers.next(), timers.get(&"a")),
            (1, Some(Mono(9)), Some(Mono(9)))
        );
        timers.cancel(&"a");
        assert!(timers.is_empty());
        assert_eq!(timers.next(), None);
    }

    /// A list that is searched from one end to the other each time is slow and plainly right.
    #[test]
    fn timers_do_what_a_plain_list_does() {
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        let (mut timers, mut list, mut popped) = (Timers::default(), Vec::new(), 0);
        for now in 0..20_000 {
            let key = below(40);
            match below(4) {
                0 | 1 => {
                    let at = Mono(now + below(60));
                    list.retain(|(_, of)| *of != key);
                    list.push((at, key));
                    timers.set(key, at);
                }
                2 => {
                    list.retain(|(_, of)| *of != key);
                    timers.cancel(&key);
                }
                _ => {
                    let due = list.iter().min().copied().filter(|(at, _)| at.0 <= now);
                    list.retain(|entry| Some(*entry) != due);
                    assert_eq!(timers.pop_due(Mono(now)), due.map(|(_, key)| key));
                    popped += u32::from(due.is_some());
                }
            }
            assert_eq!(timers.next(), list.iter().min().map(|(at, _)| *at));
            assert_eq!(timers.len(), list.len());
            assert_eq!(timers.keys().count(), list.len());
        }
        assert!(popped > 1_000, "{popped}");
    }
}

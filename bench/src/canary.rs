//! The speed of the machine itself at this moment, and whether it is the machine that the absolute
//! limits were set on.
//!
//! Invariant: figures of a block stand only between two readings that agree. Pure judgement is
//! here; how each bird is made to sing is in `birds`.

use serde::Serialize;
use std::collections::BTreeMap;

/// One property of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bird {
    /// Copying memory on one core, GiB/s.
    Memcpy,
    /// One loopback TCP stream in writes of 128 KiB, GB/s.
    Loopback,
    /// Loopback TCP round trip of one byte, median, ms.
    RoundTrip,
    /// Writing a file over pages that were just touched, GB/s.
    Write,
    /// fdatasync after 4 KiB, median, ms.
    Sync,
    /// The same at the 99th percentile.
    SyncP99,
    /// First touch of anonymous memory, CPU-s/GB.
    FirstTouch,
}

/// All of them, as tables list them.
pub const ALL: [Bird; 7] = [
    Bird::Memcpy,
    Bird::Loopback,
    Bird::RoundTrip,
    Bird::Write,
    Bird::Sync,
    Bird::SyncP99,
    Bird::FirstTouch,
];

impl Bird {
    /// The name, with its unit.
    pub fn name(self) -> &'static str {
        match self {
            Bird::Memcpy => "memcpy GiB/s",
            Bird::Loopback => "loopback GB/s",
            Bird::RoundTrip => "round trip p50 ms",
            Bird::Write => "buffered write GB/s",
            Bird::Sync => "fdatasync p50 ms",
            Bird::SyncP99 => "fdatasync p99 ms",
            Bird::FirstTouch => "first touch CPU-s/GB",
        }
    }

    /// Between two readings this factor, in either direction, says that something else was using
    /// the machine. `None`: it jumps on a quiet machine too. A rare slow sync moves the 99th
    /// percentile of a few hundred; first touch is cheap or dear depending on what was freed a
    /// moment ago (which is why runs are warmed).
    fn moved_times(self) -> Option<f64> {
        match self {
            Bird::Memcpy => Some(1.3),
            Bird::Loopback | Bird::RoundTrip => Some(1.6),
            Bird::Write => Some(1.8),
            Bird::Sync => Some(2.0),
            Bird::SyncP99 | Bird::FirstTouch => None,
        }
    }

    /// Where absolute limits hold: the class of machine that they were set on (2 cores, 24 GiB).
    /// The slow ends are its figures with a fifth of room; the fast ends are wide, because where
    /// the scheduler puts two threads alone makes a factor of several.
    fn range(self) -> Option<(f64, f64)> {
        match self {
            Bird::Memcpy => Some((9.0, 16.0)),
            Bird::Loopback => Some((1.6, 4.0)),
            Bird::RoundTrip => Some((0.005, 0.1)),
            Bird::Sync => Some((0.1, 0.35)),
            Bird::SyncP99 => Some((0.2, 1.5)),
            Bird::Write | Bird::FirstTouch => None,
        }
    }
}

/// All birds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Reading(pub BTreeMap<Bird, f64>);

impl Reading {
    pub fn get(&self, bird: Bird) -> Option<f64> {
        self.0.get(&bird).copied()
    }

    /// Each bird's mean over readings.
    pub fn mean(readings: &[&Reading]) -> Reading {
        let of = |bird| {
            let values: Vec<f64> = readings
                .iter()
                .filter_map(|reading| reading.get(bird))
                .collect();
            (!values.is_empty()).then(|| (bird, values.iter().sum::<f64>() / values.len() as f64))
        };
        Reading(ALL.into_iter().filter_map(of).collect())
    }

    /// On one line; those outside of the ranges in which absolute limits hold are marked.
    pub fn line(&self) -> String {
        let said = self.0.iter().map(|(&bird, &value)| {
            let strange = outside(bird, value).map_or(String::new(), |(low, high)| {
                format!(" (outside {low}-{high})")
            });
            format!("{} {value:.2}{strange}", bird.name())
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// Whether this is not the class of machine that absolute limits were set on.
    pub fn is_strange(&self) -> bool {
        self.0
            .iter()
            .any(|(&bird, &value)| outside(bird, value).is_some())
    }
}

/// The range that a value is outside of.
fn outside(bird: Bird, value: f64) -> Option<(f64, f64)> {
    bird.range()
        .filter(|&(low, high)| value < low || value > high)
}

/// Why what was measured between two readings says more about the machine's other work than about
/// brokers; `None`: it does not.
pub fn moved(before: &Reading, after: &Reading) -> Option<String> {
    let moves = before.0.iter().filter_map(|(&bird, &before)| {
        let (after, times) = (after.get(bird)?, bird.moved_times()?);
        let factor = before.max(after) / before.min(after);
        // A reading of nothing is a factor that is no number.
        (factor.is_nan() || factor >= times)
            .then(|| format!("{} {before:.2} -> {after:.2}", bird.name()))
    });
    let moves: Vec<String> = moves.collect();
    (!moves.is_empty()).then(|| moves.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(values: &[(Bird, f64)]) -> Reading {
        Reading(values.iter().copied().collect())
    }

    #[test]
    fn a_canary_that_moved_is_said_in_both_directions() {
        let (quiet, busy) = (
            reading(&[(Bird::Sync, 0.28), (Bird::Memcpy, 10.0)]),
            reading(&[(Bird::Sync, 3.9), (Bird::Memcpy, 9.0)]),
        );
        assert_eq!(moved(&quiet, &quiet), None);
        for moved in [moved(&quiet, &busy), moved(&busy, &quiet)] {
            let why = moved.expect("it moved");
            assert!(
                why.contains("fdatasync p50") && !why.contains("memcpy"),
                "{why}"
            );
        }
    }

    #[test]
    fn what_jumps_on_a_quiet_machine_judges_nothing() {
        assert_eq!(
            moved(
                &reading(&[(Bird::FirstTouch, 2.3)]),
                &reading(&[(Bird::FirstTouch, 0.2)])
            ),
            None
        );
    }

    #[test]
    fn a_reading_of_nothing_has_moved() {
        assert!(
            moved(
                &reading(&[(Bird::Write, 0.0)]),
                &reading(&[(Bird::Write, 0.0)])
            )
            .is_some()
        );
    }

    #[test]
    fn absolute_limits_hold_on_their_class_of_machine_only() {
        assert!(
            !reading(&[
                (Bird::Memcpy, 10.5),
                (Bird::Sync, 0.28),
                (Bird::Write, 99.0)
            ])
            .is_strange()
        );
        let strange = reading(&[(Bird::Memcpy, 25.0), (Bird::Sync, 0.28)]);
        assert!(strange.is_strange());
        assert_eq!(
            strange.line(),
            "memcpy GiB/s 25.00 (outside 9-16), fdatasync p50 ms 0.28"
        );
    }

    #[test]
    fn means_are_bird_by_bird() {
        let (one, two) = (
            reading(&[(Bird::Sync, 0.2), (Bird::Memcpy, 10.0)]),
            reading(&[(Bird::Sync, 0.4)]),
        );
        let mean = Reading::mean(&[&one, &two]);
        assert!((mean.get(Bird::Sync).expect("two") - 0.3).abs() < 1e-9);
        assert_eq!(
            (mean.get(Bird::Memcpy), mean.get(Bird::Write)),
            (Some(10.0), None)
        );
    }
}

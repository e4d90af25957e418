//! How far a long run is, on standard error: what is measured now, and about how long the rest
//! takes.

use std::time::{Duration, Instant};

/// Steps with rough times that the steps so far correct.
pub struct Progress {
    steps: usize,
    done: usize,
    /// As was guessed before: of all steps, and of those done.
    guessed: f64,
    guessed_done: f64,
    start: Instant,
}

impl Progress {
    /// A run of so many steps, which may take so many seconds together.
    pub fn new(steps: usize, seconds: f64) -> Progress {
        Progress {
            steps,
            done: 0,
            guessed: seconds,
            guessed_done: 0.0,
            start: Instant::now(),
        }
    }

    /// Says that a step begins.
    pub fn begin(&self, what: &str) {
        let left = time_left(self.guessed, self.guessed_done, self.start.elapsed());
        eprintln!(
            "[{}/{}, {} left] {what}",
            self.done + 1,
            self.steps,
            in_words(left)
        );
    }

    /// Says how a step went.
    pub fn end(&mut self, seconds: f64, outcome: &str) {
        self.done += 1;
        self.guessed_done += seconds;
        eprintln!("    {outcome}");
    }

    /// A block was thrown away and is run once more.
    pub fn more(&mut self, steps: usize, seconds: f64) {
        self.steps += steps;
        self.guessed += seconds;
    }
}

/// The rest of the guess, as wrong as the guess has been so far.
fn time_left(guessed: f64, guessed_done: f64, took: Duration) -> Duration {
    let factor = if guessed_done > 0.0 {
        took.as_secs_f64() / guessed_done
    } else {
        1.0
    };
    Duration::from_secs_f64(((guessed - guessed_done) * factor).max(0.0))
}

fn in_words(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..=89 => format!("{seconds} s"),
        seconds @ 90..=5399 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_the_guess_was_wrong() {
        assert_eq!(
            time_left(100.0, 0.0, Duration::from_secs(3)),
            Duration::from_secs(100)
        );
        assert_eq!(
            time_left(100.0, 50.0, Duration::from_secs(75)),
            Duration::from_secs(75)
        );
        assert_eq!(
            time_left(100.0, 120.0, Duration::from_secs(75)),
            Duration::ZERO
        );
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let said = [5, 89, 90, 600, 7200].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(said, ["5 s", "89 s", "2 min", "10 min", "2.0 h"]);
    }
}

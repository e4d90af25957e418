//! The story of a simulation: a line for everything that anybody was told. Two runs of one seed
//! have the same story, and so the same sum.

use super::log::sum;
use std::{collections::VecDeque, time::Duration};

/// Lines that are kept for the end of a run that fails.
const KEPT: usize = 60;

/// The lines so far.
#[derive(Debug, Default)]
pub struct Trace {
    sum: u64,
    lines: u64,
    last: VecDeque<String>,
    /// No more lines are kept.
    ended: bool,
    /// Whether every line is printed as it comes.
    pub aloud: bool,
}

impl Trace {
    /// One more line.
    pub fn line(&mut self, at: Duration, who: &str, what: &str) {
        let line = format!("{:>9.3} {who}: {what}", at.as_secs_f64());
        self.sum = self.sum.rotate_left(5) ^ sum(line.as_bytes());
        self.lines += 1;
        if self.aloud {
            println!("{line}");
        }
        if self.ended {
            return;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Later events do not matter to a reader of the last lines.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The checksum of all lines.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The last ones.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

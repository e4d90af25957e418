//! L7, R9, R12: what a group committed, what it is told it has committed, and what came along when
//! it moved.

use super::{Check, unless};
use gnomon_protocol::ids::Offset;

/// A commit that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The number among all commits of a simulation, in the order in which they were sent.
    pub number: u64,
    /// The generation that it was sent in.
    pub generation: i32,
    /// The position.
    pub offset: Offset,
}

/// A group's commits on one partition at one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// The last one that was answered, or found written.
    pub acked: Option<Attempt>,
    /// Those that were not answered: any may have been written, or may still be.
    pub maybe: Vec<Attempt>,
    /// The highest that was ever tried.
    pub highest: Offset,
}

impl Commits {
    /// Whether an unanswered commit of this offset is under way or written.
    pub fn may_be(&self, offset: Offset) -> bool {
        self.maybe.iter().any(|attempt| attempt.offset == offset)
    }

    /// An attempt is answered well; perhaps later than a newer one.
    pub fn acked(&mut self, number: u64) {
        let Some(at) = self
            .maybe
            .iter()
            .position(|attempt| attempt.number == number)
        else {
            return;
        };
        let attempt = self.maybe.remove(at);
        if self.acked.is_none_or(|acked| acked.number < number) {
            self.acked = Some(attempt);
            // What was sent before on a connection that is given up may still be read by the site;
            // it is refused once its generation is over.
            self.maybe
                .retain(|other| other.generation >= attempt.generation || other.number > number);
        }
    }

    /// It was found written.
    pub fn found(&mut self, found: Option<Offset>) {
        if let Some(attempt) = self
            .maybe
            .iter()
            .rfind(|attempt| Some(attempt.offset) == found)
            && self.acked.map(|acked| acked.offset) != found
        {
            self.acked = Some(*attempt);
        }
    }
}

/// L7: a fetched offset is the last acknowledged commit, or one that was not answered.
pub fn l7_commit_stands(commits: &Commits, found: Option<Offset>) -> Check {
    let acked = commits.acked.map(|acked| acked.offset);
    let known = found == acked || found.is_some_and(|found| commits.may_be(found));
    unless(known, "L7", || {
        format!(
            "{found:?} is fetched, {acked:?} was committed last, {:?} may have been",
            commits.maybe
        )
    })
}

/// R9: a position that a link brought is within the log that it stands for.
pub fn r9_within_the_data(found: Offset, high_watermark: Offset) -> Check {
    unless(found <= high_watermark, "R9", || {
        format!("offset {found} is committed where the high watermark is {high_watermark}")
    })
}

/// R12: a group that moves to the other site begins where it had come to there, or before; never
/// after it.
pub fn r12_nothing_is_skipped(highest_at_source: Offset, found: Offset) -> Check {
    unless(found <= highest_at_source, "R12", || {
        format!(
            "offset {found} came along, and the group had committed {highest_at_source} at most"
        )
    })
}

/// R12: after a failover it begins at the cut at the latest: what is written there is new to it.
pub fn r12_not_behind_the_cut(found: Offset, cut: Offset) -> Check {
    unless(found <= cut, "R12", || {
        format!("offset {found} came along, and the log was cut at {cut}")
    })
}

/// R12: when all is well the position at the other site is the one that was committed last, as far
/// as the data reaches.
pub fn r12_nothing_is_repeated(
    at_source: Option<Offset>,
    found: Option<Offset>,
    log_start: Offset,
    high_watermark: Offset,
) -> Check {
    let expected = at_source.map(|offset| offset.min(high_watermark).max(log_start));
    unless(found == expected, "R12", || {
        format!("{at_source:?} is committed at the source, and {found:?} has come along")
    })
}

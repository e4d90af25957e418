//! L7, R9, R12: what a group committed, what it is told it has committed, and what came along when it moved.

use super::{Check, unless};
use gnomon_protocol::ids::Offset;

/// A group's commits on one partition at one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// The last one that was answered.
    pub acked: Option<Offset>,
    /// Those that were not, with their generation: any may have been written, or may still be.
    pub maybe: Vec<(i32, Offset)>,
    /// The highest that was ever tried.
    pub highest: Offset,
}

impl Commits {
    /// Whether an unanswered commit of this offset is under way or written.
    pub fn may_be(&self, offset: Offset) -> bool {
        self.maybe.iter().any(|(_, maybe)| *maybe == offset)
    }
}

/// L7: a fetched offset is the last acknowledged commit, or one behind it that was not answered.
pub fn l7_commit_stands(commits: &Commits, found: Option<Offset>) -> Check {
    let known = found == commits.acked || found.is_some_and(|found| commits.may_be(found));
    unless(known, "L7", || format!("{found:?} is fetched, {:?} was committed last, {:?} may have been", commits.acked, commits.maybe))
}

/// R9: a position that a link brought is within the log that it stands for.
pub fn r9_within_the_data(found: Offset, high_watermark: Offset) -> Check {
    unless(found <= high_watermark, "R9", || format!("offset {found} is committed where the high watermark is {high_watermark}"))
}

/// R12: a group that moves to the other site begins where it had come to there, or before; never behind it.
pub fn r12_nothing_is_skipped(at_source: &Commits, found: Offset) -> Check {
    unless(found <= at_source.highest, "R12", || {
        format!("offset {found} came along, and the group had committed {} at most", at_source.highest)
    })
}

/// R12: after a failover it begins at the cut at the latest: what is written there is new to it.
pub fn r12_not_behind_the_cut(found: Offset, cut: Offset) -> Check {
    unless(found <= cut, "R12", || format!("offset {found} came along, and the log was cut at {cut}"))
}

/// R12: when all is well the position at the other site is the one that was committed last, as far as the data reaches.
pub fn r12_nothing_is_repeated(at_source: Option<Offset>, found: Option<Offset>, log_start: Offset, high_watermark: Offset) -> Check {
    let expected = at_source.map(|offset| offset.min(high_watermark).max(log_start));
    unless(found == expected, "R12", || format!("{at_source:?} is committed at the source, and {found:?} has come along"))
}

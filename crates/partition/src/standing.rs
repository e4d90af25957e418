//! Where a reader stands: in the log, parted from it, outside of it, or ahead of a shadow. Pure.
//!
//! A shadow answers as the leader would whose log is our copy and, behind it, what the source still
//! has beyond our end. What that is only the source knows: until it has been heard on an ask
//! (`asked.rs`), a position beyond our end or of an epoch newer than what we copied is *not here
//! yet*. Invariants: the source's word never shortens what we have, and decides nothing that our
//! own copy can tell. Not here: the epoch that requests are fenced by (`role.rs`), reading
//! (`reader.rs`).

use crate::{
    asked::{About, Ask, Asked, SourceEpochEnd},
    epochs::{EpochEnd, EpochHistory},
    offsets::Offsets,
};
use gnomon_protocol::ids::{BatchEpoch, Offset};

/// Where a reader wants to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The next offset.
    pub offset: Offset,
    /// Epoch of the last batch that it has (KIP-595); [`BatchEpoch::NONE`] if it does not say.
    pub last_epoch: BatchEpoch,
}

impl Position {
    /// What of the source's log decides it, where the source has to.
    pub fn about(&self) -> About {
        if self.last_epoch < BatchEpoch(0) {
            About::End
        } else {
            About::Epoch(self.last_epoch)
        }
    }
}

/// Where that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the log, or at its end.
    Here,
    /// The reader's history parts from this one here: the largest epoch at or below its own, and
    /// where that ends.
    Diverging {
        /// That epoch.
        epoch: BatchEpoch,
        /// The first offset that is not its own.
        end: Offset,
    },
    /// Below the start, or beyond every end that the log has or will have.
    OutOfRange,
    /// The source may have it.
    NotYet,
}

/// What a position is judged by.
pub(crate) struct Log<'a> {
    pub(crate) offsets: Offsets,
    pub(crate) epochs: &'a EpochHistory,
    /// A shadow: the source may add to it.
    pub(crate) awaits_source: bool,
    pub(crate) asked: &'a Asked,
}

impl Log<'_> {
    /// Judges a position; `ask` is the reader's, if it has asked.
    pub(crate) fn standing(&self, position: Position, ask: Option<Ask>) -> Standing {
        let (offset, end) = (position.offset, self.offsets.end);
        if position.last_epoch >= BatchEpoch(0) {
            match self.epoch_end(position.last_epoch, ask) {
                EpochEnd::Known { epoch, end } if epoch < position.last_epoch || end < offset => {
                    return Standing::Diverging { epoch, end };
                }
                // Of an end beyond ours the source has told: it has this position.
                EpochEnd::Known { .. } | EpochEnd::Open { .. } if offset > end => {
                    return Standing::NotYet;
                }
                EpochEnd::Known { .. } | EpochEnd::Open { .. } => {}
                EpochEnd::NotYet => return Standing::NotYet,
                EpochEnd::Unknown => return Standing::OutOfRange,
            }
        }
        if (self.offsets.log_start..=end).contains(&offset) {
            return Standing::Here;
        }
        let source_end = ask.and_then(|ask| self.asked.end(ask));
        let may_come =
            self.awaits_source && source_end.is_none_or(|source_end| offset <= source_end);
        if offset > end && may_come {
            Standing::NotYet
        } else {
            Standing::OutOfRange
        }
    }

    /// Where an epoch ends; `ask` is the reader's, if it has asked.
    pub(crate) fn epoch_end(&self, requested: BatchEpoch, ask: Option<Ask>) -> EpochEnd {
        let ours = self
            .epochs
            .end_for(requested, self.offsets.end, self.awaits_source);
        match ours {
            EpochEnd::Known { .. } | EpochEnd::Unknown => ours,
            EpochEnd::Open { .. } | EpochEnd::NotYet => ask
                .and_then(|ask| self.asked.epoch_end(requested, ask))
                .map_or(ours, |there| self.continued(requested, there)),
        }
    }

    /// Our history, and behind it the source's, of which `there` is its word on `requested`.
    fn continued(&self, requested: BatchEpoch, there: SourceEpochEnd) -> EpochEnd {
        let (newest, end) = (self.epochs.latest(), self.offsets.end);
        if there.epoch >= newest && there.epoch >= BatchEpoch(0) {
            return EpochEnd::Known {
                epoch: there.epoch,
                end: there.end.max(end),
            };
        }
        // The source names nothing as new as what we have: our copy is all there is.
        let names_an_older_one = there.epoch >= BatchEpoch(0);
        if newest >= BatchEpoch(0) && (requested == newest || names_an_older_one) {
            EpochEnd::Known { epoch: newest, end }
        } else {
            EpochEnd::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asked::SourceWord;

    /// A shadow with offsets 5 to 20: epoch 1 from 5, epoch 3 from 10. The source was asked once,
    /// and said this.
    struct Shadow {
        epochs: EpochHistory,
        asked: Asked,
        ask: Ask,
    }

    const OFFSETS: Offsets = Offsets {
        log_start: 5,
        last_stable: 20,
        high_watermark: 20,
        end: 20,
        flushed: 20,
    };

    fn at(offset: Offset, epoch: i32) -> Position {
        Position {
            offset,
            last_epoch: BatchEpoch(epoch),
        }
    }

    fn asked(about: About, high_watermark: Offset, epoch_end: Option<(i32, Offset)>) -> Shadow {
        let mut asked = Asked::default();
        let ask = asked.ask(about, None);
        let epoch_end = epoch_end.map(|(epoch, end)| SourceEpochEnd {
            epoch: BatchEpoch(epoch),
            end,
        });
        asked.said(
            asked.question().expect("it was asked"),
            SourceWord {
                high_watermark,
                epoch_end,
            },
        );
        Shadow {
            epochs: EpochHistory::from_entries(vec![(BatchEpoch(1), 5), (BatchEpoch(3), 10)]),
            asked,
            ask,
        }
    }

    impl Shadow {
        fn log(&self) -> Log<'_> {
            Log {
                offsets: OFFSETS,
                epochs: &self.epochs,
                awaits_source: true,
                asked: &self.asked,
            }
        }
    }

    fn diverging(epoch: i32, end: Offset) -> Standing {
        Standing::Diverging {
            epoch: BatchEpoch(epoch),
            end,
        }
    }

    #[test]
    fn what_our_copy_can_tell_needs_no_word() {
        let shadow = asked(About::End, 0, None);
        let rows = [
            (at(5, -1), Standing::Here),
            (at(20, -1), Standing::Here),
            (at(20, 3), Standing::Here),
            (at(4, -1), Standing::OutOfRange),
            (at(10, 1), Standing::Here),
            (at(11, 1), diverging(1, 10)),
            (at(12, 2), diverging(1, 10)),
        ];
        for (position, expected) in rows {
            for ask in [None, Some(shadow.ask)] {
                assert_eq!(
                    shadow.log().standing(position, ask),
                    expected,
                    "{position:?}"
                );
            }
        }
    }

    #[test]
    fn what_only_the_source_can_tell_is_not_here_yet_without_its_word() {
        let shadow = asked(About::End, 100, None);
        for position in [
            at(21, -1),
            at(1_000_000_000, -1),
            at(21, 3),
            at(15, 4),
            at(30, 4),
        ] {
            assert_eq!(
                shadow.log().standing(position, None),
                Standing::NotYet,
                "{position:?}"
            );
        }
        assert_eq!(
            shadow.log().epoch_end(BatchEpoch(3), None),
            EpochEnd::Open {
                epoch: BatchEpoch(3)
            }
        );
        assert_eq!(
            shadow.log().epoch_end(BatchEpoch(4), None),
            EpochEnd::NotYet
        );
    }

    #[test]
    fn a_position_without_an_epoch_is_decided_by_the_sources_end() {
        // the source's high watermark, position, standing
        let rows = [
            (30, 30, Standing::NotYet),
            (30, 31, Standing::OutOfRange),
            (20, 21, Standing::OutOfRange),
            (12, 20, Standing::Here),
            (12, 21, Standing::OutOfRange),
        ];
        for (source, offset, expected) in rows {
            let shadow = asked(About::End, source, None);
            assert_eq!(
                shadow.log().standing(at(offset, -1), Some(shadow.ask)),
                expected,
                "source {source}, position {offset}"
            );
        }
    }

    #[test]
    fn a_position_with_an_epoch_is_decided_by_that_epochs_end() {
        // what the source says of the epoch, the position, standing
        let rows = [
            ((3, 40), at(40, 3), Standing::NotYet),
            ((3, 40), at(41, 3), diverging(3, 40)),
            ((3, 12), at(21, 3), diverging(3, 20)),
            ((1, 10), at(21, 3), diverging(3, 20)),
            ((-1, -1), at(21, 3), diverging(3, 20)),
            ((4, 40), at(30, 4), Standing::NotYet),
            ((4, 40), at(41, 4), diverging(4, 40)),
            ((4, 40), at(30, 5), diverging(4, 40)),
            ((3, 25), at(30, 4), diverging(3, 25)),
            ((1, 10), at(30, 4), diverging(3, 20)),
            ((-1, -1), at(30, 4), Standing::OutOfRange),
        ];
        for (there, position, expected) in rows {
            // A high watermark that lags behind after an election decides nothing here (KIP-207).
            let shadow = asked(position.about(), 0, Some(there));
            assert_eq!(
                shadow.log().standing(position, Some(shadow.ask)),
                expected,
                "the source says {there:?} to {position:?}"
            );
        }
    }

    #[test]
    fn the_end_of_an_epoch_is_the_sources_where_it_goes_beyond_our_copy() {
        let known = |epoch, end| EpochEnd::Known {
            epoch: BatchEpoch(epoch),
            end,
        };
        // requested, what the source says, the answer
        let rows = [
            (3, (3, 40), known(3, 40)),
            (3, (3, 12), known(3, 20)),
            (4, (4, 40), known(4, 40)),
            (7, (4, 40), known(4, 40)),
            (4, (3, 25), known(3, 25)),
            (4, (1, 10), known(3, 20)),
            (4, (-1, -1), EpochEnd::Unknown),
        ];
        for (requested, there, expected) in rows {
            let shadow = asked(About::Epoch(BatchEpoch(requested)), 0, Some(there));
            assert_eq!(
                shadow
                    .log()
                    .epoch_end(BatchEpoch(requested), Some(shadow.ask)),
                expected,
                "{requested}: the source says {there:?}"
            );
        }
    }

    #[test]
    fn an_empty_shadow_has_what_its_source_has() {
        let mut shadow = asked(About::Epoch(BatchEpoch(2)), 8, Some((2, 8)));
        shadow.epochs = EpochHistory::default();
        let log = Log {
            offsets: Offsets::default(),
            ..shadow.log()
        };
        assert_eq!(log.standing(at(8, 2), Some(shadow.ask)), Standing::NotYet);
        assert_eq!(log.standing(at(9, 2), Some(shadow.ask)), diverging(2, 8));
        assert_eq!(log.standing(at(0, -1), None), Standing::Here);
    }

    #[test]
    fn a_log_of_our_own_asks_nobody() {
        let shadow = asked(About::End, 100, None);
        let own = Log {
            awaits_source: false,
            ..shadow.log()
        };
        assert_eq!(
            own.standing(at(21, -1), Some(shadow.ask)),
            Standing::OutOfRange
        );
        assert_eq!(own.standing(at(21, 3), None), diverging(3, 20));
        assert_eq!(own.standing(at(15, 4), None), Standing::OutOfRange);
    }
}

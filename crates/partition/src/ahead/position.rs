//! The state of a position that our own copy leaves open (`crate::position`), with the source's
//! answers. Pure.
//!
//! Invariants: the source's answer never shortens our copy, and decides nothing that our own copy
//! can tell. Until the source has answered the reader's query (`queries.rs`), a position beyond our
//! end, or of an epoch newer than the copied ones, is *not here yet*. Not here: the epoch that
//! requests are fenced by (`role.rs`), and reading (`reader.rs`).

use super::queries::{QueryId, QuerySubject, QueryTable, SourceEpochEnd};
use crate::{
    epochs::{EpochEnd, EpochHistory},
    offsets::Offsets,
    position::{Position, PositionState},
};
use gnomon_protocol::ids::BatchEpoch;

impl Position {
    /// The part of the source's log that decides the position when our copy cannot.
    pub fn subject(&self) -> QuerySubject {
        if self.names_epoch() {
            QuerySubject::Epoch(self.last_epoch)
        } else {
            QuerySubject::End
        }
    }
}

/// The log that a position is compared with.
pub(crate) struct PositionedLog<'a> {
    pub(crate) offsets: Offsets,
    pub(crate) epochs: &'a EpochHistory,
    /// Whether this is a shadow, to which the source may add.
    pub(crate) awaits_source: bool,
    pub(crate) queries: &'a QueryTable,
}

impl PositionedLog<'_> {
    /// Decides the state of a position; `query` is the reader's, if it has opened one.
    pub(crate) fn position_state(
        &self,
        position: Position,
        query: Option<QueryId>,
    ) -> PositionState {
        let epoch_end = position
            .names_epoch()
            .then(|| self.epoch_end(position.last_epoch, query));
        let source_end = query.and_then(|query| self.queries.end(query));
        let may_come =
            self.awaits_source && source_end.is_none_or(|source_end| position.offset <= source_end);
        position.state(self.offsets, epoch_end, may_come)
    }

    /// Where an epoch ends; `query` is the reader's, if it has opened one.
    pub(crate) fn epoch_end(&self, requested: BatchEpoch, query: Option<QueryId>) -> EpochEnd {
        let ours = self
            .epochs
            .end_for(requested, self.offsets.end, self.awaits_source);
        match ours {
            EpochEnd::Known { .. } | EpochEnd::Unknown => ours,
            EpochEnd::Open { .. } | EpochEnd::NotYet => query
                .and_then(|query| self.queries.epoch_end(requested, query))
                .map_or(ours, |there| self.continued(requested, there)),
        }
    }

    /// The end of `requested` in our history followed by the source's; `there` is its answer.
    fn continued(&self, requested: BatchEpoch, there: SourceEpochEnd) -> EpochEnd {
        let (newest, end) = (self.epochs.latest(), self.offsets.end);
        if there.epoch >= newest && there.epoch >= BatchEpoch(0) {
            return EpochEnd::Known {
                epoch: there.epoch,
                end: there.end.max(end),
            };
        }
        // The source has no epoch as new as our newest: nothing follows our copy.
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
    use super::super::queries::SourceAnswer;
    use super::*;
    use gnomon_protocol::ids::Offset;

    /// A shadow with offsets 5 to 20: epoch 1 from 5, epoch 3 from 10. The source was asked once,
    /// and said this.
    struct Shadow {
        epochs: EpochHistory,
        queries: QueryTable,
        query: QueryId,
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

    fn shadow(
        subject: QuerySubject,
        high_watermark: Offset,
        epoch_end: Option<(i32, Offset)>,
    ) -> Shadow {
        let mut queries = QueryTable::default();
        let query = queries.open(subject, None);
        let epoch_end = epoch_end.map(|(epoch, end)| SourceEpochEnd {
            epoch: BatchEpoch(epoch),
            end,
        });
        queries.answered(
            queries.source_query().expect("it was asked"),
            SourceAnswer {
                high_watermark,
                epoch_end,
            },
        );
        Shadow {
            epochs: EpochHistory::from_entries(vec![(BatchEpoch(1), 5), (BatchEpoch(3), 10)]),
            queries,
            query,
        }
    }

    impl Shadow {
        fn log(&self) -> PositionedLog<'_> {
            PositionedLog {
                offsets: OFFSETS,
                epochs: &self.epochs,
                awaits_source: true,
                queries: &self.queries,
            }
        }
    }

    fn diverging(epoch: i32, end: Offset) -> PositionState {
        PositionState::Diverging {
            epoch: BatchEpoch(epoch),
            end,
        }
    }

    #[test]
    fn a_position_that_our_copy_decides_needs_no_answer() {
        let shadow = shadow(QuerySubject::End, 0, None);
        let rows = [
            (at(5, -1), PositionState::Here),
            (at(20, -1), PositionState::Here),
            (at(20, 3), PositionState::Here),
            (at(4, -1), PositionState::OutOfRange),
            (at(10, 1), PositionState::Here),
            (at(11, 1), diverging(1, 10)),
            (at(12, 2), diverging(1, 10)),
        ];
        for (position, expected) in rows {
            for query in [None, Some(shadow.query)] {
                assert_eq!(
                    shadow.log().position_state(position, query),
                    expected,
                    "{position:?}"
                );
            }
        }
    }

    #[test]
    fn a_position_that_only_the_source_decides_is_not_here_yet_without_its_answer() {
        let shadow = shadow(QuerySubject::End, 100, None);
        for position in [
            at(21, -1),
            at(1_000_000_000, -1),
            at(21, 3),
            at(15, 4),
            at(30, 4),
        ] {
            assert_eq!(
                shadow.log().position_state(position, None),
                PositionState::NotYet,
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
        // the source's high watermark, position, state
        let rows = [
            (30, 30, PositionState::NotYet),
            (30, 31, PositionState::OutOfRange),
            (20, 21, PositionState::OutOfRange),
            (12, 20, PositionState::Here),
            (12, 21, PositionState::OutOfRange),
        ];
        for (source, offset, expected) in rows {
            let shadow = shadow(QuerySubject::End, source, None);
            assert_eq!(
                shadow
                    .log()
                    .position_state(at(offset, -1), Some(shadow.query)),
                expected,
                "source {source}, position {offset}"
            );
        }
    }

    #[test]
    fn a_position_with_an_epoch_is_decided_by_that_epochs_end() {
        // what the source says of the epoch, the position, state
        let rows = [
            ((3, 40), at(40, 3), PositionState::NotYet),
            ((3, 40), at(41, 3), diverging(3, 40)),
            ((3, 12), at(21, 3), diverging(3, 20)),
            ((1, 10), at(21, 3), diverging(3, 20)),
            ((-1, -1), at(21, 3), diverging(3, 20)),
            ((4, 40), at(30, 4), PositionState::NotYet),
            ((4, 40), at(41, 4), diverging(4, 40)),
            ((4, 40), at(30, 5), diverging(4, 40)),
            ((3, 25), at(30, 4), diverging(3, 25)),
            ((1, 10), at(30, 4), diverging(3, 20)),
            ((-1, -1), at(30, 4), PositionState::OutOfRange),
        ];
        for (there, position, expected) in rows {
            // A high watermark that lags behind after an election decides nothing here (KIP-207).
            let shadow = shadow(position.subject(), 0, Some(there));
            assert_eq!(
                shadow.log().position_state(position, Some(shadow.query)),
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
            let shadow = shadow(QuerySubject::Epoch(BatchEpoch(requested)), 0, Some(there));
            assert_eq!(
                shadow
                    .log()
                    .epoch_end(BatchEpoch(requested), Some(shadow.query)),
                expected,
                "{requested}: the source says {there:?}"
            );
        }
    }

    #[test]
    fn an_empty_shadow_has_what_its_source_has() {
        let mut shadow = shadow(QuerySubject::Epoch(BatchEpoch(2)), 8, Some((2, 8)));
        shadow.epochs = EpochHistory::default();
        let log = PositionedLog {
            offsets: Offsets::default(),
            ..shadow.log()
        };
        assert_eq!(
            log.position_state(at(8, 2), Some(shadow.query)),
            PositionState::NotYet
        );
        assert_eq!(
            log.position_state(at(9, 2), Some(shadow.query)),
            diverging(2, 8)
        );
        assert_eq!(log.position_state(at(0, -1), None), PositionState::Here);
    }

    #[test]
    fn a_log_of_our_own_asks_nobody() {
        let shadow = shadow(QuerySubject::End, 100, None);
        let own = PositionedLog {
            awaits_source: false,
            ..shadow.log()
        };
        assert_eq!(
            own.position_state(at(21, -1), Some(shadow.query)),
            PositionState::OutOfRange
        );
        assert_eq!(own.position_state(at(21, 3), None), diverging(3, 20));
        assert_eq!(
            own.position_state(at(15, 4), None),
            PositionState::OutOfRange
        );
    }
}

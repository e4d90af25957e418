//! The queries of readers that are ahead of a shadow, and the source's answers. Pure.
//!
//! Queries are counted, and an answer carries the count at the moment when its source query was
//! made: "opened before the source was asked" is a comparison of two numbers. Invariant: an answer
//! never counts for a query that was opened after the source query was made. The answer may be out
//! of date for that reader, which may have read more at the source meanwhile. What an answer means
//! for a position is decided in `position.rs`.

use gnomon_protocol::ids::{BatchEpoch, Offset};
use std::collections::BTreeMap;

/// One query of a reader. A later query of the same partition is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryId(u64);

/// The part of the source's log that decides a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuerySubject {
    /// The end of the log.
    End,
    /// The end of this epoch.
    Epoch(BatchEpoch),
}

/// A query for the source. Its answer counts for every reader's query up to `upto`. It names one
/// epoch at most, as OffsetForLeaderEpoch does for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceQuery {
    upto: QueryId,
    /// The epoch whose end is wanted, beside the end of the log.
    pub epoch: Option<BatchEpoch>,
}

/// Where an epoch ends at the source: the largest epoch at or below the one asked for, and its
/// (exclusive) end; `-1` and `-1` if it knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceEpochEnd {
    pub epoch: BatchEpoch,
    /// The first offset that is not its own.
    pub end: Offset,
}

/// The source's answer to a [`SourceQuery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAnswer {
    pub high_watermark: Offset,
    /// The end of the epoch that the question named.
    pub epoch_end: Option<SourceEpochEnd>,
}

/// The most epochs that queries are open for at once. A query for one more is dropped, and its
/// reader, which is answered "not here yet", opens another one later. If it replaced one that
/// waits, readers of many epochs could keep each other from ever being answered.
const EPOCHS_WANTED_MAX: usize = 64;

/// The most epochs whose ends are remembered; of more the one that was answered first is forgotten.
/// Twice the open ones: all can be answered before the first reader comes back for its answer.
const EPOCHS_KNOWN_MAX: usize = 2 * EPOCHS_WANTED_MAX;

/// The queries of one partition, and the source's answers.
#[derive(Debug, Default)]
pub(crate) struct QueryTable {
    count: u64,
    /// The newest open query of each subject.
    end_wanted: Option<QueryId>,
    epochs_wanted: BTreeMap<BatchEpoch, QueryId>,
    /// The newest answers, each with the last query that it counts for.
    end: Option<(QueryId, Offset)>,
    epochs: BTreeMap<BatchEpoch, (QueryId, SourceEpochEnd)>,
}

impl QueryTable {
    /// Opens a query. An earlier query of the same reader about the same subject stays open until
    /// it is answered, unless it is from before the partition was opened again.
    pub(crate) fn open(&mut self, subject: QuerySubject, earlier: Option<QueryId>) -> QueryId {
        let open = |query: &QueryId| query.0 <= self.count && !self.is_answered(subject, *query);
        let query = match earlier.filter(open) {
            Some(earlier) => earlier,
            None => {
                self.count += 1;
                QueryId(self.count)
            }
        };
        match subject {
            QuerySubject::End => self.end_wanted = self.end_wanted.max(Some(query)),
            QuerySubject::Epoch(epoch) => {
                if let Some(wanted) = self.epochs_wanted.get_mut(&epoch) {
                    *wanted = query.max(*wanted);
                } else if self.epochs_wanted.len() < EPOCHS_WANTED_MAX {
                    self.epochs_wanted.insert(epoch, query);
                }
            }
        }
        query
    }

    /// The query to put to the source, if any query is open.
    pub(crate) fn source_query(&self) -> Option<SourceQuery> {
        let longest_waiting = self
            .epochs_wanted
            .iter()
            .min_by_key(|(_, query)| **query)
            .map(|(epoch, _)| *epoch);
        let wanted = self.end_wanted.is_some() || longest_waiting.is_some();
        wanted.then_some(SourceQuery {
            upto: QueryId(self.count),
            epoch: longest_waiting,
        })
    }

    /// Takes in the answer to a query that was put to the source.
    pub(crate) fn answered(&mut self, query: SourceQuery, answer: SourceAnswer) {
        let upto = query.upto;
        if self.end.is_none_or(|(known, _)| known <= upto) {
            self.end = Some((upto, answer.high_watermark));
        }
        self.end_wanted = self.end_wanted.filter(|query| *query > upto);
        let (Some(epoch), Some(end)) = (query.epoch, answer.epoch_end) else {
            return;
        };
        if self
            .epochs
            .get(&epoch)
            .is_none_or(|(known, _)| *known <= upto)
        {
            self.epochs.insert(epoch, (upto, end));
            forget_oldest(&mut self.epochs, |(upto, _)| *upto);
        }
        if self
            .epochs_wanted
            .get(&epoch)
            .is_some_and(|query| *query <= upto)
        {
            self.epochs_wanted.remove(&epoch);
        }
    }

    /// The end of the source's log, from an answer that counts for this query.
    pub(crate) fn end(&self, query: QueryId) -> Option<Offset> {
        self.end
            .filter(|(upto, _)| *upto >= query)
            .map(|(_, end)| end)
    }

    /// The end of the epoch at the source, likewise.
    pub(crate) fn epoch_end(&self, epoch: BatchEpoch, query: QueryId) -> Option<SourceEpochEnd> {
        self.epochs
            .get(&epoch)
            .filter(|(upto, _)| *upto >= query)
            .map(|(_, end)| *end)
    }

    fn is_answered(&self, subject: QuerySubject, query: QueryId) -> bool {
        match subject {
            QuerySubject::End => self.end(query).is_some(),
            QuerySubject::Epoch(epoch) => self.epoch_end(epoch, query).is_some(),
        }
    }
}

fn forget_oldest<V>(of: &mut BTreeMap<BatchEpoch, V>, age: impl Fn(&V) -> QueryId) {
    if of.len() > EPOCHS_KNOWN_MAX
        && let Some(oldest) = of
            .iter()
            .min_by_key(|(_, value)| age(value))
            .map(|(epoch, _)| *epoch)
    {
        of.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: BatchEpoch = BatchEpoch(7);

    fn answer(high_watermark: Offset) -> SourceAnswer {
        SourceAnswer {
            high_watermark,
            epoch_end: None,
        }
    }

    fn answer_on(epoch: i32, end: Offset) -> SourceAnswer {
        SourceAnswer {
            high_watermark: end,
            epoch_end: Some(SourceEpochEnd {
                epoch: BatchEpoch(epoch),
                end,
            }),
        }
    }

    #[test]
    fn an_answer_counts_only_for_queries_from_before_the_source_was_asked() {
        let mut queries = QueryTable::default();
        assert_eq!(queries.source_query(), None);
        let before = queries.open(QuerySubject::End, None);
        let source_query = queries.source_query().expect("somebody asks");
        let during = queries.open(QuerySubject::End, None);
        queries.answered(source_query, answer(30));
        assert_eq!((queries.end(before), queries.end(during)), (Some(30), None));
        let source_query = queries.source_query().expect("the later ask is still open");
        queries.answered(source_query, answer(40));
        assert_eq!(
            (queries.end(before), queries.end(during)),
            (Some(40), Some(40))
        );
        assert_eq!(queries.source_query(), None);
    }

    #[test]
    fn a_query_stays_open_until_it_is_answered() {
        let mut queries = QueryTable::default();
        let first = queries.open(QuerySubject::End, None);
        assert_eq!(queries.open(QuerySubject::End, Some(first)), first);
        let source_query = queries.source_query().expect("somebody asks");
        queries.answered(source_query, answer(5));
        let second = queries.open(QuerySubject::End, Some(first));
        assert!(
            second > first,
            "what was said on the first says nothing on the request that comes now"
        );
        assert_eq!(queries.end(second), None);
    }

    #[test]
    fn a_query_from_before_a_reopening_is_put_again() {
        let mut before = QueryTable::default();
        for _ in 0..10 {
            before.open(QuerySubject::End, None);
        }
        let old = before.open(QuerySubject::End, None);
        let mut queries = QueryTable::default();
        let query = queries.open(QuerySubject::End, Some(old));
        queries.answered(queries.source_query().expect("somebody asks"), answer(5));
        assert_eq!(queries.end(query), Some(5));
    }

    #[test]
    fn an_answer_that_comes_late_does_not_hide_a_newer_one() {
        let mut queries = QueryTable::default();
        queries.open(QuerySubject::End, None);
        let slow = queries.source_query().expect("somebody asks");
        let second = queries.open(QuerySubject::End, None);
        let quick = queries.source_query().expect("somebody asks");
        queries.answered(quick, answer(50));
        queries.answered(slow, answer(10));
        assert_eq!(queries.end(second), Some(50));
    }

    #[test]
    fn epochs_are_asked_one_at_a_time_the_longest_waiting_first() {
        let mut queries = QueryTable::default();
        let seven = queries.open(QuerySubject::Epoch(SEVEN), None);
        let six = queries.open(QuerySubject::Epoch(BatchEpoch(6)), None);
        let source_query = queries.source_query().expect("somebody asks");
        assert_eq!(source_query.epoch, Some(SEVEN));
        queries.answered(source_query, answer_on(6, 60));
        assert_eq!(
            queries.epoch_end(SEVEN, seven),
            Some(SourceEpochEnd {
                epoch: BatchEpoch(6),
                end: 60
            })
        );
        assert_eq!(queries.epoch_end(BatchEpoch(6), six), None);
        assert_eq!(
            queries
                .source_query()
                .and_then(|source_query| source_query.epoch),
            Some(BatchEpoch(6))
        );
    }

    #[test]
    fn a_word_without_the_epoch_leaves_it_open() {
        let mut queries = QueryTable::default();
        let query = queries.open(QuerySubject::Epoch(SEVEN), None);
        let source_query = queries.source_query().expect("somebody asks");
        queries.answered(source_query, answer(3));
        assert_eq!(queries.epoch_end(SEVEN, query), None);
        assert_eq!(
            queries
                .source_query()
                .and_then(|source_query| source_query.epoch),
            Some(SEVEN)
        );
    }

    #[test]
    fn however_many_epochs_are_asked_for_few_are_remembered() {
        let mut queries = QueryTable::default();
        for round in 0..100 {
            for epoch in 0..1_000 {
                queries.open(QuerySubject::Epoch(BatchEpoch(1_000 * round + epoch)), None);
            }
            assert!(queries.epochs_wanted.len() <= EPOCHS_WANTED_MAX);
            while let Some(source_query) = queries.source_query() {
                queries.answered(source_query, answer_on(0, 0));
            }
        }
        assert!(queries.epochs.len() <= EPOCHS_KNOWN_MAX && queries.epochs_wanted.is_empty());
    }

    /// Readers of many epochs come back with their asks while the source answers one source_query
    /// after another.
    #[test]
    fn readers_of_many_epochs_are_all_answered() {
        for (readers, comes_back_after) in [(17, 1), (17, 16), (60, 40), (200, 3)] {
            let mut queries = QueryTable::default();
            let mut waiting: Vec<(BatchEpoch, Option<QueryId>)> = (0..readers)
                .map(|epoch| (BatchEpoch(epoch), None))
                .collect();
            let mut rounds = 0;
            while !waiting.is_empty() {
                rounds += 1;
                assert!(
                    rounds < 10 * readers,
                    "{} of {readers} readers are never answered",
                    waiting.len()
                );
                waiting.retain_mut(|(epoch, query)| {
                    if query.is_some_and(|query| queries.epoch_end(*epoch, query).is_some()) {
                        return false;
                    }
                    *query = Some(queries.open(QuerySubject::Epoch(*epoch), *query));
                    true
                });
                for _ in 0..comes_back_after {
                    if let Some(source_query) = queries.source_query() {
                        queries.answered(source_query, answer_on(0, 0));
                    }
                }
            }
        }
    }
}

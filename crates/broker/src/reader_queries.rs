//! The queries that clients have open at the sources of shadows.
//!
//! A client whose position is "not here yet" asks again, and each of its requests may be shorter
//! than the way to the source and back. So a connection remembers its open queries: the same
//! question again belongs to the same query until that is answered. Invariants: the queries of one
//! connection decide nothing for another one; one request opens at most one query for each
//! question. What an answer means for a position is decided in `gnomon_partition`; the source is
//! asked by `gnomon_replication`.

use crate::config::limits::QUERIES_PER_CONNECTION_MAX;
use gnomon_partition::{
    EpochEnd, Handle, PartitionId, Position, PositionState, QueryId, QuerySubject,
};
use gnomon_protocol::ids::BatchEpoch;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// A question of a client that may need the source's answer.
pub trait ReaderQuery: Copy + Ord {
    /// The answer to the client.
    type Answer;

    /// The part of the source's log that decides it.
    fn subject(self) -> QuerySubject;

    /// The answer as far as it is known, with the source's answer to `query` if there is one.
    fn judge(self, handle: &Handle, query: Option<QueryId>) -> Self::Answer;

    /// Whether only the source's answer can settle it.
    fn is_open(answer: &Self::Answer) -> bool;
}

/// The state of a fetch position.
impl ReaderQuery for Position {
    type Answer = PositionState;

    fn subject(self) -> QuerySubject {
        Position::subject(&self)
    }

    fn judge(self, handle: &Handle, query: Option<QueryId>) -> PositionState {
        handle.reader().position_by_source(self, query)
    }

    fn is_open(answer: &PositionState) -> bool {
        *answer == PositionState::NotYet
    }
}

/// The end of an epoch.
impl ReaderQuery for BatchEpoch {
    type Answer = EpochEnd;

    fn subject(self) -> QuerySubject {
        QuerySubject::Epoch(self)
    }

    fn judge(self, handle: &Handle, query: Option<QueryId>) -> EpochEnd {
        handle.reader().end_for_epoch(self, query)
    }

    fn is_open(answer: &EpochEnd) -> bool {
        matches!(answer, EpochEnd::Open { .. } | EpochEnd::NotYet)
    }
}

/// The open queries of one connection.
#[derive(Debug, Default)]
pub struct ConnectionQueries {
    /// Queries of fetches.
    pub positions: Remembered<Position>,
    /// Queries of OffsetForLeaderEpoch.
    pub epochs: Remembered<BatchEpoch>,
}

/// The last open question of a kind on each partition, and its query.
#[derive(Debug)]
pub struct Remembered<Q>(Mutex<BTreeMap<PartitionId, (Q, QueryId)>>);

impl<Q> Default for Remembered<Q> {
    fn default() -> Self {
        Remembered(Mutex::default())
    }
}

impl<Q: ReaderQuery> Remembered<Q> {
    fn get(&self, id: PartitionId, question: Q) -> Option<QueryId> {
        self.0
            .lock()
            .get(&id)
            .filter(|(of, _)| *of == question)
            .map(|(_, query)| *query)
    }

    /// Beyond the maximum no more is remembered: then only a request that waits longer than the way
    /// to the source and back gets its answer.
    fn put(&self, id: PartitionId, question: Q, query: QueryId) {
        let mut queries = self.0.lock();
        if queries.len() < QUERIES_PER_CONNECTION_MAX || queries.contains_key(&id) {
            queries.insert(id, (question, query));
        }
    }

    fn forget(&self, id: PartitionId) {
        let mut queries = self.0.lock();
        if !queries.is_empty() {
            queries.remove(&id);
        }
    }
}

/// Has a partition's source asked. Returns whether the source answered the last time
/// ([`crate::links::Links::ask_source`]).
pub type AskSource<'a> = dyn Fn(PartitionId) -> bool + Sync + 'a;

/// The queries of one request.
pub struct RequestQueries<'a, Q: ReaderQuery> {
    ask_source: &'a AskSource<'a>,
    remembered: &'a Remembered<Q>,
    opened: BTreeMap<(PartitionId, Q), QueryId>,
    /// Whether the connection may remember a query. Most never do, and their requests take no lock.
    any_remembered: bool,
}

impl<'a, Q: ReaderQuery> RequestQueries<'a, Q> {
    /// For a request of the connection that keeps `remembered`.
    pub fn new(
        ask_source: &'a AskSource<'a>,
        remembered: &'a Remembered<Q>,
    ) -> RequestQueries<'a, Q> {
        RequestQueries {
            ask_source,
            any_remembered: !remembered.0.lock().is_empty(),
            remembered,
            opened: BTreeMap::new(),
        }
    }

    /// The client reads from our copy: its query on this partition is no longer needed.
    pub fn settled(&mut self, handle: &Handle) {
        if self.any_remembered {
            self.remembered.forget(handle.id());
        }
    }

    /// The answer now, and whether waiting makes sense: the source is being asked and answered the
    /// last time. Its answer wakes the watchers of the partition.
    pub fn judge(&mut self, handle: &Handle, question: Q) -> (Q::Answer, bool) {
        let id = handle.id();
        let ours = question.judge(handle, None);
        if !Q::is_open(&ours) {
            self.remembered.forget(id);
            return (ours, false);
        }
        let opened = self.opened.get(&(id, question)).copied();
        let earlier = opened.or_else(|| self.remembered.get(id, question));
        if earlier.is_some() {
            let told = question.judge(handle, earlier);
            if !Q::is_open(&told) {
                self.remembered.forget(id);
                return (told, false);
            }
        }
        if opened.is_none() {
            let query = handle.reader().open_query(question.subject(), earlier);
            self.any_remembered = true;
            self.opened.insert((id, question), query);
            self.remembered.put(id, question, query);
        }
        (ours, (self.ask_source)(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_partition::{
        Blocking, Env, Fence, Flusher, LinkLabel, Replica, Role, Settings, SourceAnswer, Writers,
    };
    use gnomon_protocol::ids::{LeaderEpoch, Offset, TopicId};
    use gnomon_storage::{Boot, MemDisk};
    use std::{path::PathBuf, sync::Arc};

    /// A shadow to which nothing came yet.
    fn shadow() -> Handle {
        let flusher = Flusher::start(Blocking::Inline {
            flush: std::time::Duration::ZERO,
        })
        .expect("inside a runtime");
        let env = Env {
            disk: Arc::new(MemDisk::new()),
            flusher,
            boot: Boot::Same,
            troubles: Default::default(),
            reserved: Default::default(),
        };
        let link = LinkLabel {
            name: "from-a".into(),
            source: "site a".into(),
            advice: String::new(),
        };
        let role = Role {
            replica: Replica::Leader(LeaderEpoch(0)),
            writers: Writers::Link {
                link: Arc::new(link),
                fence: Fence(1),
            },
        };
        let id = PartitionId {
            topic_id: TopicId::from_u128(1),
            index: 0,
        };
        Handle::open(&env, PathBuf::from("/t-0"), id, role, Settings::named("t")).expect("a shadow")
    }

    fn says(handle: &Handle, high_watermark: Offset) {
        let question = handle.copier().source_query().expect("somebody asks");
        handle.copier().source_answered(
            question,
            SourceAnswer {
                high_watermark,
                epoch_end: None,
            },
        );
    }

    const FIVE: Position = Position {
        offset: 5,
        last_epoch: BatchEpoch::NONE,
    };

    #[tokio::test]
    async fn a_later_request_gets_the_answer_to_an_earlier_one_of_its_connection() {
        let (handle, one, other) = (shadow(), Remembered::default(), Remembered::default());
        let yes: &AskSource<'_> = &|_| true;
        assert_eq!(
            RequestQueries::new(yes, &one).judge(&handle, FIVE),
            (PositionState::NotYet, true)
        );
        says(&handle, 3);
        assert_eq!(
            RequestQueries::new(yes, &other).judge(&handle, FIVE).0,
            PositionState::NotYet,
            "it asked later, on another connection"
        );
        let elsewhere = Position { offset: 6, ..FIVE };
        assert_eq!(
            RequestQueries::new(yes, &one).judge(&handle, elsewhere).0,
            PositionState::NotYet,
            "it asks something else now"
        );
        assert_eq!(
            RequestQueries::new(yes, &one).judge(&handle, FIVE).0,
            PositionState::NotYet,
            "so it asks again"
        );
        says(&handle, 3);
        assert_eq!(
            RequestQueries::new(yes, &one).judge(&handle, FIVE),
            (PositionState::OutOfRange, false)
        );
        assert_eq!(
            RequestQueries::new(yes, &one).judge(&handle, FIVE).0,
            PositionState::NotYet,
            "told once: the next request is another one"
        );
    }

    #[tokio::test]
    async fn a_request_asks_once_and_the_next_one_again() {
        let (handle, remembered) = (shadow(), Remembered::default());
        let no: &AskSource<'_> = &|_| false;
        let mut request = RequestQueries::new(no, &remembered);
        assert_eq!(request.judge(&handle, FIVE), (PositionState::NotYet, false));
        says(&handle, 9);
        assert_eq!(
            request.judge(&handle, FIVE).0,
            PositionState::NotYet,
            "the source has it"
        );
        assert_eq!(
            handle.copier().source_query(),
            None,
            "the same request asks no more"
        );
        assert_eq!(
            RequestQueries::new(no, &remembered).judge(&handle, FIVE).0,
            PositionState::NotYet
        );
        says(&handle, 2);
        assert_eq!(
            RequestQueries::new(no, &remembered).judge(&handle, FIVE).0,
            PositionState::OutOfRange,
            "lost there since"
        );
    }

    #[tokio::test]
    async fn without_room_to_remember_a_request_still_hears_what_comes_while_it_waits() {
        let (handle, remembered) = (shadow(), Remembered::default());
        {
            let mut full = remembered.0.lock();
            let query = handle.reader().open_query(FIVE.subject(), None);
            for index in 1..=QUERIES_PER_CONNECTION_MAX {
                full.insert(
                    PartitionId {
                        index: index as i32,
                        ..handle.id()
                    },
                    (FIVE, query),
                );
            }
        }
        let yes: &AskSource<'_> = &|_| true;
        let mut request = RequestQueries::new(yes, &remembered);
        assert_eq!(request.judge(&handle, FIVE).0, PositionState::NotYet);
        assert_eq!(remembered.0.lock().len(), QUERIES_PER_CONNECTION_MAX);
        says(&handle, 3);
        assert_eq!(request.judge(&handle, FIVE).0, PositionState::OutOfRange);
    }
}

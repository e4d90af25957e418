//! Readers ahead of a shadow: what the state of their position is, and how the source comes to be
//! asked about it.
//!
//! A shadow answers as a leader would whose log is our copy, followed by the records that only the
//! source has. So a position that is not in our copy may still be valid, and only the source can
//! tell. Vocabulary:
//!
//! - A reader opens a *query* ([`QueryId`]) about its position ([`QuerySubject`]) when the state of
//!   the position is [`PositionState::NotYet`](crate::PositionState::NotYet), or when it asks for the end of an epoch that is
//!   still open here.
//! - The task that copies the partition takes one [`SourceQuery`] for all open queries, puts it to
//!   the source, and hands the [`SourceAnswer`] back. That wakes the readers, which look at the
//!   state of their position again.
//!
//! `position.rs` decides states, `queries.rs` keeps queries and answers. Nothing here waits, and a
//! position that is in our copy never comes here: [`PartitionReader::read`] answers it.

mod position;
mod queries;

pub use queries::{QueryId, QuerySubject, SourceAnswer, SourceEpochEnd, SourceQuery};

pub(crate) use position::PositionedLog;
pub(crate) use queries::QueryTable;

use crate::{
    epochs::EpochEnd,
    handle::{PartitionCopier, PartitionReader},
    position::{Position, PositionState},
};
use gnomon_protocol::ids::BatchEpoch;

impl PartitionReader<'_> {
    /// The state of a position that [`PartitionReader::position_state`] leaves open. With `query`,
    /// the source's answer to that query counts, if there is one.
    pub fn position_by_source(&self, position: Position, query: Option<QueryId>) -> PositionState {
        self.0.view.read().log().position_state(position, query)
    }

    /// Where an epoch ended (OffsetForLeaderEpoch). With `query` as in
    /// [`PartitionReader::position_state`].
    pub fn end_for_epoch(&self, requested: BatchEpoch, query: Option<QueryId>) -> EpochEnd {
        self.0.view.read().log().epoch_end(requested, query)
    }

    /// Opens a reader's query: only an answer to a source query that is put after this counts for
    /// it. `earlier` is the reader's last query about the same subject, which stays open until it
    /// is answered.
    pub fn open_query(&self, subject: QuerySubject, earlier: Option<QueryId>) -> QueryId {
        self.0.update(|view| view.queries.open(subject, earlier))
    }
}

impl PartitionCopier<'_> {
    /// The query to put to the source for the readers; `None` if no query is open.
    pub fn source_query(&self) -> Option<SourceQuery> {
        self.0.view.read().queries.source_query()
    }

    /// Takes the source's answer in, and wakes the readers that wait for this partition.
    pub fn source_answered(&self, query: SourceQuery, answer: SourceAnswer) {
        self.0.update(|view| view.queries.answered(query, answer));
        self.0.waiters.wake();
    }
}

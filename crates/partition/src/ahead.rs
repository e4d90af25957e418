//! Readers ahead of a shadow: what they are told of their positions, and how its source comes to be
//! asked for them.
//!
//! A reader that stands at [`Standing::NotYet`] (or asks for the end of an epoch that is open here)
//! leaves an ask; the task that copies the partition puts [`Handle::question`] to the source and
//! hands back the answer, which wakes the reader to look at its ask again. Nothing here waits.

use crate::{
    asked::{About, Ask, Question, SourceWord},
    epochs::EpochEnd,
    handle::Handle,
    standing::{Position, Standing},
};
use gnomon_protocol::ids::BatchEpoch;

impl Handle {
    /// Where a reader stands that wants to read on at this position; `ask`: what it asked of the
    /// source for that, if it did.
    pub fn standing(&self, position: Position, ask: Option<Ask>) -> Standing {
        self.0.view.read().log().standing(position, ask)
    }

    /// Where an epoch ended (OffsetForLeaderEpoch); `ask` likewise.
    pub fn end_for_epoch(&self, requested: BatchEpoch, ask: Option<Ask>) -> EpochEnd {
        self.0.view.read().log().epoch_end(requested, ask)
    }

    /// A reader needs the source's word: one on a question that is put after this. `earlier`: its
    /// ask about the same, which stands until there is an answer to it.
    pub fn ask(&self, about: About, earlier: Option<Ask>) -> Ask {
        self.0.update(|view| view.asked.ask(about, earlier))
    }

    /// What is to be put to the source on behalf of readers, if anything.
    pub fn question(&self) -> Option<Question> {
        self.0.view.read().asked.question()
    }

    /// The source's answer. Wakes the readers that wait for this partition.
    pub fn source_said(&self, question: Question, word: SourceWord) {
        self.0.update(|view| view.asked.said(question, word));
        self.0.waiters.wake();
    }
}

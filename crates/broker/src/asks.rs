//! What only a shadow's source can tell a client: asked for on its behalf, and remembered until
//! there is an answer.
//!
//! A client that is told "not here yet" asks again, and each of its requests may be shorter than
//! the way to the source. So a connection remembers what it asked: the same question again stands
//! by the first ask until that is answered. Invariants: one connection's asks decide nothing for
//! another's; one request asks again at most once for each question. What a position means is
//! `gnomon_partition`'s, asking the source `gnomon_replication`'s.

use crate::config::limits::ASKS_PER_CONNECTION_MAX;
use gnomon_partition::{About, Ask, EpochEnd, Handle, PartitionId, Position, Standing};
use gnomon_protocol::ids::BatchEpoch;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// What a client asks of a partition.
pub trait Question: Copy + Ord {
    /// What it is told.
    type Answer;

    /// What of the source's log decides it.
    fn about(self) -> About;

    /// The answer as far as is known; `ask`: what the source was asked for it.
    fn judge(self, handle: &Handle, ask: Option<Ask>) -> Self::Answer;

    /// Whether the source may have more to say.
    fn is_open(answer: &Self::Answer) -> bool;
}

/// Where a reader stands.
impl Question for Position {
    type Answer = Standing;

    fn about(self) -> About {
        Position::about(&self)
    }

    fn judge(self, handle: &Handle, ask: Option<Ask>) -> Standing {
        handle.standing(self, ask)
    }

    fn is_open(answer: &Standing) -> bool {
        *answer == Standing::NotYet
    }
}

/// Where an epoch ends.
impl Question for BatchEpoch {
    type Answer = EpochEnd;

    fn about(self) -> About {
        About::Epoch(self)
    }

    fn judge(self, handle: &Handle, ask: Option<Ask>) -> EpochEnd {
        handle.end_for_epoch(self, ask)
    }

    fn is_open(answer: &EpochEnd) -> bool {
        matches!(answer, EpochEnd::Open { .. } | EpochEnd::NotYet)
    }
}

/// What one connection waits to hear.
#[derive(Debug, Default)]
pub struct Asks {
    /// Of fetches.
    pub positions: Remembered<Position>,
    /// Of OffsetForLeaderEpoch.
    pub epochs: Remembered<BatchEpoch>,
}

/// The last open question of a kind on each partition, and its ask.
#[derive(Debug)]
pub struct Remembered<Q>(Mutex<BTreeMap<PartitionId, (Q, Ask)>>);

impl<Q> Default for Remembered<Q> {
    fn default() -> Self {
        Remembered(Mutex::default())
    }
}

impl<Q: Question> Remembered<Q> {
    fn get(&self, id: PartitionId, question: Q) -> Option<Ask> {
        self.0
            .lock()
            .get(&id)
            .filter(|(of, _)| *of == question)
            .map(|(_, ask)| *ask)
    }

    /// Beyond the maximum nothing more is remembered: then only a request that outlasts the way to
    /// the source hears from it.
    fn put(&self, id: PartitionId, question: Q, ask: Ask) {
        let mut asks = self.0.lock();
        if asks.len() < ASKS_PER_CONNECTION_MAX || asks.contains_key(&id) {
            asks.insert(id, (question, ask));
        }
    }

    fn forget(&self, id: PartitionId) {
        let mut asks = self.0.lock();
        if !asks.is_empty() {
            asks.remove(&id);
        }
    }
}

/// Has a partition's source asked; whether it has answered of late
/// ([`crate::site::Site::ask_source`]).
pub type AskSource<'a> = dyn Fn(PartitionId) -> bool + Sync + 'a;

/// One request that asks.
pub struct Asking<'a, Q: Question> {
    ask_source: &'a AskSource<'a>,
    remembered: &'a Remembered<Q>,
    asked: BTreeMap<(PartitionId, Q), Ask>,
}

impl<'a, Q: Question> Asking<'a, Q> {
    /// A request on the connection that remembers this.
    pub fn new(ask_source: &'a AskSource<'a>, remembered: &'a Remembered<Q>) -> Asking<'a, Q> {
        Asking {
            ask_source,
            remembered,
            asked: BTreeMap::new(),
        }
    }

    /// Nothing is asked of this partition any more: the client reads.
    pub fn settled(&mut self, handle: &Handle) {
        self.remembered.forget(handle.id());
    }

    /// The answer now. True beside it: the source is being asked and has answered of late; its word
    /// wakes who watches the partition.
    pub fn judge(&mut self, handle: &Handle, question: Q) -> (Q::Answer, bool) {
        let id = handle.id();
        let ours = question.judge(handle, None);
        if !Q::is_open(&ours) {
            self.remembered.forget(id);
            return (ours, false);
        }
        let asked = self.asked.get(&(id, question)).copied();
        let earlier = asked.or_else(|| self.remembered.get(id, question));
        if earlier.is_some() {
            let told = question.judge(handle, earlier);
            if !Q::is_open(&told) {
                self.remembered.forget(id);
                return (told, false);
            }
        }
        if asked.is_none() {
            let ask = handle.ask(question.about(), earlier);
            self.asked.insert((id, question), ask);
            self.remembered.put(id, question, ask);
        }
        (ours, (self.ask_source)(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_partition::{
        Blocking, Env, Fence, Flusher, LinkLabel, Replica, Role, Settings, SourceWord, Writers,
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
            growing: Default::default(),
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
        let question = handle.question().expect("somebody asks");
        handle.source_said(
            question,
            SourceWord {
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
    async fn a_later_request_hears_what_was_said_on_an_earlier_one_of_its_connection() {
        let (handle, one, other) = (shadow(), Remembered::default(), Remembered::default());
        let yes: &AskSource<'_> = &|_| true;
        assert_eq!(
            Asking::new(yes, &one).judge(&handle, FIVE),
            (Standing::NotYet, true)
        );
        says(&handle, 3);
        assert_eq!(
            Asking::new(yes, &other).judge(&handle, FIVE).0,
            Standing::NotYet,
            "it asked later, on another connection"
        );
        let elsewhere = Position { offset: 6, ..FIVE };
        assert_eq!(
            Asking::new(yes, &one).judge(&handle, elsewhere).0,
            Standing::NotYet,
            "it asks something else now"
        );
        assert_eq!(
            Asking::new(yes, &one).judge(&handle, FIVE).0,
            Standing::NotYet,
            "so it asks again"
        );
        says(&handle, 3);
        assert_eq!(
            Asking::new(yes, &one).judge(&handle, FIVE),
            (Standing::OutOfRange, false)
        );
        assert_eq!(
            Asking::new(yes, &one).judge(&handle, FIVE).0,
            Standing::NotYet,
            "told once: the next request is another one"
        );
    }

    #[tokio::test]
    async fn a_request_asks_once_and_the_next_one_anew() {
        let (handle, remembered) = (shadow(), Remembered::default());
        let no: &AskSource<'_> = &|_| false;
        let mut request = Asking::new(no, &remembered);
        assert_eq!(request.judge(&handle, FIVE), (Standing::NotYet, false));
        says(&handle, 9);
        assert_eq!(
            request.judge(&handle, FIVE).0,
            Standing::NotYet,
            "the source has it"
        );
        assert_eq!(handle.question(), None, "the same request asks no more");
        assert_eq!(
            Asking::new(no, &remembered).judge(&handle, FIVE).0,
            Standing::NotYet
        );
        says(&handle, 2);
        assert_eq!(
            Asking::new(no, &remembered).judge(&handle, FIVE).0,
            Standing::OutOfRange,
            "lost there since"
        );
    }

    #[tokio::test]
    async fn without_room_to_remember_a_request_still_hears_what_comes_while_it_waits() {
        let (handle, remembered) = (shadow(), Remembered::default());
        {
            let mut full = remembered.0.lock();
            let ask = handle.ask(FIVE.about(), None);
            for index in 1..=ASKS_PER_CONNECTION_MAX {
                full.insert(
                    PartitionId {
                        index: index as i32,
                        ..handle.id()
                    },
                    (FIVE, ask),
                );
            }
        }
        let yes: &AskSource<'_> = &|_| true;
        let mut request = Asking::new(yes, &remembered);
        assert_eq!(request.judge(&handle, FIVE).0, Standing::NotYet);
        assert_eq!(remembered.0.lock().len(), ASKS_PER_CONNECTION_MAX);
        says(&handle, 3);
        assert_eq!(request.judge(&handle, FIVE).0, Standing::OutOfRange);
    }
}

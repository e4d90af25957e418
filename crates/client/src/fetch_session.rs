//! The client's half of fetch sessions (KIP-227), without any I/O: what a request must name so that
//! the broker's picture equals ours.
//!
//! Invariant: `sent` is what the broker believes after it has answered the request that was planned
//! last. Whenever that is in doubt (an error, a lost answer, an unknown session id) the next
//! request names everything.

use std::collections::BTreeMap;

/// Epoch of a request that opens a session, or replaces the one it names.
pub const EPOCH_OPEN: i32 = 0;
/// Epoch of a request outside of any session.
pub const EPOCH_NONE: i32 = -1;

/// The part of one Fetch request that is about its session. `K` names a partition, `P` is what is
/// asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPlan<K, P> {
    pub session_id: i32,
    pub session_epoch: i32,
    /// Partitions to name: all of them when the epoch is [`EPOCH_OPEN`], else the new and changed
    /// ones.
    pub named: Vec<(K, P)>,
    /// Partitions that the broker is to forget.
    pub forgotten: Vec<K>,
}

/// One session with one broker over one connection.
#[derive(Clone, Debug)]
pub struct FetchSession<K, P> {
    id: i32,
    epoch: i32,
    sent: BTreeMap<K, P>,
}

impl<K: Ord + Clone, P: Clone + PartialEq> Default for FetchSession<K, P> {
    fn default() -> Self {
        FetchSession {
            id: 0,
            epoch: EPOCH_OPEN,
            sent: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, P: Clone + PartialEq> FetchSession<K, P> {
    /// Plans the next request for exactly `wanted`. One request at a time: its answer must be given
    /// to [`answered`](Self::answered) or [`lost`](Self::lost) before the next plan.
    pub fn plan(&mut self, wanted: &BTreeMap<K, P>) -> SessionPlan<K, P> {
        let (named, forgotten) = if self.epoch == EPOCH_OPEN {
            (
                wanted
                    .iter()
                    .map(|(key, position)| (key.clone(), position.clone()))
                    .collect(),
                Vec::new(),
            )
        } else {
            let changed = wanted
                .iter()
                .filter(|(key, position)| self.sent.get(key) != Some(position));
            let gone = self.sent.keys().filter(|key| !wanted.contains_key(key));
            (
                changed
                    .map(|(key, position)| (key.clone(), position.clone()))
                    .collect(),
                gone.cloned().collect(),
            )
        };
        self.sent = wanted.clone();
        SessionPlan {
            session_id: self.id,
            session_epoch: self.epoch,
            named,
            forgotten,
        }
    }

    /// The broker answered without a session error, naming this session: `0` means that it keeps
    /// none for us.
    pub fn answered(&mut self, session_id: i32) {
        if session_id == 0 {
            *self = FetchSession::default();
        } else if session_id == self.id && self.epoch != EPOCH_OPEN {
            self.epoch = if self.epoch == i32::MAX {
                1
            } else {
                self.epoch + 1
            };
        } else {
            (self.id, self.epoch) = (session_id, 1);
        }
    }

    /// The broker does not have our session in the state we thought, or no answer came: the next
    /// request opens a new one. The old id is named, so that the broker can drop what it may still
    /// hold.
    pub fn lost(&mut self, id_is_unknown: bool) {
        if id_is_unknown {
            self.id = 0;
        }
        self.epoch = EPOCH_OPEN;
        self.sent.clear();
    }

    /// Partitions as the broker knows them from us.
    pub fn sent(&self) -> &BTreeMap<K, P> {
        &self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(pairs: &[(&'static str, i64)]) -> BTreeMap<&'static str, i64> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_session_opens_whole_and_then_names_what_changed() {
        let mut session = FetchSession::default();
        let plan = session.plan(&want(&[("a", 1), ("b", 2)]));
        assert_eq!(
            plan,
            SessionPlan {
                session_id: 0,
                session_epoch: 0,
                named: vec![("a", 1), ("b", 2)],
                forgotten: vec![]
            }
        );
        session.answered(7);
        let plan = session.plan(&want(&[("a", 1), ("b", 3)]));
        assert_eq!(
            plan,
            SessionPlan {
                session_id: 7,
                session_epoch: 1,
                named: vec![("b", 3)],
                forgotten: vec![]
            }
        );
        session.answered(7);
        let plan = session.plan(&want(&[("b", 3), ("c", 0)]));
        assert_eq!(
            plan,
            SessionPlan {
                session_id: 7,
                session_epoch: 2,
                named: vec![("c", 0)],
                forgotten: vec!["a"]
            }
        );
    }

    #[test]
    fn after_an_error_everything_is_named_again() {
        let mut session = FetchSession::default();
        session.plan(&want(&[("a", 1)]));
        session.answered(7);
        session.lost(false);
        assert_eq!(
            session.plan(&want(&[("a", 1)])),
            SessionPlan {
                session_id: 7,
                session_epoch: 0,
                named: vec![("a", 1)],
                forgotten: vec![]
            }
        );
        session.answered(8);
        session.lost(true);
        assert_eq!(session.plan(&want(&[("a", 1)])).session_id, 0);
    }

    #[test]
    fn a_broker_without_sessions_is_told_everything_each_time() {
        let mut session = FetchSession::default();
        for _ in 0..3 {
            let plan = session.plan(&want(&[("a", 1)]));
            assert_eq!(
                (plan.session_id, plan.session_epoch, plan.named.len()),
                (0, 0, 1)
            );
            session.answered(0);
        }
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        let mut session = FetchSession {
            id: 7,
            epoch: i32::MAX,
            sent: want(&[]),
        };
        session.answered(7);
        assert_eq!(session.plan(&want(&[])).session_epoch, 1);
    }
}

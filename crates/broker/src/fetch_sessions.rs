//! Fetch sessions (KIP-227): a client does not repeat what it asked for before, and is not told
//! again what did not change.
//!
//! Invariants
//! - The table stays within its [`Bounds`], whatever clients do.
//! - Sessions that are not used keep no other out: they make room, the one unused for longest
//!   first.
//! - A session of at most [`Bounds::fair_share`] partitions always finds room for its partitions:
//!   the largest sessions go for it. Only too many sessions in use refuse it.
//! - The work for a request is linear in its elements and in the partitions of its session.
//! - A session's lock is taken before the table's, never after.
//!
//! Whether a partition changed is decided once for each response, never for the reads that led to
//! it. Fairness among a session's partitions: a full response moves the place where the next one
//! begins. A client without a session goes on as well, only with longer requests. Not here:
//! reading.

mod table;

use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset, TopicId},
    wire::StrBytes,
};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::sync::Arc;
use table::{Bounds, SessionTable};
use tokio::time::Instant;

/// One partition as a client asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestedPartition {
    /// Empty where the client names topics by id.
    pub topic: StrBytes,
    /// Nil where the client names topics by name.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: i32,
    /// The first offset wanted.
    pub fetch_offset: Offset,
    /// The leader epoch that the client knows.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last batch that the client has, to find where logs diverge (KIP-595).
    pub last_fetched_epoch: BatchEpoch,
    /// A soft limit for this partition.
    pub bytes_max: usize,
}

impl RequestedPartition {
    fn key(&self) -> Key {
        (self.topic.clone(), self.topic_id, self.partition)
    }
}

/// How a partition is named in requests.
pub type Key = (StrBytes, TopicId, i32);

/// The session that a request names.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// 0 for none.
    pub id: i32,
    /// -1: no session (any more); 0: a new one, please; else the next number of an existing one.
    pub epoch: i32,
}

/// The last response about a partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastResponse {
    pub high_watermark: Offset,
    pub log_start: Offset,
    /// Whether it was an error.
    pub error: bool,
}

struct Cached {
    asked: RequestedPartition,
    told: Option<LastResponse>,
    /// The present request forgets it.
    forgotten: bool,
}

struct Session {
    partitions: IndexMap<Key, Cached>,
    next_epoch: i32,
    /// Where the next response begins.
    first: usize,
}

/// A session as its fetches share it.
type Shared = Arc<Mutex<Session>>;

pub struct FetchSessions {
    bounds: Bounds,
    table: Mutex<SessionTable>,
}

/// The partitions of one fetch.
pub struct Fetch {
    /// Partitions to read, in this order.
    pub asked: Vec<RequestedPartition>,
    /// The session's id for the response: 0 for none.
    pub session_id: i32,
    session: Option<Shared>,
    /// Unchanged partitions may be left out.
    incremental: bool,
}

impl FetchSessions {
    /// None yet. Ids begin somewhere by chance (`random`), so that a client of a former process,
    /// which still names its old session, does not meet another client's.
    pub fn new(random: u32) -> FetchSessions {
        FetchSessions::bounded(random, Bounds::usual())
    }

    fn bounded(random: u32, bounds: Bounds) -> FetchSessions {
        FetchSessions {
            bounds,
            table: Mutex::new(SessionTable::new(bounds, (random >> 1) as i32)),
        }
    }

    /// Finds or makes the session that a request names and brings it up to date. `asked` names no
    /// partition twice.
    pub fn begin(
        &self,
        named: Named,
        asked: Vec<RequestedPartition>,
        forgotten: &[Key],
        now: Instant,
    ) -> Result<Fetch, ErrorCode> {
        match named.epoch {
            -1 => {
                self.forget(named.id);
                Ok(Fetch::without_session(asked))
            }
            0 => Ok(self.open(named.id, asked, now)),
            epoch => self.go_on(named.id, epoch, asked, forgotten, now),
        }
    }

    /// Sessions kept now.
    pub fn count(&self) -> usize {
        self.table.lock().sessions.len()
    }

    /// A new session in place of `old`, if there is room.
    fn open(&self, old: i32, asked: Vec<RequestedPartition>, now: Instant) -> Fetch {
        self.forget(old);
        if asked.is_empty() || asked.len() > self.bounds.partitions_each {
            return Fetch::without_session(asked);
        }
        let session = Session::of(&asked);
        let count = session.partitions.len();
        let session = Arc::new(Mutex::new(session));
        let mut evicted = Vec::new();
        let id = self
            .table
            .lock()
            .add(session.clone(), count, now, &mut evicted);
        match id {
            Some(session_id) => Fetch {
                asked,
                session_id,
                session: Some(session),
                incremental: false,
            },
            None => Fetch::without_session(asked),
        }
    }

    /// The next fetch of a session.
    fn go_on(
        &self,
        id: i32,
        epoch: i32,
        asked: Vec<RequestedPartition>,
        forgotten: &[Key],
        now: Instant,
    ) -> Result<Fetch, ErrorCode> {
        let known = self.table.lock().session(id);
        let session = known.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if asked.len() > self.bounds.partitions_each {
            self.forget(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        let mut evicted = Vec::new();
        let mut locked = session.lock();
        let asked = locked.update(epoch, asked, forgotten)?;
        let count = locked.partitions.len();
        // Under both locks, so that the table counts what the session has when two fetches use it.
        let stays = self.table.lock().count(id, count, now, &mut evicted);
        drop(locked);
        if !stays {
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok(Fetch {
            asked,
            session_id: id,
            session: Some(session),
            incremental: true,
        })
    }

    fn forget(&self, id: i32) {
        // Dropped after the lock: a large session takes a while.
        let forgotten = self.table.lock().remove(id);
        drop(forgotten);
    }
}

impl Session {
    fn of(asked: &[RequestedPartition]) -> Session {
        let cached = |asked: &RequestedPartition| (asked.key(), Cached::new(asked.clone()));
        Session {
            partitions: asked.iter().map(cached).collect(),
            next_epoch: 1,
            first: 0,
        }
    }

    /// All partitions, in the order in which to read them.
    fn update(
        &mut self,
        epoch: i32,
        asked: Vec<RequestedPartition>,
        forgotten: &[Key],
    ) -> Result<Vec<RequestedPartition>, ErrorCode> {
        if epoch != self.next_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        self.next_epoch = self.next_epoch.checked_add(1).unwrap_or(1);
        // Marked one by one and removed in one pass: each removal in order would move the rest.
        let mut any_forgotten = false;
        for key in forgotten {
            if let Some(cached) = self.partitions.get_mut(key) {
                (cached.forgotten, any_forgotten) = (true, true);
            }
        }
        if any_forgotten {
            self.partitions.retain(|_, cached| !cached.forgotten);
        }
        for asked in asked {
            match self.partitions.get_mut(&asked.key()) {
                Some(cached) => cached.asked = asked,
                None => {
                    self.partitions.insert(asked.key(), Cached::new(asked));
                }
            }
        }
        let first = if self.partitions.is_empty() {
            0
        } else {
            self.first % self.partitions.len()
        };
        let asked = |cached: &Cached| cached.asked.clone();
        let all = self
            .partitions
            .values()
            .skip(first)
            .chain(self.partitions.values().take(first))
            .map(asked)
            .collect();
        Ok(all)
    }
}

impl Cached {
    fn new(asked: RequestedPartition) -> Cached {
        Cached {
            asked,
            told: None,
            forgotten: false,
        }
    }
}

impl Fetch {
    fn without_session(asked: Vec<RequestedPartition>) -> Fetch {
        Fetch {
            asked,
            session_id: 0,
            session: None,
            incremental: false,
        }
    }

    /// Which of the partitions read must be in the response, given what each would say and whether
    /// it carries records or something else that the client must see. Remembers what is told.
    pub fn changed(&self, told: &[(LastResponse, bool)]) -> Vec<bool> {
        let Some(session) = &self.session else {
            return vec![true; told.len()];
        };
        let mut session = session.lock();
        let mut last_with_data = None;
        let changed = self.asked.iter().zip(told).map(|(asked, (now, must))| {
            let Some((index, _, cached)) = session.partitions.get_full_mut(&asked.key()) else {
                return true;
            };
            if *must && !now.error {
                last_with_data = Some(index);
            }
            // An error is told again until it is over, and its end is told once.
            cached.told.replace(*now) != Some(*now) || *must || now.error || !self.incremental
        });
        let changed = changed.collect();
        if let Some(index) = last_with_data {
            session.first = index + 1;
        }
        changed
    }
}

#[cfg(test)]
mod tests;

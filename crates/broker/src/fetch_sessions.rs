//! Fetch sessions (KIP-227): what a client asked for before need not be said again, and what did
//! not change is not answered again.
//!
//! Whether a partition changed is decided once for each response, never for the reads that led to
//! it. Fairness: a full response moves the place where the next one begins. Not here: reading.

use crate::config::limits::{FETCH_SESSION_IDLE, FETCH_SESSION_PARTITIONS_MAX, FETCH_SESSIONS_MAX};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset, TopicId},
    wire::StrBytes,
};
use indexmap::IndexMap;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// One partition as a client asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Empty where the client names topics by id.
    pub topic: StrBytes,
    /// Nil where the client names topics by name.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: i32,
    /// The first offset wanted.
    pub fetch_offset: Offset,
    /// What the client thinks the leader epoch is.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last batch that the client has, to find where logs diverge (KIP-595).
    pub last_fetched_epoch: BatchEpoch,
    /// A soft limit for this partition.
    pub bytes_max: usize,
}

impl Asked {
    fn key(&self) -> Key {
        (self.topic.clone(), self.topic_id, self.partition)
    }
}

/// How a partition is named in requests.
pub type Key = (StrBytes, TopicId, i32);

/// What a request says of its session.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// 0 for none.
    pub id: i32,
    /// -1: no session (any more); 0: a new one, please; else the next number of an existing one.
    pub epoch: i32,
}

/// What a response said of a partition last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// High watermark.
    pub high_watermark: Offset,
    /// Log start.
    pub log_start: Offset,
    /// Whether it was an error.
    pub error: bool,
}

struct Cached {
    asked: Asked,
    told: Option<Told>,
}

struct Session {
    partitions: IndexMap<Key, Cached>,
    next_epoch: i32,
    /// Where the next response begins.
    first: usize,
    used: Instant,
}

/// All sessions.
pub struct FetchSessions {
    inner: Mutex<Table>,
}

struct Table {
    sessions: HashMap<i32, Arc<Mutex<Session>>>,
    next_id: i32,
    /// Of all sessions together.
    partitions_max: usize,
}

/// What one fetch works on.
pub struct Fetch {
    /// Partitions to read, in this order.
    pub asked: Vec<Asked>,
    /// The session's id for the response: 0 for none.
    pub session_id: i32,
    session: Option<Arc<Mutex<Session>>>,
    /// Unchanged partitions may be left out.
    incremental: bool,
}

impl FetchSessions {
    /// None yet. Ids begin somewhere by chance (`random`), so that a client of a former process,
    /// which still names its old session, does not meet another client's.
    pub fn new(random: u32) -> FetchSessions {
        FetchSessions::bounded(random, FETCH_SESSION_PARTITIONS_MAX)
    }

    fn bounded(random: u32, partitions_max: usize) -> FetchSessions {
        FetchSessions {
            inner: Mutex::new(Table {
                sessions: HashMap::new(),
                next_id: (random >> 1) as i32,
                partitions_max,
            }),
        }
    }

    /// Finds or makes the session that a request names and brings it up to date.
    pub fn begin(
        &self,
        named: Named,
        asked: Vec<Asked>,
        forgotten: &[Key],
        now: Instant,
    ) -> Result<Fetch, ErrorCode> {
        match named {
            Named { id, epoch: -1 } => {
                self.inner.lock().sessions.remove(&id);
                Ok(Fetch {
                    asked,
                    session_id: 0,
                    session: None,
                    incremental: false,
                })
            }
            Named { id, epoch: 0 } => Ok(self.inner.lock().open(id, asked, now)),
            Named { id, epoch } => {
                let session = self
                    .inner
                    .lock()
                    .sessions
                    .get(&id)
                    .cloned()
                    .ok_or(ErrorCode::FetchSessionIdNotFound)?;
                let (all, grown) = session.lock().update(epoch, asked, forgotten, now)?;
                if grown && !self.inner.lock().keeps(id) {
                    return Err(ErrorCode::FetchSessionIdNotFound);
                }
                Ok(Fetch {
                    asked: all,
                    session_id: id,
                    session: Some(session),
                    incremental: true,
                })
            }
        }
    }

    /// Sessions kept now.
    pub fn count(&self) -> usize {
        self.inner.lock().sessions.len()
    }
}

impl Table {
    /// A new session in place of `old`, if there is room; without one the client goes on as well,
    /// only with longer requests.
    fn open(&mut self, old: i32, asked: Vec<Asked>, now: Instant) -> Fetch {
        self.sessions.remove(&old);
        if asked.is_empty()
            || self.partitions() + asked.len() > self.partitions_max
            || !self.make_room(now)
        {
            return Fetch {
                asked,
                session_id: 0,
                session: None,
                incremental: false,
            };
        }
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        while self.sessions.contains_key(&self.next_id) {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        }
        let partitions = asked
            .iter()
            .map(|asked| {
                (
                    asked.key(),
                    Cached {
                        asked: asked.clone(),
                        told: None,
                    },
                )
            })
            .collect();
        let session = Arc::new(Mutex::new(Session {
            partitions,
            next_epoch: 1,
            first: 0,
            used: now,
        }));
        self.sessions.insert(self.next_id, session.clone());
        Fetch {
            asked,
            session_id: self.next_id,
            session: Some(session),
            incremental: false,
        }
    }

    /// Partitions that all sessions remember.
    fn partitions(&self) -> usize {
        self.sessions
            .values()
            .map(|session| session.lock().partitions.len())
            .sum()
    }

    /// Whether a session that has grown may stay; one that takes too much is forgotten.
    fn keeps(&mut self, id: i32) -> bool {
        let fits = self.partitions() <= self.partitions_max;
        if !fits {
            self.sessions.remove(&id);
        }
        fits
    }

    fn make_room(&mut self, now: Instant) -> bool {
        if self.sessions.len() < FETCH_SESSIONS_MAX {
            return true;
        }
        let idle = self
            .sessions
            .iter()
            .map(|(id, session)| (session.lock().used, *id))
            .min();
        match idle {
            Some((used, id)) if now.duration_since(used) >= FETCH_SESSION_IDLE => {
                self.sessions.remove(&id).is_some()
            }
            _ => false,
        }
    }
}

impl Session {
    /// All partitions, in the order in which to read them, and whether there are more than before.
    fn update(
        &mut self,
        epoch: i32,
        asked: Vec<Asked>,
        forgotten: &[Key],
        now: Instant,
    ) -> Result<(Vec<Asked>, bool), ErrorCode> {
        if epoch != self.next_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        self.next_epoch = self.next_epoch.checked_add(1).unwrap_or(1);
        self.used = now;
        let before = self.partitions.len();
        for key in forgotten {
            self.partitions.shift_remove(key);
        }
        for asked in asked {
            match self.partitions.get_mut(&asked.key()) {
                Some(cached) => cached.asked = asked,
                None => {
                    self.partitions
                        .insert(asked.key(), Cached { asked, told: None });
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
        Ok((all, self.partitions.len() > before))
    }
}

impl Fetch {
    /// Which of the partitions read must be in the response, given what each would say and whether
    /// it carries records or something else that the client must see. Remembers what is told.
    pub fn changed(&self, told: &[(Told, bool)]) -> Vec<bool> {
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
mod tests {
    use super::*;
    use std::time::Duration;

    fn asked(partition: i32, fetch_offset: Offset) -> Asked {
        Asked {
            topic: StrBytes::from_static_str("t"),
            topic_id: TopicId::nil(),
            partition,
            fetch_offset,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: BatchEpoch::NONE,
            bytes_max: 1,
        }
    }

    fn told(high_watermark: Offset) -> (Told, bool) {
        (
            Told {
                high_watermark,
                log_start: 0,
                error: false,
            },
            false,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn an_incremental_fetch_leaves_out_what_did_not_change() {
        let sessions = FetchSessions::new(0);
        let now = Instant::now();
        let full = sessions
            .begin(
                Named { id: 0, epoch: 0 },
                vec![asked(0, 5), asked(1, 7)],
                &[],
                now,
            )
            .expect("a session");
        assert_eq!(full.changed(&[told(5), told(7)]), [true, true]);
        let next = sessions
            .begin(
                Named {
                    id: full.session_id,
                    epoch: 1,
                },
                vec![],
                &[],
                now,
            )
            .expect("the same session");
        assert_eq!(next.asked, [asked(0, 5), asked(1, 7)]);
        assert_eq!(next.changed(&[told(5), told(8)]), [false, true]);
        let forgotten = asked(0, 0).key();
        let last = sessions
            .begin(
                Named {
                    id: full.session_id,
                    epoch: 2,
                },
                vec![asked(1, 8)],
                &[forgotten],
                now,
            )
            .expect("the same session");
        assert_eq!(last.asked, [asked(1, 8)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_error_is_told_once() {
        let sessions = FetchSessions::new(0);
        let now = Instant::now();
        let error = (
            Told {
                high_watermark: -1,
                log_start: -1,
                error: true,
            },
            true,
        );
        let full = sessions
            .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], now)
            .expect("a session");
        assert_eq!(full.changed(&[error]), [true]);
        let again = sessions
            .begin(
                Named {
                    id: full.session_id,
                    epoch: 1,
                },
                vec![],
                &[],
                now,
            )
            .expect("the same session");
        assert_eq!(again.changed(&[error]), [true]);
        let over = sessions
            .begin(
                Named {
                    id: full.session_id,
                    epoch: 2,
                },
                vec![],
                &[],
                now,
            )
            .expect("the same session");
        assert_eq!(over.changed(&[told(5)]), [true]);
        let quiet = sessions
            .begin(
                Named {
                    id: full.session_id,
                    epoch: 3,
                },
                vec![],
                &[],
                now,
            )
            .expect("the same session");
        assert_eq!(quiet.changed(&[told(5)]), [false]);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_numbers_are_refused_and_a_closed_session_is_gone() {
        let sessions = FetchSessions::new(0);
        let now = Instant::now();
        let id = sessions
            .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], now)
            .expect("a session")
            .session_id;
        assert_eq!(
            sessions
                .begin(Named { id, epoch: 2 }, vec![], &[], now)
                .err(),
            Some(ErrorCode::InvalidFetchSessionEpoch)
        );
        assert_eq!(
            sessions
                .begin(
                    Named {
                        id: id + 1,
                        epoch: 1
                    },
                    vec![],
                    &[],
                    now
                )
                .err(),
            Some(ErrorCode::FetchSessionIdNotFound)
        );
        sessions
            .begin(Named { id, epoch: -1 }, vec![asked(0, 5)], &[], now)
            .expect("closed");
        assert_eq!(
            (
                sessions.count(),
                sessions
                    .begin(Named { id, epoch: 1 }, vec![], &[], now)
                    .err()
            ),
            (0, Some(ErrorCode::FetchSessionIdNotFound))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_remember_so_many_partitions_and_no_more() {
        let sessions = FetchSessions::bounded(0, 10);
        let now = Instant::now();
        let most = (1..10).map(|partition| asked(partition, 0)).collect();
        let large = sessions
            .begin(Named { id: 0, epoch: 0 }, most, &[], now)
            .expect("a session")
            .session_id;
        assert_ne!(large, 0);
        assert_ne!(
            sessions
                .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], now)
                .expect("the last place")
                .session_id,
            0
        );
        assert_eq!(
            sessions
                .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], now)
                .expect("no session")
                .session_id,
            0
        );
        let grown = sessions.begin(
            Named {
                id: large,
                epoch: 1,
            },
            vec![asked(0, 5)],
            &[],
            now,
        );
        assert_eq!(
            (grown.err(), sessions.count()),
            (Some(ErrorCode::FetchSessionIdNotFound), 1)
        );
        assert_ne!(
            sessions
                .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], now)
                .expect("room again")
                .session_id,
            0
        );
    }

    #[tokio::test(start_paused = true)]
    async fn ids_stay_positive_wherever_they_begin() {
        let sessions = FetchSessions::new(u32::MAX);
        let id = || {
            sessions
                .begin(
                    Named { id: 0, epoch: 0 },
                    vec![asked(0, 5)],
                    &[],
                    Instant::now(),
                )
                .expect("a session")
                .session_id
        };
        assert_eq!([id(), id()], [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_idle_sessions_make_room() {
        let sessions = FetchSessions::new(0);
        let now = Instant::now();
        for _ in 0..FETCH_SESSIONS_MAX {
            assert_ne!(
                sessions
                    .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], now)
                    .expect("a session")
                    .session_id,
                0
            );
        }
        assert_eq!(
            sessions
                .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], now)
                .expect("no session")
                .session_id,
            0
        );
        let later = now + FETCH_SESSION_IDLE + Duration::from_secs(1);
        assert_ne!(
            sessions
                .begin(Named { id: 0, epoch: 0 }, vec![asked(0, 5)], &[], later)
                .expect("a session")
                .session_id,
            0
        );
        assert_eq!(sessions.count(), FETCH_SESSIONS_MAX);
    }
}

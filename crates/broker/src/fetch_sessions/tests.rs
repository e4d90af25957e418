//! Fetch sessions: what a client is told, and who has a place in the table.

use super::*;
use crate::config::limits::{FETCH_SESSION_IDLE, FETCH_SESSIONS_MAX};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

fn bounds(sessions: usize, partitions: usize, partitions_each: usize) -> Bounds {
    Bounds {
        sessions,
        partitions,
        partitions_each,
    }
}

/// A new session of `count` partitions; 0 if it gets none.
fn open(sessions: &FetchSessions, count: i32, now: Instant) -> i32 {
    let asked = (0..count).map(|partition| asked(partition, 0)).collect();
    let named = Named { id: 0, epoch: 0 };
    let fetch = sessions.begin(named, asked, &[], now);
    fetch.expect("no error without a session").session_id
}

fn asked(partition: i32, fetch_offset: Offset) -> RequestedPartition {
    RequestedPartition {
        topic: StrBytes::from_static_str("t"),
        topic_id: TopicId::nil(),
        partition,
        fetch_offset,
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: BatchEpoch::NONE,
        bytes_max: 1,
    }
}

fn told(high_watermark: Offset) -> (LastResponse, bool) {
    (
        LastResponse {
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
        LastResponse {
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
    let sessions = FetchSessions::bounded(0, bounds(1_000, 10, 10));
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

const JUST_IDLE: Duration = FETCH_SESSION_IDLE;

#[tokio::test(start_paused = true)]
async fn two_large_idle_sessions_keep_nobody_out() {
    let sessions = FetchSessions::bounded(0, bounds(100, 1_000, 500));
    let now = Instant::now();
    let large = [open(&sessions, 500, now), open(&sessions, 500, now)];
    assert!(large.iter().all(|id| *id != 0));
    assert_eq!(open(&sessions, 11, now), 0, "more than a fair share");
    assert_ne!(open(&sessions, 11, now + JUST_IDLE), 0);
    assert_eq!(sessions.count(), 2, "one made room");
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_fair_share_takes_the_place_of_the_largest_one_in_use() {
    let sessions = FetchSessions::bounded(0, bounds(100, 1_000, 500));
    let now = Instant::now();
    let (larger, large) = (open(&sessions, 500, now), open(&sessions, 490, now));
    let small = [open(&sessions, 10, now), open(&sessions, 10, now)];
    assert!(small.iter().all(|id| *id != 0));
    let next = |id| {
        sessions
            .begin(Named { id, epoch: 1 }, vec![], &[], now)
            .err()
    };
    assert_eq!(next(larger), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!([next(large), next(small[0]), next(small[1])], [None; 3]);
}

#[tokio::test(start_paused = true)]
async fn one_session_has_at_most_its_part_of_the_table() {
    let sessions = FetchSessions::bounded(0, bounds(100, 1_000, 500));
    let now = Instant::now();
    assert_eq!(open(&sessions, 501, now), 0);
    let id = open(&sessions, 500, now);
    let more = vec![asked(500, 0)];
    let grown = sessions.begin(Named { id, epoch: 1 }, more, &[], now);
    assert_eq!(grown.err(), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(sessions.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_larger_session_takes_the_place_of_a_small_one_that_is_not_new() {
    let sessions = FetchSessions::bounded(0, bounds(2, 1_000, 500));
    let now = Instant::now();
    let ids = [open(&sessions, 5, now), open(&sessions, 7, now)];
    let later = now + JUST_IDLE - Duration::from_secs(1);
    let next = |id, epoch, at| sessions.begin(Named { id, epoch }, vec![], &[], at).err();
    assert_eq!(ids.map(|id| next(id, 1, later)), [None; 2]);
    assert_eq!(open(&sessions, 9, later), 0, "both are new");
    let later = now + JUST_IDLE;
    assert_eq!(open(&sessions, 5, later), 0, "it is not larger");
    assert_ne!(open(&sessions, 6, later), 0);
    assert_eq!(
        next(ids[0], 2, later),
        Some(ErrorCode::FetchSessionIdNotFound)
    );
    assert_eq!(next(ids[1], 2, later), None);
}

/// A small generator (splitmix64).
struct SessionRng(u64);

impl SessionRng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % bound
    }

    fn partitions(&mut self, most: u64) -> BTreeSet<i32> {
        (0..self.below(most + 1))
            .map(|_| self.below(30) as i32)
            .collect()
    }
}

/// A session as its client knows it.
struct SessionModel {
    partitions: BTreeSet<i32>,
    epoch: i32,
    created: Instant,
    used: Instant,
}

impl SessionModel {
    fn idle(&self, now: Instant) -> bool {
        now.duration_since(self.used) >= FETCH_SESSION_IDLE
    }
}

/// A table under random requests, beside what its clients know.
struct SessionRun {
    sessions: FetchSessions,
    models: BTreeMap<i32, SessionModel>,
    now: Instant,
    random: SessionRng,
}

const SMALL: Bounds = Bounds {
    sessions: 4,
    partitions: 40,
    partitions_each: 20,
};

impl SessionRun {
    fn asked(partitions: &BTreeSet<i32>) -> Vec<RequestedPartition> {
        partitions.iter().map(|index| asked(*index, 0)).collect()
    }

    /// Sessions that are there no more; each must have been one that may go.
    fn forget_evicted(&mut self, count: usize, newcomer: bool) {
        let table = self.sessions.table.lock();
        let now = self.now;
        self.models.retain(|id, model| {
            let stays = table.sessions.contains_key(id);
            let large = model.partitions.len() > SMALL.fair_share() && count <= SMALL.fair_share();
            let smaller = newcomer
                && model.partitions.len() < count
                && now.duration_since(model.created) >= FETCH_SESSION_IDLE;
            assert!(
                stays || model.idle(now) || large || smaller,
                "a session in use went for one of {count} partitions"
            );
            stays
        });
    }

    fn open(&mut self) {
        let partitions = self.random.partitions(24);
        let (count, now) = (partitions.len(), self.now);
        let place =
            self.models.len() < SMALL.sessions || self.models.values().any(|model| model.idle(now));
        let named = Named { id: 0, epoch: 0 };
        let fetch = self
            .sessions
            .begin(named, SessionRun::asked(&partitions), &[], now);
        let fetch = fetch.expect("no error");
        assert_eq!(fetch.asked, SessionRun::asked(&partitions));
        if place && (1..=SMALL.fair_share()).contains(&count) {
            assert_ne!(fetch.session_id, 0, "no room for a session of a fair share");
        }
        self.forget_evicted(count, true);
        if fetch.session_id != 0 {
            let model = SessionModel {
                partitions,
                epoch: 1,
                created: now,
                used: now,
            };
            assert!(self.models.insert(fetch.session_id, model).is_none());
        }
    }

    fn go_on(&mut self, id: i32) {
        let more = self.random.partitions(8);
        let less = self.random.partitions(8);
        let keys: Vec<Key> = less.iter().map(|index| asked(*index, 0).key()).collect();
        let Some(mut model) = self.models.remove(&id) else {
            return;
        };
        let epoch = model.epoch;
        model.partitions.retain(|index| !less.contains(index));
        model.partitions.extend(&more);
        let named = Named { id, epoch };
        let fetch = self
            .sessions
            .begin(named, SessionRun::asked(&more), &keys, self.now);
        self.forget_evicted(model.partitions.len(), false);
        match fetch {
            Ok(fetch) => {
                let read = fetch.asked.iter().map(|asked| asked.partition);
                assert_eq!(fetch.asked.len(), model.partitions.len());
                assert_eq!(read.collect::<BTreeSet<_>>(), model.partitions);
                (model.epoch, model.used) = (epoch + 1, self.now);
                self.models.insert(id, model);
            }
            Err(error) => {
                assert_eq!(error, ErrorCode::FetchSessionIdNotFound);
                let count = model.partitions.len();
                assert!(count > SMALL.fair_share(), "no room for {count} partitions");
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(8) {
            0..=2 => self.open(),
            3 => {
                if let Some((id, _)) = self.models.pop_first() {
                    let named = Named { id, epoch: -1 };
                    let closed = self.sessions.begin(named, vec![], &[], self.now);
                    assert_eq!(closed.expect("no error").session_id, 0);
                }
            }
            4 => self.now += Duration::from_secs(self.random.below(100)),
            _ => {
                let ids: Vec<i32> = self.models.keys().copied().collect();
                if !ids.is_empty() {
                    let at = self.random.below(ids.len() as u64) as usize;
                    self.go_on(ids[at]);
                }
            }
        }
    }

    /// The table counts what its sessions have, and stays within its bounds.
    fn check(&self) {
        let table = self.sessions.table.lock();
        let sizes: BTreeMap<i32, usize> = table
            .sessions
            .iter()
            .map(|(id, entry)| (*id, entry.session.lock().partitions.len()))
            .collect();
        let known = self.models.iter();
        let known: BTreeMap<i32, usize> = known
            .map(|(id, model)| (*id, model.partitions.len()))
            .collect();
        assert_eq!(sizes, known);
        assert_eq!(table.partitions, sizes.values().sum::<usize>());
        assert!(table.partitions <= SMALL.partitions && sizes.len() <= SMALL.sessions);
        assert!(sizes.values().all(|size| *size <= SMALL.partitions_each));
    }
}

#[tokio::test(start_paused = true)]
async fn the_table_keeps_its_bounds_and_its_promises_whatever_clients_do() {
    for seed in 0..200 {
        let mut run = SessionRun {
            sessions: FetchSessions::bounded(seed as u32, SMALL),
            models: BTreeMap::new(),
            now: Instant::now(),
            random: SessionRng(seed),
        };
        for _ in 0..200 {
            run.step();
            run.check();
        }
    }
}

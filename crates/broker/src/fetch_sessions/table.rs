//! The table of fetch sessions: which of them have a place, and which have to go.
//!
//! Invariant: `partitions` is the sum of what the entries count, and within the bounds. Not here: the
//! sessions themselves; the table only counts them and never takes the lock of one.

use super::Shared;
use crate::config::limits::{
    FETCH_SESSION_IDLE, FETCH_SESSION_PARTITIONS_EACH_MAX, FETCH_SESSION_PARTITIONS_MAX,
    FETCH_SESSIONS_MAX,
};
use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map},
};
use tokio::time::Instant;

/// The maxima of a table.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub sessions: usize,
    /// Partitions of all sessions together.
    pub partitions: usize,
    /// Partitions of one session.
    pub partitions_each: usize,
}

impl Bounds {
    /// Those of this broker.
    pub fn usual() -> Bounds {
        Bounds {
            sessions: FETCH_SESSIONS_MAX,
            partitions: FETCH_SESSION_PARTITIONS_MAX,
            partitions_each: FETCH_SESSION_PARTITIONS_EACH_MAX,
        }
    }

    /// As many partitions as every session can have, if all have as many.
    pub fn fair_share(&self) -> usize {
        self.partitions / self.sessions
    }
}

/// All sessions that have a place.
pub struct SessionTable {
    bounds: Bounds,
    pub sessions: HashMap<i32, Entry>,
    next_id: i32,
    /// Partitions of all sessions together.
    pub partitions: usize,
}

pub struct Entry {
    pub session: Shared,
    /// How many it remembers, as last counted.
    pub partitions: usize,
    pub created: Instant,
    pub used: Instant,
}

impl SessionTable {
    /// None yet; the ids begin after `before`.
    pub fn new(bounds: Bounds, before: i32) -> SessionTable {
        SessionTable {
            bounds,
            sessions: HashMap::new(),
            next_id: before,
            partitions: 0,
        }
    }

    /// A session, if it has a place.
    pub fn session(&self, id: i32) -> Option<Shared> {
        self.sessions.get(&id).map(|entry| entry.session.clone())
    }

    /// The id of a new session of `count` partitions; `None` if there is no room. What has to go
    /// for it is put into `evicted`, for the caller to drop without the lock.
    pub fn add(
        &mut self,
        session: Shared,
        count: usize,
        now: Instant,
        evicted: &mut Vec<Shared>,
    ) -> Option<i32> {
        for victim in self.victims(None, count, now)? {
            evicted.extend(self.remove(victim));
        }
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if let hash_map::Entry::Vacant(place) = self.sessions.entry(self.next_id) {
                place.insert(Entry {
                    session,
                    partitions: count,
                    created: now,
                    used: now,
                });
                self.partitions += count;
                return Some(self.next_id);
            }
        }
    }

    /// A session was used and has `count` partitions now. False: it is not here, or it has more
    /// than there is room for and is forgotten.
    pub fn count(
        &mut self,
        id: i32,
        count: usize,
        now: Instant,
        evicted: &mut Vec<Shared>,
    ) -> bool {
        if !self.sessions.contains_key(&id) {
            return false;
        }
        let fits = count <= self.bounds.partitions_each;
        let Some(victims) = self.victims(Some(id), count, now).filter(|_| fits) else {
            evicted.extend(self.remove(id));
            return false;
        };
        for victim in victims {
            evicted.extend(self.remove(victim));
        }
        let Some(entry) = self.sessions.get_mut(&id) else {
            return false;
        };
        self.partitions = self.partitions - entry.partitions + count;
        (entry.partitions, entry.used) = (count, now);
        true
    }

    pub fn remove(&mut self, id: i32) -> Option<Shared> {
        let entry = self.sessions.remove(&id)?;
        self.partitions -= entry.partitions;
        Some(entry.session)
    }

    /// The sessions that have to go so that session `id`, or a new one, can have `count`
    /// partitions; `None` if that is not possible.
    ///
    /// As in Kafka (`FetchSessionCacheShard.tryEvict`) those go that were not used for a while;
    /// then, for a new one, a smaller one that was not made just now, because a larger one saves
    /// more. Kafka does not bound partitions; where they are the bound, those go that have more than
    /// a fair share, for one that has not.
    fn victims(&self, id: Option<i32>, count: usize, now: Instant) -> Option<Vec<i32>> {
        let before = id
            .and_then(|id| self.sessions.get(&id))
            .map_or(0, |entry| entry.partitions);
        let sessions = self.sessions.len() + usize::from(id.is_none());
        let mut places = sessions.saturating_sub(self.bounds.sessions);
        let mut partitions =
            (self.partitions - before + count).saturating_sub(self.bounds.partitions);
        let mut victims = Vec::new();
        if places == 0 && partitions == 0 {
            return Some(victims);
        }
        let others = self
            .sessions
            .iter()
            .filter(|(other, _)| Some(**other) != id);
        let (mut idle, mut busy): (Vec<_>, Vec<_>) =
            others.partition(|(_, entry)| now.duration_since(entry.used) >= FETCH_SESSION_IDLE);
        let mut evict = |id: i32, entry: &Entry, places: &mut usize, partitions: &mut usize| {
            *places = places.saturating_sub(1);
            *partitions = partitions.saturating_sub(entry.partitions);
            victims.push(id);
        };
        // A planted bug.
        gnomon_failpoints::fail_point!("idle_sessions_stay", |_| None);
        idle.sort_unstable_by_key(|(id, entry)| (entry.used, **id));
        for (id, entry) in idle {
            if places > 0 || partitions > 0 {
                evict(*id, entry, &mut places, &mut partitions);
            }
        }
        if places > 0 {
            let old = |entry: &Entry| now.duration_since(entry.created) >= FETCH_SESSION_IDLE;
            let (at, _) = busy
                .iter()
                .enumerate()
                .filter(|(_, (_, entry))| old(entry) && entry.partitions < count)
                .min_by_key(|(_, (id, entry))| (entry.partitions, **id))?;
            let (id, entry) = busy.swap_remove(at);
            evict(*id, entry, &mut places, &mut partitions);
        }
        if partitions > 0 && count <= self.bounds.fair_share() {
            busy.retain(|(_, entry)| entry.partitions > self.bounds.fair_share());
            busy.sort_unstable_by_key(|(id, entry)| (Reverse(entry.partitions), **id));
            for (id, entry) in busy {
                if partitions > 0 {
                    evict(*id, entry, &mut places, &mut partitions);
                }
            }
        }
        (places == 0 && partitions == 0).then_some(victims)
    }
}

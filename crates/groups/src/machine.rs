//! The machine: dispatch of events, deadlines, the begin and the end of leading the partition.
//!
//! Invariants: only `replay` changes `Durable`; each parked reply belongs to a member in `Soft` and
//! is answered with NOT_COORDINATOR when this broker resigns.

use crate::{
    Action, Durable, Event, GroupError, GroupState, Groups, Join, Name, Record, Reply, Soft,
    admit::admit,
    classic::{Group, Pending, TimerKey, Turn},
    describe, offsets,
};
use gnomon_machine::{Effects, Machine, Mono, Now, ReplyToken};
use std::collections::BTreeSet;

/// The delay before the next check when one check could not erase everything that has expired: the
/// log gets a batch at a time, and requests run between.
const EXPIRE_MORE_AFTER_MS: u64 = 100;

impl Machine for Groups {
    type Durable = Durable;
    type Soft = Soft;
    type Event = Event;
    type Record = Record;
    type Reply = Reply;
    type Action = Action;

    fn step(
        durable: &Durable,
        soft: &mut Soft,
        now: Now,
        event: Event,
        token: ReplyToken,
    ) -> Effects<Self> {
        if let Err(error) = admit(soft.config(), &event) {
            return Effects::reply(token, Reply::Refused(error));
        }
        match event {
            Event::Join(request) => join(soft, now, request, token),
            Event::Sync(request) => {
                let (name, member_id) = (request.group.clone(), request.member_id.clone());
                at_group(soft, now, token, name, member_id, |turn| {
                    turn.sync(request, token)
                })
            }
            Event::Heartbeat(request) => {
                let (name, member_id) = (request.group.clone(), request.member_id.clone());
                at_group(soft, now, token, name, member_id, |turn| {
                    turn.heartbeat(request, token)
                })
            }
            Event::Leave(request) => {
                let name = request.group.clone();
                let member_id = request
                    .members
                    .first()
                    .map(|member| member.member_id.clone())
                    .unwrap_or_default();
                at_group(soft, now, token, name, member_id, |turn| {
                    turn.leave(request, token)
                })
            }
            Event::Commit(request) => offsets::commit(durable, soft, now, request, token),
            Event::Fetch(request) => Effects::reply(token, offsets::fetch(durable, request)),
            Event::List(request) => Effects::reply(token, describe::list(durable, soft, &request)),
            Event::Describe(request) => {
                Effects::reply(token, describe::describe(durable, soft, request))
            }
            Event::DeleteGroups(request) => {
                let (records, reply) = describe::delete(durable, soft, request);
                answered(records, token, reply)
            }
            Event::TopicsDeleted(news) => {
                let (records, reply) = offsets::forget_topics(durable, &news.topics);
                answered(records, token, reply)
            }
            Event::SyncOffsets(request) => {
                let (records, reply) = offsets::sync(durable, soft, now, request);
                answered(records, token, reply)
            }
            Event::SyncEnded(news) => {
                let (records, reply) = offsets::sync_ended(durable, now, &news);
                answered(records, token, reply)
            }
        }
    }

    fn tick(durable: &Durable, soft: &mut Soft, now: Now) -> Effects<Self> {
        let mut effects = Effects::none();
        let mut expire = false;
        while let Some(key) = soft.timers.pop_due(now.mono) {
            match key {
                TimerKey::Join(name) => {
                    _ = soft.with_group(now, &name, &mut effects, |turn| turn.join_deadline())
                }
                TimerKey::Sync(name) => {
                    _ = soft.with_group(now, &name, &mut effects, |turn| turn.sync_deadline())
                }
                TimerKey::Session(name, member_id) => {
                    _ = soft.with_group(now, &name, &mut effects, |turn| {
                        turn.session_deadline(&member_id)
                    });
                }
                TimerKey::Expiry => expire = true,
            }
        }
        // Expiry runs in a tick that wrote nothing else: it decides from `Durable`, which lacks the
        // records of this tick until they are replayed. Otherwise it runs soon afterwards.
        if expire && effects.records.is_empty() {
            let (records, more) = offsets::expire(durable, soft, now);
            effects.records = records;
            set_expiry(soft, now, more);
        } else if expire {
            set_expiry(soft, now, true);
        }
        effects
    }

    fn replay(durable: &mut Durable, record: &Record) {
        durable.apply(record);
    }

    /// Groups come back as they were written. Every member gets a whole session: it could not send
    /// heartbeats while nobody led.
    fn led(durable: &Durable, soft: &mut Soft, now: Now) -> Effects<Self> {
        let mut effects = Effects::none();
        for (name, value) in &durable.groups {
            soft.groups.insert(name.clone(), Group::loaded(value));
            soft.with_group(now, name, &mut effects, |turn| {
                for member_id in turn.group.members.keys().cloned().collect::<Vec<_>>() {
                    turn.renew_session(&member_id);
                }
            });
        }
        set_expiry(soft, now, false);
        effects
    }

    fn resigned(soft: &mut Soft) -> Vec<(ReplyToken, Reply)> {
        let groups = std::mem::take(&mut soft.groups);
        soft.pending = Pending::default();
        let members = groups
            .into_values()
            .flat_map(|group| group.members.into_values());
        members
            .flat_map(|member| member.join.into_iter().chain(member.sync))
            .map(|token| (token, Reply::Refused(GroupError::NotCoordinator)))
            .collect()
    }

    fn snapshot(durable: &Durable) -> Vec<Record> {
        durable.snapshot()
    }

    fn deadline(soft: &Soft) -> Option<Mono> {
        soft.timers.next()
    }
}

fn answered(records: Vec<Record>, token: ReplyToken, reply: Reply) -> Effects<Groups> {
    Effects {
        records,
        replies: vec![(token, reply)],
        actions: Vec::new(),
    }
}

fn set_expiry(soft: &mut Soft, now: Now, soon: bool) {
    let after = if soon {
        EXPIRE_MORE_AFTER_MS
    } else {
        soft.config.offsets_check_interval_ms.max(1)
    };
    soft.timers.set(TimerKey::Expiry, now.mono.after(after));
}

/// Handles a request of a member at its group. A group that does not exist has no members.
fn at_group(
    soft: &mut Soft,
    now: Now,
    token: ReplyToken,
    name: Name,
    member_id: Name,
    take: impl FnOnce(&mut Turn),
) -> Effects<Groups> {
    let mut effects = Effects::none();
    match soft.with_group(now, &name, &mut effects, take) {
        Some(()) => effects,
        None => Effects::reply(
            token,
            Reply::Refused(GroupError::UnknownMember { member_id }),
        ),
    }
}

/// A join without a member id creates the group; one with an id does not, as in Kafka.
fn join(soft: &mut Soft, now: Now, request: Join, token: ReplyToken) -> Effects<Groups> {
    let (name, member_id) = (request.group.clone(), request.member_id.clone());
    if member_id.is_empty() {
        soft.groups.entry(name.clone()).or_default();
    }
    let mut effects = at_group(soft, now, token, name.clone(), member_id, |turn| {
        turn.join(request, token)
    });
    while let Some((number, group, member_id)) = soft.excess_pending(&name) {
        soft.with_group(now, &group, &mut effects, |turn| {
            turn.end_session(&member_id);
            turn.session_deadline(&member_id);
        });
        // Already removed by the deadline; removed here in any case, so that the loop ends.
        soft.pending.remove(number);
    }
    effects
}

impl Soft {
    /// The first broken invariant of the living groups, for tests. Among them: a session timer or a
    /// parked reply watches each member.
    #[doc(hidden)]
    pub fn check(&self, durable: &Durable) -> Result<(), String> {
        durable.check()?;
        for (name, value) in &durable.groups {
            let group = self
                .groups
                .get(name)
                .ok_or_else(|| format!("group {name} was written and is not alive"))?;
            if group.state == GroupState::Stable && group.value() != *value {
                return Err(format!(
                    "group {name} is stable and other than written: {:?}, {value:?}",
                    group.value()
                ));
            }
        }
        let by_age: BTreeSet<_> = self.pending.iter().collect();
        let by_group: BTreeSet<_> = self
            .groups
            .iter()
            .flat_map(|(name, group)| group.pending.iter().map(move |(id, at)| (*at, name, id)))
            .collect();
        if by_age != by_group {
            return Err(format!("pending {by_age:?}, in groups {by_group:?}"));
        }
        self.check_timers()?;
        for (name, group) in &self.groups {
            group
                .check()
                .map_err(|broken| format!("group {name}: {broken}"))?;
            if group.written != durable.groups.contains_key(name) {
                return Err(format!(
                    "group {name} believes that it is{} written",
                    if group.written { "" } else { " not" }
                ));
            }
            let watched = |id: &Name| {
                self.timers
                    .get(&TimerKey::Session(name.clone(), id.clone()))
                    .is_some()
            };
            let parked = |id: &Name| {
                group
                    .members
                    .get(id)
                    .is_some_and(|member| member.join.is_some() || member.sync.is_some())
            };
            if let Some(id) = group
                .members
                .keys()
                .chain(group.pending.keys())
                .find(|id| !watched(id) && !parked(id))
            {
                return Err(format!("group {name}: nobody watches member {id}"));
            }
            let joining = group.state == GroupState::PreparingRebalance;
            if joining != self.timers.get(&TimerKey::Join(name.clone())).is_some() {
                return Err(format!(
                    "group {name} is {:?} and its join timer does not fit",
                    group.state
                ));
            }
        }
        Ok(())
    }

    /// Every timer is some living group's or member's: a deadline that outlived its subject would
    /// be memory that nothing frees.
    fn check_timers(&self) -> Result<(), String> {
        for key in self.timers.keys() {
            let known = match key {
                TimerKey::Join(name) | TimerKey::Sync(name) => self.groups.contains_key(name),
                TimerKey::Session(name, id) => self.groups.get(name).is_some_and(|group| {
                    group.members.contains_key(id) || group.pending.contains_key(id)
                }),
                TimerKey::Expiry => true,
            };
            if !known {
                return Err(format!("{key:?} is the timer of nothing that lives"));
            }
        }
        Ok(())
    }
}

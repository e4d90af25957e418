//! The classic group protocol: join, sync, heartbeat, leave, static membership.
//!
//! Each request is one [`Turn`] at one group: it may change the living group and its timers, and
//! adds records and replies to the effects. The rules are those of Kafka's group coordinator; each
//! file lists the rules that it implements. Not here: offsets.

mod heartbeat;
mod join;
mod leave;
mod member;
mod pending;
mod rebalance;
mod state;
mod static_member;
mod sync;
mod timer;

pub(crate) use pending::Pending;
pub(crate) use state::Group;
pub(crate) use timer::TimerKey;

use crate::{GroupConfig, GroupError, Groups, Name, Record, Reply};
use gnomon_machine::{Effects, Now, ReplyToken, Timers};

/// One request or deadline at one group: everything that it may read and change.
pub(crate) struct Turn<'a> {
    pub name: Name,
    pub group: &'a mut Group,
    pub config: &'a GroupConfig,
    pub timers: &'a mut Timers<TimerKey>,
    pub pending: &'a mut Pending,
    pub now: Now,
    pub effects: &'a mut Effects<Groups>,
}

impl Turn<'_> {
    pub fn reply(&mut self, token: ReplyToken, reply: Reply) {
        self.effects.replies.push((token, reply));
    }

    pub fn refuse(&mut self, token: ReplyToken, error: GroupError) {
        self.reply(token, Reply::Refused(error));
    }

    /// Writes the group as it is now.
    pub fn write(&mut self) {
        self.group.written = true;
        self.effects.records.push(Record::Group {
            group: self.name.clone(),
            value: Some(self.group.value()),
        });
    }

    /// A sign of life: the member's session starts again. Does nothing for a member that is not in
    /// the group.
    pub fn renew_session(&mut self, member_id: &Name) {
        if let Some(member) = self.group.members.get(member_id) {
            self.set_session(member_id, member.session_timeout_ms);
        }
    }

    pub fn set_session(&mut self, member_id: &Name, timeout_ms: i32) {
        let at = self.now.mono.after(positive(timeout_ms));
        self.timers
            .set(TimerKey::Session(self.name.clone(), member_id.clone()), at);
    }

    /// Remembers an id that was given out (KIP-394): the join phase waits for the member.
    pub fn expect_member(&mut self, member_id: Name) {
        let number = self.pending.add(self.name.clone(), member_id.clone());
        if let Some(before) = self.group.pending.insert(member_id, number) {
            self.pending.remove(before);
        }
    }

    /// Forgets an id that was given out; returns whether there was one.
    pub fn forget_expected(&mut self, member_id: &Name) -> bool {
        let number = self.group.pending.remove(member_id);
        if let Some(number) = number {
            self.pending.remove(number);
        }
        number.is_some()
    }

    pub fn end_session(&mut self, member_id: &Name) {
        self.timers
            .cancel(&TimerKey::Session(self.name.clone(), member_id.clone()));
    }
}

/// A client's milliseconds as a timer's: at least 1, so that a deadline is never at once.
pub(crate) fn positive(milliseconds: i32) -> u64 {
    u64::try_from(milliseconds).unwrap_or(0).max(1)
}

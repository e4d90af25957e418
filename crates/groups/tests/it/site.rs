//! A coordinator under a test's control: one machine, its log in memory, its clock, and the replies
//! that have got out. Every record is durable at once; a restart rebuilds the state from the bytes.
//!
//! It checks the invariants of the living state (`Soft::check`) at each step, and keeps the state
//! after each batch, so that a test can compare every prefix of the log with the state of that
//! moment.

use gnomon_groups::*;
use gnomon_machine::{DurableRecord, Effects, EncodedRecord, Machine, Mono, Now, ReplyToken, Wall};
use std::collections::BTreeMap;

/// A start that is no round number of anything, so that a unit mixed up shows.
const WALL_START: i64 = 1_700_000_000_123;

pub struct GroupSite {
    pub durable: Durable,
    pub soft: Soft,
    config: GroupConfig,
    pub now: Now,
    pub log: Vec<EncodedRecord>,
    /// The log's length after each batch, with the state then.
    pub batches: Vec<(usize, Durable)>,
    replies: BTreeMap<ReplyToken, Reply>,
    /// Requests without an answer, and when they were made.
    pub parked: BTreeMap<ReplyToken, Mono>,
    tokens: u64,
}

impl GroupSite {
    pub fn new(config: GroupConfig) -> GroupSite {
        let mut site = GroupSite {
            durable: Durable::default(),
            soft: Soft::new(config.clone()),
            config,
            now: Now {
                mono: Mono(0),
                wall: Wall(WALL_START),
            },
            log: Vec::new(),
            batches: Vec::new(),
            replies: BTreeMap::new(),
            parked: BTreeMap::new(),
            tokens: 0,
        };
        let effects = Groups::led(&site.durable, &mut site.soft, site.now);
        site.take(effects);
        site
    }

    /// Sends a request; its reply may come at once, later, or never.
    pub fn send(&mut self, event: Event) -> ReplyToken {
        self.tokens += 1;
        let token = ReplyToken(self.tokens);
        self.parked.insert(token, self.now.mono);
        let effects = Groups::step(&self.durable, &mut self.soft, self.now, event, token);
        self.take(effects);
        token
    }

    /// Sends a request that is answered at once.
    pub fn ask(&mut self, event: Event) -> Reply {
        let token = self.send(event);
        self.reply(token).expect("this request is never parked")
    }

    /// The reply to a request, once.
    pub fn reply(&mut self, token: ReplyToken) -> Option<Reply> {
        self.replies.remove(&token)
    }

    /// Time passes; every deadline on the way is met at its own moment.
    pub fn pass(&mut self, milliseconds: u64) {
        let until = self.now.mono.after(milliseconds);
        while let Some(deadline) = Groups::deadline(&self.soft).filter(|at| *at <= until) {
            self.set_time(deadline.max(self.now.mono));
            let effects = Groups::tick(&self.durable, &mut self.soft, self.now);
            self.take(effects);
            assert!(
                Groups::deadline(&self.soft).is_none_or(|next| next > self.now.mono),
                "a tick left a deadline in the past"
            );
        }
        self.set_time(until);
    }

    /// The process dies and comes back: requests that wait never get an answer.
    pub fn restart(&mut self) {
        self.durable = rebuild(&self.log);
        self.soft = Soft::new(self.config.clone());
        self.parked.clear();
        self.replies.clear();
        let effects = Groups::led(&self.durable, &mut self.soft, self.now);
        self.take(effects);
    }

    fn set_time(&mut self, mono: Mono) {
        let passed = mono.0 - self.now.mono.0;
        self.now = Now {
            mono,
            wall: Wall(self.now.wall.0 + passed as i64),
        };
    }

    fn take(&mut self, effects: Effects<Groups>) {
        for record in &effects.records {
            self.log.push(record.encode());
            Groups::replay(&mut self.durable, record);
        }
        if !effects.records.is_empty() {
            self.batches.push((self.log.len(), self.durable.clone()));
        }
        for (token, reply) in effects.replies {
            let waited = self.parked.remove(&token);
            assert!(waited.is_some(), "caller {token:?} is answered twice");
            self.replies.insert(token, reply);
        }
        self.soft.check(&self.durable).unwrap();
    }
}

/// The state that a start makes of these bytes.
pub fn rebuild(log: &[EncodedRecord]) -> Durable {
    let mut durable = Durable::default();
    for record in log {
        let record = Record::decode(record.key.as_deref(), record.value.as_deref()).unwrap();
        Groups::replay(&mut durable, &record);
    }
    durable
}

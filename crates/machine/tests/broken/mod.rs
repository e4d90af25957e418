//! The counter machine with one fault each: the faults that the harness and the replay law must
//! find.

use crate::counter::{Counter, Event, Reply, Set, Soft};
use gnomon_machine::*;
use std::collections::BTreeMap;

/// The caller of an addition is answered twice.
pub const ANSWERS_TWICE: u8 = 1;
/// The snapshot leaves the first counter out.
pub const SNAPSHOT_LEAVES_OUT: u8 = 3;
/// A deadline that has passed is never taken out.
pub const KEEPS_DEADLINES: u8 = 4;
/// Resigning answers callers that were answered before.
pub const RESIGNS_TWICE: u8 = 5;
/// A record of 5 is written as bytes that nobody can read.
pub const WRITES_UNREADABLE: u8 = 6;
/// A value above 5 is written as 5: the bytes say less than the state.
pub const WRITES_LESS: u8 = 7;

#[derive(Debug)]
pub struct Broken<const FLAW: u8>;

/// The record of a [`Broken`]: the flaw may be in its bytes.
#[derive(Debug)]
pub struct Written<const FLAW: u8>(pub Set);

impl<const FLAW: u8> DurableRecord for Written<FLAW> {
    fn encode(&self) -> EncodedRecord {
        let mut encoded = self.0.encode();
        if FLAW == WRITES_UNREADABLE && self.0.1 == 5 {
            encoded.value = Some("longer than one byte".into());
        }
        if FLAW == WRITES_LESS && self.0.1 > 5 {
            encoded.value = Some(vec![5].into());
        }
        encoded
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, UnreadableRecord> {
        Set::decode(key, value).map(Written)
    }
}

fn as_broken<const FLAW: u8>(effects: Effects<Counter>) -> Effects<Broken<FLAW>> {
    Effects {
        records: effects.records.into_iter().map(Written).collect(),
        replies: effects.replies,
        actions: effects.actions,
    }
}

impl<const FLAW: u8> Machine for Broken<FLAW> {
    type Durable = BTreeMap<u8, u8>;
    type Soft = Soft;
    type Event = Event;
    type Record = Written<FLAW>;
    type Reply = Reply;
    type Action = u8;

    fn step(
        durable: &Self::Durable,
        soft: &mut Soft,
        now: Now,
        event: Event,
        token: ReplyToken,
    ) -> Effects<Self> {
        let adds = matches!(event, Event::Add(..));
        let mut effects = as_broken(Counter::step(durable, soft, now, event, token));
        if FLAW == ANSWERS_TWICE && adds {
            effects.replies.push((token, Reply::TimedOut));
        }
        effects
    }

    fn tick(durable: &Self::Durable, soft: &mut Soft, now: Now) -> Effects<Self> {
        if FLAW == KEEPS_DEADLINES {
            return Effects::none();
        }
        as_broken(Counter::tick(durable, soft, now))
    }

    fn replay(durable: &mut Self::Durable, record: &Written<FLAW>) {
        Counter::replay(durable, &record.0);
    }

    fn led(durable: &Self::Durable, soft: &mut Soft, now: Now) -> Effects<Self> {
        as_broken(Counter::led(durable, soft, now))
    }

    fn resigned(soft: &mut Soft) -> Vec<(ReplyToken, Reply)> {
        let mut replies = Counter::resigned(soft);
        if FLAW == RESIGNS_TWICE {
            replies.push((ReplyToken(1), Reply::Resigned));
        }
        replies
    }

    fn snapshot(durable: &Self::Durable) -> Vec<Written<FLAW>> {
        let mut records: Vec<_> = Counter::snapshot(durable)
            .into_iter()
            .map(Written)
            .collect();
        if FLAW == SNAPSHOT_LEAVES_OUT && !records.is_empty() {
            records.remove(0);
        }
        records
    }

    fn deadline(soft: &Soft) -> Option<Mono> {
        Counter::deadline(soft)
    }
}

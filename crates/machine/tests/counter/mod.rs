//! A minimal machine for the tests of the harness: named counters, and callers that wait for a
//! number.

use bytes::Bytes;
use gnomon_machine::*;
use std::collections::BTreeMap;

#[derive(Debug)]
pub struct Counter;

#[derive(Debug)]
pub enum Event {
    Add(u8, u8),
    WaitFor(u8, u8, u64),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Set(pub u8, pub u8);

#[derive(Default)]
pub struct Soft {
    pub parked: BTreeMap<ReplyToken, (u8, u8)>,
    pub timers: Timers<ReplyToken>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Is(u8),
    TimedOut,
    Resigned,
}

impl DurableRecord for Set {
    fn encode(&self) -> EncodedRecord {
        EncodedRecord {
            key: Some(Bytes::copy_from_slice(&[self.0])),
            value: Some(Bytes::copy_from_slice(&[self.1])),
        }
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, UnreadableRecord> {
        match (key, value) {
            (Some([k]), Some([v])) => Ok(Set(*k, *v)),
            _ => Err(UnreadableRecord {
                what: "counter",
                kind: -1,
                version: -1,
                why: "not one byte each".to_owned(),
            }),
        }
    }
}

impl Machine for Counter {
    type Durable = BTreeMap<u8, u8>;
    type Soft = Soft;
    type Event = Event;
    type Record = Set;
    type Reply = Reply;
    type Action = u8;

    fn step(
        durable: &Self::Durable,
        soft: &mut Soft,
        now: Now,
        event: Event,
        token: ReplyToken,
    ) -> Effects<Self> {
        match event {
            Event::Add(name, by) => {
                let is = durable.get(&name).unwrap_or(&0).wrapping_add(by);
                let mut effects = Effects::reply(token, Reply::Is(is));
                effects.records.push(Set(name, is));
                let due: Vec<_> = soft
                    .parked
                    .iter()
                    .filter(|(_, (n, at))| *n == name && is >= *at)
                    .map(|(t, _)| *t)
                    .collect();
                for waiting in due {
                    soft.parked.remove(&waiting);
                    soft.timers.cancel(&waiting);
                    effects.replies.push((waiting, Reply::Is(is)));
                }
                if is == 9 {
                    effects.actions.push(name);
                }
                effects
            }
            Event::WaitFor(name, at, milliseconds) => {
                soft.parked.insert(token, (name, at));
                soft.timers.set(token, now.mono.after(milliseconds));
                Effects::none()
            }
        }
    }

    fn tick(_: &Self::Durable, soft: &mut Soft, now: Now) -> Effects<Self> {
        let mut effects = Effects::none();
        while let Some(token) = soft.timers.pop_due(now.mono) {
            soft.parked.remove(&token);
            effects.replies.push((token, Reply::TimedOut));
        }
        effects
    }

    fn replay(durable: &mut Self::Durable, record: &Set) {
        durable.insert(record.0, record.1);
    }

    fn led(_: &Self::Durable, _: &mut Soft, _: Now) -> Effects<Self> {
        Effects::none()
    }

    fn resigned(soft: &mut Soft) -> Vec<(ReplyToken, Reply)> {
        std::mem::take(&mut soft.parked)
            .into_keys()
            .map(|token| (token, Reply::Resigned))
            .collect()
    }

    fn snapshot(durable: &Self::Durable) -> Vec<Set> {
        durable.iter().map(|(name, is)| Set(*name, *is)).collect()
    }

    fn deadline(soft: &Soft) -> Option<Mono> {
        soft.timers.next()
    }
}

//! Timers and events of one machine: neither keeps the other from its turn.

use super::{tests::open, *};
use crate::{PartitionJournal, WallClock};
use gnomon_machine::{Now, UnreadableRecord};
use gnomon_storage::{Boot, MemDisk};
use std::convert::Infallible;

/// Rings once, as soon as it leads; the reply to every event says how often it rang before.
struct Alarm;

#[derive(Default)]
struct Bell {
    due: Option<Mono>,
    rang: u32,
}

#[derive(Debug)]
struct Nothing;

impl DurableRecord for Nothing {
    fn encode(&self) -> EncodedRecord {
        unreachable!("an alarm writes nothing")
    }

    fn decode(_: Option<&[u8]>, _: Option<&[u8]>) -> Result<Nothing, UnreadableRecord> {
        unreachable!("an alarm writes nothing")
    }
}

impl Machine for Alarm {
    type Durable = ();
    type Soft = Bell;
    type Event = ();
    type Record = Nothing;
    type Reply = u32;
    type Action = Infallible;

    fn step(&(): &(), bell: &mut Bell, _: Now, (): (), token: ReplyToken) -> Effects<Alarm> {
        Effects::reply(token, bell.rang)
    }

    fn tick(&(): &(), bell: &mut Bell, _: Now) -> Effects<Alarm> {
        bell.due = None;
        bell.rang += 1;
        Effects::none()
    }

    fn replay((): &mut (), _: &Nothing) {}

    fn led(&(): &(), bell: &mut Bell, now: Now) -> Effects<Alarm> {
        bell.due = Some(now.mono);
        Effects::none()
    }

    fn resigned(_: &mut Bell) -> Vec<(ReplyToken, u32)> {
        Vec::new()
    }

    fn snapshot(&(): &()) -> Vec<Nothing> {
        Vec::new()
    }

    fn deadline(bell: &Bell) -> Option<Mono> {
        bell.due
    }
}

struct NoReaders;

impl Owner<Alarm> for NoReaders {
    type Snapshot = ();

    fn new_soft(&self) -> Bell {
        Bell::default()
    }

    fn capture(&self, (): &()) {}

    fn publish(&self, (): ()) {}

    fn act(&self, action: Infallible) {
        match action {}
    }

    fn lost(&self, error: JournalError) {
        panic!("lost: {error}");
    }
}

/// A hundred busy clients of one group kept the members of another from their rebalance for half a
/// minute, because the inbox was never empty.
#[tokio::test(start_paused = true)]
async fn a_timer_that_is_due_runs_before_the_events_that_wait() {
    let journal = PartitionJournal::new("__alarm".into(), open(&MemDisk::new(), Boot::Same), None);
    let clock = Clock::start(WallClock::System);
    let driver = Driver::<Alarm, _, _>::rebuild(journal, NoReaders, clock).expect("rebuilt");
    let (submit, run) = driver.start(Leadership::always());
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let submit = submit.clone();
            tokio::spawn(async move { submit.submit(()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    tokio::spawn(run);
    for reply in waiting {
        assert_eq!(reply.await.expect("no panic"), Ok(1));
    }
}

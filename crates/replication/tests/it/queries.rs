//! A reader ahead of a shadow: not here yet until its source, asked after the reader came, names a
//! lower end or epoch.

use crate::site::LinkedSites;
use gnomon_links::TopicState;
use gnomon_partition::{EpochEnd, Position, PositionState, QueryId};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{BatchEpoch, Offset},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const TOPIC: &str = "a_orders";
/// A reader's patience with a source that answers.
const SOON: Duration = Duration::from_secs(1);

/// Ten records in epoch 0 here and there.
async fn copied_world() -> LinkedSites {
    let world = LinkedSites::start().await;
    world.source.create(TOPIC, Uuid::from_u128(1), 1);
    world.source.partition(TOPIC, 0, |p| {
        (0..10).for_each(|n| p.append(&[&n.to_string()]))
    });
    world.copied(TOPIC, 0, 10).await;
    world
}

fn at(offset: Offset, epoch: i32) -> Position {
    Position {
        offset,
        last_epoch: BatchEpoch(epoch),
    }
}

/// A reader that asks, as a broker does for it.
struct AheadReader<'w> {
    world: &'w LinkedSites,
    position: Position,
    ask: QueryId,
}

impl<'w> AheadReader<'w> {
    fn comes(world: &'w LinkedSites, position: Position) -> AheadReader<'w> {
        let handle = world.handle(TOPIC, 0);
        assert_eq!(
            handle.reader().position_state(position),
            PositionState::NotYet
        );
        let ask = handle.reader().open_query(position.subject(), None);
        AheadReader {
            world,
            position,
            ask,
        }
    }

    fn position_state(&self) -> PositionState {
        self.world
            .service
            .ask_source(self.world.topic(TOPIC).expect("the topic").id, 0);
        self.world
            .handle(TOPIC, 0)
            .reader()
            .position_by_source(self.position, Some(self.ask))
    }

    /// The state that it is told within this time, if that is not "not yet" throughout. Woken, not
    /// polled.
    async fn told_within(&self, patience: Duration) -> PositionState {
        let waiter = self.world.handle(TOPIC, 0).reader().wait();
        let until = Instant::now() + patience;
        loop {
            let position_state = self.position_state();
            if position_state != PositionState::NotYet
                || tokio::time::timeout_at(until, waiter.changed())
                    .await
                    .is_err()
            {
                return position_state;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_out_of_range_once_the_source_has_been_heard() {
    let world = copied_world().await;
    assert_eq!(
        AheadReader::comes(&world, at(1_000_000_000, -1))
            .told_within(SOON)
            .await,
        PositionState::OutOfRange
    );
    assert_eq!(
        AheadReader::comes(&world, at(11, 0))
            .told_within(SOON)
            .await,
        PositionState::Diverging {
            epoch: BatchEpoch(0),
            end: 10
        }
    );
    assert_eq!(
        AheadReader::comes(&world, at(5, 9)).told_within(SOON).await,
        PositionState::OutOfRange,
        "no such epoch there"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_ahead_of_a_lagging_shadow_waits_and_goes_on() {
    let world = copied_world().await;
    world.source.partition(TOPIC, 0, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code());
        p.leader_epoch = 1;
        (10..20).for_each(|n| p.append(&[&n.to_string()]));
    });
    for position in [at(20, -1), at(15, 1), at(20, 1)] {
        assert_eq!(
            AheadReader::comes(&world, position)
                .told_within(10 * SOON)
                .await,
            PositionState::NotYet,
            "{position:?}: the source has it"
        );
    }
    let (one, other) = (
        AheadReader::comes(&world, at(20, 1)),
        AheadReader::comes(&world, at(21, 1)),
    );
    assert_eq!(
        other.told_within(SOON).await,
        PositionState::Diverging {
            epoch: BatchEpoch(1),
            end: 20
        },
        "that it never had"
    );
    world.source.partition(TOPIC, 0, |p| p.error = None);
    world.copied(TOPIC, 0, 20).await;
    assert_eq!(one.position_state(), PositionState::Here);
}

#[tokio::test(start_paused = true)]
async fn what_the_source_said_before_decides_nothing_for_who_comes_later() {
    let world = copied_world().await;
    let before = AheadReader::comes(&world, at(15, -1));
    assert_eq!(before.told_within(SOON).await, PositionState::OutOfRange);
    // The source grows, the reader reads there and moves over; nothing of it came here.
    world.source.partition(TOPIC, 0, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code());
        (10..20).for_each(|n| p.append(&[&n.to_string()]));
    });
    let after = AheadReader::comes(&world, at(15, -1));
    assert_eq!(after.told_within(10 * SOON).await, PositionState::NotYet);
}

#[tokio::test(start_paused = true)]
async fn while_the_source_cannot_be_asked_it_stays_not_here_yet() {
    let world = copied_world().await;
    world.source.set(|cluster| cluster.down = true);
    let readers =
        [at(1_000, -1), at(11, 0), at(5, 9)].map(|position| AheadReader::comes(&world, position));
    sleep(Duration::from_secs(3_600)).await;
    for reader in &readers {
        assert_eq!(
            reader.told_within(60 * SOON).await,
            PositionState::NotYet,
            "{:?}",
            reader.position
        );
    }
    assert!(
        !world.service.ask_source(world.topic(TOPIC).unwrap().id, 0),
        "nobody need wait for it now"
    );
    let before = world
        .source
        .set(|cluster| (cluster.down = false, cluster.end_questions).1);
    assert_eq!(
        readers[0].told_within(5 * SOON).await,
        PositionState::OutOfRange,
        "asked again by itself"
    );
    assert!(world.service.ask_source(world.topic(TOPIC).unwrap().id, 0));
    assert!(world.source.set(|cluster| cluster.end_questions) > before);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lost_its_tail_names_the_end_though_the_topic_is_faulted() {
    let world = copied_world().await;
    world.source.partition(TOPIC, 0, |p| p.truncate(6));
    world.faulted(TOPIC).await;
    let told = AheadReader::comes(&world, at(12, -1))
        .told_within(SOON)
        .await;
    assert_eq!(
        (told, world.state(TOPIC).unwrap().0),
        (PositionState::OutOfRange, TopicState::Faulted)
    );
    // What is here stays readable: it is not cut to what the source has left.
    assert_eq!(
        AheadReader::comes(&world, at(12, 0))
            .told_within(SOON)
            .await,
        PositionState::Diverging {
            epoch: BatchEpoch(0),
            end: 10
        }
    );
    assert_eq!(
        world.handle(TOPIC, 0).reader().position_state(at(10, 0)),
        PositionState::Here
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_of_an_epoch_is_told_as_the_source_has_it() {
    let world = copied_world().await;
    world.source.partition(TOPIC, 0, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code());
        (10..20).for_each(|n| p.append(&[&n.to_string()]));
        p.leader_epoch = 2;
        (20..25).for_each(|n| p.append(&[&n.to_string()]));
    });
    let handle = world.handle(TOPIC, 0);
    for (requested, end) in [(0, 20), (1, 20), (2, 25)] {
        let requested = BatchEpoch(requested);
        let ask = handle
            .reader()
            .open_query(gnomon_partition::QuerySubject::Epoch(requested), None);
        let waiter = handle.reader().wait();
        world.service.ask_source(world.topic(TOPIC).unwrap().id, 0);
        waiter.changed().await;
        let epoch = if requested == BatchEpoch(2) {
            BatchEpoch(2)
        } else {
            BatchEpoch(0)
        };
        assert_eq!(
            handle.reader().end_for_epoch(requested, Some(ask)),
            EpochEnd::Known { epoch, end },
            "{requested:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_of_a_leader_that_cannot_tell_or_of_a_topic_created_again() {
    let world = copied_world().await;
    world.source.partition(TOPIC, 0, |p| {
        p.end_error = Some(ErrorCode::OffsetNotAvailable.code())
    });
    let reader = AheadReader::comes(&world, at(12, -1));
    assert_eq!(
        reader.told_within(10 * SOON).await,
        PositionState::NotYet,
        "a new leader does not know its watermark yet (KIP-207)"
    );
    world.source.create(TOPIC, Uuid::from_u128(99), 1);
    world
        .source
        .partition(TOPIC, 0, |p| p.append(&["another topic"]));
    assert_eq!(reader.told_within(10 * SOON).await, PositionState::NotYet);
}

#[tokio::test(start_paused = true)]
async fn however_many_readers_ask_the_source_is_asked_a_little() {
    let world = copied_world().await;
    for offset in 11..1_000 {
        let _ = AheadReader::comes(&world, at(offset, -1)).position_state();
    }
    sleep(SOON).await;
    assert!((1..=3).contains(&world.source.set(|cluster| cluster.end_questions)));
}

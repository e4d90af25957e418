//! Idempotent producers that pipeline, on a partition whose state turns between two of their
//! requests: a failover ends, another broker leads for a while, the disk is full, the disk fails.
//!
//! What must hold: when the partition is writable again, each record stands in the log once and in
//! order, and no batch that is the producer's next one was told OUT_OF_ORDER_SEQUENCE_NUMBER.
//! Kafka's Java producer would renumber it, out of order; librdkafka raises a fatal error.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{
    AppendError, Handle, Isolation, ReopenError, Replica, Role, RoleRefusal, SequenceError,
    Settings, Writers,
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, records},
    ids::{LeaderEpoch, Offset, ProducerId},
};
use gnomon_storage::{MemDisk, disk::Fault};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::{BTreeSet, VecDeque};

const PRODUCER: ProducerId = 7;

/// Requests that a client may have in flight (`max.in.flight.requests.per.connection`).
const IN_FLIGHT_MAX: usize = 5;

/// How a client goes on after a batch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// Kafka's Java producer: a batch is sent again only when it is the first that is not
    /// acknowledged, so one at a time; OUT_OF_ORDER of a later batch is a reason to try again.
    Java,
    /// librdkafka: sends nothing before the answers to all that is in flight are in;
    /// OUT_OF_ORDER of a later batch raises the epoch and numbers all batches from 0.
    Librdkafka,
    /// Sends again at once, whatever is in flight.
    Eager,
}

/// Records `first_record..first_record + count`.
#[derive(Clone, Copy, Debug)]
struct SentBatch {
    first_record: u32,
    count: i32,
    epoch: i16,
    sequence: i32,
    in_flight: bool,
    /// It was sent before.
    again: bool,
    /// It is acknowledged, and an earlier one is not.
    stored: bool,
}

impl SentBatch {
    fn view(&self) -> BatchView {
        let mut builder = BatchBuilder::new(NOW).producer(PRODUCER, self.epoch, self.sequence);
        for record in (self.first_record..).take(self.count as usize) {
            builder.push(NOW, None, Some(record.to_string().as_bytes()), &[]);
        }
        view(builder.build().unwrap())
    }
}

/// The sequence after a batch: 2^31-1 is followed by 0.
fn after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (1 << 31)) as i32
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Stored,
    TryAgain,
    OutOfOrder,
}

struct PipeliningProducer {
    client: Client,
    epoch: i16,
    next_sequence: i32,
    next_record: u32,
    /// In order, from the first that is not acknowledged on.
    batches: VecDeque<SentBatch>,
    draining: bool,
    raises_epoch: bool,
}

impl PipeliningProducer {
    fn in_flight(&self) -> usize {
        self.batches.iter().filter(|batch| batch.in_flight).count()
    }

    /// A new batch.
    fn produce(&mut self, count: i32) {
        self.batches.push_back(SentBatch {
            first_record: self.next_record,
            count,
            epoch: self.epoch,
            sequence: self.next_sequence,
            in_flight: false,
            again: false,
            stored: false,
        });
        self.next_record += count as u32;
        self.next_sequence = after(self.next_sequence, count);
    }

    /// The batch that is sent next.
    fn send(&mut self) -> Option<SentBatch> {
        let in_flight = self.in_flight();
        if self.draining && in_flight > 0 || in_flight == IN_FLIGHT_MAX {
            return None;
        }
        self.draining = false;
        if std::mem::take(&mut self.raises_epoch) {
            self.renumber();
        }
        // The broker remembers as many batches: none goes further ahead of the first.
        let mut window = self.batches.iter().take(IN_FLIGHT_MAX);
        let at = window.position(|batch| !batch.in_flight && !batch.stored)?;
        let batch = &mut self.batches[at];
        if self.client == Client::Java && batch.again && at > 0 {
            return None;
        }
        (batch.in_flight, batch.again) = (true, true);
        Some(*batch)
    }

    fn renumber(&mut self) {
        self.epoch += 1;
        self.next_sequence = 0;
        self.batches.retain(|batch| !batch.stored);
        for batch in &mut self.batches {
            (batch.epoch, batch.sequence) = (self.epoch, self.next_sequence);
            self.next_sequence = after(self.next_sequence, batch.count);
        }
    }

    fn receive(&mut self, sent: SentBatch, answer: Answer) {
        let at = self
            .batches
            .iter()
            .position(|batch| batch.first_record == sent.first_record)
            .expect("answered once");
        self.batches[at].in_flight = false;
        match answer {
            // Not always the first: the answer to an earlier one that is stored may be lost.
            Answer::Stored => {
                self.batches[at].stored = true;
                while self.batches.front().is_some_and(|batch| batch.stored) {
                    self.batches.pop_front();
                }
            }
            Answer::TryAgain => self.draining = self.client == Client::Librdkafka,
            Answer::OutOfOrder => {
                assert!(at > 0, "the next batch is told OUT_OF_ORDER: {sent:?}");
                self.draining = self.client == Client::Librdkafka;
                self.raises_epoch |= self.draining;
            }
        }
    }
}

/// The partition, and the connection on which the producer reaches it.
struct PipelineRun {
    rng: StdRng,
    disk: MemDisk,
    handle: Handle,
    /// The one before `handle`, if a request may still have hold of it.
    former: Option<Handle>,
    epoch: i32,
    cut: Offset,
    failing_over: bool,
    producer: PipeliningProducer,
    requests: VecDeque<SentBatch>,
    /// Answers in the order of the requests; what is stored is told when it is durable.
    answers: VecDeque<(SentBatch, Answer)>,
    /// How many of `answers`, from the front, have been sent.
    sent: usize,
    /// A batch that was written was answered as if it was not.
    answer_lost: bool,
    /// The expected content of the log in the end.
    expected: Vec<u32>,
}

impl PipelineRun {
    /// `copied`: the producer wrote to a source before, of which the tail is lost.
    fn new(seed: u64, client: Client, copied: bool) -> PipelineRun {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = disk();
        disk.set_forgetful(true);
        let first_sequence = match rng.random_range(0..3) {
            0 => 0,
            1 => rng.random_range(0..1_000),
            // The sequences wrap within the run.
            _ => i32::MAX - rng.random_range(0..20),
        };
        let mut producer = PipeliningProducer {
            client,
            epoch: 0,
            next_sequence: first_sequence,
            next_record: 0,
            batches: VecDeque::new(),
            draining: false,
            raises_epoch: false,
        };
        let mut expected = Vec::new();
        let (role, epoch) = if copied {
            (shadow(1), 9)
        } else {
            (Role::leader(9), 9)
        };
        let handle = open(&disk, role, settings());
        if copied {
            producer.produce(3);
            let batch = producer.batches[0].view();
            handle
                .copier()
                .append_at(
                    gnomon_partition::Fence(1),
                    vec![self::copied(0, 5, batch)],
                    bounds(0, 3),
                )
                .unwrap();
            expected.extend(0..3);
            // The tail that the source acknowledged and that never came here.
            producer.produce(rng.random_range(1..10));
            producer.batches.clear();
        }
        PipelineRun {
            rng,
            disk,
            handle,
            former: None,
            epoch,
            cut: 0,
            failing_over: false,
            producer,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            sent: 0,
            answer_lost: false,
            expected,
        }
    }

    fn role(&self, writers: Writers) -> Role {
        Role {
            replica: Replica::Leader(LeaderEpoch(self.epoch)),
            writers,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            copied_to: self.cut,
            ..settings()
        }
    }

    fn own_role(&self) -> Role {
        self.role(match self.failing_over {
            true => Writers::FailingOver,
            false => Writers::Clients,
        })
    }

    async fn begin_failover(&mut self) {
        self.handle.control().flush().await.unwrap();
        self.cut = self.handle.control().set_role(failing_over(self.epoch)).end;
        self.failing_over = true;
    }

    /// Whether the partition is the clients' now.
    fn end_failover(&mut self) -> bool {
        self.epoch += 1;
        match self
            .handle
            .control()
            .begin_leadership(LeaderEpoch(self.epoch), self.cut)
        {
            Ok(()) => {}
            Err(AppendError::Closed { .. }) => return false,
            Err(failure) => panic!("{failure}"),
        }
        self.failing_over = false;
        self.handle.control().set_role(self.own_role());
        true
    }

    /// The broker looks at the next request.
    fn serve(&mut self) {
        let Some(batch) = self.requests.pop_front() else {
            return;
        };
        let handle = self.former.take().unwrap_or_else(|| self.handle.clone());
        let answer = match handle.appender().append(batch.view(), CLIENT, NOW) {
            Ok(_) => Answer::Stored,
            Err(AppendError::Sequence(SequenceError::OutOfOrder { .. })) => Answer::OutOfOrder,
            Err(
                AppendError::Refused(RoleRefusal::FailingOver | RoleRefusal::NotLeader { .. })
                | AppendError::Closed { .. }
                | AppendError::Storage(_),
            ) => Answer::TryAgain,
            Err(refusal) => panic!("{refusal}"),
        };
        self.answers.push_back((batch, answer));
    }

    /// The disk syncs, or fails to: all answers that waited for it are sent.
    async fn sync(&mut self) {
        let lost = self.handle.control().flush().await.is_err();
        self.send_answers(lost);
    }

    /// Tells what the broker knows; with `lost`, that nothing is promised of what was not told.
    fn send_answers(&mut self, lost: bool) {
        for (_, answer) in self.answers.iter_mut().skip(self.sent) {
            if lost && *answer == Answer::Stored {
                *answer = Answer::TryAgain;
                self.answer_lost = true;
            }
        }
        self.sent = self.answers.len();
    }

    fn receive(&mut self) {
        if self.sent > 0 {
            self.sent -= 1;
            let (batch, answer) = self.answers.pop_front().unwrap();
            self.producer.receive(batch, answer);
        }
    }

    fn send(&mut self) {
        if let Some(batch) = self.producer.send() {
            self.requests.push_back(batch);
        }
    }

    /// The broker opens a partition again that a disk error closed.
    fn reopen(&mut self) {
        if self.handle.control().failed().is_none() {
            return;
        }
        // Those who waited were told when it was closed.
        self.send_answers(true);
        self.epoch += 1;
        match self
            .handle
            .control()
            .reopen(self.own_role(), self.settings())
        {
            Ok(successor) => {
                self.handle.control().succeeded_by(&successor);
                let former = std::mem::replace(&mut self.handle, successor);
                self.former = self.rng.random::<bool>().then_some(former);
            }
            // The disk does not work yet.
            Err(ReopenError::Open(_)) => {}
            Err(failure) => panic!("{failure}"),
        }
    }

    fn another_leads(&mut self) {
        self.epoch += 1;
        self.handle.control().set_role(Role {
            replica: Replica::Follower {
                leader: 2,
                epoch: LeaderEpoch(self.epoch),
            },
            writers: Writers::Clients,
        });
        self.send_answers(true);
    }

    fn leads_again(&mut self) {
        self.epoch += 1;
        self.handle.control().set_role(self.own_role());
    }

    /// One turn of the partition's state.
    fn turn(&mut self) {
        match self.rng.random_range(0..6) {
            0 if self.failing_over => {
                self.end_failover();
            }
            0 | 1 if !self.failing_over => self.another_leads(),
            2 if !self.failing_over => self.leads_again(),
            3 => self.disk.set_full(self.rng.random()),
            4 => self.disk.fail_next(Fault::Sync),
            _ => self.reopen(),
        }
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0..3 => {
                let count = self.rng.random_range(1..4);
                self.producer.produce(count);
            }
            3..8 => self.send(),
            8..13 => self.serve(),
            13..15 => self.sync().await,
            15..19 => self.receive(),
            _ => self.turn(),
        }
    }

    /// Everything works again, and the client goes on until all is acknowledged.
    async fn settle(&mut self) {
        self.disk.set_full(false);
        self.disk.heal();
        for _ in 0..1_000 {
            self.reopen();
            if self.failing_over {
                self.end_failover();
            } else if self.handle.role() != self.own_role() {
                self.leads_again();
            }
            self.send();
            self.serve();
            self.sync().await;
            self.receive();
            if self.producer.batches.is_empty() {
                return;
            }
        }
        panic!("it stands still: {:?}", self.producer.batches);
    }

    fn check(&mut self, first_here: u32) {
        self.expected.extend(first_here..self.producer.next_record);
        let mut stored: Vec<u32> = batches(&self.handle, 0, Isolation::ReadUncommitted)
            .iter()
            .flat_map(values)
            .collect();
        if self.answer_lost && self.producer.epoch > 0 {
            // A client that numbers a batch again, of which it does not know that it is stored,
            // stores it twice. With Kafka, too.
            let mut seen = BTreeSet::new();
            stored.retain(|record| seen.insert(*record));
        }
        assert_eq!(stored, self.expected);
    }
}

fn values(batch: &BatchView) -> Vec<u32> {
    let number = |value: &[u8]| std::str::from_utf8(value).unwrap().parse().unwrap();
    records(batch, 1 << 20)
        .unwrap()
        .map(|record| number(&record.unwrap().value.unwrap()))
        .collect()
}

async fn run(seed: u64, client: Client, copied: bool) {
    let mut run = PipelineRun::new(seed, client, copied);
    let first_here = run.producer.next_record;
    if copied {
        run.begin_failover().await;
    }
    for _ in 0..150 {
        run.step().await;
    }
    run.settle().await;
    run.check(first_here);
}

const SEEDS: u64 = 100;

async fn all(client: Client) {
    for seed in 0..SEEDS {
        for copied in [true, false] {
            let outcome = tokio::spawn(run(seed, client, copied)).await;
            assert!(
                outcome.is_ok(),
                "seed {seed}, {client:?}, copied: {copied}; see above"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_java_producer_s_pipeline_is_stored_once_and_in_order() {
    all(Client::Java).await;
}

#[tokio::test(start_paused = true)]
async fn a_librdkafka_producer_s_pipeline_is_stored_once_and_in_order() {
    all(Client::Librdkafka).await;
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_sent_again_at_once_is_stored_once_and_in_order() {
    all(Client::Eager).await;
}

/// Sends `batches` of one record each on one connection, with `turn` before the one at `turns_at`.
fn pipeline(
    handle: &Handle,
    epoch: i16,
    first: i32,
    turns_at: usize,
    turn: impl Fn() -> Handle,
) -> (Handle, Vec<bool>) {
    let mut handle = handle.clone();
    let stored = (0..IN_FLIGHT_MAX).map(|at| {
        if at == turns_at {
            handle = turn();
        }
        let sequence = first + at as i32;
        handle
            .appender()
            .append(idempotent(PRODUCER, epoch, sequence, 1), CLIENT, NOW)
            .is_ok()
    });
    let stored = stored.collect();
    (handle, stored)
}

/// A partition with sequences 0 to 2 of the producer, copied under epoch 0, that is failing over.
fn failing_over_partition() -> (Handle, Offset) {
    let handle = open(&disk(), shadow(1), settings());
    handle
        .copier()
        .append_at(
            gnomon_partition::Fence(1),
            vec![copied(0, 5, idempotent(PRODUCER, 0, 0, 3))],
            bounds(0, 3),
        )
        .unwrap();
    let cut = handle.control().set_role(failing_over(9)).end;
    (handle, cut)
}

fn end_failover(handle: &Handle, cut: Offset) -> Handle {
    handle
        .control()
        .begin_leadership(LeaderEpoch(10), cut)
        .unwrap();
    handle.control().set_role(Role::leader(10));
    handle.clone()
}

/// The issue's own story. Sequences 3 to 9 are the lost tail.
#[tokio::test(start_paused = true)]
async fn batches_in_flight_at_the_end_of_a_failover_wait_for_those_refused_before() {
    let (handle, cut) = failing_over_partition();
    let (handle, stored) = pipeline(&handle, 0, 10, 3, || end_failover(&handle, cut));
    assert_eq!(stored, [false; IN_FLIGHT_MAX]);
    let (_, again) = pipeline(&handle, 0, 10, 9, || unreachable!());
    assert_eq!(again, [true; IN_FLIGHT_MAX]);
}

#[tokio::test(start_paused = true)]
async fn a_raised_epoch_waits_for_its_own_first_batch_and_not_for_the_former_epoch_s() {
    let (handle, cut) = failing_over_partition();
    let refused = |epoch, sequence| {
        let batch = idempotent(PRODUCER, epoch, sequence, 1);
        assert!(handle.appender().append(batch, CLIENT, NOW).is_err());
    };
    refused(0, 10);
    refused(1, 0);
    refused(1, 1);
    end_failover(&handle, cut);
    refused(1, 2);
    for sequence in 0..3 {
        append(&handle, idempotent(PRODUCER, 1, sequence, 1));
    }
    assert!(
        handle
            .appender()
            .append(idempotent(PRODUCER, 0, 10, 1), CLIENT, NOW)
            .is_err(),
        "fenced"
    );
}

/// The marker has the epoch that its producer goes on with, here because it began again itself.
#[tokio::test(start_paused = true)]
async fn the_abort_marker_of_a_failover_does_not_let_a_later_batch_pass() {
    let handle = open(&disk(), shadow(1), settings());
    handle
        .copier()
        .append_at(
            gnomon_partition::Fence(1),
            vec![copied(0, 5, transactional(PRODUCER, 0, 0, 3))],
            bounds(0, 3),
        )
        .unwrap();
    let cut = handle.control().set_role(failing_over(9)).end;
    let stored = |sequence| {
        let batch = idempotent(PRODUCER, 1, sequence, 1);
        handle.appender().append(batch, CLIENT, NOW).is_ok()
    };
    assert!(!stored(0));
    handle
        .control()
        .begin_leadership(LeaderEpoch(10), cut)
        .unwrap();
    assert_eq!(
        handle.control().abort_open_transactions(NOW).unwrap().len(),
        1
    );
    handle.control().set_role(Role::leader(10));
    assert!(!stored(1));
    assert!(stored(0) && stored(1));
}

/// Without a refusal the lost tail is passed over, as before.
#[tokio::test(start_paused = true)]
async fn a_producer_that_nobody_refused_goes_on_after_its_lost_tail() {
    let (handle, cut) = failing_over_partition();
    end_failover(&handle, cut);
    append(&handle, idempotent(PRODUCER, 0, 10, 1));
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_not_known_yet_waits_for_its_first_batch() {
    let disk = disk();
    let another = Role {
        replica: Replica::Follower {
            leader: 2,
            epoch: LeaderEpoch(1),
        },
        writers: Writers::Clients,
    };
    let handle = open(&disk, another, settings());
    let (handle, stored) = pipeline(&handle, 0, 0, 2, || {
        handle.control().set_role(Role::leader(2));
        handle.clone()
    });
    assert_eq!(stored, [false; IN_FLIGHT_MAX]);
    let (_, again) = pipeline(&handle, 0, 0, 9, || unreachable!());
    assert_eq!(again, [true; IN_FLIGHT_MAX]);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_that_takes_writes_again_takes_the_refused_batch_first() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    disk.set_full(true);
    let (handle, stored) = pipeline(&handle, 0, 0, 2, || {
        disk.set_full(false);
        handle.clone()
    });
    assert_eq!(stored, [false; IN_FLIGHT_MAX]);
    let (_, again) = pipeline(&handle, 0, 0, 9, || unreachable!());
    assert_eq!(again, [true; IN_FLIGHT_MAX]);
}

/// The first two were written and their sync failed: the disk has forgotten them, and with them
/// that the producer was known.
#[tokio::test(start_paused = true)]
async fn a_partition_opened_again_waits_for_the_batches_that_the_disk_forgot() {
    let disk = disk();
    disk.set_forgetful(true);
    let handle = open(&disk, Role::leader(1), settings());
    append(&handle, plain(1, 0));
    handle.control().flush().await.unwrap();
    for sequence in [0, 1] {
        append(&handle, idempotent(PRODUCER, 0, sequence, 1));
    }
    disk.fail_next(Fault::Sync);
    assert!(handle.control().flush().await.is_err());
    let successor = handle
        .control()
        .reopen(Role::leader(2), settings())
        .unwrap();
    handle.control().succeeded_by(&successor);
    assert_eq!(successor.offsets().end, 1);
    let late = |handle: &Handle, sequence| {
        let batch = idempotent(PRODUCER, 0, sequence, 1);
        handle.appender().append(batch, CLIENT, NOW).is_ok()
    };
    assert!(!late(&successor, 2));
    // One that was on its way to the former handle.
    assert!(!late(&handle, 3));
    assert!([0, 1, 2, 3].iter().all(|at| late(&successor, *at)));
}

/// A link copies the topic again: the source decides about sequences, and what was refused here
/// before does not come.
#[tokio::test(start_paused = true)]
async fn a_partition_that_becomes_a_shadow_forgets_what_it_refused() {
    let (handle, cut) = failing_over_partition();
    let refused = handle
        .appender()
        .append(idempotent(PRODUCER, 0, 10, 1), CLIENT, NOW);
    assert!(refused.is_err());
    handle.control().set_role(shadow(2));
    assert_eq!(handle.control().set_role(failing_over(9)).end, cut);
    end_failover(&handle, cut);
    append(&handle, idempotent(PRODUCER, 0, 20, 1));
}

/// A batch that never comes again must not bar its producer for ever.
#[tokio::test(start_paused = true)]
async fn a_refusal_expires_with_the_producer_s_state() {
    let disk = disk();
    let handle = open(&disk, Role::leader(1), settings());
    disk.set_full(true);
    assert!(
        handle
            .appender()
            .append(idempotent(PRODUCER, 0, 3, 1), CLIENT, NOW)
            .is_err()
    );
    disk.set_full(false);
    let late = || {
        handle
            .appender()
            .append(idempotent(PRODUCER, 0, 4, 1), CLIENT, NOW)
    };
    assert!(late().is_err());
    handle
        .control()
        .apply_retention(NOW + settings().producer_expiration_ms)
        .unwrap();
    late().unwrap();
}

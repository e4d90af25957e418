//! Load at a fixed rate, open loop, and the time at which each record was seen where.
//!
//! Invariant: record `n` is due at `start + n / rate`, and every latency counts from then. A
//! producer that falls behind, or a client queue that fills, shows as latency and is not hidden by
//! sending later (coordinated omission).
//!
//! All times are of this process's one monotonic clock: the producer and the consumers are threads
//! of it.
//!
//! Where is what: `timeline` (when a record is due, when it passed), `outcome` (from stamps to
//! latencies), `client` (librdkafka).

mod client;
mod outcome;
mod timeline;

pub use outcome::RunResult;
pub use timeline::Plan;

use crate::failure::Failure;
use client::Quiet;
use outcome::Stamped;
use rdkafka::{
    ClientContext, Message,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::BaseConsumer,
    error::KafkaError,
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use timeline::Stamps;

/// As tables call it.
pub const NAME: &str = "open-loop generator";

/// The producer's settings in every run here; the library's other defaults stand. Its queue is as
/// good as endless: a record that finds it full would be refused, where an open loop has it wait.
pub const OPTIONS: &[&str] = &[
    "linger.ms=0",
    "enable.idempotence=false",
    "queue.buffering.max.messages=0",
    "queue.buffering.max.kbytes=2097151",
];

/// After the last record was sent: how long stragglers are waited for.
const STRAGGLERS_MAX: Duration = Duration::from_secs(20);

/// Threads look at least this often whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A record's value begins with its number and the run's mark, eight bytes each; the rest is
/// filling.
pub const STAMP_BYTES: usize = 16;

/// The time of a run, and what tells its records from others'.
#[derive(Clone, Copy)]
struct OpenLoopRun {
    start: Instant,
    mark: u64,
}

impl OpenLoopRun {
    fn now(self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn value(self, record: u64, bytes: usize) -> Vec<u8> {
        let mut value = vec![b'.'; bytes.max(STAMP_BYTES)];
        value[..8].copy_from_slice(&record.to_le_bytes());
        value[8..STAMP_BYTES].copy_from_slice(&self.mark.to_le_bytes());
        value
    }

    /// The number of a record of this run.
    fn record(self, value: &[u8]) -> Option<u64> {
        let (number, rest) = value.split_first_chunk::<8>()?;
        (rest.first_chunk::<8>()? == &self.mark.to_le_bytes()).then(|| u64::from_le_bytes(*number))
    }
}

/// Produces by plan and consumes at each of `places` (bootstrap addresses that have the topic)
/// until all is seen, or is given up.
pub fn run(plan: &Plan, places: &[&str]) -> Result<RunResult, Failure> {
    let readers = places
        .iter()
        .map(|place| client::reader(place, &plan.topic, plan.partitions))
        .collect::<Result<Vec<_>, _>>()?;
    let stamped = Arc::new(Stamped::new(plan.records(), places.len()));
    let mark = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let run = OpenLoopRun {
        start: Instant::now(),
        mark,
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (reader, seen) in readers.iter().zip(&stamped.seen) {
            scope.spawn(|| watch(run, reader, seen, &over));
        }
        let produced = produce(plan, run, &stamped);
        let deadline = Instant::now() + STRAGGLERS_MAX;
        while produced.is_ok()
            && stamped.seen.iter().any(|seen| seen.missing() > 0)
            && Instant::now() < deadline
        {
            thread::sleep(LOOK_EVERY);
        }
        over.store(true, Ordering::Relaxed);
        produced
    })?;
    Ok(stamped.outcome(plan))
}

/// Sends each record when it is due, and returns when all are answered.
fn produce(plan: &Plan, run: OpenLoopRun, stamped: &Arc<Stamped>) -> Result<(), Failure> {
    let mut config = client::base(&plan.bootstrap, &plan.options)?;
    config
        .set("acks", "all")
        .set("compression.codec", &plan.codec);
    let producer = ThreadedProducer::<Reports>::from_config_and_context(
        &config,
        Reports {
            run,
            stamped: stamped.clone(),
        },
    )?;
    for record in 0..plan.records() {
        let due = run.start + Duration::from_nanos(plan.due(record));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let value = run.value(record, plan.record_bytes);
        stamped.sent.stamp(record, run.now());
        let partition = (record % plan.partitions as u64) as i32;
        let message = BaseRecord::<(), [u8], usize>::with_opaque_to(&plan.topic, record as usize)
            .partition(partition)
            .payload(&value);
        if let Err((error, _)) = producer.send(message) {
            stamped.fail(&error.to_string());
        }
    }
    // Unanswered records are counted by their missing stamps.
    let _ = producer.flush(STRAGGLERS_MAX);
    Ok(())
}

/// Stamps delivery reports.
struct Reports {
    run: OpenLoopRun,
    stamped: Arc<Stamped>,
}

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Reports {
    /// The record's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, record: usize) {
        match report {
            Ok(_) => self
                .stamped
                .acknowledged
                .stamp(record as u64, self.run.now()),
            Err((error, _)) => self.stamped.fail(&error.to_string()),
        }
    }
}

/// Stamps records as a consumer gets them.
fn watch(run: OpenLoopRun, reader: &BaseConsumer<Quiet>, seen: &Stamps, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        // An error is a connection that comes and goes; a record that never comes is counted as
        // missing.
        if let Some(Ok(message)) = reader.poll(LOOK_EVERY)
            && let Some(record) = message.payload().and_then(|value| run.record(value))
        {
            seen.stamp(record, run.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_own_records() {
        let run = OpenLoopRun {
            start: Instant::now(),
            mark: 7,
        };
        let value = run.value(123_456, 100);
        assert_eq!(value.len(), 100);
        assert_eq!(run.record(&value), Some(123_456));
        assert_eq!(OpenLoopRun { mark: 8, ..run }.record(&value), None);
        assert_eq!(run.record(&value[..STAMP_BYTES - 1]), None);
        assert_eq!(run.value(1, 0).len(), STAMP_BYTES);
    }
}

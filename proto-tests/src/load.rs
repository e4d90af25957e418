//! Load that remembers: idempotent librdkafka producers with acks=all that write to a history, and
//! readers that do.

use crate::client::{Client, Consumer, Consuming, Producer, Producing, Record, Seen, Start};
use crate::history::{Fate, History, Sent};
use crate::librdkafka;
use crate::wait::{PATIENCE, until};
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running producer. It goes on through kills of its site: librdkafka retries for as long as its
/// timeout allows.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The records that a load writes.
#[derive(Clone)]
pub struct Writing {
    /// Unique in the history.
    pub producer: String,
    pub bootstrap: String,
    pub topic: String,
    pub partitions: i32,
    /// Records in flight at a time.
    pub burst: usize,
    pub pause: Duration,
}

impl Load {
    pub fn start(history: &Arc<History>, writing: Writing) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let (history, told) = (history.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name(writing.producer.clone())
            .spawn(move || {
                let how = Producing {
                    timeout: Duration::from_secs(60),
                    ..Producing::new(&writing.bootstrap)
                };
                let mut producer = librdkafka::client()
                    .producer(&how)
                    .unwrap_or_else(|failure| panic!("open: {failure}"));
                let mut sequence = 0;
                while !told.load(Ordering::Relaxed) {
                    write_burst(&history, producer.as_mut(), &writing, &mut sequence);
                    std::thread::sleep(writing.pause);
                }
            })
            .expect("a thread");
        Load {
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until what is under way is answered.
    ///
    /// # Panics
    /// When the producer panicked.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "the load ended by a panic");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One burst over all partitions, each record written down before and after.
pub fn write_burst(
    history: &History,
    producer: &mut dyn Producer,
    writing: &Writing,
    sequence: &mut u64,
) {
    let mut records = Vec::new();
    let mut tickets = Vec::new();
    for _ in 0..writing.burst {
        let partition = (*sequence % writing.partitions as u64) as i32;
        let value = format!("{}-{}-{sequence}", writing.producer, writing.topic);
        let sent = Sent {
            producer: writing.producer.clone(),
            topic: writing.topic.clone(),
            partition,
            sequence: *sequence,
            key: Some(format!("k{}", *sequence % 7)),
            value: value.clone(),
        };
        records
            .push(Record::to(&writing.topic, partition, value).key(format!("k{}", *sequence % 7)));
        tickets.push(history.sending(sent));
        *sequence += 1;
    }
    for (ticket, result) in tickets.into_iter().zip(producer.send(&records)) {
        match result {
            Ok(ack) => history.fate(ticket, Fate::Acked(ack.offset)),
            Err(failure) => eprintln!("{}: {failure}", writing.producer),
        }
    }
}

/// Makes a topic.
///
/// # Panics
/// When it is refused.
pub fn create(bootstrap: &str, topic: &str, partitions: i32) {
    librdkafka::client()
        .create_topic(bootstrap, topic, partitions, &BTreeMap::new())
        .unwrap_or_else(|failure| panic!("create {topic}: {failure}"));
}

/// Writes records with the values `from`, `from + 1`, ... to partition 0, acks=all; returns their
/// offsets.
///
/// # Panics
/// When one is not acknowledged.
pub fn write(bootstrap: &str, topic: &str, from: usize, count: usize) -> Vec<i64> {
    let records: Vec<Record> = (from..from + count)
        .map(|value| Record::to(topic, 0, value.to_string()))
        .collect();
    let mut producer = librdkafka::client()
        .producer(&Producing::new(bootstrap))
        .unwrap_or_else(|failure| panic!("open: {failure}"));
    producer
        .send_all(&records)
        .into_iter()
        .map(|ack| ack.offset)
        .collect()
}

/// All records of a topic from its beginning to its present end, partition by partition.
///
/// # Panics
/// When the end is not reached in time.
pub fn read_topic(bootstrap: &str, topic: &str, partitions: i32) -> Vec<Seen> {
    let mut all = Vec::new();
    for (partition, (_, end)) in (0..).zip(bounds(bootstrap, topic, partitions)) {
        let how = Consuming::assigned(bootstrap, topic, partition, Start::Beginning);
        let mut consumer = librdkafka::client()
            .consumer(&how)
            .unwrap_or_else(|failure| panic!("open: {failure}"));
        all.extend(read_to(consumer.as_mut(), end));
    }
    all
}

/// Reads one partition up to an end. The last offsets of a log may be control batches, which no
/// consumer shows: three quiet seconds are an end too, and what is missing by then is for the
/// checker to say.
fn read_to(consumer: &mut dyn Consumer, end: i64) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    let mut quiet = 0;
    while all.last().map_or(0, |last| last.offset + 1) < end && quiet < 15 {
        let came = consumer
            .poll(Duration::from_millis(200))
            .unwrap_or_else(|failure| panic!("read: {failure}"));
        quiet = if came.is_empty() { quiet + 1 } else { 0 };
        all.extend(came);
    }
    all.retain(|record| record.offset < end);
    all
}

/// Log start and high watermark of each partition.
pub fn try_bounds(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
) -> Result<Vec<(i64, i64)>, String> {
    let consumer =
        BaseConsumer::<DefaultConsumerContext>::from_config(&librdkafka::base(bootstrap))
            .map_err(|error| error.to_string())?;
    (0..partitions)
        .map(|partition| {
            consumer
                .fetch_watermarks(topic, partition, Duration::from_secs(3))
                .map_err(|error| error.to_string())
        })
        .collect()
}

/// As `try_bounds`, asking again until there is an answer.
///
/// # Panics
/// When there is none.
pub fn bounds(bootstrap: &str, topic: &str, partitions: i32) -> Vec<(i64, i64)> {
    until(
        &format!("offsets of {topic} at {bootstrap}"),
        PATIENCE,
        || try_bounds(bootstrap, topic, partitions),
    )
}

/// The high watermark of one partition.
pub fn end_of(bootstrap: &str, topic: &str, partition: i32) -> i64 {
    bounds(bootstrap, topic, partition + 1)[partition as usize].1
}

/// Waits until a shadow has all that its source has at the time of the call. `otherwise` says what
/// to show when it does not come.
pub fn level(
    source: &str,
    shadow: &str,
    topic: &str,
    partitions: i32,
    otherwise: impl Fn() -> String,
) {
    let wanted: Vec<i64> = bounds(source, topic, partitions)
        .iter()
        .map(|bounds| bounds.1)
        .collect();
    let start = Instant::now();
    loop {
        let there = try_bounds(shadow, topic, partitions)
            .map(|all| all.iter().map(|bounds| bounds.1).collect::<Vec<_>>());
        if there.as_ref().is_ok_and(|there| {
            there
                .iter()
                .zip(&wanted)
                .all(|(there, wanted)| there >= wanted)
        }) {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{topic} at {shadow}: {there:?}, and at {source}: {wanted:?}, after {PATIENCE:?}\n{}",
            otherwise()
        );
        std::thread::sleep(Duration::from_millis(25));
    }
}

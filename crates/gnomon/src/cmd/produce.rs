//! `gnomon produce`: lines of standard input become records, acknowledged by acks=all.
//!
//! A record is sent when its batch is full, and otherwise after [`LINGER`], so that lines that a
//! person types arrive at once and many lines share a batch. While batches wait for their
//! acknowledgement the next lines are collected. A partition has one batch under way, which keeps
//! its records in order.
//!
//! Not here: retries. A failed batch ends the command, which says how many records are safe.

use super::lines::{Line, Lines, key_and_value};
use crate::{Failure, args::Produce, kafka, output::Output};
use gnomon_client::{
    Client, ClientError, Topics, offsets::TopicPartition, partitioner::Partitioner, produce::Acks,
};
use gnomon_protocol::{
    batch::{BatchBuilder, HEADER_BYTES},
    error_code::ErrorCode,
};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read, stdin},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// How long a record waits for others of its batch: Kafka's default `linger.ms`.
const LINGER: Duration = Duration::from_millis(5);

/// A batch of this size is sent at once; a quarter of what topics take by default.
const BATCH_BYTES: usize = 256 << 10;

/// All batches together are sent when they have this size.
const COLLECTED_BYTES_MAX: usize = 8 << 20;

/// The most that a record needs beside its key and value (Kafka's `MAX_RECORD_OVERHEAD`).
const RECORD_OVERHEAD_BYTES: usize = 21;

/// Bytes that are read from standard input at once, and the number of such blocks that wait to be
/// cut into lines.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCKS_MAX: usize = 4;

/// How long a topic may be missing after it was asked for.
const CREATION_MAX: Duration = Duration::from_secs(3);

/// Writes standard input to a topic.
pub fn run(args: Produce, out: &mut Output) -> Result<(), Failure> {
    let at = args.at.clone();
    kafka::run(&at, async |client| write(client, args, out).await)
}

/// One record to be written.
struct LineRecord {
    /// Line of the input, for errors.
    line: u64,
    time_ms: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

impl LineRecord {
    fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.len() + RECORD_OVERHEAD_BYTES
    }
}

/// Records of one partition, and their size at most.
#[derive(Default)]
struct LineBatch {
    records: Vec<LineRecord>,
    bytes: usize,
}

/// Records that are collected and not sent yet.
struct Collected {
    topic: String,
    batches: BTreeMap<i32, LineBatch>,
    bytes: usize,
    /// When the oldest of it has waited long enough.
    due: Option<Instant>,
    full: bool,
}

async fn write(client: Client, args: Produce, out: &mut Output) -> Result<(), Failure> {
    let separator = args.key_separator.as_deref().map(str::as_bytes);
    let mut choice = Choice::of(&client, &args.topic, args.partition).await?;
    let mut collected = Collected::new(&args.topic);
    let mut blocks = read_ahead();
    let mut lines = Lines::default();
    let mut written = 0_u64;
    loop {
        let due = collected.due;
        let block = tokio::select! {
            block = blocks.recv() => block.transpose()?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                collected.send(&client, &mut written).await?;
                continue;
            }
        };
        let Some(block) = block else { break };
        lines.push(&block)?;
        while let Some(line) = lines.next_line() {
            collected.add(line, separator, &mut choice)?;
            if collected.full {
                collected.send(&client, &mut written).await?;
            }
        }
    }
    if let Some(line) = lines.rest() {
        collected.add(line, separator, &mut choice)?;
    }
    collected.send(&client, &mut written).await?;
    match args.partition {
        Some(partition) => writeln!(
            out,
            "{written} records written to {}-{partition}",
            args.topic
        )?,
        None => writeln!(out, "{written} records written to {}", args.topic)?,
    }
    Ok(())
}

/// Blocks of standard input, read by a thread because a terminal or a pipe may block for ever. A
/// few wait; then reading waits.
fn read_ahead() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (blocks, received) = mpsc::channel(BLOCKS_MAX);
    thread::spawn(move || {
        let mut input = stdin().lock();
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = match input.read(&mut block) {
                Ok(0) => return,
                Ok(length) => Ok(block[..length].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(io::Error::new(
                    error.kind(),
                    format!("cannot read standard input: {error}"),
                )),
            };
            let failed = read.is_err();
            if blocks.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    received
}

/// Where records go.
enum Choice {
    Fixed(i32),
    ByKey(Partitioner),
}

impl Choice {
    /// Looks the topic up; it is created where the broker does that.
    async fn of(client: &Client, topic: &str, partition: Option<i32>) -> Result<Choice, Failure> {
        let partitions = partitions(client, topic).await?;
        match partition {
            Some(index) if usize::try_from(index).is_ok_and(|index| index < partitions) => {
                Ok(Choice::Fixed(index))
            }
            Some(index) => Err(format!(
                "there is no partition {topic}-{index}: {topic} has partitions 0 to {}",
                partitions - 1
            )
            .into()),
            None => Ok(Choice::ByKey(
                Partitioner::new(partitions, random())
                    .ok_or_else(|| format!("{topic} has no partitions"))?,
            )),
        }
    }

    fn partition(&mut self, record: &LineRecord) -> i32 {
        match self {
            Choice::Fixed(partition) => *partition,
            Choice::ByKey(partitioner) => {
                partitioner.choose(record.key.as_deref(), record.bytes(), random)
            }
        }
    }
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

/// How many partitions the topic has. One that is just being created may have no leader yet.
async fn partitions(client: &Client, topic: &str) -> Result<usize, Failure> {
    let started = Instant::now();
    loop {
        let metadata = client
            .metadata(Topics::Names(vec![topic.to_owned()]), true)
            .await?;
        let found = metadata
            .topics
            .get(topic)
            .ok_or_else(|| format!("the broker's answer does not name {topic}"))?;
        let Some(code) = found.error else {
            return match found.partitions.len() {
                0 => Err(format!("{topic} has no partitions").into()),
                partitions => Ok(partitions),
            };
        };
        if !under_creation(code) || started.elapsed() > CREATION_MAX {
            return Err(kafka::refusal(topic, code, ""));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether the answer is that of Apache Kafka while it creates a topic, or of a site while a link
/// looks for one.
fn under_creation(code: i16) -> bool {
    matches!(
        ErrorCode::from_code(code),
        Some(ErrorCode::LeaderNotAvailable | ErrorCode::UnknownTopicOrPartition)
    )
}

impl Collected {
    fn new(topic: &str) -> Collected {
        Collected {
            topic: topic.to_owned(),
            batches: BTreeMap::new(),
            bytes: 0,
            due: None,
            full: false,
        }
    }

    fn add(
        &mut self,
        line: Line,
        separator: Option<&[u8]>,
        choice: &mut Choice,
    ) -> Result<(), Failure> {
        let (key, value) = key_and_value(line.bytes, separator);
        let record = LineRecord {
            line: line.number,
            time_ms: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64,
            key,
            value,
        };
        let batch = self.batches.entry(choice.partition(&record)).or_default();
        let bytes = record.bytes();
        batch.bytes += bytes;
        batch.records.push(record);
        self.bytes += bytes;
        self.full |= batch.bytes >= BATCH_BYTES || self.bytes >= COLLECTED_BYTES_MAX;
        self.due.get_or_insert_with(|| Instant::now() + LINGER);
        Ok(())
    }

    /// Sends everything, each partition's records in order, and waits until all is acknowledged.
    async fn send(&mut self, client: &Client, written: &mut u64) -> Result<(), Failure> {
        self.bytes = 0;
        self.due = None;
        self.full = false;
        let mut under_way = JoinSet::new();
        for (partition, batch) in std::mem::take(&mut self.batches) {
            let to = (self.topic.clone(), partition);
            let client = client.clone();
            under_way.spawn(async move { send_records(&client, &to, batch.records).await });
        }
        let mut failed = None;
        while let Some(sent) = under_way.join_next().await {
            let (acknowledged, outcome) = sent?;
            *written += acknowledged;
            if let Err(failure) = outcome {
                failed.get_or_insert(failure);
            }
        }
        match failed {
            Some(failure) => {
                Err(format!("{failure}; {written} records were acknowledged before").into())
            }
            None => Ok(()),
        }
    }
}

/// Writes records to one partition in order; those that are too large together are written in two
/// batches, as Kafka's producer does. Returns how many are acknowledged.
async fn send_records(
    client: &Client,
    to: &TopicPartition,
    records: Vec<LineRecord>,
) -> (u64, Result<(), Failure>) {
    let mut acknowledged = 0;
    let mut parts = VecDeque::from([records]);
    while let Some(mut part) = parts.pop_front() {
        let sent = match batch(&part) {
            Ok(bytes) => client.produce(to, bytes, Acks::All).await.map(drop),
            Err(failure) => return (acknowledged, Err(failure)),
        };
        match sent {
            Ok(()) => acknowledged += part.len() as u64,
            Err(error) if is_too_large(&error) && part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.push_front(second);
                parts.push_front(part);
            }
            Err(error) if is_too_large(&error) => {
                let record = &part[0];
                let failure = format!(
                    "line {} is too large for {}-{} ({} bytes): {error}",
                    record.line,
                    to.0,
                    to.1,
                    record.bytes() - RECORD_OVERHEAD_BYTES + HEADER_BYTES
                );
                return (acknowledged, Err(failure.into()));
            }
            Err(error) => return (acknowledged, Err(error.into())),
        }
    }
    (acknowledged, Ok(()))
}

fn is_too_large(error: &ClientError) -> bool {
    error.code().and_then(ErrorCode::from_code) == Some(ErrorCode::MessageTooLarge)
}

fn batch(records: &[LineRecord]) -> Result<bytes::Bytes, Failure> {
    let base_ms = records.first().map_or(0, |record| record.time_ms);
    let mut batch = BatchBuilder::new(base_ms);
    for record in records {
        batch.push(
            record.time_ms,
            record.key.as_deref(),
            Some(&record.value),
            &[],
        );
    }
    Ok(batch.build()?)
}

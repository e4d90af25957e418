//! The operations of every client under test, in one vocabulary: a scenario is written once and
//! told by each of them.
//!
//! Only what all of them have is in the traits. Java's administration client is richer and is used
//! by its own name.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Every codec of the record format.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    /// `None`: the client's partitioner chooses.
    pub partition: Option<i32>,
    pub key: Option<String>,
    /// `None` is a tombstone.
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    /// Milliseconds; `None`: the client's clock.
    pub timestamp: Option<i64>,
}

impl Record {
    pub fn to(topic: &str, partition: i32, value: impl Into<String>) -> Record {
        Record {
            topic: topic.into(),
            partition: Some(partition),
            value: Some(value.into()),
            ..Record::default()
        }
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Record {
        self.key = Some(key.into());
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: Option<&str>) -> Record {
        self.headers.push((name.into(), value.map(Into::into)));
        self
    }

    #[must_use]
    pub fn tombstone(mut self) -> Record {
        self.value = None;
        self
    }

    #[must_use]
    pub fn at(mut self, timestamp: i64) -> Record {
        self.timestamp = Some(timestamp);
        self
    }
}

/// The answer to a client about a record that it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// An error as a client shows it to its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The client's own name for it.
    pub class: String,
    /// Kafka's number, -1 when the client does not say or it is the client's own.
    pub code: i32,
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.class, self.code, self.message)
    }
}

/// A record as a consumer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
}

/// How to produce.
#[derive(Clone, Debug)]
pub struct Producing {
    pub bootstrap: String,
    /// `all`, `1` or `0`.
    pub acks: &'static str,
    pub idempotent: bool,
    pub codec: &'static str,
    pub linger: Duration,
    /// After this a record has failed.
    pub timeout: Duration,
    pub transactional_id: Option<String>,
}

impl Producing {
    /// Idempotent, acks=all, uncompressed.
    pub fn new(bootstrap: &str) -> Producing {
        Producing {
            bootstrap: bootstrap.into(),
            acks: "all",
            idempotent: true,
            codec: "none",
            linger: Duration::from_millis(5),
            timeout: Duration::from_secs(20),
            transactional_id: None,
        }
    }

    #[must_use]
    pub fn codec(mut self, codec: &'static str) -> Producing {
        self.codec = codec;
        self
    }

    #[must_use]
    pub fn plain(mut self, acks: &'static str) -> Producing {
        self.idempotent = false;
        self.acks = acks;
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Producing {
        self.timeout = timeout;
        self
    }
}

/// Where to begin in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    End,
    At(i64),
}

/// How to consume.
#[derive(Clone, Debug)]
pub struct Consuming {
    pub bootstrap: String,
    pub group: Option<String>,
    /// By subscription, with a group.
    pub topics: Vec<String>,
    /// By assignment, when `topics` is empty.
    pub assign: Vec<(String, i32, Start)>,
    pub read_committed: bool,
    /// `earliest`, `latest` or `none`: what to do where there is no position, or none in range.
    pub reset: &'static str,
    pub session: Duration,
}

impl Consuming {
    /// Assigned partitions of one topic from the beginning.
    pub fn from_beginning(bootstrap: &str, topic: &str, partitions: i32) -> Consuming {
        let assign = (0..partitions)
            .map(|partition| (topic.to_owned(), partition, Start::Beginning))
            .collect();
        Consuming {
            assign,
            ..Consuming::bare(bootstrap)
        }
    }

    pub fn assigned(bootstrap: &str, topic: &str, partition: i32, start: Start) -> Consuming {
        Consuming {
            assign: vec![(topic.to_owned(), partition, start)],
            ..Consuming::bare(bootstrap)
        }
    }

    /// A member of a group; where there is no commit it begins at the start.
    pub fn member(bootstrap: &str, group: &str, topics: &[&str]) -> Consuming {
        Consuming {
            group: Some(group.into()),
            topics: topics.iter().map(|&topic| topic.into()).collect(),
            ..Consuming::bare(bootstrap)
        }
    }

    fn bare(bootstrap: &str) -> Consuming {
        Consuming {
            bootstrap: bootstrap.into(),
            group: None,
            topics: Vec::new(),
            assign: Vec::new(),
            read_committed: false,
            reset: "earliest",
            session: Duration::from_secs(6),
        }
    }

    #[must_use]
    pub fn read_committed(mut self) -> Consuming {
        self.read_committed = true;
        self
    }

    #[must_use]
    pub fn reset(mut self, reset: &'static str) -> Consuming {
        self.reset = reset;
        self
    }
}

/// A producer; commits and aborts need a transactional id.
pub trait Producer: Send {
    /// Sends all and waits for each: one result a record, in the records' order.
    fn send(&mut self, records: &[Record]) -> Vec<Result<Ack, Failure>>;

    /// As `send`.
    ///
    /// # Panics
    /// When a record failed.
    fn send_all(&mut self, records: &[Record]) -> Vec<Ack> {
        self.send(records)
            .into_iter()
            .map(|result| result.unwrap_or_else(|failure| panic!("send: {failure}")))
            .collect()
    }
}

/// A consumer. Nothing is committed unless it is told to.
pub trait Consumer: Send {
    /// The records that came within `wait`; may return earlier with something.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Seen>, Failure>;
    /// The partitions it has now (of a group: since the last poll).
    fn assignment(&mut self) -> Vec<(String, i32)>;
    /// Commits the position after all that was polled, and waits for the answer.
    fn commit(&mut self) -> Result<(), Failure>;
    /// The offset that the group has committed.
    fn committed(&mut self, topic: &str, partition: i32) -> Result<Option<i64>, Failure>;
    fn seek(&mut self, topic: &str, partition: i32, to: Start) -> Result<(), Failure>;

    /// Polls until `count` records have come.
    ///
    /// # Panics
    /// When an error comes, or `patience` is over.
    fn read(&mut self, count: usize, patience: Duration) -> Vec<Seen> {
        let mut all = Vec::new();
        let start = Instant::now();
        while all.len() < count {
            assert!(
                start.elapsed() < patience,
                "{} of {count} records within {patience:?}; the last: {:?}",
                all.len(),
                all.last()
            );
            all.extend(
                self.poll(Duration::from_millis(200))
                    .unwrap_or_else(|failure| panic!("poll: {failure}")),
            );
        }
        all
    }

    /// Polls for `quiet` and returns what came: for what must *not* come.
    fn read_for(&mut self, quiet: Duration) -> Vec<Seen> {
        let mut all = Vec::new();
        let start = Instant::now();
        while start.elapsed() < quiet {
            all.extend(
                self.poll(Duration::from_millis(100))
                    .unwrap_or_else(|failure| panic!("poll: {failure}")),
            );
        }
        all
    }
}

/// A family of clients.
pub trait Client: Send + Sync {
    fn name(&self) -> &'static str;
    fn create_topic(
        &self,
        bootstrap: &str,
        topic: &str,
        partitions: i32,
        configs: &BTreeMap<&str, &str>,
    ) -> Result<(), Failure>;
    /// First offset whose record has this timestamp or a later one; -1 when there is none.
    fn offset_for_time(
        &self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<i64, Failure>;
    fn producer(&self, how: &Producing) -> Result<Box<dyn Producer>, Failure>;
    fn consumer(&self, how: &Consuming) -> Result<Box<dyn Consumer>, Failure>;
}

//! The answers that clients got: the only evidence that a checker may use.
//!
//! Producers write down each record *before* they hand it to the client, and each acknowledgement
//! after; consumers write down what they saw, and where. All threads of a test share one history.

use crate::client::Seen;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A record somebody wanted to write. Its value is its identity, unique in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub producer: String,
    pub topic: String,
    pub partition: i32,
    /// Position among what this producer sent to this partition.
    pub sequence: u64,
    pub key: Option<String>,
    pub value: String,
}

/// The end of a record, as far as its producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No answer, or an error after which it may still have been written.
    Unknown,
    /// Acknowledged at this offset.
    Acked(i64),
    /// Refused: the broker said that it will never be there.
    Refused,
}

/// A record somebody read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which site, which reader: for the message of a failed check.
    pub by: String,
    pub record: Seen,
}

#[derive(Default)]
struct Observed {
    sent: Vec<(Sent, Fate)>,
    read: Vec<Read>,
    committed: BTreeMap<(String, String, i32), i64>,
}

/// Everything that clients of one test were told.
#[derive(Default)]
pub struct History(Mutex<Observed>);

/// Names a sent record until its fate is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(usize);

impl History {
    pub fn new() -> History {
        History::default()
    }

    /// Written down before the client gets the record.
    pub fn sending(&self, sent: Sent) -> Ticket {
        let mut told = self.0.lock().expect("the history");
        told.sent.push((sent, Fate::Unknown));
        Ticket(told.sent.len() - 1)
    }

    /// Written down when the client reports.
    pub fn fate(&self, ticket: Ticket, fate: Fate) {
        self.0.lock().expect("the history").sent[ticket.0].1 = fate;
    }

    /// Written down when a consumer got it.
    pub fn saw(&self, by: &str, records: &[Seen]) {
        let mut told = self.0.lock().expect("the history");
        told.read.extend(records.iter().map(|record| Read {
            by: by.into(),
            record: record.clone(),
        }));
    }

    /// Written down when a commit was acknowledged; the last one counts.
    pub fn committed(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        self.0
            .lock()
            .expect("the history")
            .committed
            .insert((group.into(), topic.into(), partition), offset);
    }

    pub fn sent(&self) -> Vec<(Sent, Fate)> {
        self.0.lock().expect("the history").sent.clone()
    }

    pub fn read(&self) -> Vec<Read> {
        self.0.lock().expect("the history").read.clone()
    }

    /// (group, topic, partition) and the last acknowledged commit.
    pub fn commits(&self) -> BTreeMap<(String, String, i32), i64> {
        self.0.lock().expect("the history").committed.clone()
    }

    /// How many were acknowledged so far.
    pub fn acked(&self) -> usize {
        self.0
            .lock()
            .expect("the history")
            .sent
            .iter()
            .filter(|(_, fate)| matches!(fate, Fate::Acked(_)))
            .count()
    }
}

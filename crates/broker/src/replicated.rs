//! Runs any [`Machine`] over a [`Journal`]: the one place where "answer when durable" happens.
//!
//! A step's records are one batch; many steps share one fsync. `replay` runs at append. Whatever anyone can see (an answer, an action, a published
//! snapshot) waits in `outstanding` until the last record before it is durable, and leaves in order. Not here: what any machine decides.

use crate::{
    clock::Clock,
    journal::{Journal, JournalError, LogPos, ReadLog},
};
use bytes::Bytes;
use gnomon_machine::{DurableRecord, Effects, EncodedRecord, Machine, ReplyToken, UnreadableRecord};
use std::collections::{HashMap, VecDeque};
use tokio::sync::{mpsc, oneshot};

/// What a machine is embedded in.
pub trait Host<M: Machine>: Send + 'static {
    /// What readers hold; taken when records are applied, shown when they are durable.
    type Snapshot: Send;
    /// Takes what readers will hold.
    fn capture(&self, durable: &M::Durable) -> Self::Snapshot;
    /// Shows it: the records behind it are durable.
    fn publish(&self, snapshot: Self::Snapshot);
    /// Begins an action: at least once, idempotent.
    fn act(&self, action: M::Action);
    /// The journal is lost. The machine has resigned; the driver ends after this.
    fn lost(&self, error: JournalError);
}

/// How many events may wait for a machine.
const EVENTS_MAX: usize = 4096;

/// How many steps may wait for durability before the machine takes no more.
const OUTSTANDING_MAX: usize = 4096;

/// A log that grew by less than this since its last snapshot is not rewritten.
const SNAPSHOT_LOG_BYTES_MIN: u64 = 4 << 20;

/// A log that grew by this many times the size of its state is rewritten.
const SNAPSHOT_LOG_TO_STATE: u64 = 4;

/// Records of a snapshot are appended in batches of about this size.
const SNAPSHOT_BATCH_BYTES: usize = 1 << 20;

/// The machine's driver is gone: the broker is stopping, or the journal was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is not available")]
pub struct Gone;

/// Sends events to a running machine.
pub struct Submit<M: Machine> {
    events: mpsc::Sender<(M::Event, oneshot::Sender<M::Reply>)>,
}

impl<M: Machine> Clone for Submit<M> {
    fn clone(&self) -> Self {
        Submit { events: self.events.clone() }
    }
}

impl<M: Machine> Submit<M> {
    /// The machine's answer, given when everything it says is durable. Dropping the future drops the answer, not the event.
    pub async fn submit(&self, event: M::Event) -> Result<M::Reply, Gone> {
        let (answer, answered) = oneshot::channel();
        self.events.send((event, answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}

/// A machine rebuilt from its journal, not yet taking events.
pub struct Replicated<M: Machine, J: Journal, H: Host<M>> {
    durable: M::Durable,
    soft: M::Soft,
    journal: J,
    host: H,
    clock: Clock,
    callers: HashMap<ReplyToken, oneshot::Sender<M::Reply>>,
    next_token: u64,
    outstanding: VecDeque<Outstanding<M, H::Snapshot>>,
    /// Where the next snapshot's first marker was put, until the log is trimmed to it.
    trim_when_durable: Option<(LogPos, LogPos)>,
    /// Size of the state as last written.
    snapshot_bytes: u64,
    /// What was appended behind it.
    bytes_since_snapshot: u64,
}

/// What waits for the journal to be durable up to `position`.
struct Outstanding<M: Machine, S> {
    position: LogPos,
    snapshot: Option<S>,
    replies: Vec<(ReplyToken, M::Reply)>,
    actions: Vec<M::Action>,
}

/// Why a machine cannot be rebuilt: the start must stop.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The log holds what this build does not know.
    #[error("{0}; it was written by a newer version, or is damaged")]
    Unreadable(#[from] UnreadableRecord),
}

impl<M, J, H> Replicated<M, J, H>
where
    M: Machine + 'static,
    M::Durable: Send,
    M::Soft: Send,
    M::Event: Send,
    M::Record: Send,
    M::Reply: Send,
    M::Action: Send,
    J: Journal + Sync,
    H: Host<M>,
{
    /// Rebuilds the machine's state from its journal.
    pub fn rebuild(mut journal: J, host: H, clock: Clock) -> Result<Self, RebuildError> {
        let (durable, unfinished_snapshot) = read_durable::<M>(&journal)?;
        if unfinished_snapshot {
            journal.append(&[Marker::Abandoned.encode()], clock.now().wall.0)?;
        }
        let snapshot_bytes = encoded_bytes::<M>(&M::snapshot(&durable));
        let bytes_since_snapshot = journal.bytes();
        Ok(Replicated {
            durable,
            soft: M::Soft::default(),
            journal,
            host,
            clock,
            callers: HashMap::new(),
            next_token: 1,
            outstanding: VecDeque::new(),
            trim_when_durable: None,
            snapshot_bytes,
            bytes_since_snapshot,
        })
    }

    /// The state as rebuilt, before `run`.
    pub fn durable(&self) -> &M::Durable {
        &self.durable
    }

    /// What does not survive, to be configured before `run`.
    pub fn soft_mut(&mut self) -> &mut M::Soft {
        &mut self.soft
    }

    /// Takes the lead and runs until every [`Submit`] is dropped or the journal is lost.
    pub fn start(self) -> (Submit<M>, impl Future<Output = ()> + Send) {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        (Submit { events }, self.run(inbox))
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<(M::Event, oneshot::Sender<M::Reply>)>) {
        if let Err(error) = self.serve(&mut inbox).await {
            for (token, reply) in M::resigned(&mut self.soft) {
                self.answer(token, reply);
            }
            self.host.lost(error);
        }
    }

    async fn serve(&mut self, inbox: &mut mpsc::Receiver<(M::Event, oneshot::Sender<M::Reply>)>) -> Result<(), JournalError> {
        self.host.publish(self.host.capture(&self.durable));
        let effects = M::led(&self.durable, &mut self.soft, self.clock.now());
        self.apply(effects)?;
        loop {
            let waiting_for = self.outstanding.front().map(|first| first.position);
            let deadline = M::deadline(&self.soft);
            tokio::select! {
                biased;
                durable = committed(&self.journal, waiting_for) => {
                    durable?;
                    self.release()?;
                }
                event = inbox.recv(), if self.outstanding.len() < OUTSTANDING_MAX => match event {
                    Some((event, caller)) => self.step(event, caller)?,
                    None => return self.drain().await,
                },
                () = self.clock.sleep_until(deadline) => {
                    let effects = M::tick(&self.durable, &mut self.soft, self.clock.now());
                    self.apply(effects)?;
                }
            }
            self.snapshot_if_large()?;
        }
    }

    /// Everything decided becomes durable and is answered; then the machine ends.
    async fn drain(&mut self) -> Result<(), JournalError> {
        while let Some(first) = self.outstanding.front() {
            self.journal.committed(first.position).await?;
            self.release()?;
        }
        Ok(())
    }

    fn step(&mut self, event: M::Event, caller: oneshot::Sender<M::Reply>) -> Result<(), JournalError> {
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.callers.insert(token, caller);
        let effects = M::step(&self.durable, &mut self.soft, self.clock.now(), event, token);
        self.apply(effects)
    }

    fn apply(&mut self, effects: Effects<M>) -> Result<(), JournalError> {
        let Effects { records, replies, actions } = effects;
        let mut snapshot = None;
        if !records.is_empty() {
            let encoded: Vec<EncodedRecord> = records.iter().map(DurableRecord::encode).collect();
            self.journal.append(&encoded, self.clock.now().wall.0)?;
            self.bytes_since_snapshot += encoded.iter().map(|record| record_bytes(record) as u64).sum::<u64>();
            for record in &records {
                M::replay(&mut self.durable, record);
            }
            snapshot = Some(self.host.capture(&self.durable));
        }
        if answer_before_durable() {
            snapshot.take().into_iter().for_each(|snapshot| self.host.publish(snapshot));
        }
        if snapshot.is_none() && (self.outstanding.is_empty() || answer_before_durable()) {
            self.let_out(replies, actions);
        } else if snapshot.is_some() || !replies.is_empty() || !actions.is_empty() {
            self.outstanding.push_back(Outstanding { position: self.journal.end(), snapshot, replies, actions });
        }
        Ok(())
    }

    /// The first of `outstanding` is durable, and with it all that stand at the same position.
    fn release(&mut self) -> Result<(), JournalError> {
        let Some(durable) = self.outstanding.front().map(|first| first.position) else { return Ok(()) };
        while self.outstanding.front().is_some_and(|next| next.position <= durable) {
            let Some(Outstanding { snapshot, replies, actions, .. }) = self.outstanding.pop_front() else { break };
            if let Some(snapshot) = snapshot {
                self.host.publish(snapshot);
            }
            self.let_out(replies, actions);
        }
        if let Some((first_marker, behind)) = self.trim_when_durable
            && behind <= durable
        {
            self.trim_when_durable = None;
            self.journal.trim(first_marker)?;
        }
        Ok(())
    }

    fn let_out(&mut self, replies: Vec<(ReplyToken, M::Reply)>, actions: Vec<M::Action>) {
        for (token, reply) in replies {
            self.answer(token, reply);
        }
        for action in actions {
            self.host.act(action);
        }
        if self.callers.len() > 2 * OUTSTANDING_MAX {
            self.callers.retain(|_, caller| !caller.is_closed());
        }
    }

    fn answer(&mut self, token: ReplyToken, reply: M::Reply) {
        if let Some(caller) = self.callers.remove(&token) {
            // A caller that went away no longer wants its answer.
            let _ = caller.send(reply);
        }
    }

    /// The whole state between two markers, in one go; the log before it goes once it is durable.
    fn snapshot_if_large(&mut self) -> Result<(), JournalError> {
        let worth_it = SNAPSHOT_LOG_BYTES_MIN.max(SNAPSHOT_LOG_TO_STATE * self.snapshot_bytes);
        if self.trim_when_durable.is_some() || self.bytes_since_snapshot < worth_it {
            return Ok(());
        }
        let wall_ms = self.clock.now().wall.0;
        let first_marker = self.journal.end();
        let mut batch = vec![Marker::Begin.encode()];
        let mut batch_bytes = 0;
        let mut bytes = 0;
        for record in M::snapshot(&self.durable) {
            let record = record.encode();
            batch_bytes += record_bytes(&record);
            batch.push(record);
            if batch_bytes >= SNAPSHOT_BATCH_BYTES {
                self.journal.append(&batch, wall_ms)?;
                bytes += batch_bytes as u64;
                (batch, batch_bytes) = (Vec::new(), 0);
            }
        }
        batch.push(Marker::End.encode());
        self.journal.append(&batch, wall_ms)?;
        self.snapshot_bytes = bytes + batch_bytes as u64;
        self.bytes_since_snapshot = 0;
        let behind = self.journal.end();
        self.trim_when_durable = Some((first_marker, behind));
        self.outstanding.push_back(Outstanding { position: behind, snapshot: None, replies: Vec::new(), actions: Vec::new() });
        Ok(())
    }
}

/// Planted fault for tests of durability: a machine answers what power loss may take back.
fn answer_before_durable() -> bool {
    fail::fail_point!("answer_before_durable", |_| true);
    false
}

/// Waits for `position`, or for ever when nothing is outstanding.
async fn committed<J: Journal>(journal: &J, position: Option<LogPos>) -> Result<(), JournalError> {
    match position {
        Some(position) => journal.committed(position).await,
        None => std::future::pending().await,
    }
}

/// Rebuilds a machine's state from its journal, changing nothing; also says whether a snapshot was begun there and never finished.
pub fn read_durable<M: Machine>(journal: &impl ReadLog) -> Result<(M::Durable, bool), RebuildError> {
    let mut whole = Vec::new();
    let mut open = None;
    journal.read_all(&mut |position, key, _| {
        match Marker::decode(key.as_deref()) {
            Some(Marker::Begin) => open = Some(position),
            Some(Marker::End) => whole.extend(open.take()),
            Some(Marker::Abandoned) => open = None,
            None => {}
        }
        Ok(())
    })?;

    let mut durable = M::Durable::default();
    let mut ignoring = false;
    let mut unreadable = None;
    journal.read_all(&mut |position, key: Option<Bytes>, value: Option<Bytes>| {
        match Marker::decode(key.as_deref()) {
            Some(Marker::Begin) if whole.contains(&position) => durable = M::Durable::default(),
            Some(Marker::Begin) => ignoring = true,
            Some(Marker::End | Marker::Abandoned) => ignoring = false,
            None if ignoring || unreadable.is_some() => {}
            None => match M::Record::decode(key.as_deref(), value.as_deref()) {
                Ok(record) => M::replay(&mut durable, &record),
                Err(error) => unreadable = Some(error),
            },
        }
        Ok(())
    })?;
    match unreadable {
        Some(error) => Err(error.into()),
        None => Ok((durable, open.is_some())),
    }
}

fn record_bytes(record: &EncodedRecord) -> usize {
    record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len)
}

fn encoded_bytes<M: Machine>(records: &[M::Record]) -> u64 {
    records.iter().map(|record| record_bytes(&record.encode()) as u64).sum()
}

/// Stands before, behind or in place of the end of a snapshot. The key's first number is one that no Kafka record format uses, so that
/// Kafka's own tools pass over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Begin,
    End,
    Abandoned,
}

/// "GM": far outside the key versions of Kafka's internal topics.
const MARKER_KEY_VERSION: [u8; 2] = *b"GM";

impl Marker {
    fn number(self) -> u8 {
        match self {
            Marker::Begin => 1,
            Marker::End => 2,
            Marker::Abandoned => 3,
        }
    }

    fn encode(self) -> EncodedRecord {
        let key = [MARKER_KEY_VERSION[0], MARKER_KEY_VERSION[1], self.number()];
        EncodedRecord { key: Some(Bytes::copy_from_slice(&key)), value: Some(Bytes::new()) }
    }

    fn decode(key: Option<&[u8]>) -> Option<Marker> {
        let [first, second, number] = key? else { return None };
        if [*first, *second] != MARKER_KEY_VERSION {
            return None;
        }
        [Marker::Begin, Marker::End, Marker::Abandoned].into_iter().find(|marker| marker.number() == *number)
    }
}

#[cfg(test)]
#[path = "replicated_tests.rs"]
mod tests;

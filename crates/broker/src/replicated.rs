//! Runs any [`Machine`] over a [`Journal`]: the one place where "answer when durable" happens.
//!
//! A step's records are one batch; many steps share one fsync. `replay` runs at append. Whatever
//! anyone can see (an answer, an action, a published snapshot) waits in `outstanding` until the
//! last record before it is durable, and leaves in order.
//!
//! What the disk may do to a machine: an append that was refused (a full disk) leaves its log and
//! `Durable` as they were, so `Soft` alone is laid down and taken up again; a journal that was lost
//! is opened anew and the machine rebuilt from it. Either way whoever asked is told, and nobody
//! waits for the disk to heal. Not here: what any machine decides.

mod read_back;

pub use read_back::read_durable;

use crate::{
    clock::Clock,
    journal::{Journal, JournalError, LogPos},
};
use bytes::Bytes;
use gnomon_machine::{
    DurableRecord, Effects, EncodedRecord, Machine, Mono, ReplyToken, UnreadableRecord,
};
use read_back::Marker;
use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::Arc,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

/// What a machine is embedded in.
pub trait Host<M: Machine>: Send + 'static {
    /// What readers hold; taken when records are applied, shown when they are durable.
    type Snapshot: Send;
    /// What the machine begins with.
    fn fresh(&self) -> M::Soft;
    /// Takes what readers will hold.
    fn capture(&self, durable: &M::Durable) -> Self::Snapshot;
    /// Shows it: the records behind it are durable.
    fn publish(&self, snapshot: Self::Snapshot);
    /// Begins an action: at least once, idempotent.
    fn act(&self, action: M::Action);
    /// The journal is lost for good. The machine has resigned; the driver ends after this.
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

/// After a refusal, actions that were under way begin anew so much later: the disk may be full for
/// long.
const ACT_AGAIN_AFTER_MS: u64 = 1_000;

/// Why an event got no answer of its machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// The machine's driver is gone, or its journal is being opened anew: what the event did, if
    /// anything, is unknown.
    #[error("the coordinator is not available")]
    Gone,
    /// It would have changed something, and that could not be recorded. Nothing changed.
    #[error("nothing can be recorded now: {why}")]
    Refused { why: Arc<str> },
}

/// Where an event's answer goes.
type Caller<M> = oneshot::Sender<Result<<M as Machine>::Reply, NoReply>>;

/// Events on their way to a machine.
type Inbox<M> = mpsc::Receiver<(<M as Machine>::Event, Caller<M>)>;

/// Sends events to a running machine.
pub struct Submit<M: Machine> {
    events: mpsc::Sender<(M::Event, Caller<M>)>,
}

impl<M: Machine> Clone for Submit<M> {
    fn clone(&self) -> Self {
        Submit {
            events: self.events.clone(),
        }
    }
}

impl<M: Machine> Submit<M> {
    /// The machine's answer, given when everything it says is durable. Dropping the future drops
    /// the answer, not the event.
    pub async fn submit(&self, event: M::Event) -> Result<M::Reply, NoReply> {
        let (answer, answered) = oneshot::channel();
        self.events
            .send((event, answer))
            .await
            .map_err(|_| NoReply::Gone)?;
        answered.await.unwrap_or(Err(NoReply::Gone))
    }
}

/// A machine rebuilt from its journal, not yet taking events.
pub struct Replicated<M: Machine, J: Journal, H: Host<M>> {
    durable: M::Durable,
    soft: M::Soft,
    journal: J,
    host: H,
    clock: Clock,
    callers: HashMap<ReplyToken, Caller<M>>,
    next_token: u64,
    outstanding: VecDeque<Outstanding<M, H::Snapshot>>,
    /// Actions that begin anew at this time.
    held_back: Option<(Mono, Vec<M::Action>)>,
    /// The log ends in a snapshot that was given up: what comes next must not be taken for a part
    /// of it.
    unfinished_snapshot: bool,
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
    pub fn rebuild(journal: J, host: H, clock: Clock) -> Result<Self, RebuildError> {
        let mut machine = Replicated {
            durable: M::Durable::default(),
            soft: host.fresh(),
            journal,
            host,
            clock,
            callers: HashMap::new(),
            next_token: 1,
            outstanding: VecDeque::new(),
            held_back: None,
            unfinished_snapshot: false,
            trim_when_durable: None,
            snapshot_bytes: 0,
            bytes_since_snapshot: 0,
        };
        machine.read_back()?;
        Ok(machine)
    }

    fn read_back(&mut self) -> Result<(), RebuildError> {
        (self.durable, self.unfinished_snapshot) = read_durable::<M>(&self.journal)?;
        self.snapshot_bytes = encoded_bytes::<M>(&M::snapshot(&self.durable));
        self.bytes_since_snapshot = self.journal.bytes();
        Ok(())
    }

    /// The state as rebuilt, before `run`.
    pub fn durable(&self) -> &M::Durable {
        &self.durable
    }

    /// Takes the lead and runs until every [`Submit`] is dropped or the journal is lost for good.
    pub fn start(self) -> (Submit<M>, impl Future<Output = ()> + Send) {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        (Submit { events }, self.run(inbox))
    }

    async fn run(mut self, mut inbox: Inbox<M>) {
        loop {
            self.host.publish(self.host.capture(&self.durable));
            let Err(error) = self.serve(&mut inbox).await else {
                return;
            };
            self.resign();
            self.callers.clear();
            self.outstanding.clear();
            self.trim_when_durable = None;
            match self.recover(error, &mut inbox).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.host.lost(error),
            }
        }
    }

    /// Serves until the journal is lost, or nobody asks any more.
    async fn serve(&mut self, inbox: &mut Inbox<M>) -> Result<(), JournalError> {
        let mut again = false;
        loop {
            let served = match self.lead(again) {
                Ok(()) => self.serve_until_refused(inbox).await,
                Err(JournalError::Refused { .. }) => {
                    // Not even what was under way can be taken up.
                    self.clock
                        .sleep_until(Some(self.clock.now().mono.after(ACT_AGAIN_AFTER_MS)))
                        .await;
                    Ok(Served::Refused)
                }
                Err(error) => Err(error),
            };
            match served? {
                Served::Refused => self.resign(),
                Served::Ended => return self.drain().await,
            }
            again = true;
        }
    }

    /// Takes up what `Durable` says is under way. `again`: its actions were begun before, and are
    /// not in a hurry.
    fn lead(&mut self, again: bool) -> Result<(), JournalError> {
        let now = self.clock.now();
        let mut effects = M::led(&self.durable, &mut self.soft, now);
        self.held_back = again.then(|| {
            (
                now.mono.after(ACT_AGAIN_AFTER_MS),
                std::mem::take(&mut effects.actions),
            )
        });
        self.apply(effects)
    }

    async fn serve_until_refused(&mut self, inbox: &mut Inbox<M>) -> Result<Served, JournalError> {
        loop {
            let waiting_for = self.outstanding.front().map(|first| first.position);
            let deadline = M::deadline(&self.soft);
            let held_until = self.held_back.as_ref().map(|(until, _)| *until);
            let stepped = tokio::select! {
                biased;
                durable = committed(&self.journal, waiting_for) => {
                    durable?;
                    self.release()
                }
                () = self.clock.sleep_until(held_until) => {
                    let actions = self.held_back.take().map_or_else(Vec::new, |(_, actions)| actions);
                    self.apply(Effects { actions, ..Effects::none() })
                }
                event = inbox.recv(), if self.outstanding.len() < OUTSTANDING_MAX => match event {
                    Some((event, caller)) => self.step(event, caller),
                    None => return Ok(Served::Ended),
                },
                () = self.clock.sleep_until(deadline) => {
                    let effects = M::tick(&self.durable, &mut self.soft, self.clock.now());
                    self.apply(effects)
                }
            };
            match stepped.and_then(|()| self.snapshot_if_large()) {
                Ok(()) => {}
                Err(JournalError::Refused { .. }) => return Ok(Served::Refused),
                Err(error) => return Err(error),
            }
        }
    }

    /// Lays down everything that does not survive, and tells those who wait for it.
    fn resign(&mut self) {
        for (token, reply) in M::resigned(&mut self.soft) {
            self.answer(token, Ok(reply));
        }
        self.soft = self.host.fresh();
        self.held_back = None;
    }

    /// Opens a lost journal anew and rebuilds the machine; whoever asks meanwhile is told that it
    /// is not there. False: nobody asks any more.
    async fn recover(
        &mut self,
        error: JournalError,
        inbox: &mut Inbox<M>,
    ) -> Result<bool, JournalError> {
        let JournalError::Lost { name, why } = error else {
            return Err(error);
        };
        warn!(log = name, why, "lost; it is opened anew");
        {
            let mut reopened = pin!(self.journal.reopen());
            loop {
                tokio::select! {
                    biased;
                    reopened = &mut reopened => break reopened?,
                    event = inbox.recv() => match event {
                        Some((_, caller)) => drop(caller),
                        None => return Ok(false),
                    },
                }
            }
        }
        self.read_back().map_err(|error| match error {
            RebuildError::Journal(error) => error,
            RebuildError::Unreadable(source) => JournalError::Unreadable {
                name: name.clone(),
                source,
            },
        })?;
        info!(log = name, "opened anew, its machine rebuilt");
        Ok(true)
    }

    /// Everything decided becomes durable and is answered; then the machine ends.
    async fn drain(&mut self) -> Result<(), JournalError> {
        while let Some(first) = self.outstanding.front() {
            self.journal.committed(first.position).await?;
            self.release()?;
        }
        Ok(())
    }

    fn step(&mut self, event: M::Event, caller: Caller<M>) -> Result<(), JournalError> {
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.callers.insert(token, caller);
        let effects = M::step(
            &self.durable,
            &mut self.soft,
            self.clock.now(),
            event,
            token,
        );
        let applied = self.apply(effects);
        if let Err(JournalError::Refused { why, .. }) = &applied {
            self.answer(
                token,
                Err(NoReply::Refused {
                    why: why.as_str().into(),
                }),
            );
        }
        applied
    }

    fn apply(&mut self, effects: Effects<M>) -> Result<(), JournalError> {
        let Effects {
            records,
            replies,
            actions,
        } = effects;
        let mut snapshot = None;
        if !records.is_empty() {
            let encoded: Vec<EncodedRecord> = records.iter().map(DurableRecord::encode).collect();
            self.append(&encoded)?;
            self.bytes_since_snapshot += encoded
                .iter()
                .map(|record| record_bytes(record) as u64)
                .sum::<u64>();
            for record in &records {
                M::replay(&mut self.durable, record);
            }
            snapshot = Some(self.host.capture(&self.durable));
        }
        if self.outstanding.is_empty() && snapshot.is_none() {
            self.let_out(replies, actions);
        } else if snapshot.is_some() || !replies.is_empty() || !actions.is_empty() {
            self.outstanding.push_back(Outstanding {
                position: self.journal.end(),
                snapshot,
                replies,
                actions,
            });
        }
        Ok(())
    }

    /// Appends one batch; it is in whole or not at all.
    fn append(&mut self, records: &[EncodedRecord]) -> Result<(), JournalError> {
        let wall_ms = self.clock.now().wall.0;
        if self.unfinished_snapshot {
            self.journal
                .append(&[Marker::Abandoned.encode()], wall_ms)?;
            self.unfinished_snapshot = false;
        }
        self.journal.append(records, wall_ms).map(drop)
    }

    /// The first of `outstanding` is durable, and with it all that stand at the same position.
    fn release(&mut self) -> Result<(), JournalError> {
        let Some(durable) = self.outstanding.front().map(|first| first.position) else {
            return Ok(());
        };
        while self
            .outstanding
            .front()
            .is_some_and(|next| next.position <= durable)
        {
            let Some(Outstanding {
                snapshot,
                replies,
                actions,
                ..
            }) = self.outstanding.pop_front()
            else {
                break;
            };
            if let Some(snapshot) = snapshot {
                self.host.publish(snapshot);
            }
            self.let_out(replies, actions);
        }
        if let Some((first_marker, behind)) = self.trim_when_durable
            && behind <= durable
        {
            self.trim_when_durable = None;
            match self.journal.trim(first_marker) {
                // Another snapshot comes one day.
                Err(JournalError::Refused { name, why }) => {
                    warn!(log = name, why, "stays longer than it need be")
                }
                trimmed => trimmed?,
            }
        }
        Ok(())
    }

    fn let_out(&mut self, replies: Vec<(ReplyToken, M::Reply)>, actions: Vec<M::Action>) {
        for (token, reply) in replies {
            self.answer(token, Ok(reply));
        }
        for action in actions {
            self.host.act(action);
        }
        if self.callers.len() > 2 * OUTSTANDING_MAX {
            self.callers.retain(|_, caller| !caller.is_closed());
        }
    }

    fn answer(&mut self, token: ReplyToken, reply: Result<M::Reply, NoReply>) {
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
        self.bytes_since_snapshot = 0;
        let first_marker = self.journal.end();
        match self.append_snapshot() {
            Ok(bytes) => self.snapshot_bytes = bytes,
            Err(JournalError::Refused { name, why }) => {
                // No step was refused, and the log is as good as before: it is tried again when as
                // much has been written again.
                warn!(log = name, why, "no snapshot");
                self.unfinished_snapshot |= self.journal.end() > first_marker;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let behind = self.journal.end();
        self.trim_when_durable = Some((first_marker, behind));
        self.outstanding.push_back(Outstanding {
            position: behind,
            snapshot: None,
            replies: Vec::new(),
            actions: Vec::new(),
        });
        Ok(())
    }

    /// Appends it in batches of a sane size; returns its bytes.
    fn append_snapshot(&mut self) -> Result<u64, JournalError> {
        let mut batch = vec![Marker::Begin.encode()];
        let (mut batch_bytes, mut bytes) = (0, 0);
        for record in M::snapshot(&self.durable) {
            let record = record.encode();
            batch_bytes += record_bytes(&record);
            batch.push(record);
            if batch_bytes >= SNAPSHOT_BATCH_BYTES {
                self.append(&batch)?;
                bytes += batch_bytes as u64;
                (batch, batch_bytes) = (Vec::new(), 0);
            }
        }
        if !snapshot_without_marker() {
            batch.push(Marker::End.encode());
        }
        self.append(&batch)?;
        Ok(bytes + batch_bytes as u64)
    }
}

/// How serving came to an end.
enum Served {
    /// An append was refused: `Soft` may be ahead of `Durable`.
    Refused,
    /// Nobody asks any more.
    Ended,
}

/// Waits for `position`, or for ever when nothing is outstanding.
async fn committed<J: Journal>(journal: &J, position: Option<LogPos>) -> Result<(), JournalError> {
    match position {
        Some(_) if reply_before_durable() => Ok(()),
        Some(position) => journal.committed(position).await,
        None => std::future::pending().await,
    }
}

fn record_bytes(record: &EncodedRecord) -> usize {
    record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len)
}

fn encoded_bytes<M: Machine>(records: &[M::Record]) -> u64 {
    records
        .iter()
        .map(|record| record_bytes(&record.encode()) as u64)
        .sum()
}

/// Planted fault for tests of machines: a snapshot's end is not marked.
fn snapshot_without_marker() -> bool {
    gnomon_failpoints::fail_point!("snapshot_without_marker", |_| true);
    false
}

/// Planted fault for tests of machines: what is to be seen does not wait for the disk.
fn reply_before_durable() -> bool {
    gnomon_failpoints::fail_point!("reply_before_durable", |_| true);
    false
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
#[path = "replicated_tests.rs"]
mod tests;

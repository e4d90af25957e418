//! Runs any [`Machine`] over a [`Journal`].
//!
//! A step's records are one batch; many steps share one fsync. `replay` runs at append. Everything
//! that anyone can see (a reply, an action, a published state) waits in [`Outstanding`] until the
//! last record before it is durable, and leaves in order.
//!
//! A driver leads its log or follows another broker that leads it ([`Leadership`]). While it
//! follows, the state grows with what is committed, and events are refused.
//!
//! Errors of the disk: an append that was refused (a full disk) leaves the log and `Durable` as they
//! were, so only `Soft` is dropped and made again; a journal that was lost is opened again and the
//! machine rebuilt from it. In both cases the callers are told, and none waits for the disk to
//! heal. Not here: what any machine decides.

pub use crate::replay::RebuildError;

use crate::{
    Clock, Journal, JournalError, Leadership, LogPosition, NoReply, Owner, Submit,
    outstanding::{Outstanding, Step},
    replay::Replay,
    snapshot::Snapshots,
    submit::{Caller, Callers, Inbox},
};
use gnomon_machine::{DurableRecord, Effects, EncodedRecord, Machine, Mono, ReplyToken};
use std::pin::pin;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// After a refusal, actions that were under way are begun again this much later, in milliseconds:
/// the disk may be full for long.
const ACT_AGAIN_AFTER_MS: u64 = 1_000;

/// A machine rebuilt from its journal, not yet taking events.
pub struct Driver<M: Machine, J: Journal, O: Owner<M>> {
    state: Replay<M>,
    soft: M::Soft,
    journal: J,
    owner: O,
    clock: Clock,
    callers: Callers<M>,
    outstanding: Outstanding<M, O::Snapshot>,
    snapshots: Snapshots,
    /// Actions that are begun again at this time.
    held_back: Option<(Mono, Vec<M::Action>)>,
}

/// How serving came to an end.
enum Served {
    /// An append was refused: `Soft` may be ahead of `Durable`.
    Refused,
    /// Another broker leads now.
    Resigned,
    /// Every [`Submit`] is dropped.
    Ended,
}

impl<M: Machine, J: Journal + Sync, O: Owner<M>> Driver<M, J, O> {
    /// Rebuilds the machine's state from its journal.
    pub fn rebuild(journal: J, owner: O, clock: Clock) -> Result<Self, RebuildError> {
        Ok(Driver {
            state: Replay::from_start(&journal, false)?,
            soft: owner.new_soft(),
            journal,
            owner,
            clock,
            callers: Callers::none(),
            outstanding: Outstanding::none(),
            snapshots: Snapshots::default(),
            held_back: None,
        })
    }

    /// The state as rebuilt.
    pub fn durable(&self) -> &M::Durable {
        &self.state.durable
    }

    /// Runs until every [`Submit`] is dropped or the journal is lost for good.
    pub fn start(self, leadership: Leadership) -> (Submit<M>, impl Future<Output = ()> + Send) {
        let (submit, inbox) = Submit::new();
        (submit, self.run(inbox, leadership))
    }

    pub(crate) async fn run(mut self, mut inbox: Inbox<M>, mut leadership: Leadership) {
        loop {
            let ended = match self.follow(&mut inbox, &mut leadership).await {
                Ok(true) => self.lead_until_ended(&mut inbox, &mut leadership).await,
                ended => ended,
            };
            let recovered = match ended {
                Ok(false) => return,
                // Records that were not committed may not be in the log that the new leader has.
                Ok(true) => self.read_back(true),
                Err(error) => match self.recover(error, &mut inbox).await {
                    Ok(true) => Ok(()),
                    Ok(false) => return,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = recovered {
                return self.owner.lost(error);
            }
        }
    }

    /// Follows the log until this broker leads; false when every [`Submit`] is dropped.
    async fn follow(
        &mut self,
        inbox: &mut Inbox<M>,
        leadership: &mut Leadership,
    ) -> Result<bool, JournalError> {
        loop {
            tokio::select! {
                biased;
                () = leadership.until(true) => break,
                grown = self.journal.grown(self.state.position) => {
                    grown?;
                    self.read_on(true)?;
                    self.publish();
                }
                event = inbox.recv() => match event {
                    // A caller that went away needs no reply.
                    Some((_, caller)) => _ = caller.send(Err(NoReply::NotLeader)),
                    None => return Ok(false),
                },
            }
        }
        self.read_on(false)?;
        self.snapshots =
            Snapshots::of::<M>(&self.state.durable, &self.journal, self.state.in_snapshot());
        self.publish();
        Ok(true)
    }

    fn publish(&self) {
        self.owner.publish(self.owner.capture(&self.state.durable));
    }

    fn read_on(&mut self, committed_only: bool) -> Result<(), JournalError> {
        let read = self.state.read_on(&self.journal, committed_only);
        read.map_err(|error| journal_error(&self.journal, error))
    }

    /// Drops the state and reads the log again.
    fn read_back(&mut self, committed_only: bool) -> Result<(), JournalError> {
        self.state = Replay::from_start(&self.journal, committed_only)
            .map_err(|error| journal_error(&self.journal, error))?;
        Ok(())
    }

    /// Leads until another broker does (true), or every [`Submit`] is dropped (false). Afterwards
    /// nothing of the leadership is left.
    async fn lead_until_ended(
        &mut self,
        inbox: &mut Inbox<M>,
        leadership: &mut Leadership,
    ) -> Result<bool, JournalError> {
        let ended = self.serve(inbox, leadership).await;
        if !matches!(ended, Ok(false)) {
            self.resign();
            self.callers.drop_all();
            self.outstanding.clear();
        }
        ended
    }

    async fn serve(
        &mut self,
        inbox: &mut Inbox<M>,
        leadership: &mut Leadership,
    ) -> Result<bool, JournalError> {
        let mut again = false;
        loop {
            let served = match self.take_lead(again) {
                Ok(()) => self.serve_until_refused(inbox, leadership).await,
                Err(JournalError::Refused { .. }) => {
                    // Not even the work that was under way can be taken up.
                    let later = self.clock.now().mono.after(ACT_AGAIN_AFTER_MS);
                    self.clock.sleep_until(Some(later)).await;
                    Ok(Served::Refused)
                }
                Err(error) => Err(error),
            };
            match served? {
                Served::Refused => self.resign(),
                Served::Resigned => return Ok(true),
                Served::Ended => {
                    self.drain().await?;
                    return Ok(false);
                }
            }
            again = true;
        }
    }

    /// Takes up the work that `Durable` says is under way. With `again`, its actions were begun
    /// before and are held back for a while.
    fn take_lead(&mut self, again: bool) -> Result<(), JournalError> {
        let now = self.clock.now();
        let mut effects = M::led(&self.state.durable, &mut self.soft, now);
        self.held_back = again.then(|| {
            let actions = std::mem::take(&mut effects.actions);
            (now.mono.after(ACT_AGAIN_AFTER_MS), actions)
        });
        self.apply(effects)
    }

    /// The order of the branches is a promise: replies leave before new events come in, and timers
    /// that are due run before any event. A flood of events for one group must not keep another
    /// group's members from their rebalance.
    async fn serve_until_refused(
        &mut self,
        inbox: &mut Inbox<M>,
        leadership: &mut Leadership,
    ) -> Result<Served, JournalError> {
        loop {
            let waiting_for = self.outstanding.first();
            let deadline = M::deadline(&self.soft).filter(|_| !planted_late_timers(inbox));
            let held_until = self.held_back.as_ref().map(|(until, _)| *until);
            let stepped = tokio::select! {
                biased;
                () = leadership.until(false) => return Ok(Served::Resigned),
                durable = committed(&self.journal, waiting_for) => {
                    let durable = durable?;
                    self.release(durable)
                }
                () = self.clock.sleep_until(held_until) => {
                    let actions = self.held_back.take().map_or_else(Vec::new, |(_, actions)| actions);
                    self.apply(Effects { actions, ..Effects::none() })
                }
                () = self.clock.sleep_until(deadline) => {
                    let effects = M::tick(&self.state.durable, &mut self.soft, self.clock.now());
                    self.apply(effects)
                }
                event = inbox.recv(), if !self.outstanding.is_full() => match event {
                    Some((event, caller)) => self.step(event, caller),
                    None => return Ok(Served::Ended),
                },
            };
            match stepped.and_then(|()| self.snapshot_if_due()) {
                Ok(()) => {}
                Err(JournalError::Refused { .. }) => return Ok(Served::Refused),
                Err(error) => return Err(error),
            }
        }
    }

    /// Drops everything that does not survive, and tells the callers that wait for it.
    fn resign(&mut self) {
        for (token, reply) in M::resigned(&mut self.soft) {
            self.callers.reply(token, Ok(reply));
        }
        self.soft = self.owner.new_soft();
        self.held_back = None;
    }

    /// Opens a lost journal again and rebuilds the machine; callers meanwhile are told that it is
    /// gone. False when every [`Submit`] is dropped.
    async fn recover(
        &mut self,
        error: JournalError,
        inbox: &mut Inbox<M>,
    ) -> Result<bool, JournalError> {
        let JournalError::Lost { name, why } = error else {
            return Err(error);
        };
        warn!(log = name, why, "lost; it is opened again");
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
        self.read_back(false)?;
        info!(log = name, "opened again, its machine rebuilt");
        Ok(true)
    }

    /// Every decision becomes durable and is answered; then the machine ends.
    async fn drain(&mut self) -> Result<(), JournalError> {
        while let Some(position) = self.outstanding.first() {
            self.journal.committed(position).await?;
            self.release(position)?;
        }
        Ok(())
    }

    fn step(&mut self, event: M::Event, caller: Caller<M>) -> Result<(), JournalError> {
        let token = self.callers.add(caller);
        let now = self.clock.now();
        let event = self.owner.complete(event);
        let effects = M::step(&self.state.durable, &mut self.soft, now, event, token);
        let applied = self.apply(effects);
        if let Err(JournalError::Refused { why, .. }) = &applied {
            let why = why.as_str().into();
            self.callers.reply(token, Err(NoReply::Refused { why }));
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
            let wall_ms = self.clock.now().wall.0;
            self.snapshots
                .append(&mut self.journal, &encoded, wall_ms)?;
            for record in &records {
                M::replay(&mut self.state.durable, record);
            }
            self.state.position = self.journal.end();
            snapshot = Some(self.owner.capture(&self.state.durable));
        }
        if self.outstanding.is_empty() && snapshot.is_none() {
            self.let_out(replies, actions);
        } else if snapshot.is_some() || !replies.is_empty() || !actions.is_empty() {
            self.outstanding.push(Step {
                position: self.journal.end(),
                snapshot,
                replies,
                actions,
            });
        }
        Ok(())
    }

    /// Everything before `durable` is durable: the steps that waited for it leave.
    fn release(&mut self, durable: LogPosition) -> Result<(), JournalError> {
        while let Some(step) = self.outstanding.pop(durable) {
            if let Some(snapshot) = step.snapshot {
                self.owner.publish(snapshot);
            }
            self.let_out(step.replies, step.actions);
        }
        self.snapshots.durable_to(durable, &mut self.journal)
    }

    fn let_out(&mut self, replies: Vec<(ReplyToken, M::Reply)>, actions: Vec<M::Action>) {
        for (token, reply) in replies {
            self.callers.reply(token, Ok(reply));
        }
        for action in actions {
            self.owner.act(action);
        }
        self.callers
            .forget_closed_above(Outstanding::<M, O::Snapshot>::CALLERS_MAX);
    }

    fn snapshot_if_due(&mut self) -> Result<(), JournalError> {
        if !self.snapshots.is_due() {
            return Ok(());
        }
        let wall_ms = self.clock.now().wall.0;
        let appended =
            self.snapshots
                .append_snapshot::<M>(&mut self.journal, &self.state.durable, wall_ms)?;
        if let Some(position) = appended {
            self.state.position = position;
            // Nothing to let out: it waits so that the log is trimmed once it is durable.
            self.outstanding.push(Step {
                position,
                snapshot: None,
                replies: Vec::new(),
                actions: Vec::new(),
            });
        }
        Ok(())
    }
}

fn journal_error(journal: &impl Journal, error: RebuildError) -> JournalError {
    match error {
        RebuildError::Journal(error) => error,
        RebuildError::Unreadable(source) => JournalError::Unreadable {
            name: journal.name().to_owned(),
            source,
        },
    }
}

/// Waits for `position`, which it returns; without one, for ever.
async fn committed<J: Journal>(
    journal: &J,
    position: Option<LogPosition>,
) -> Result<LogPosition, JournalError> {
    match position {
        Some(position) if planted_early_reply() => Ok(position),
        Some(position) => journal.committed(position).await.map(|()| position),
        None => std::future::pending().await,
    }
}

/// Planted fault for tests of machines: timers wait while events do.
fn planted_late_timers<T>(inbox: &mpsc::Receiver<T>) -> bool {
    gnomon_failpoints::fail_point!("timers_after_events", |_| !inbox.is_empty());
    // Looked at by the planted fault only.
    let _ = inbox;
    false
}

/// Planted fault for tests of machines: replies do not wait for the disk.
fn planted_early_reply() -> bool {
    gnomon_failpoints::fail_point!("reply_before_durable", |_| true);
    false
}

#[cfg(test)]
#[path = "disk_fault_tests.rs"]
mod disk_fault_tests;
#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "timer_tests.rs"]
mod timer_tests;

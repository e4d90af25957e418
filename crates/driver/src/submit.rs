//! How events reach a running machine, and its replies their callers.

use gnomon_machine::{Machine, ReplyToken};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Events that may wait for a machine.
const EVENTS_MAX: usize = 4096;

/// Why an event got no reply from its machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// The machine has stopped or its log is being opened again: the effect of the event, if any,
    /// is unknown.
    #[error("the coordinator is not available")]
    Gone,
    /// Another broker leads this machine's log. Nothing changed.
    #[error("this broker does not lead the coordinator's log")]
    NotLeader,
    /// The event would have changed the state, and the change could not be recorded. Nothing
    /// changed.
    #[error("nothing can be recorded now: {why}")]
    Refused { why: Arc<str> },
}

/// Where the reply to an event goes.
pub(crate) type Caller<M> = oneshot::Sender<Result<<M as Machine>::Reply, NoReply>>;

/// Events on their way to a machine.
pub(crate) type Inbox<M> = mpsc::Receiver<(<M as Machine>::Event, Caller<M>)>;

/// Sends events to a running machine. The machine ends when every clone is dropped.
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
    pub(crate) fn new() -> (Submit<M>, Inbox<M>) {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        (Submit { events }, inbox)
    }

    /// The machine's reply, given when everything that it rests on is durable. Dropping the future
    /// drops the reply, not the event.
    pub async fn submit(&self, event: M::Event) -> Result<M::Reply, NoReply> {
        let (caller, reply) = oneshot::channel();
        self.events
            .send((event, caller))
            .await
            .map_err(|_| NoReply::Gone)?;
        reply.await.unwrap_or(Err(NoReply::Gone))
    }

    /// Sends an event whose caller goes away at once.
    #[cfg(test)]
    pub(crate) async fn send_without_reply(&self, event: M::Event) {
        let (caller, _) = oneshot::channel();
        let _ = self.events.send((event, caller)).await;
    }
}

/// The callers that wait for replies, by the token that the machine knows them by.
pub(crate) struct Callers<M: Machine> {
    waiting: HashMap<ReplyToken, Caller<M>>,
    next_token: u64,
}

impl<M: Machine> Callers<M> {
    pub(crate) fn none() -> Callers<M> {
        Callers {
            waiting: HashMap::new(),
            next_token: 1,
        }
    }

    /// A caller begins to wait.
    pub(crate) fn add(&mut self, caller: Caller<M>) -> ReplyToken {
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.waiting.insert(token, caller);
        token
    }

    pub(crate) fn reply(&mut self, token: ReplyToken, reply: Result<M::Reply, NoReply>) {
        if let Some(caller) = self.waiting.remove(&token) {
            // A caller that went away needs no reply.
            let _ = caller.send(reply);
        }
    }

    /// Forgets callers that went away, once there are more than `max` in all: a machine may never
    /// reply to one whose client is gone.
    pub(crate) fn forget_closed_above(&mut self, max: usize) {
        if self.waiting.len() > max {
            self.waiting.retain(|_, caller| !caller.is_closed());
        }
    }

    /// Every caller is told that the machine is gone.
    pub(crate) fn drop_all(&mut self) {
        self.waiting.clear();
    }
}

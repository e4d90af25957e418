//! One connection: frames in, responses out in the order of their requests.
//!
//! A request is begun only when every earlier one has taken its effect; only waiting for durability
//! may overlap. Responses that are due together leave together. What has arrived whole takes its
//! effect also when the peer closes after it, as with acks=0. The loop here receives and sends;
//! what a request means is `dispatch`'s.

use super::{
    answer::{Answer, Begun, Later, Outgoing},
    network::{Reader, Writer},
    receive::{ReceiveError, Receiver},
    send::Outbox,
};
use crate::{
    config::limits::{CONNECTION_IDLE_MAX, FINISH_MAX, PIPELINE_MAX},
    traffic::Measure,
};
use bytes::Bytes;
use gnomon_protocol::frame::FrameError;
use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::pin,
    task::{Context, Poll},
};
use tokio::time::{Instant, sleep_until};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// By the peer, or by a frame that cannot be one.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The response could not be written.
    #[error(transparent)]
    Send(#[from] io::Error),
    /// By us: the request has no answer that its client could read.
    #[error("{0}")]
    Refused(String),
    /// Nothing was asked for long.
    #[error("idle")]
    Idle,
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Ended {
        Ended::Receive(error.into())
    }
}

/// Answers that are under way, in the order of their requests.
#[derive(Default)]
struct Pending {
    answers: VecDeque<(Later, Option<Measure>)>,
    exclusive: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    fn takes_more(&self) -> bool {
        !self.exclusive && self.answers.len() < PIPELINE_MAX
    }

    fn push(&mut self, later: Later, measure: Option<Measure>, exclusive: bool) {
        self.answers.push_back((later, measure));
        self.exclusive |= exclusive;
    }

    /// Moves the answers that are due, in order, to `outbox`; `None` when there is none.
    fn poll_due(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Option<Result<(), Ended>> {
        let mut some = None;
        while let Some((first, measure)) = self.answers.front_mut()
            && !outbox.is_enough()
            && let Poll::Ready(outgoing) = first.as_mut().poll(cx)
        {
            let measure = measure.take();
            self.answers.pop_front();
            self.exclusive &= !self.answers.is_empty();
            if let Err(ended) = take(outbox, outgoing, measure) {
                return Some(Err(ended));
            }
            some = Some(Ok(()));
        }
        some
    }

    /// Resolves when there was one that is due. Cancel safe: what is not due stays in its place.
    async fn due(&mut self, outbox: &mut Outbox) -> Result<(), Ended> {
        poll_fn(|cx| self.poll_due(outbox, cx).map_or(Poll::Pending, Poll::Ready)).await
    }
}

/// A response for `outbox`, or the end that it stands for.
fn take(outbox: &mut Outbox, outgoing: Outgoing, measure: Option<Measure>) -> Result<(), Ended> {
    match outgoing {
        Outgoing::Close(why) => Err(Ended::Refused(why)),
        Outgoing::Bytes(_) | Outgoing::Chunks(_) | Outgoing::Nothing => {
            let bytes = outbox.push(outgoing);
            if let Some(measure) = measure {
                measure.end(bytes);
            }
            Ok(())
        }
    }
}

/// Serves a connection until it ends. `dispatch` begins each request.
pub async fn serve(
    read: Reader,
    mut write: Writer,
    request_bytes_max: usize,
    dispatch: impl Fn(Bytes) -> Begun,
) -> Ended {
    let mut receiver = Receiver::new(read, request_bytes_max);
    let mut pending = Pending::default();
    let mut outbox = Outbox::default();
    let mut heard = Instant::now();
    let mut idle = pin!(sleep_until(heard + CONNECTION_IDLE_MAX));
    // Nothing more comes; what is here is finished first.
    let mut closed: Option<Ended> = None;
    let ended = loop {
        let begun = begin(&mut receiver, &mut pending, &mut outbox, &dispatch);
        let due = poll_fn(|cx| Poll::Ready(pending.poll_due(&mut outbox, cx))).await;
        let answered = due.is_some() || !outbox.is_empty();
        if let Err(ended) = begun.and(due.unwrap_or(Ok(()))) {
            break ended;
        }
        if let Err(error) = outbox.send(&mut write).await {
            return error.into();
        }
        if answered {
            // What waited after it may begin now.
            continue;
        }
        closed = match closed {
            Some(ended) if pending.is_empty() => break ended,
            other => other,
        };
        tokio::select! {
            biased;
            ended = pending.due(&mut outbox) => if let Err(ended) = ended { break ended },
            filled = receiver.fill(), if closed.is_none() && !receiver.is_ready() => match filled {
                Ok(()) => heard = Instant::now(),
                Err(error) => {
                    closed = Some(error.into());
                    idle.as_mut().reset(Instant::now() + FINISH_MAX);
                }
            },
            () = idle.as_mut() => {
                if let Some(ended) = closed {
                    break ended;
                }
                if pending.is_empty() && heard.elapsed() >= CONNECTION_IDLE_MAX {
                    break Ended::Idle;
                }
                let from = if pending.is_empty() { heard } else { Instant::now() };
                idle.as_mut().reset(from + CONNECTION_IDLE_MAX);
            }
        }
    };
    // What was answered before the end still goes out; whether it arrives is not ours to know.
    let _ = outbox.send(&mut write).await;
    ended
}

/// Begins the requests that have arrived whole, as far as order allows.
fn begin(
    receiver: &mut Receiver,
    pending: &mut Pending,
    outbox: &mut Outbox,
    dispatch: impl Fn(Bytes) -> Begun,
) -> Result<(), Ended> {
    while pending.takes_more() && !outbox.is_enough() {
        let Some(frame) = receiver.next()? else { break };
        let Begun { answer, measure } = dispatch(frame);
        match answer {
            Answer::Now(outgoing) if pending.is_empty() => take(outbox, outgoing, measure)?,
            Answer::Now(outgoing) => {
                pending.push(Box::pin(std::future::ready(outgoing)), measure, false)
            }
            Answer::Waiting(later) => pending.push(later, measure, false),
            Answer::Exclusive(later) => pending.push(later, measure, true),
        }
    }
    Ok(())
}

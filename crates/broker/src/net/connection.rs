//! One connection: frames in, responses out in the order of their requests.
//!
//! A request is begun only when every earlier one has taken its effect; only waiting for durability may overlap. The loop here
//! receives and sends; what a request means is `dispatch`'s.

use super::{
    answer::{Answer, Later, Outgoing},
    network::{Reader, Writer},
    receive::{ReceiveError, Receiver},
    send::send,
};
use crate::{
    config::limits::{CONNECTION_IDLE_MAX, PIPELINE_MAX},
    context::Connection,
    dispatch::dispatch,
    site::Site,
};
use bytes::Bytes;
use std::{collections::VecDeque, io, sync::Arc};
use tokio::time::timeout;

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

/// Answers that are under way, in the order of their requests.
#[derive(Default)]
struct Pending {
    answers: VecDeque<Later>,
    exclusive: bool,
}

impl Pending {
    fn takes_more(&self) -> bool {
        !self.exclusive && self.answers.len() < PIPELINE_MAX
    }

    /// The first answer. Cancel safe: an unfinished one stays in its place.
    async fn first(&mut self) -> Outgoing {
        let Some(first) = self.answers.front_mut() else { return std::future::pending().await };
        let outgoing = first.await;
        self.answers.pop_front();
        self.exclusive &= !self.answers.is_empty();
        outgoing
    }
}

/// Serves a connection until it ends.
pub async fn serve(read: Reader, mut write: Writer, site: Arc<Site>, connection: Arc<Connection>) -> Ended {
    let mut receiver = Receiver::new(read, site.config.request_bytes_max);
    let mut pending = Pending::default();
    let mut held: Option<Bytes> = None;
    loop {
        while pending.takes_more() {
            let Some(frame) = held.take() else { break };
            match dispatch(&site, &connection, frame) {
                Answer::Now(outgoing) if pending.answers.is_empty() => {
                    if let Err(ended) = finish(&mut write, outgoing).await {
                        return ended;
                    }
                }
                Answer::Now(outgoing) => pending.answers.push_back(Box::pin(std::future::ready(outgoing))),
                Answer::Waiting(later) => pending.answers.push_back(later),
                Answer::Exclusive(later) => {
                    pending.answers.push_back(later);
                    pending.exclusive = true;
                }
            }
        }
        tokio::select! {
            biased;
            outgoing = pending.first() => {
                if let Err(ended) = finish(&mut write, outgoing).await {
                    return ended;
                }
            }
            received = timeout(CONNECTION_IDLE_MAX, receiver.frame()), if held.is_none() => match received {
                Ok(Ok(frame)) => held = Some(frame),
                Ok(Err(error)) => return error.into(),
                Err(_) if pending.answers.is_empty() => return Ended::Idle,
                Err(_) => {}
            },
        }
    }
}

async fn finish(write: &mut Writer, outgoing: Outgoing) -> Result<(), Ended> {
    if let Outgoing::Close(why) = outgoing {
        return Err(Ended::Refused(why));
    }
    Ok(send(write, outgoing).await?)
}

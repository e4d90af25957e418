//! Replies and actions that wait until the log is durable: captured states, replies and actions, in
//! order.

use crate::LogPosition;
use gnomon_machine::{Machine, ReplyToken};
use std::collections::VecDeque;

/// Steps that may wait for durability before the machine takes no more events.
const STEPS_MAX: usize = 4096;

/// The replies and actions of one step, let out once everything before `position` is durable.
pub(crate) struct Step<M: Machine, S> {
    pub(crate) position: LogPosition,
    pub(crate) snapshot: Option<S>,
    pub(crate) replies: Vec<(ReplyToken, M::Reply)>,
    pub(crate) actions: Vec<M::Action>,
}

/// The steps that wait, in the order of the log.
pub(crate) struct Outstanding<M: Machine, S>(VecDeque<Step<M, S>>);

impl<M: Machine, S> Outstanding<M, S> {
    /// Callers that may wait before those that went away are looked for.
    pub(crate) const CALLERS_MAX: usize = 2 * STEPS_MAX;

    pub(crate) fn none() -> Self {
        Outstanding(VecDeque::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= STEPS_MAX
    }

    /// The position that the first step waits for.
    pub(crate) fn first(&self) -> Option<LogPosition> {
        self.0.front().map(|step| step.position)
    }

    pub(crate) fn push(&mut self, step: Step<M, S>) {
        debug_assert!(
            self.0
                .back()
                .is_none_or(|last| last.position <= step.position)
        );
        self.0.push_back(step);
    }

    /// The next step whose wait is over when everything before `durable` is.
    pub(crate) fn pop(&mut self, durable: LogPosition) -> Option<Step<M, S>> {
        self.0
            .front()
            .is_some_and(|step| step.position <= durable)
            .then(|| self.0.pop_front())
            .flatten()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

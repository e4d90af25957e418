//! The sync tasks of a link: rounds at an interval, with backoff when the source does not answer.
//!
//! A task's loop only decides when; what a round does is in a file of its own. A round that fails
//! says so in the task's state and is tried again; a failed connection is never more than
//! LINK_UNAVAILABLE.

pub(crate) mod groups;
pub(crate) mod queries;
mod settings;
pub(crate) mod topics;

use crate::{link_shared::LinkShared, site::Gone};
use gnomon_client::{ClientError, retry::Backoff};
use gnomon_links::{Task, TaskState};
use std::time::Duration;

/// Why a round did not go through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    /// The source does not answer, or not what was asked.
    #[error(transparent)]
    Source(#[from] ClientError),
    /// The site's own machines do not answer.
    #[error(transparent)]
    Site(#[from] Gone),
    /// The metadata refuses what was found.
    #[error("{0}")]
    Refused(String),
}

impl RoundError {
    fn state(&self) -> TaskState {
        match self {
            RoundError::Source(error) if error.is_connection() => TaskState::LinkUnavailable,
            RoundError::Source(_) | RoundError::Refused(_) => TaskState::Faulted,
            RoundError::Site(_) => TaskState::NotRunning,
        }
    }
}

/// Notes how a round ended, and says how long to wait for the next one.
fn after_round(
    link: &LinkShared,
    task: Task,
    outcome: Result<(), RoundError>,
    interval: Duration,
    backoff: &mut Backoff,
) -> Duration {
    match outcome {
        Ok(()) => {
            backoff.succeeded();
            link.task(task, TaskState::Active, None);
            link.in_contact();
            interval
        }
        Err(error) => {
            if let RoundError::Source(error) = &error {
                link.out_of_contact(error);
            }
            let wait = backoff.failed(link.site.random());
            // Said once: a source that is down for hours must not fill the log.
            if backoff.failures() == 1 {
                tracing::info!(link = link.config.name.as_str(), %task, %error, "a round failed; trying again");
            }
            link.task(task, error.state(), Some(error.to_string()));
            wait
        }
    }
}

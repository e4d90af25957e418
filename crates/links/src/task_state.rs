//! The sync tasks of a link, their states, and the one table of legal moves. Names are Redpanda's,
//! because its tools print them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A task of a link beside the copying of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Task {
    /// Discovery: topics, partitions, configs, and what the sites learn of each other.
    #[serde(rename = "Source Topic Sync")]
    SourceTopicSync,
    #[serde(rename = "Consumer Group Shadowing")]
    ConsumerGroupShadowing,
    /// ACLs.
    #[serde(rename = "Security Migrator Task")]
    SecurityMigrator,
    #[serde(rename = "Schema Registry Shadowing")]
    SchemaRegistryShadowing,
}

impl Task {
    /// All of them, in the order in which a status lists them.
    pub const ALL: [Task; 4] = [
        Task::SourceTopicSync,
        Task::ConsumerGroupShadowing,
        Task::SecurityMigrator,
        Task::SchemaRegistryShadowing,
    ];

    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Task::SourceTopicSync => "Source Topic Sync",
            Task::ConsumerGroupShadowing => "Consumer Group Shadowing",
            Task::SecurityMigrator => "Security Migrator Task",
            Task::SchemaRegistryShadowing => "Schema Registry Shadowing",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Its last round went through.
    Active,
    /// Stands still by request.
    Paused,
    /// The source does not answer; it tries again.
    LinkUnavailable,
    /// Not needed, or not started yet.
    NotRunning,
    /// The source answered, and the answer is the trouble.
    Faulted,
}

/// Every legal move of a task. A task at rest (PAUSED, NOT_RUNNING) talks to nobody, so PAUSED
/// learns nothing new until it is resumed.
pub const MOVES: &[(TaskState, TaskState)] = &[
    (TaskState::NotRunning, TaskState::Active),
    (TaskState::NotRunning, TaskState::Paused),
    (TaskState::NotRunning, TaskState::LinkUnavailable),
    (TaskState::NotRunning, TaskState::Faulted),
    (TaskState::Active, TaskState::Paused),
    (TaskState::Active, TaskState::LinkUnavailable),
    (TaskState::Active, TaskState::Faulted),
    (TaskState::Active, TaskState::NotRunning),
    (TaskState::Paused, TaskState::Active),
    (TaskState::Paused, TaskState::NotRunning),
    (TaskState::LinkUnavailable, TaskState::Active),
    (TaskState::LinkUnavailable, TaskState::Paused),
    (TaskState::LinkUnavailable, TaskState::Faulted),
    (TaskState::LinkUnavailable, TaskState::NotRunning),
    (TaskState::Faulted, TaskState::Active),
    (TaskState::Faulted, TaskState::Paused),
    (TaskState::Faulted, TaskState::LinkUnavailable),
    (TaskState::Faulted, TaskState::NotRunning),
];

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {from} cannot become {to}")]
pub struct IllegalMove {
    /// The state it is in.
    pub from: TaskState,
    /// The state that was asked for.
    pub to: TaskState,
}

/// Whether a task may go from one state to another. Staying is not a move.
pub fn step(from: TaskState, to: TaskState) -> Result<(), IllegalMove> {
    if MOVES.contains(&(from, to)) {
        Ok(())
    } else {
        Err(IllegalMove { from, to })
    }
}

impl TaskState {
    pub const ALL: [TaskState; 5] = [
        TaskState::Active,
        TaskState::Paused,
        TaskState::LinkUnavailable,
        TaskState::NotRunning,
        TaskState::Faulted,
    ];

    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Active => "ACTIVE",
            TaskState::Paused => "PAUSED",
            TaskState::LinkUnavailable => "LINK_UNAVAILABLE",
            TaskState::NotRunning => "NOT_RUNNING",
            TaskState::Faulted => "FAULTED",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

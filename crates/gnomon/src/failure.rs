//! The one error type of the commands: each failure is printed as a sentence, and ends the command.

/// The reason why a command ended, as one sentence.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

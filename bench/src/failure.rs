//! The one error type of the bench: it prints figures and sentences, and decides nothing by errors.

/// The reason why something ended, as one sentence.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

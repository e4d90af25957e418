//! What has to be synced, as a value that is carried out without the log's lock.

use crate::error::LogError;
use gnomon_protocol::ids::Offset;

/// Everything that must be synced so that the log up to [`FlushPoint::end`] is durable. `Send`; taken under the log's lock, synced
/// without it, and handed back to [`crate::Log::flushed_to`].
pub struct FlushPoint {
    end: Offset,
}

impl FlushPoint {
    /// The log's end when the point was taken.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Whether there is nothing to sync.
    pub fn is_clean(&self) -> bool {
        unimplemented!()
    }

    /// Syncs. After an error the log takes no more writes and no other point of it succeeds.
    pub fn sync(&self) -> Result<(), LogError> {
        unimplemented!()
    }
}

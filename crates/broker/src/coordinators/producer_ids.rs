//! Hands out producer ids from blocks that the metadata machine has recorded: no id is given twice,
//! whatever crashes.

use gnomon_catalog::{Event, Reply};
use gnomon_driver::NoReply;
use gnomon_host::Metadata;
use gnomon_protocol::ids::ProducerId;
use std::ops::Range;
use tokio::sync::Mutex;

/// Ids of one block; a restart leaves the rest of its block unused.
const BLOCK: u32 = 1_000;

/// The block that ids are taken from.
#[derive(Default)]
pub struct ProducerIds {
    left: Mutex<Range<ProducerId>>,
}

impl ProducerIds {
    /// The next id, from a new block when the present one is used up.
    pub async fn next(&self, metadata: &Metadata) -> Result<ProducerId, NoReply> {
        let mut left = self.left.lock().await;
        if let Some(id) = left.next() {
            return Ok(id);
        }
        let Reply::AllocateProducerIds(Ok(block)) = metadata
            .submit(Event::AllocateProducerIds { count: BLOCK })
            .await?
        else {
            return Err(NoReply::Gone);
        };
        *left = block.start..block.start + ProducerId::from(block.count);
        left.next().ok_or(NoReply::Gone)
    }
}

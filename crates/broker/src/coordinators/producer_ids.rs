//! Hands out producer ids from blocks that the catalog has recorded: an id is never given twice,
//! whatever crashes.

use super::catalog::CatalogHandle;
use crate::replicated::NoReply;
use gnomon_catalog::{Event, Reply};
use gnomon_protocol::ids::ProducerId;
use std::ops::Range;
use tokio::sync::Mutex;

/// Ids of one block: what a restart may leave unused.
const BLOCK: u32 = 1_000;

/// The present block.
#[derive(Default)]
pub struct ProducerIds {
    left: Mutex<Range<ProducerId>>,
}

impl ProducerIds {
    /// The next id, from a new block when the present one is used up.
    pub async fn next(&self, catalog: &CatalogHandle) -> Result<ProducerId, NoReply> {
        let mut left = self.left.lock().await;
        if let Some(id) = left.next() {
            return Ok(id);
        }
        let Reply::AllocateProducerIds(Ok(block)) = catalog
            .submit(Event::AllocateProducerIds { count: BLOCK })
            .await?
        else {
            return Err(NoReply::Gone);
        };
        *left = block.start..block.start + ProducerId::from(block.count);
        left.next().ok_or(NoReply::Gone)
    }
}

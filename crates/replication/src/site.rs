//! The site, as replication needs it. The broker implements it; tests have one of their own.

use gnomon_catalog::{Event, Image, Reply};
use gnomon_client::BoxFuture;
use gnomon_groups::{SyncEnded, SyncOffsets, SyncedPartition};
use gnomon_machine::Now;
use gnomon_partition::Handle;
use gnomon_protocol::ids::TopicId;
use std::sync::Arc;
use uuid::Uuid;

/// The site's own side of a link.
///
/// Methods that return a value at once MUST NOT wait for the disk beyond opening a partition.
/// Futures are `'static`, so that a task may give them up: dropping one MUST NOT take back what it
/// submitted.
pub trait Site: Send + Sync + 'static {
    /// The metadata as last published.
    fn image(&self) -> Arc<Image>;

    /// A partition that this broker leads, opened if it was not. Its role MUST be at least as new
    /// as the last image that was given to
    /// [`LinkService::reconcile`](crate::LinkService::reconcile).
    fn handle(&self, topic: TopicId, partition: i32) -> Result<Handle, Unavailable>;

    /// Puts an event to the metadata machine; answered when what it changed is durable and applied
    /// to [`image`](Site::image).
    fn submit(&self, event: Event) -> BoxFuture<'static, Result<Reply, Gone>>;

    /// Hands a group's offsets to the group machine, which decides what of it is taken; answered
    /// when that is durable.
    fn sync_offsets(
        &self,
        sync: SyncOffsets,
    ) -> BoxFuture<'static, Result<Vec<SyncedPartition>, Gone>>;

    /// Tells every group machine that a link no longer syncs some topics; answered when what that
    /// changes is durable.
    fn sync_ended(&self, ended: SyncEnded) -> BoxFuture<'static, Result<(), Gone>>;

    /// The time now.
    fn now(&self) -> Now;

    /// A number drawn uniformly, for jitter.
    fn random(&self) -> u64;

    /// An id that nobody has.
    fn fresh_id(&self) -> Uuid;
}

/// A partition cannot be worked on now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} of topic {topic} is not available: {why}")]
pub struct Unavailable {
    pub topic: TopicId,
    pub partition: i32,
    pub why: String,
}

/// A machine of the site does not answer: it is led elsewhere, or the site stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} does not answer: {why}")]
pub struct Gone {
    pub what: &'static str,
    pub why: String,
}

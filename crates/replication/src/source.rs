//! The source, as a link needs it: the door through which other clusters are seen.
//!
//! Implementations: [`kafka`] over the wire, `scripted` (feature `fakes`) for tests. The contract
//! for both:
//!
//! - Every method has an end: it answers, or fails within its own deadline. None retries in time;
//!   callers own their backoff.
//! - A failure of one topic, partition or group stands beside it and spoils no other; a failure of
//!   the whole says that the source cannot be reached or does not understand.
//! - Records are handed out as the source sent them, unchecked. What a [`FetchConnection`] gives
//!   was asked for by the last `send` on it.

pub mod kafka;
#[cfg(feature = "fakes")]
pub mod scripted;

use gnomon_client::{
    BoxFuture, ClientError,
    fetcher::{FetchPosition, FetchTarget, FetchedAll},
    offsets::{EpochEnd, LogEnd, PerPartition, TopicPartition},
};
use gnomon_links::{LinkConfig, plan_offsets::SourceCommit};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, Offset, TopicId};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Makes sources. Contacts nobody by itself.
pub trait Connect: Send + Sync + 'static {
    /// The source of a link with these settings.
    fn connect(&self, link: &LinkConfig) -> Arc<dyn Source>;
}

/// A source's identity by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Its cluster id, if it has one.
    pub cluster_id: Option<String>,
    /// Its `gnomon.site` as it stands in its config, if it is a Gnomon.
    pub site: Option<String>,
    /// Its `gnomon.links` likewise.
    pub links: Option<String>,
}

/// A topic in a source's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTopic {
    pub name: String,
    /// `None` where the source has no topic ids.
    pub id: Option<TopicId>,
    pub internal: bool,
    /// Why the source says nothing more of it: Kafka's code.
    pub error: Option<i16>,
    /// By index.
    pub partitions: BTreeMap<i32, ListedPartition>,
}

/// A partition in a source's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPartition {
    /// The broker to fetch from; none while there is no leader.
    pub leader: Option<i32>,
    /// [`LeaderEpoch::NONE`] where the source does not say.
    pub leader_epoch: LeaderEpoch,
}

/// How much one fetch may bring, and how long it may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    pub max_wait: Duration,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    /// No partition is left out because it has nothing new: one that is, was not looked at (a
    /// source that throttles answers so).
    pub whole: bool,
}

/// Config values by name, for one topic; the source's effective ones.
pub type Configs = BTreeMap<String, String>;

/// Something for each of many names, or why there is nothing for one; or why there is no answer at
/// all.
pub type ByName<T> = Result<BTreeMap<String, Result<T, ClientError>>, ClientError>;

/// A source cluster.
pub trait Source: Send + Sync + 'static {
    /// Forgets what was learnt of its brokers: the next question begins at the bootstrap servers.
    /// After an answer that cannot have come from the source that was meant.
    fn start_over(&self);

    /// The source's identity.
    fn contact(&self) -> BoxFuture<'_, Result<Contact, ClientError>>;

    /// All of its topics, with leaders and epochs.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<ListedTopic>, ClientError>>;

    /// The values of these keys on these topics, keys that the source does not know left out.
    /// Includes values that are defaults there.
    fn configs<'a>(
        &'a self,
        topics: &'a [String],
        keys: &'a [&'a str],
    ) -> BoxFuture<'a, ByName<Configs>>;

    /// Offsets by timestamp in milliseconds, or `LATEST` (the high watermark) and `EARLIEST` of
    /// [`gnomon_client::offsets`]; `-1` where no record is that late.
    fn offsets<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, i64>,
    ) -> BoxFuture<'a, PerPartition<Offset>>;

    /// Where each partition's history ends for an epoch.
    fn epoch_ends<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, BatchEpoch>,
    ) -> BoxFuture<'a, PerPartition<EpochEnd>>;

    /// Where each partition's log ends now, and for those that name an epoch where that ends.
    /// Counts as the source's word on what readers here may ever get, so it MUST be newer than the
    /// call and come from who leads, under the epoch that the source's metadata names now; what
    /// such a leader cannot say yet is an error beside its partition.
    fn log_ends<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, Option<BatchEpoch>>,
    ) -> BoxFuture<'a, PerPartition<LogEnd>>;

    /// Names of all groups.
    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, ClientError>>;

    /// All that these groups have committed.
    fn group_offsets<'a>(
        &'a self,
        groups: &'a [String],
    ) -> BoxFuture<'a, ByName<Vec<SourceCommit>>>;

    /// A fetch connection of its own to this broker of the source.
    fn fetch_connection(
        &self,
        node: i32,
    ) -> BoxFuture<'_, Result<Box<dyn FetchConnection>, ClientError>>;
}

/// One fetch connection. One request is in flight at most.
pub trait FetchConnection: Send {
    /// Asks for exactly these partitions. When it returns, the request has its place on the wire.
    fn send<'a>(
        &'a mut self,
        wanted: &'a BTreeMap<FetchTarget, FetchPosition>,
        limits: FetchLimits,
    ) -> BoxFuture<'a, Result<(), ClientError>>;

    /// The answer to what was sent last; waits for ever if nothing was. Partitions may be left out
    /// that have nothing new, unless the whole was asked for. MUST be cancel safe.
    fn receive(&mut self) -> BoxFuture<'_, Result<FetchedAll, ClientError>>;
}

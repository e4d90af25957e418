//! One partition, and its contracts by caller.
//!
//! Callers see the part of a partition that is theirs: requests of clients write by
//! [`PartitionAppender`] and read by [`PartitionReader`]; a link writes by [`PartitionCopier`]; the
//! site that holds the partition changes its role, settings and files by [`PartitionControl`]. Each
//! contract is a borrowed view, made where it is used. Where is what:
//!
//! | contract | files |
//! |---|---|
//! | appender | `look.rs` looks at records, `append.rs` appends, `durable.rs` waits for the disk |
//! | reader | `reader.rs` reads, `by_time.rs` finds records by their time, `ahead` answers readers ahead of a shadow |
//! | copier | `look.rs`, `copy.rs` appends, `follow.rs` follows the source's bounds, `ahead` asks the source |
//! | control | `control.rs` role, settings, files; `trim.rs` log start; `failover.rs`; `durable.rs` flush, close; `reopen.rs` after a disk error |
//!
//! Nothing is on the disk before the first write, except where a copy begins (`begin_copy_at`).

use crate::{
    ahead::QueryTable,
    error::OpenError,
    flushable::Turn,
    id::PartitionId,
    log_state::LogState,
    offsets::{Offsets, Watermarks},
    presence,
    rebuild::{self, LogFrom},
    refused::Refused,
    role::Role,
    settings::{Env, Settings},
    state::{Inner, View, Writer},
};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch};
use gnomon_storage::Log;
use parking_lot::{Mutex, RwLock};
use std::{path::PathBuf, sync::Arc};

/// One partition. Cheap to clone; all clones are the same partition. Dropping the last one without
/// [`PartitionControl::close`] is for its files what the death of the process is.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Inner>);

/// The partition as clients and the site itself write it.
#[derive(Clone, Copy)]
pub struct PartitionAppender<'a>(pub(crate) &'a Arc<Inner>);

/// The partition as consumers and links of other sites read it.
#[derive(Clone, Copy)]
pub struct PartitionReader<'a>(pub(crate) &'a Arc<Inner>);

/// The partition as a link of this site copies it from its source.
#[derive(Clone, Copy)]
pub struct PartitionCopier<'a>(pub(crate) &'a Arc<Inner>);

/// The partition as the site that holds it controls it.
#[derive(Clone, Copy)]
pub struct PartitionControl<'a>(pub(crate) &'a Arc<Inner>);

impl Handle {
    /// Opens a partition: reads back what its files say if there are any, makes none if not.
    /// Blocking, for long after a crash.
    pub fn open(
        env: &Env,
        dir: PathBuf,
        id: PartitionId,
        role: Role,
        settings: Settings,
    ) -> Result<Handle, OpenError> {
        Handle::open_from(env, dir, id, role, settings, LogFrom::Disk, Arc::default())
    }

    pub(crate) fn open_from(
        env: &Env,
        dir: PathBuf,
        id: PartitionId,
        role: Role,
        settings: Settings,
        from: LogFrom<'_>,
        refused: Arc<Mutex<Refused>>,
    ) -> Result<Handle, OpenError> {
        let mut writer = Writer {
            log: None,
            generation: 0,
            snapshot_at: -1,
            changed: false,
            refused: false,
            listed: false,
        };
        let mut watermarks = Watermarks::new(0, 0, 0, settings.write_caching);
        let mut log_state = LogState::default();
        let mut reader = None;
        let name = settings.partition_name(id.index);
        presence::check(&*env.disk, &dir)?;
        // One that failed is there, or it cannot be opened again.
        if matches!(from, LogFrom::Failed(_))
            || Log::exists(&*env.disk, &dir).map_err(OpenError::Look)?
        {
            let opened = rebuild::open(env, &dir, &name, &settings, from)?;
            watermarks = Watermarks::new(
                opened.log.start(),
                opened.log.end(),
                opened.log.flushed(),
                settings.write_caching,
            );
            reader = Some(opened.log.reader());
            writer.snapshot_at = opened.snapshot_at;
            writer.changed = opened.changed;
            log_state = opened.log_state;
            writer.log = Some(opened.log);
            presence::note(&*env.disk, &dir, &name);
        }
        let mut view = View {
            watermarks,
            log_state,
            role,
            settings: Arc::new(settings),
            reader,
            closed: None,
            queries: QueryTable::default(),
        };
        view.take_up_role();
        let reached = view.offsets().high_watermark;
        view.log_state.txns.reached(reached);
        Ok(Handle(Arc::new(Inner {
            id,
            name,
            dir,
            env: env.clone(),
            writer: Mutex::new(writer),
            view: RwLock::new(view),
            checkpointing: Mutex::new(()),
            acks: Default::default(),
            flushes: Default::default(),
            waiters: Default::default(),
            turn: Turn::default(),
            refused,
        })))
    }

    pub fn id(&self) -> PartitionId {
        self.0.id
    }

    /// The partition for those that write at its end.
    pub fn appender(&self) -> PartitionAppender<'_> {
        PartitionAppender(&self.0)
    }

    /// The partition for those that read it.
    pub fn reader(&self) -> PartitionReader<'_> {
        PartitionReader(&self.0)
    }

    /// The partition for the link that copies it.
    pub fn copier(&self) -> PartitionCopier<'_> {
        PartitionCopier(&self.0)
    }

    /// The partition for the site that holds it.
    pub fn control(&self) -> PartitionControl<'_> {
        PartitionControl(&self.0)
    }

    /// All offsets at one moment.
    pub fn offsets(&self) -> Offsets {
        self.0.offsets()
    }

    /// The epoch that requests are fenced by.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.0.view.read().role.epoch()
    }

    /// The broker that leads, and the writers that are admitted.
    pub fn role(&self) -> Role {
        self.0.view.read().role.clone()
    }

    /// The epoch of the last batch, [`BatchEpoch::NONE`] if there never was one. A copy asks its
    /// source with it.
    pub fn latest_epoch(&self) -> BatchEpoch {
        self.0.view.read().log_state.epochs.latest()
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.settings()
    }

    /// Why the partition takes no writes any more, if it does not.
    pub fn closed(&self) -> Option<Arc<str>> {
        self.0
            .view
            .read()
            .closed
            .as_ref()
            .map(|closed| closed.why.clone())
    }

    /// Runs blocking work, such as the reads here, where it holds nobody up. `None` if the runtime
    /// is shutting down.
    pub async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Handle) -> R + Send + 'static,
    ) -> Option<R> {
        let handle = Handle(Arc::clone(&self.0));
        self.0.env.flusher.run(move || work(&handle)).await.ok()
    }

    /// Whether both are the same partition in the same life.
    pub fn is(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.0.id)
            .field("offsets", &self.offsets())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync + Clone>() {}
    shared::<Handle>();
};

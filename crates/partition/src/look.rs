//! Looking at the records of batches before they are appended, and on which thread.
//!
//! A batch of a few kilobytes may hold millions of records. What is surely little work is done where
//! it is asked for; for anything else the caller is sent elsewhere ([`Begun::Elsewhere`]), to
//! [`Flusher::run_heavy`]: off the async workers, a few at a time, so that time and memory for
//! unpacking are bounded for the whole process. Nothing is decided here: `admit.rs` judges.
//!
//! [`Flusher::run_heavy`]: crate::Flusher::run_heavy

use crate::{
    admit,
    append::Appended,
    error::AppendError,
    handle::{PartitionAppender, PartitionCopier},
    id::PartitionName,
    role::Origin,
    settings::{RecordValidation, Settings},
};
use gnomon_protocol::{
    batch::{BatchError, BatchView, Codec, Effort, Offsets, check_records},
    ids::Offset,
};
use std::sync::Arc;
use tracing::warn;

/// Bytes that may be unpacked for one request on an async worker: some milliseconds.
const LIGHT_UNPACKED_MAX: usize = 4 << 20;
/// Memory that a codec may take on an async worker. The windows of zstd's usual levels fit.
const LIGHT_WINDOW_MAX: usize = 8 << 20;
/// A compressed batch is tried on an async worker if it would fit at this ratio; most unpack to less.
const LIKELY_RATIO: usize = 4;
/// Looking at an uncompressed record takes as long as unpacking so many bytes.
const RECORD_COST: usize = 16;

/// How much looking at records an async worker may still do for one request.
#[derive(Debug)]
pub struct LightWork {
    left: usize,
}

impl Default for LightWork {
    fn default() -> LightWork {
        LightWork {
            left: LIGHT_UNPACKED_MAX,
        }
    }
}

impl LightWork {
    /// The effort that may be spent on this batch here; `None` if it is, or may well be, too much.
    fn effort(&self, batch: &BatchView) -> Option<Effort> {
        let likely = match batch.header().codec() {
            // An unknown codec is refused before anything is unpacked.
            Ok(Codec::None) | Err(_) => records_cost(batch),
            Ok(_) => batch.bytes().len() * LIKELY_RATIO,
        };
        (likely <= self.left).then_some(Effort {
            unpacked_max: self.left,
            window_max: LIGHT_WINDOW_MAX,
        })
    }

    fn spent(&mut self, batch: &BatchView, unpacked: usize) {
        self.left = self.left.saturating_sub(unpacked.max(records_cost(batch)));
    }
}

fn records_cost(batch: &BatchView) -> usize {
    let count = usize::try_from(batch.header().record_count).unwrap_or(0);
    count
        .saturating_mul(RECORD_COST)
        .min(batch.bytes().len() * RECORD_COST)
}

fn effort_of_refusal(batch: &BatchView, effort: Effort) -> usize {
    match batch.header().codec() {
        Ok(Codec::None) | Err(_) => 0,
        Ok(_) => effort.unpacked_max,
    }
}

/// Whether a failure may be owed to a small effort.
pub(crate) fn may_be_too_little(error: &BatchError) -> bool {
    matches!(
        error,
        BatchError::DecompressedTooLarge { .. } | BatchError::Decompress { .. }
    )
}

/// How an append began.
#[derive(Debug)]
pub enum Begun {
    Done(Result<Appended, AppendError>),
    /// Nothing was: the batch is for [`PartitionAppender::append_elsewhere`].
    Elsewhere(BatchView),
}

/// A batch of a source whose records no consumer can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the records of the batch at offset {offset} cannot be read: {why}")]
pub struct Unreadable {
    /// Its base offset.
    pub offset: Offset,
    pub why: BatchError,
}

/// The result of looking at a source's batches.
#[derive(Debug, Default)]
pub struct LookedAt {
    /// Those that may be copied, with what was found of their times: all, or those before the broken
    /// one.
    pub right: Vec<BatchView>,
    /// The first one that no consumer can read.
    pub broken: Option<Unreadable>,
}

impl PartitionAppender<'_> {
    /// Appends a batch at the next offset, if role, form, records, sequence and transaction admit
    /// it. Returns once the kernel has it: use [`PartitionAppender::durable`] before promising anything.
    /// `now_ms`: wall time in milliseconds. Blocks for as long as looking at a client's records
    /// takes; async callers use [`PartitionAppender::begin_append`].
    pub fn append(
        &self,
        batch: BatchView,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let settings = self.head(&batch, origin, now_ms)?;
        let batch = judge(batch, origin, &settings, now_ms)?;
        self.append_judged(batch, origin, now_ms)
    }

    /// The same on an async worker, if looking at the records is little work.
    pub fn begin_append(
        &self,
        batch: BatchView,
        origin: Origin,
        now_ms: i64,
        light: &mut LightWork,
    ) -> Begun {
        let settings = match self.head(&batch, origin, now_ms) {
            Ok(settings) => settings,
            Err(refused) => return Begun::Done(Err(refused)),
        };
        if !admit::needs_content(batch.header(), origin, &settings) {
            return Begun::Done(self.append_judged(batch, origin, now_ms));
        }
        let Some(effort) = light.effort(&batch) else {
            return Begun::Elsewhere(batch);
        };
        match admit::check_content(batch.clone(), &settings, now_ms, effort) {
            Ok((judged, unpacked)) => {
                light.spent(&judged, unpacked);
                drop(batch);
                Begun::Done(self.append_judged(judged, origin, now_ms))
            }
            Err(AppendError::Corrupt(error)) if may_be_too_little(&error) => {
                light.left = 0;
                Begun::Elsewhere(batch)
            }
            Err(refused) => {
                // How much was unpacked until then is not known.
                light.spent(&batch, effort_of_refusal(&batch, effort));
                Begun::Done(Err(refused))
            }
        }
    }

    /// The same for a batch that is much work: looks at it where that holds nobody up.
    pub async fn append_elsewhere(
        &self,
        batch: BatchView,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let settings = self.head(&batch, origin, now_ms)?;
        let judged = self
            .0
            .env
            .flusher
            .run_heavy(move || judge(batch, origin, &settings, now_ms))
            .await;
        let batch = judged.unwrap_or_else(|_| {
            Err(AppendError::Closed {
                why: "the site stops".into(),
            })
        })?;
        self.append_judged(batch, origin, now_ms)
    }

    /// Checks that need no state are made outside of the writer's lock; the role comes first, so
    /// that a shadow says that it is one.
    fn head(
        &self,
        batch: &BatchView,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Arc<Settings>, AppendError> {
        let (admitted, settings) = {
            let view = self.0.view.read();
            (view.role.admit(origin), view.settings.clone())
        };
        if let Err(refusal) = admitted.map_err(AppendError::from) {
            self.note_refusal(batch.header(), Some(&refusal), now_ms);
            return Err(refusal);
        }
        admit::check_form(batch.header(), origin, &settings, now_ms)?;
        Ok(settings)
    }
}

impl PartitionCopier<'_> {
    /// Looks at the records of a source's batches before they are copied, where that holds nobody
    /// up. A batch that unpacks to more than is looked at is trusted, and so is every batch of a
    /// topic that trusts who writes (`record.validation=header`).
    pub async fn look_at_copies(&self, batches: Vec<BatchView>) -> LookedAt {
        let settings = self.0.settings();
        let mut light = LightWork::default();
        let mut looked = LookedAt::default();
        let mut rest = batches.into_iter();
        while let Some(batch) = rest.next() {
            match look_at_light_copy(&batch, &settings, &mut light) {
                Ok(Some(batch)) => looked.right.push(batch),
                Ok(None) => {
                    let heavy = std::iter::once(batch).chain(rest);
                    let name = self.0.name.clone();
                    let look = move || look_at_all(heavy, &settings, &name, looked);
                    // A site that stops copies nothing any more.
                    return self.0.env.flusher.run_heavy(look).await.unwrap_or_default();
                }
                Err(broken) => {
                    looked.broken = Some(broken);
                    break;
                }
            }
        }
        looked
    }
}

fn look_at_all(
    batches: impl Iterator<Item = BatchView>,
    settings: &Settings,
    name: &PartitionName,
    mut looked: LookedAt,
) -> LookedAt {
    for batch in batches {
        match look_at_copy(batch, settings, name) {
            Ok(batch) => looked.right.push(batch),
            Err(broken) => {
                looked.broken = Some(broken);
                break;
            }
        }
    }
    looked
}

/// Judges a batch that passed [`PartitionAppender::head`] with all the effort that the topic allows.
fn judge(
    batch: BatchView,
    origin: Origin,
    settings: &Settings,
    now_ms: i64,
) -> Result<BatchView, AppendError> {
    if !admit::needs_content(batch.header(), origin, settings) {
        return Ok(batch);
    }
    let effort = Effort::up_to(settings.unpacked_bytes_max);
    admit::check_content(batch, settings, now_ms, effort).map(|(batch, _)| batch)
}

/// `None` if it is, or may be, too much work for an async worker.
fn look_at_light_copy(
    batch: &BatchView,
    settings: &Settings,
    light: &mut LightWork,
) -> Result<Option<BatchView>, Unreadable> {
    if !needs_a_look(batch, settings) {
        return Ok(Some(batch.clone()));
    }
    let Some(effort) = light.effort(batch) else {
        return Ok(None);
    };
    let offset = batch.header().base_offset;
    match check_records(batch, Offsets::Within, effort, |_| {}) {
        Ok(facts) => {
            light.spent(batch, facts.unpacked);
            Ok(Some(batch.clone().knowing(&facts)))
        }
        Err(error) if may_be_too_little(&error) || trusted(settings) => Ok(None),
        Err(why) => Err(Unreadable { offset, why }),
    }
}

fn look_at_copy(
    batch: BatchView,
    settings: &Settings,
    name: &PartitionName,
) -> Result<BatchView, Unreadable> {
    if !needs_a_look(&batch, settings) {
        return Ok(batch);
    }
    let offset = batch.header().base_offset;
    let effort = Effort::up_to(settings.unpacked_bytes_max);
    match check_records(&batch, Offsets::Within, effort, |_| {}) {
        Ok(facts) => Ok(batch.knowing(&facts)),
        Err(why @ BatchError::DecompressedTooLarge { .. }) => {
            warn!(topic = %name.topic, partition = name.index, offset, %why, "a copied batch is not looked at");
            Ok(batch.believed())
        }
        Err(_) if trusted(settings) => Ok(batch.believed()),
        Err(why) => Err(Unreadable { offset, why }),
    }
}

fn needs_a_look(batch: &BatchView, settings: &Settings) -> bool {
    !trusted(settings) || batch.needs_a_look()
}

fn trusted(settings: &Settings) -> bool {
    settings.record_validation == RecordValidation::Header || trust_sources()
}

/// Planted fault for tests of copying: no record of a source is looked at.
fn trust_sources() -> bool {
    gnomon_failpoints::fail_point!("trust_sources", |_| true);
    false
}

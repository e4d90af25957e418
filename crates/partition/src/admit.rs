//! Admission of our own writers: batch + state + now -> a placed batch, a repeat, or an error.
//! Pure; the one place besides `admit_at.rs` that makes a [`PlacedBatch`].
//!
//! Facts (Kafka's LogValidator and UnifiedLog): one batch of magic 2 per partition, base offset 0,
//! as many records as its offsets say, no control batches from clients, a sequence where there is a
//! producer id, zstd from Produce 7 on (KIP-110), `max.message.bytes` against the batch as it came.
//! Every record is looked at unless the topic trusts its writers (`record.validation`): what no
//! consumer can read is refused, and the header gets the maximum timestamp that the records have.
//! Stricter than Kafka in one place: uncompressed records out of order are refused, where Kafka
//! stores them. The order of the checks is the order in which Kafka answers: role, size, form,
//! records, sequence, transaction. Not here: magic, length and CRC (a `BatchView` has passed them);
//! the role's rules (`role.rs`); on which thread records are looked at (`look.rs`).

use crate::{
    error::AppendError,
    log_state::LogState,
    producer::{Remembered, Sequence, SequenceError},
    role::Origin,
    settings::{RecordValidation, Settings, TimestampType},
};
use gnomon_protocol::{
    batch::{
        BatchError, BatchHeader, BatchView, Codec, Effort, Facts, Marker, Offsets, PlacedBatch,
        check_records,
    },
    ids::{BatchEpoch, Offset},
};

/// The form in which a batch was admitted.
#[derive(Debug)]
pub enum Admitted {
    /// To be appended.
    New {
        /// The batch with its offset and epoch.
        batch: PlacedBatch,
        /// Our clock if the topic uses it, else -1. Milliseconds.
        log_append_time_ms: i64,
    },
    /// Appended before.
    Repeat(Remembered),
}

/// Where and under which epoch the next batch goes.
#[derive(Clone, Copy, Debug)]
pub struct AppendPosition {
    /// Its base offset.
    pub offset: Offset,
    /// Its leader epoch.
    pub epoch: BatchEpoch,
}

/// The state of the partition that a batch is judged by.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The topic's settings.
    pub settings: &'a Settings,
    /// Producers, transactions and epochs in the log.
    pub log_state: &'a LogState,
    /// Sequence of the earliest batch that the producer sent under the same epoch, that was
    /// refused, and that will come again (`refused.rs`).
    pub refused: Option<i32>,
}

/// Judges what the header says, without the partition's state.
pub fn check_form(
    header: &BatchHeader,
    origin: Origin,
    settings: &Settings,
    now_ms: i64,
) -> Result<(), AppendError> {
    let Origin::Client { zstd_allowed } = origin else {
        return Ok(());
    };
    sizes(header, settings)?;
    form(header, zstd_allowed)?;
    timestamps(header, origin, settings, now_ms)
}

/// Whether the records have to be looked at ([`check_content`]).
pub fn needs_content(header: &BatchHeader, origin: Origin, settings: &Settings) -> bool {
    let rules = settings.record_validation == RecordValidation::Full
        || settings.compacted
        || settings.timestamp_before_max_ms != i64::MAX
        || !header.max_timestamp_is_plausible();
    rules && matches!(origin, Origin::Client { .. }) && !trust_clients()
}

/// Judges the records of a client's batch that [`check_form`] let pass, and gives it the maximum
/// timestamp that they have. Also returns how many bytes were unpacked.
///
/// # Errors
/// As `check_records` says, also when the effort was too small.
pub fn check_content(
    view: BatchView,
    settings: &Settings,
    now_ms: i64,
    effort: Effort,
) -> Result<(BatchView, usize), AppendError> {
    let mut without_key = Vec::new();
    let facts = check_records(&view, Offsets::Consecutive, effort, |record| {
        if settings.compacted && !record.has_key && without_key.len() < RECORDS_NAMED_MAX {
            without_key.push(record.index);
        }
    })?;
    if !without_key.is_empty() {
        return Err(AppendError::InvalidRecord {
            why: "the topic is compacted: records need keys",
            indices: without_key,
        });
    }
    if settings.timestamp_type == TimestampType::LogAppendTime || believe_max_timestamp() {
        return Ok((view, facts.unpacked));
    }
    times(&facts, settings, now_ms)?;
    Ok((view.with_max_timestamp(facts.max_timestamp), facts.unpacked))
}

/// Planted fault for tests of admission: no record is looked at.
fn trust_clients() -> bool {
    gnomon_failpoints::fail_point!("trust_clients", |_| true);
    false
}

/// Planted fault for tests of admission: the header's maximum timestamp stays.
fn believe_max_timestamp() -> bool {
    gnomon_failpoints::fail_point!("believe_max_timestamp", |_| true);
    false
}

/// Judges a batch that [`check_form`] let pass. `marker`: what [`crate::log_state::marker_of`]
/// found in it.
pub fn admit(
    view: BatchView,
    marker: Option<Marker>,
    origin: Origin,
    place: AppendPosition,
    state: State<'_>,
    now_ms: i64,
) -> Result<Admitted, AppendError> {
    let State {
        settings,
        log_state,
        refused,
    } = state;
    let header = view.header();
    match marker {
        Some(marker) => check_marker(header, marker, log_state)?,
        None => {
            if header.has_producer() {
                let judged = log_state
                    .producers
                    .check(header, settings.copied_to, refused)?;
                if let Sequence::Repeat(repeat) = judged {
                    return Ok(Admitted::Repeat(repeat));
                }
            }
            transaction(header, log_state)?;
        }
    }
    let newest = log_state.epochs.latest();
    if place.epoch < newest {
        return Err(AppendError::EpochBehind {
            own: place.epoch,
            newest,
        });
    }
    if place
        .offset
        .checked_add(i64::from(header.last_offset_delta) + 1)
        .is_none()
    {
        return Err(BatchError::OffsetOverflow {
            base_offset: place.offset,
            delta: header.last_offset_delta,
        }
        .into());
    }
    let own_time = settings.timestamp_type == TimestampType::LogAppendTime
        && matches!(origin, Origin::Client { .. });
    Ok(match own_time {
        true => Admitted::New {
            batch: view.place_log_append_time(place.offset, place.epoch, now_ms),
            log_append_time_ms: now_ms,
        },
        false => Admitted::New {
            batch: view.place(place.offset, place.epoch),
            log_append_time_ms: -1,
        },
    })
}

fn sizes(header: &BatchHeader, settings: &Settings) -> Result<(), AppendError> {
    let bytes = header.total_bytes();
    let bytes_max = usize::try_from(settings.message_bytes_max).unwrap_or(0);
    if bytes > bytes_max {
        return Err(AppendError::TooLarge { bytes, bytes_max });
    }
    if bytes as u64 > settings.log.segment_bytes {
        return Err(AppendError::LargerThanSegment {
            bytes,
            bytes_max: settings.log.segment_bytes,
        });
    }
    Ok(())
}

fn form(header: &BatchHeader, zstd_allowed: bool) -> Result<(), AppendError> {
    let refuse = |why| {
        Err(AppendError::InvalidRecord {
            why,
            indices: Vec::new(),
        })
    };
    if header.base_offset != 0 {
        return refuse("a client's batch has base offset 0");
    }
    if header.is_control() {
        return refuse("clients do not write control batches");
    }
    if header.record_count <= 0
        || i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1
    {
        return refuse("the batch does not have as many records as offsets");
    }
    if header.has_producer() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return refuse("a batch with a producer id has an epoch and a sequence");
    }
    if header.is_transactional() && !header.has_producer() {
        return refuse("a transactional batch has a producer id");
    }
    match header.codec()? {
        Codec::Zstd if !zstd_allowed => Err(AppendError::UnsupportedCompression),
        Codec::Zstd | Codec::None | Codec::Gzip | Codec::Snappy | Codec::Lz4 => Ok(()),
    }
}

/// Clients do not set the type of timestamps. Where records are not looked at, the header's times
/// stand for theirs: the largest may not be too far ahead, the first not too long ago.
fn timestamps(
    header: &BatchHeader,
    origin: Origin,
    settings: &Settings,
    now_ms: i64,
) -> Result<(), AppendError> {
    if settings.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    if header.log_append_time() {
        return Err(outside(header.max_timestamp, settings, now_ms));
    }
    if needs_content(header, origin, settings) {
        return Ok(());
    }
    check_timestamp(header.max_timestamp, settings, now_ms)?;
    check_timestamp(header.base_timestamp, settings, now_ms)
}

/// The same of the records' own times.
fn times(facts: &Facts, settings: &Settings, now_ms: i64) -> Result<(), AppendError> {
    check_timestamp(facts.max_timestamp, settings, now_ms)?;
    facts
        .min_timestamp
        .map_or(Ok(()), |oldest| check_timestamp(oldest, settings, now_ms))
}

fn check_timestamp(timestamp: i64, settings: &Settings, now_ms: i64) -> Result<(), AppendError> {
    /// The timestamp of a record without one.
    const NO_TIMESTAMP: i64 = -1;
    let behind = now_ms.saturating_sub(timestamp);
    let fits = timestamp == NO_TIMESTAMP
        || behind <= settings.timestamp_before_max_ms
            && behind.saturating_neg() <= settings.timestamp_after_max_ms;
    if fits {
        Ok(())
    } else {
        Err(outside(timestamp, settings, now_ms))
    }
}

fn outside(timestamp: i64, settings: &Settings, now_ms: i64) -> AppendError {
    AppendError::InvalidTimestamp {
        timestamp,
        earliest: now_ms.saturating_sub(settings.timestamp_before_max_ms),
        latest: now_ms.saturating_add(settings.timestamp_after_max_ms),
    }
}

/// Records of a batch that a refusal names. A few compressed bytes may stand for millions of them,
/// and a name takes more room in an answer than they do.
const RECORDS_NAMED_MAX: usize = 100;

fn transaction(header: &BatchHeader, log_state: &LogState) -> Result<(), AppendError> {
    let producer_id = header.producer_id;
    match log_state.txns.open_since(producer_id) {
        Some(open_since) if header.has_producer() && !header.is_transactional() => {
            Err(AppendError::InvalidTxnState {
                producer_id,
                open_since,
            })
        }
        Some(_) | None => Ok(()),
    }
}

fn check_marker(
    header: &BatchHeader,
    marker: Marker,
    log_state: &LogState,
) -> Result<(), AppendError> {
    let producer_id = header.producer_id;
    let Some(producer) = log_state.producers.get(producer_id) else {
        return Ok(());
    };
    if header.producer_epoch < producer.epoch {
        let stale = SequenceError::StaleEpoch {
            producer_id,
            current: producer.epoch,
            found: header.producer_epoch,
        };
        return Err(stale.into());
    }
    if marker.coordinator_epoch < producer.coordinator_epoch {
        return Err(AppendError::CoordinatorFenced {
            producer_id,
            current: producer.coordinator_epoch,
            found: marker.coordinator_epoch,
        });
    }
    Ok(())
}

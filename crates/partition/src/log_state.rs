//! The state that a log's batches add up to: producers, transactions, epochs. Pure.
//!
//! Invariant: live, copied and read back after a restart, a batch changes it by the same
//! [`LogState::apply`], so that the state after a restart is the state before it. What a batch
//! means is decided by the header and, for control batches, by the marker in it.

use crate::{epochs::EpochHistory, producer::Producers, txns::Txns};
use gnomon_protocol::{
    batch::{self, BatchError, BatchHeader, BatchView, Marker},
    ids::{Offset, ProducerId},
};

/// A transaction that is open in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTxn {
    /// Whose.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Offset of its first record here.
    pub first_offset: Offset,
    /// Time of its newest batch here, milliseconds; `None` if that is not known any more.
    pub last_timestamp_ms: Option<i64>,
    /// Coordinator epoch of the producer's last marker here, `-1` if none came.
    pub coordinator_epoch: i32,
}

/// The state that a log's batches make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Idempotent producers.
    pub producers: Producers,
    /// Open and aborted transactions.
    pub txns: Txns,
    /// Leader epochs.
    pub epochs: EpochHistory,
}

impl LogState {
    /// A batch stands in the log now. `marker`: what [`marker_of`] found in it. `now_ms`: our
    /// clock, or `None` when it is copied or read back.
    pub fn apply(&mut self, header: &BatchHeader, marker: Option<Marker>, now_ms: Option<i64>) {
        self.epochs.record(header.leader_epoch, header.base_offset);
        if header.is_control() {
            if let Some(marker) = marker {
                self.producers
                    .mark(header, marker.coordinator_epoch, now_ms);
                self.txns
                    .decided(header.producer_id, header.base_offset, marker.commit);
            }
            return;
        }
        self.producers.apply(header, now_ms);
        if header.is_transactional() {
            self.txns.wrote(header.producer_id, header.base_offset);
        }
    }

    /// The log now starts at `log_start`.
    pub fn trim_to(&mut self, log_start: Offset) {
        self.epochs.trim_to(log_start);
        self.txns.trim_to(log_start);
    }

    /// The open transactions, by producer id.
    pub fn open_transactions(&self) -> Vec<OpenTxn> {
        let of = |(producer_id, first_offset)| {
            let producer = self.producers.get(producer_id);
            OpenTxn {
                producer_id,
                producer_epoch: producer.map_or(-1, |p| p.epoch),
                first_offset,
                last_timestamp_ms: producer
                    .and_then(|p| p.batches.back())
                    .map(|batch| batch.timestamp_ms),
                coordinator_epoch: producer.map_or(-1, |p| p.coordinator_epoch),
            }
        };
        self.txns.open().map(of).collect()
    }
}

/// The transaction marker in a control batch; `None` for data batches and for control batches of
/// other kinds.
pub fn marker_of(view: &BatchView) -> Result<Option<Marker>, BatchError> {
    if !view.header().is_control() {
        return Ok(None);
    }
    let mut records = batch::records(view, CONTROL_BYTES_MAX)?;
    Ok(match records.next() {
        Some(record) => batch::parse_marker(&record?),
        None => None,
    })
}

/// A control batch is one small record; compressed or not, it does not grow beyond this.
const CONTROL_BYTES_MAX: usize = 64 << 10;
